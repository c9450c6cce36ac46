// Flush: what was queued while inputs were processed goes out, all that waits for one session at once.
//
// Knows: on which connection a session's queue may leave now: held connect, WebSocket, or none.
// Always true: nothing is taken out of a queue for a connection that is known to be closed or full (DEV-6); sessions take turns.
// Source: protocol reference 4.8, 6.3.

import { releaseConnect } from './connect.js'
import type { Core } from './core.js'
import { letGo } from './removal.js'
import type { Session } from './session.js'

/** So many places that are done with are kept at the front of the list, before it is moved up. */
const DONE_KEPT = 1_024

/**
 * Sends what the dirty sessions may send now, all that is queued for one at once.
 *
 * @param most sessions that are looked at; those behind them stay in the list
 * @returns whether there are any behind
 */
export function flush(core: Core, now: number, most: number): boolean {
  const { dirty } = core
  const end = core.flushed + most
  while (core.flushed < dirty.length && core.flushed < end) {
    const session = dirty[core.flushed++]!
    session.dirty = false
    if (session.urgent > 0 && session.batchDepth === 0 && session.reviewing === 0) flushSession(core, session, now)
  }
  if (core.flushed === dirty.length) {
    core.dirty = []
    core.flushed = 0
    return false
  }
  if (core.flushed > DONE_KEPT) {
    dirty.splice(0, core.flushed)
    core.flushed = 0
  }
  return true
}

/** Sends what waits for one session, if it can be carried now. */
export function flushSession(core: Core, session: Session, now: number): void {
  const { held, endpoint } = session
  if (session.receiver !== null) {
    for (const message of session.takeQueue()) {
      try {
        session.receiver(message)
      } catch (error) {
        core.sink.fault(error)
      }
    }
  } else if (endpoint !== null && !session.connectOnly) {
    if (!endpoint.congested && core.sink.writable(endpoint)) core.sink.write(endpoint, '', session.takeQueue(), '', false)
    if (session.replays !== null && session.queue.length === 0) core.replayable(session)
  } else if (held !== null) {
    releaseConnect(core, session, now)
    if (session.gone) letGo(core, session, true, now)
  }
}

/** The server is about to stop: what waits for a session leaves, and its socket is closed behind it. The session stays. */
export function dismiss(core: Core, session: Session, now: number): void {
  const { endpoint } = session
  if (session.held !== null) releaseConnect(core, session, now)
  else flushSession(core, session, now)
  session.endpoint = null
  if (endpoint === null || !endpoint.open) return
  endpoint.session = null
  endpoint.open = false
  core.sink.end(endpoint, 'going_away')
}
