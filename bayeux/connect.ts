// /meta/connect: held open until there is something to say, answered, superseded, lost.
//
// Knows: when a connect may be held, what ends it, and what the reply then carries.
// Does not know: other meta messages (meta.ts), how a session is removed (removal.ts).
// Always true: a session has at most one held connect; it counts for its browser exactly as long as it is held.
// Source: protocol reference 3.2, 4.2, 4.4, 4.6, 4.7, 7.1.

import { ackOf } from './ack.js'
import { ended, fullAdvice, multipleClients, patience, unknownSession } from './advice.js'
import type { Connection } from './connection.js'
import type { Core } from './core.js'
import type { Exchange } from './exchange.js'
import { adviceNumber, adviceOf, type Message } from './message.js'
import { Reply } from './reply.js'
import { replyJson, startExpiry, takeForConnect } from './response.js'
import type { HeldConnect, Session } from './session.js'
import { timesyncOf } from './timesync.js'

/** How long a client that is to begin again may need to open another socket: CometD up to 3.0 gives up sockets when the one before closes first. */
const CHANGEOVER = 5_000

/** Processes a connect of a known session. @returns the reply to give now, or null when the connect is held */
export function connect(core: Core, exchange: Exchange, session: Session, message: Message, now: number): Reply | null {
  const { connection } = exchange
  const options = core.transports[connection.transport]
  const wasConnected = session.state === 'connected'
  const advice = adviceOf(message)
  let timeout = adviceNumber(advice, 'timeout')
  let advised = advice !== null
  session.transit('connect')
  session.expiresAt = Number.POSITIVE_INFINITY
  session.transientInterval = capped(adviceNumber(advice, 'interval'), core.options.maxTimeout)

  if (session.ack !== null) {
    const acknowledged = ackOf(message)
    if (acknowledged !== null) {
      session.ack.acknowledge(acknowledged)
      if (session.replays !== null) core.replayable(session)
      if (session.urgent === 0 && session.ack.size > session.queue.length && timeout === null) {
        timeout = 0 // something was sent and not received: send it again at once
        advised = true
      }
    }
  }

  const reply = new Reply(message)
  if (core.options.timesync) reply.timesync = timesyncOf(message, now)
  if (session.credential?.expiring === true) {
    exchange.connects = true
    return expires(core, session, connection, reply, now)
  }
  if (advised || session.adviceDue || core.draining || session.advisedTransport !== connection.transport)
    advise(core, session, connection, reply)
  if (!connection.socket && exchange.messages.length === 1 && session.urgent === 0 && browserIsFull(core, session, connection)) {
    const interval = core.options.multiSessionInterval
    reply.advice = multipleClients(interval, reply.advice)
    reply.successful = interval > 0
    exchange.connects = true
    session.slowed = true // the next connect that is not refused gets full advice again (DEV-9)
    return reply
  }
  if (session.slowed) advise(core, session, connection, reply)
  const hold = capped(timeout, core.options.maxTimeout) ?? session.timeout ?? options.timeout
  if (hold > 0 && wasConnected && !core.draining && mayHold(core, exchange, session)) {
    holdConnect(core, exchange, session, reply, now + hold)
    if (session.urgent > 0) core.markDirty(session)
    return null
  }
  exchange.connects = true
  return reply
}

/**
 * Tells that the session's token is over or will be soon: its client is to begin again, with a new one. What is queued still travels with this.
 * Over a socket nothing follows: CometD up to 4 opens another for its new session, but still hears the old one, and would get everything twice.
 */
export function expires(core: Core, session: Session, connection: Connection, reply: Reply, now: number): Reply {
  const { endpoint } = session
  session.endpoint = null
  if (connection.socket) core.linger(connection, session, now + CHANGEOVER)
  if (endpoint !== null && endpoint !== connection) core.linger(endpoint, session, now + CHANGEOVER)
  reply.fail('TOKEN_EXPIRES').advice = unknownSession()
  return reply
}

function capped(asked: number | null, max: number): number | null {
  return asked === null ? null : Math.min(asked, max)
}

/** Over HTTP also a connect that finds messages, if it comes alone: it stands in line for the flush with all others, so that under load it gathers more. */
function mayHold(core: Core, exchange: Exchange, session: Session): boolean {
  if (!exchange.connection.open) return false // it broke while a verdict was awaited
  if (exchange.connection.socket) return !(session.connectOnly && session.urgent > 0 && session.reviewing === 0)
  return exchange.messages.length === 1 && !browserIsFull(core, session, exchange.connection)
}

function holdConnect(core: Core, exchange: Exchange, session: Session, reply: Reply, until: number): void {
  const { connection } = exchange
  if (session.held !== null) dropHeld(core, session)
  const counted = !connection.socket && session.browser !== null
  if (counted) core.heldByBrowser.set(session.browser!, (core.heldByBrowser.get(session.browser!) ?? 0) + 1)
  session.held = { connection, reply, until, counted }
  session.endpoint = connection.socket ? connection : null // another came while this connect waited for a verdict; it speaks again when it has to
  connection.session = session
  exchange.held = true
  core.deadlines.update(session)
}

/** Answers the held connect now, with all that is queued; then the session's patience begins to run. */
export function releaseConnect(core: Core, session: Session, now: number): void {
  if (session.held === null || !core.sink.writable(session.held.connection)) return loseConnect(core, session)
  const { connection, reply } = unhold(core, session)
  if ((session.adviceDue || core.draining) && !session.gone) advise(core, session, connection, reply)
  if (session.gone) reply.advice = ended()
  else if (session.credential?.expiring === true) expires(core, session, connection, reply, now)
  const messages = takeForConnect(core, session, reply)
  core.sink.write(connection, '', messages, replyJson(core, session, reply, now), session.ack !== null)
  startExpiry(core, session, connection.transport, now)
}

/** A newer connect has come: the held one is ended, over HTTP with an error status, on a WebSocket in silence. */
export function supersede(core: Core, session: Session, now: number): void {
  if (session.held === null) return
  const { transport } = session.held.connection
  dropHeld(core, session)
  startExpiry(core, session, transport, now) // until the newer one is processed, which may come to nothing
}

function dropHeld(core: Core, session: Session): void {
  const { connection, reply } = unhold(core, session)
  if (reply.advice !== null) session.adviceDue = true // it was not told
  if (connection.socket) return
  connection.open = false
  core.sink.end(connection, 'superseded')
}

/** The held connect's connection broke: the queue stays, and the session lives as if the hold had run its time. */
export function loseConnect(core: Core, session: Session): void {
  if (session.held === null) return
  const { connection, reply, until } = unhold(core, session)
  if (reply.advice !== null) session.adviceDue = true // it was not told
  if (session.gone) return core.deadlines.remove(session)
  session.expiresAt = until + patience(core, session, connection.transport)
  core.deadlines.update(session)
}

/** Binds a socket to a session, and takes it from the one that it had before, whatever that still had on it. */
export function bind(core: Core, connection: Connection, session: Session): void {
  const before = connection.session
  connection.session = session
  connection.strays = 0
  if (before === null || before === session) return
  if (before.endpoint === connection) before.endpoint = null
  if (before.held?.connection === connection) loseConnect(core, before)
}

/** Ends the hold and gives what was held. */
export function unhold(core: Core, session: Session): HeldConnect {
  const held = session.held!
  session.held = null
  if (!held.connection.socket) held.connection.session = null
  if (held.counted) {
    const count = core.heldByBrowser.get(session.browser!)! - 1
    if (count === 0) core.heldByBrowser.delete(session.browser!)
    else core.heldByBrowser.set(session.browser!, count)
  }
  return held
}

function advise(core: Core, session: Session, connection: Connection, reply: Reply): void {
  reply.advice = fullAdvice(core, session, connection.transport)
  session.advisedTransport = connection.transport
  session.adviceDue = false
  session.slowed = false
}

function browserIsFull(core: Core, session: Session, connection: Connection): boolean {
  const max = connection.http2 ? core.options.http2MaxSessionsPerBrowser : core.options.maxSessionsPerBrowser
  if (max < 0) return false
  return max === 0 || (session.browser !== null && (core.heldByBrowser.get(session.browser) ?? 0) >= max)
}
