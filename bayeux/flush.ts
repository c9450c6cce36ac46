// Flush: what was queued while inputs were processed goes out, all that waits for one session at once.
//
// Knows: on which connection a session's queue may leave now: held connect, WebSocket, or none.
// Always true: nothing is taken out of a queue for a connection that is known to be closed or full (DEV-6).
// Source: protocol reference 4.8, 6.3.

import { releaseConnect } from './connect.js'
import type { Core } from './core.js'
import { letGo } from './removal.js'
import type { Session } from './session.js'

/** Sends what the dirty sessions may send now, all that is queued for one at once. */
export function flush(core: Core, now: number): void {
  while (core.dirty.length > 0) {
    const dirty = core.dirty
    core.dirty = []
    for (const session of dirty) {
      session.dirty = false
      if (session.urgent > 0 && session.batchDepth === 0) flushSession(core, session, now)
    }
  }
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
  } else if (held !== null && (session.connectOnly || !held.connection.socket)) {
    releaseConnect(core, session, now)
    if (session.gone) letGo(core, session, true, now)
  } else if (endpoint !== null && !session.connectOnly && !endpoint.congested && core.sink.writable(endpoint)) {
    core.sink.write(endpoint, '', session.takeQueue(), '', false)
  }
}
