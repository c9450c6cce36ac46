// The meta handlers but connect: handshake, subscribe, unsubscribe, disconnect.
//
// Knows: what each does once it is allowed, and its failures.
// Does not know: who allowed it (trial.ts), /meta/connect (connect.ts).
// Source: protocol reference 3.1, 3.3, 3.4.

import { AckState, wantsAck } from './ack.js'
import { ended, fullAdvice } from './advice.js'
import { type SessionLimit, userOf } from './census.js'
import { type ChannelName, META_CHANNELS, parseChannel } from './channel.js'
import { bind } from './connect.js'
import type { Connection } from './connection.js'
import type { Core } from './core.js'
import { negotiateDedupe } from './dedupe.js'
import type { ErrorCode } from './errors.js'
import type { Exchange } from './exchange.js'
import { Credential, type Identity, identityOf, markOfToken } from './identity.js'
import { extOf, type Message } from './message.js'
import { type Admission, clean, refusal, type Verdict } from './policy.js'
import { remove } from './removal.js'
import { beginReplay, failReplay, negotiateReplay, startsOf } from './replay.js'
import { Reply } from './reply.js'
import { review } from './review.js'
import { Session } from './session.js'
import { timesyncOf } from './timesync.js'

/** Faye's name for form posts across origins; in Node it offers `in-process` instead. */
const FAYE_FORMS = 'cross-origin-long-polling'
/** Characters of the browser cookie, as CometD's. */
export const BROWSER_ID_LENGTH = 16
/** Pauses before the next handshake, ms: its address was too fast, has too many sessions, the server is short of memory. */
export const PAUSE = 1_000
const FULL_PAUSE = 5_000
const SHED_PAUSE = 10_000

/** Makes a new session, whatever the client says it had before. */
export function handshake(core: Core, exchange: Exchange, message: Message, verdict: Verdict, now: number): Reply {
  const { connection } = exchange
  const admission: Admission | null = typeof verdict === 'object' && 'allow' in verdict ? verdict : null
  const reply = metaReply(core, message, now)
  if (admission?.ext !== undefined) reply.ext = { ...admission.ext }
  const reason = refusal(verdict)
  if (reason !== null) {
    reply.fail(admission?.code ?? 'HANDSHAKE_DENIED', clean(admission?.reason ?? ''))
    const reconnect = admission?.advice?.reconnect ?? 'none'
    reply.advice = { ...admission?.advice, reconnect: reconnect === 'handshake' ? again(message) : reconnect }
    return reply
  }
  const identity = admission === null ? null : identityOf(admission)
  const limit = core.census.limit(connection.address, connection.browser, identity?.user ?? null)
  if (limit !== null) return refuseSession(core, connection, message, limit, now)

  if (connection.browser === null && !connection.socket) {
    connection.browser = core.sink.id().slice(0, BROWSER_ID_LENGTH)
    connection.browserIssued = true
  }
  const session = newSession(core, exchange)
  session.user = admission?.user ?? null
  if (identity !== null) session.credential = new Credential(identity, markOfToken(message), core.options.tokenRenewal, now)
  session.lastMessageAt = now
  session.lastActiveAt = now
  if (core.options.ack && wantsAck(message)) {
    session.ack = new AckState()
    reply.ext = { ...reply.ext, ack: true }
  }
  if (extOf(message)?.['dropped'] === true) {
    session.tellsDropped = true
    reply.ext = { ...reply.ext, dropped: true }
  }
  negotiateReplay(core, session, message, reply)
  negotiateDedupe(core, session, message, reply)
  if (connection.socket) bind(core, connection, session)
  exchange.session = session
  core.sessions.set(session.id, session)
  core.census.enter(session)
  core.sink.sessionAdded(session)
  if (session.gone) {
    reply.fail('HANDSHAKE_DENIED').advice = ended() // a listener has seen to that
    return reply
  }
  reply.advice = fullAdvice(core, session, connection.transport)
  reply.extra = {
    version: '1.0',
    minimumVersion: '1.0',
    supportedConnectionTypes: connectionTypes(core, message),
    clientId: session.id,
  }
  return reply
}

/**
 * What stands against a handshake before anybody is asked about it: memory, the pace of its address, the number of sessions.
 *
 * @returns the refusal, null for none
 */
export function refuseHandshake(core: Core, connection: Connection, message: Message, now: number): Reply | null {
  if (core.draining) return later(core, message, metaReply(core, message, now).fail('DRAINING'), Math.max(core.pause, PAUSE))
  if (core.shedding) {
    core.sink.limited('maxMemory', connection.address)
    return later(core, message, metaReply(core, message, now).fail('OVERLOADED'), SHED_PAUSE)
  }
  const wait = core.census.handshake(connection.address, now)
  if (wait > 0) {
    core.sink.limited('maxHandshakeRate', connection.address)
    return later(core, message, metaReply(core, message, now).fail('RATE_LIMITED'), Math.max(wait, PAUSE))
  }
  const limit = core.census.limit(connection.address, connection.browser, null)
  return limit === null ? null : refuseSession(core, connection, message, limit, now)
}

function refuseSession(core: Core, connection: Connection, message: Message, limit: SessionLimit, now: number): Reply {
  core.sink.limited(limit, connection.address)
  return later(core, message, metaReply(core, message, now).fail('TOO_MANY_SESSIONS', limit), FULL_PAUSE)
}

/** A refused handshake says when to try again (DEV-17): without advice clients would stop for good. */
function later(core: Core, message: Message, reply: Reply, pause: number): Reply {
  reply.advice = { reconnect: again(message), interval: core.spread(pause) }
  return reply
}

/**
 * How a refused client is told to handshake again. Faye does so by itself, 5 s later if it is not configured otherwise. Told to, it does both,
 * and both again after each refusal: within a minute it does nothing else. What it is told, others would take for a connect.
 */
function again(message: Message): 'handshake' | 'retry' {
  return offers(message, 'in-process') || offers(message, FAYE_FORMS) ? 'retry' : 'handshake'
}

function offers(message: Message, type: string): boolean {
  const offered = message['supportedConnectionTypes']
  return Array.isArray(offered) && offered.includes(type)
}

/** Says who a session speaks for from now on, and judges its subscriptions by it. @param mark of the token that says so */
export function identify(core: Core, session: Session, identity: Identity | null, mark: number, now: number): void {
  const before = userOf(session)
  session.credential = identity === null ? null : new Credential(identity, mark, core.options.tokenRenewal, now)
  core.census.identify(session, before)
  core.deadlines.update(session)
  review(core, session)
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
  session.issued = connection.issued
  session.maxProcessing = core.options.maxProcessing
  session.transit('handshake')
  return session
}

/** The server's list, in its order; Faye's form posts only for those who speak them. */
function connectionTypes(core: Core, message: Message): readonly string[] {
  const { allowedTransports } = core.options
  const faye = offers(message, FAYE_FORMS) && allowedTransports.includes('long-polling')
  return faye ? [...allowedTransports, FAYE_FORMS] : allowedTransports
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
    const name = parseChannel(
      entry,
      core.options.maxChannelLength,
      core.options.validateMessageFields,
      core.options.maxChannelSegments,
    )
    if (name === null) return 'SUBSCRIPTION_INVALID'
    names.push(name)
  }
  return names
}

/** Subscribes to channels that were judged and allowed. A service channel takes no subscriptions and says yes. */
export function subscribe(core: Core, session: Session, message: Message, names: readonly ChannelName[], now: number): Reply {
  const reply = metaReply(core, message, now)
  if (session.gone) return reply.fail('SUBSCRIBE_FAILED')
  const starts = startsOf(core, session, message, names)
  if (starts === null) return reply.fail('HISTORY_UNREADABLE')
  if ('invalid' in starts) return failReplay(reply, starts.invalid)
  for (const name of names) {
    if (session.gone) return reply.fail('SUBSCRIBE_FAILED') // a listener of the one before has seen to that
    const channel = core.tree.create(name)
    const isNew = name.kind === 'broadcast' && core.tree.subscribe(session, channel)
    if (isNew) core.sink.subscribed(session, channel.name)
    const start = starts.get(name.name)
    if (isNew || start !== undefined) beginReplay(core, session, channel, start, isNew, reply, now)
  }
  return reply
}

/** Whether a session would have more subscriptions than it may. */
export function tooMany(core: Core, session: Session, names: readonly ChannelName[]): boolean {
  const { maxSubscriptions } = core.options
  const size = session.subscriptions?.size ?? 0
  if (size + names.length <= maxSubscriptions) return false
  const more = new Set<string>()
  for (const name of names) {
    const channel = core.tree.find(name.name)
    if (name.kind === 'broadcast' && (channel === undefined || session.subscriptions?.indexIn(channel) === undefined))
      more.add(name.name)
  }
  return size + more.size > maxSubscriptions
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
