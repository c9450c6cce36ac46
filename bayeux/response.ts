// The response to an exchange: its replies, and the messages that ride on them.
//
// Knows: what comes first, which responses may carry messages, what numbers a connect reply gets.
// Does not know: when a held connect is answered (connect.ts), sockets (the sink).
// Always true: nothing is taken out of a queue for a connection that is known to be closed (DEV-6).
// Source: protocol reference 3.9, 4.8, 4.9, 6.3, 7.1.

import { patience } from './advice.js'
import type { Core } from './core.js'
import type { Exchange } from './exchange.js'
import type { FrozenMessage } from './message.js'
import type { Transport } from './options.js'
import type { Reply } from './reply.js'
import type { Session } from './session.js'

const NOTHING: readonly FrozenMessage[] = []

/** Sends the replies of an exchange that is through, with the messages that may ride on them. */
export function respond(core: Core, exchange: Exchange, now: number): void {
  const { connection, session, replies } = exchange
  if (!connection.open || !core.sink.writable(connection)) {
    if (session !== null && session.expiresAt === Number.POSITIVE_INFINITY) startExpiry(core, session, connection.transport, now)
    return
  }
  if (session !== null && replies[0]?.extra != null) return respondToHandshake(core, exchange, session, replies[0], now)
  const messages = session === null ? NOTHING : ridingMessages(core, exchange, session)
  let tail = ''
  for (const reply of replies) {
    const json = replyJson(core, session, reply, now)
    if (json !== '') tail += tail === '' ? json : `,${json}`
  }
  if (!connection.socket || messages.length > 0 || tail !== '') {
    core.sink.write(connection, '', messages, tail, exchange.connects && session?.ack != null)
  }
  if (session !== null && session.expiresAt === Number.POSITIVE_INFINITY) startExpiry(core, session, connection.transport, now)
}

/** A handshake reply goes first, before the messages that may come with it; on a WebSocket in a frame of its own. */
function respondToHandshake(core: Core, exchange: Exchange, session: Session, reply: Reply, now: number): void {
  let messages = NOTHING
  if (core.options.allowMessageDeliveryDuringHandshake) {
    messages = session.takeQueue()
    if (session.ack !== null) {
      const taken = session.ack.take()
      messages = taken.messages
      reply.ext = { ...reply.ext, ack: { enabled: true, batch: taken.number } }
    }
    if (messages.length > 0) reply.extra = { ...reply.extra, 'x-messages': messages.length }
  }
  core.sink.write(exchange.connection, replyJson(core, session, reply, now), messages, '', false)
  startExpiry(core, session, exchange.connection.transport, now)
}

/** The messages that leave with the replies of an exchange: the whole queue, unless delivery is by connect only and this is none. */
function ridingMessages(core: Core, exchange: Exchange, session: Session): readonly FrozenMessage[] {
  const { connection } = exchange
  if (session.gone) return session.takeQueue()
  if (!exchange.connects) {
    if (connection.socket && (session.endpoint !== connection || connection.congested)) return NOTHING
    if (session.connectOnly || connection.transport === 'callback-polling') return NOTHING
    if (session.replays !== null) core.replayable(session)
    return session.takeQueue()
  }
  let riding = NOTHING
  for (const reply of exchange.replies) {
    if (reply.channel !== '/meta/connect' || !(reply.successful || session.credential?.expiring === true)) continue
    const messages = takeForConnect(core, session, reply)
    if (messages.length > 0) riding = messages
  }
  return riding
}

/** Takes what leaves with a connect reply and numbers the reply: with ack, all that is not acknowledged. */
export function takeForConnect(core: Core, session: Session, reply: Reply): readonly FrozenMessage[] {
  const queue = session.takeQueue()
  if (session.replays !== null) core.replayable(session)
  if (queue.length > 0) core.pacer.refund(session)
  if (session.ack === null || session.reviewing > 0) return queue
  const { number, messages } = session.ack.take()
  reply.ext = { ...reply.ext, ack: number }
  return messages
}

/** JSON of a reply after the extensions have seen it; '' when one swallowed it. */
export function replyJson(core: Core, session: Session | null, reply: Reply, now: number): string {
  const timestamp = core.timestamp(now)
  if (session === null || !core.extensions.outgoingInUse) return reply.toJson(now, timestamp)
  return core.sealed(session, reply.toMessage(now, timestamp), reply.toJson(now, timestamp)) ?? ''
}

/** After a connect or handshake reply the session has so long until its next connect (protocol reference 4.3). */
export function startExpiry(core: Core, session: Session, transport: Transport, now: number): void {
  if (session.gone || session.held !== null) return
  session.expiresAt = now + patience(core, session, transport)
  core.deadlines.update(session)
}
