// The meta handlers but connect: handshake, subscribe, unsubscribe, disconnect.
//
// Knows: what each does once it is allowed, and its failures.
// Does not know: who allowed it (trial.ts), /meta/connect (connect.ts).
// Source: protocol reference 3.1, 3.3, 3.4.

import { AckState, wantsAck } from './ack.js'
import { ended, fullAdvice } from './advice.js'
import { type ChannelName, parseChannel } from './channel.js'
import { bind } from './connect.js'
import type { Core } from './core.js'
import type { ErrorCode } from './errors.js'
import type { Exchange } from './exchange.js'
import type { Message } from './message.js'
import { type Admission, refusal, type Verdict } from './policy.js'
import { remove } from './removal.js'
import { Reply } from './reply.js'
import { Session } from './session.js'
import { timesyncOf } from './timesync.js'

/** The five channels of the protocol itself. */
export const META_CHANNELS: ReadonlyMap<string, ChannelName> = new Map(
  ['/meta/handshake', '/meta/connect', '/meta/subscribe', '/meta/unsubscribe', '/meta/disconnect'].map(name => [
    name,
    parseChannel(name)!,
  ]),
)

/** Characters of the browser cookie, as CometD's. */
const BROWSER_ID_LENGTH = 16

/** Makes a new session, whatever the client says it had before. */
export function handshake(core: Core, exchange: Exchange, message: Message, verdict: Verdict, now: number): Reply {
  const { connection } = exchange
  const reply = metaReply(core, message, now)
  const admission: Admission | null = typeof verdict === 'object' && 'allow' in verdict ? verdict : null
  if (admission?.ext !== undefined) reply.ext = { ...admission.ext }
  const reason = refusal(verdict)
  if (reason !== null) {
    reply.fail('HANDSHAKE_DENIED')
    reply.advice = admission?.advice?.reconnect === undefined ? { ...admission?.advice, ...ended() } : admission.advice
    return reply
  }

  if (connection.browser === null && !connection.socket) {
    connection.browser = core.sink.id().slice(0, BROWSER_ID_LENGTH)
    connection.browserIssued = true
  }
  const session = newSession(core, exchange)
  session.user = admission?.user ?? null
  session.lastMessageAt = now
  session.lastActiveAt = now
  if (core.options.ack && wantsAck(message)) {
    session.ack = new AckState()
    reply.ext = { ...reply.ext, ack: true }
  }
  if (connection.socket) bind(core, connection, session)
  exchange.session = session
  core.sessions.set(session.id, session)
  core.sink.sessionAdded(session)
  reply.advice = fullAdvice(core, session, connection.transport)
  reply.extra = {
    version: '1.0',
    minimumVersion: '1.0',
    supportedConnectionTypes: connectionTypes(core, message),
    clientId: session.id,
  }
  return reply
}

function newSession(core: Core, exchange: Exchange): Session {
  const { connection } = exchange
  const options = core.transports[connection.transport]
  const session = new Session(
    core.sink.id(),
    connection.browser,
    connection.transport,
    connection.address,
    null,
    options.metaConnectDeliverOnly,
    options.broadcastToPublisher,
  )
  session.maxProcessing = core.options.maxProcessing
  session.transit('handshake')
  return session
}

/** The server's list, in its order; Faye's name for form posts across origins only for those who speak it. */
function connectionTypes(core: Core, message: Message): readonly string[] {
  const offered = message['supportedConnectionTypes']
  const faye =
    Array.isArray(offered) &&
    offered.includes('cross-origin-long-polling') &&
    core.options.allowedTransports.includes('long-polling')
  return faye ? [...core.options.allowedTransports, 'cross-origin-long-polling'] : core.options.allowedTransports
}

/** The channels of a subscribe or unsubscribe, all judged before any is applied; or what is wrong with them. */
export function subscriptionsOf(core: Core, message: Message): ChannelName[] | ErrorCode {
  const { subscription } = message
  if (subscription === undefined || subscription === null) return 'SUBSCRIPTION_MISSING'
  if (typeof subscription !== 'string' && !Array.isArray(subscription)) return 'SUBSCRIPTION_INVALID'
  const entries: readonly unknown[] = Array.isArray(subscription) ? subscription : [subscription]
  if (entries.length === 0) return 'SUBSCRIPTION_MISSING'
  const names: ChannelName[] = []
  for (const entry of entries) {
    if (typeof entry !== 'string') return 'SUBSCRIPTION_INVALID'
    const name = parseChannel(entry, core.options.maxChannelLength, core.options.validateMessageFields)
    if (name === null) return 'SUBSCRIPTION_INVALID'
    names.push(name)
  }
  return names
}

/** Subscribes to channels that were judged and allowed. A service channel takes no subscriptions and says yes. */
export function subscribe(core: Core, session: Session, message: Message, names: readonly ChannelName[], now: number): Reply {
  const reply = metaReply(core, message, now)
  if (session.gone) return reply.fail('SUBSCRIBE_FAILED')
  for (const name of names) {
    const channel = core.tree.create(name)
    if (name.kind === 'broadcast' && core.tree.subscribe(session, channel)) core.sink.subscribed(session, channel.name)
  }
  return reply
}

export function unsubscribe(core: Core, session: Session, message: Message, names: readonly ChannelName[], now: number): Reply {
  const reply = metaReply(core, message, now)
  for (const name of names) {
    if (META_CHANNELS.has(name.name)) return reply.fail('UNSUBSCRIBE_FAILED')
    const channel = core.tree.find(name.name)
    if (channel === undefined) return reply.fail('CHANNEL_MISSING')
    if (core.tree.unsubscribe(session, channel)) core.sink.unsubscribed(session, channel.name)
  }
  return reply
}

/** The session ends at once; a held connect is answered before this reply. */
export function disconnect(core: Core, session: Session, message: Message, now: number): Reply {
  const reply = metaReply(core, message, now)
  remove(core, session, 'disconnected', now)
  return reply
}

/** A reply to a meta message, with the answer to timesync that it may ask for. */
export function metaReply(core: Core, message: Message, now: number): Reply {
  const reply = new Reply(message)
  if (core.options.timesync) reply.timesync = timesyncOf(message, now)
  return reply
}
