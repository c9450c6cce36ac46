// Advice: what the server tells a client to do next, in every situation.
//
// Source: protocol reference 3.7; DEV-9, DEV-17. A partial advice is sent only where CometD sends one.

import type { Core } from './core.js'
import type { Transport } from './options.js'
import type { Advice } from './reply.js'
import type { Session } from './session.js'

/** `{reconnect: 'retry', interval, timeout}`, with the values that really hold for this session on this transport. */
export function fullAdvice(core: Core, session: Session, transport: Transport): Advice {
  const options = core.transports[transport]
  if (core.pause > 0) session.transientInterval = core.spread(core.pause) // so that those of a server that stops do not come back together
  const advice: Advice = {
    reconnect: 'retry',
    interval: session.transientInterval ?? session.interval ?? options.interval,
    timeout: session.timeout ?? options.timeout,
  }
  if (options.handshakeReconnect) advice.maxInterval = session.maxInterval ?? options.maxInterval
  return advice
}

/** To a connect of a session that is not known: begin again. */
export const unknownSession = (): Advice => ({ reconnect: 'handshake', interval: 0 })

/** To a connect whose session was removed while it was processed. */
export const removedMeanwhile = (): Advice => ({ reconnect: 'none', interval: 0 })

/** To a connect that is released by the end of its session. */
export const ended = (): Advice => ({ reconnect: 'none' })

/** To a session beyond maxSessionsPerBrowser: poll at intervals, or stop when there is none. */
export function multipleClients(interval: number, due: Advice | null): Advice {
  if (interval <= 0) return { 'multiple-clients': true, reconnect: 'none' }
  return { ...due, 'multiple-clients': true, reconnect: 'retry', interval }
}

/** How long after a connect reply the session lives without the next connect. */
export function patience(core: Core, session: Session, transport: Transport): number {
  const options = core.transports[transport]
  return (session.transientInterval ?? session.interval ?? options.interval) + (session.maxInterval ?? options.maxInterval)
}
