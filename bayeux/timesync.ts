// timesync extension: a client learns its clock's offset from the server's.
//
// Knows: what to keep of a request and how to answer it when its reply leaves, which for a held connect is later.
// Source: protocol reference 7.3.

import { extOf, isObject, type Message } from './message.js'

/** What one request asked, kept until its reply leaves. `lag` is null when the client did not tell its own. */
export interface Timesync {
  readonly clientTime: number
  readonly lag: number | null
  readonly offset: number
  readonly receivedAt: number
}

/** A client that is at most so many ms off is told nothing. */
const ACCURACY_TARGET = 25

/** Reads `ext.timesync` of a meta request; null when there is none that can be answered. */
export function timesyncOf(message: Message, now: number): Timesync | null {
  const asked = extOf(message)?.['timesync']
  if (!isObject(asked) || typeof asked['tc'] !== 'number') return null
  const lag = asked['l']
  const offset = asked['o']
  return {
    clientTime: asked['tc'],
    lag: typeof lag === 'number' ? lag : null,
    offset: typeof offset === 'number' ? offset : 0,
    receivedAt: Math.round(now),
  }
}

/** `ext` of the reply with the answer in it; `ext` as it was when the client's clock is near enough. */
export function answerTimesync(
  ext: Record<string, unknown> | null,
  asked: Timesync,
  now: number,
): Record<string, unknown> | null {
  const { clientTime: tc, lag, offset, receivedAt: ts } = asked
  const p = Math.max(0, Math.round(now) - ts)
  if (lag === null) return { ...ext, timesync: { tc, ts, p } }
  const a = Math.round(tc + offset + lag - ts)
  return lag === 0 || Math.abs(a) >= ACCURACY_TARGET ? { ...ext, timesync: { tc, ts, p, a } } : ext
}
