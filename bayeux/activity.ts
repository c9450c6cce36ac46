// activity extension: sessions that do nothing but heart-beat are disconnected.
//
// Source: protocol reference 7.5; looked at only when a connect arrives.

import type { EngineOptions } from './options.js'
import type { Session } from './session.js'

export function isIdle(session: Session, options: EngineOptions, now: number): boolean {
  return options.activity !== 'off' && options.maxInactivity > 0 && now - session.lastActiveAt > options.maxInactivity
}

/** Whether what is sent to a session keeps it alive. */
export function countsDeliveries(options: EngineOptions): boolean {
  return options.activity === 'client-server'
}
