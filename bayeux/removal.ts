// The end of a session: disconnect, kick, expiry, overflow, plain removal.
//
// Knows: the order in which a session is taken apart, and what its connections are told.
// Always true: it happens once to a session; afterwards no channel, heap or table knows it.
// Source: protocol reference 3.4, 4.1, 4.3, 4.9, DEV-13.

import { unknownSession } from './advice.js'
import { expires, releaseConnect, unhold } from './connect.js'
import type { Core } from './core.js'
import { freeze } from './message.js'
import type { RemovalReason, Session } from './session.js'

/** How long the socket of an ended session stays open, so that the client can read and close first. */
const LINGER = 1_000

/** Ends a session by its client's wish, or because of `reason`. */
export function remove(core: Core, session: Session, reason: RemovalReason, now: number): void {
  if (!core.sessions.has(session.id) && !core.local.has(session)) return // it is gone, or a listener of its end wants it gone
  dismantle(core, session, reason)
  if (reason === 'revoked' || reason === 'token_expired' || session.reviewing > 0) forget(session)
  if (reason === 'kicked' || reason === 'revoked') tellKicked(core, session, now)
  else if (session.held !== null) endHeld(core, session, reason, now)
  if (session.held === null) letGo(core, session, reason !== 'disconnected', now)
}

/** The session needs nothing any more: its socket is free for another, and is closed shortly if it finds none. */
export function letGo(core: Core, session: Session, closing: boolean, now: number): void {
  core.deadlines.remove(session)
  const { endpoint } = session
  session.endpoint = null
  if (endpoint === null || !endpoint.open) return
  if (closing) core.linger(endpoint, session, now + LINGER)
  else endpoint.session = null
}

function dismantle(core: Core, session: Session, reason: RemovalReason): void {
  if (core.sessions.delete(session.id)) core.census.leave(session)
  core.local.delete(session)
  core.sink.sessionRemoved(session, reason)
  session.transit('remove')
  if (session.subscriptions === null) return
  for (const channel of session.subscriptions.channels()) {
    core.tree.unsubscribe(session, channel)
    core.sink.unsubscribed(session, channel.name)
  }
  session.subscriptions = null
}

/** It has lost its right to what waits for it, or may have. */
function forget(session: Session): void {
  session.reviewing = 0
  session.dropQueued(() => true)
  session.ack?.drop(() => true)
}

/** The notice goes on what can carry it now: the held connect, the response in hand, or the socket. */
function tellKicked(core: Core, session: Session, now: number): void {
  const notice = freeze({ channel: '/meta/disconnect', successful: true })
  session.enqueue(notice)
  session.ack?.add(notice)
  if (session.held !== null) releaseConnect(core, session, now)
  else if (session.endpoint !== null && session.exchange === null && core.current?.session !== session) {
    if (core.sink.writable(session.endpoint)) core.sink.write(session.endpoint, '', session.takeQueue(), '', false)
  }
}

function endHeld(core: Core, session: Session, reason: RemovalReason, now: number): void {
  if (reason === 'removed') return // runs to its timeout, as in CometD, and is told to stop then
  if (reason === 'disconnected') return releaseConnect(core, session, now)
  const { connection, reply } = unhold(core, session)
  const expired = reason === 'token_expired'
  // a script tag sees no status: without an answer its page would wait for a timeout of its own (protocol reference 5.6)
  if ((expired || connection.transport === 'callback-polling') && core.sink.writable(connection)) {
    if (expired) expires(core, session, connection, reply, now)
    else reply.fail('SESSION_UNKNOWN').advice = unknownSession()
    return core.sink.write(connection, '', [], reply.toJson(now, core.timestamp(now)), false)
  }
  connection.open = false
  core.sink.end(connection, 'destroyed')
}

/** Closes the sockets of ended sessions whose time has come, unless they have found another session. */
export function endLingering(core: Core, now: number): void {
  let due = 0
  while (due < core.lingering.length && core.lingering[due]!.at <= now) due++
  for (const { connection } of core.lingering.splice(0, due)) {
    if (!connection.open || connection.session !== null) continue
    if (connection.exchange !== null) {
      core.lingering.push({ connection, at: now + LINGER }) // it still waits for a verdict
      continue
    }
    connection.open = false
    core.sink.end(connection, 'removed')
  }
}

/** After each input: sessions that overflowed are removed, and unused channels get a time to be looked for. */
export function settle(core: Core, now: number): void {
  while (core.doomed.length > 0) remove(core, core.doomed.pop()!, 'overflow', now)
  if (core.sweepAt === Number.POSITIVE_INFINITY && core.tree.sweepable) core.sweepAt = now + core.options.sweepPeriod
}
