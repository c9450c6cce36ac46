// Pace: how fast one session may send, in messages and bytes.
//
// Knows: a leaky bucket for each: what was sent runs off at the rate that is allowed; a full one refuses, and twice as much shows the door.
// Does not know: what becomes of a message that is refused (engine.ts).
// Always true: whole numbers in three fields of the session, so that an idle session has no object for it.
// Source: protocol reference DEV-17.

import type { EngineOptions } from './options.js'
import type { Session } from './session.js'

/** The rate may be kept for so long at once after a pause, s. */
export const BURST = 4
/** Time is counted in steps of so many ms, and what is sent in tenths, so that what runs off in a step is a whole number. */
const STEP = 100
const TENTHS = 10
/** What may be sent at once, so many times over: up to the first it is refused, at the second it is counted no further. */
const TOO_FAST = 2
const OUT = 3

/** What a session may do now. */
export type Pace = 'well' | 'too_fast' | 'out'

export class Pacer {
  readonly #messageRate: number
  readonly #byteRate: number
  #from = Number.NaN

  constructor(options: EngineOptions) {
    this.#messageRate = options.trusted ? 0 : options.maxMessageRate
    this.#byteRate = options.trusted ? 0 : options.maxByteRate
  }

  /** Counts an envelope's bytes. */
  envelope(session: Session, bytes: number, now: number): void {
    this.#spend(session, bytes, OUT, now)
  }

  /** Counts bytes whose processing cost their worth: enough of them slow a session down, but show it no door. */
  labour(session: Session, bytes: number, now: number): void {
    this.#spend(session, bytes, TOO_FAST, now)
  }

  /** Counts one message and says whether it may pass. */
  message(session: Session, now: number): Pace {
    if (this.#messageRate === 0 && this.#byteRate === 0) return 'well'
    this.#runOff(session, now)
    this.more(session, 1)
    const over = this.#over(session)
    return over <= 1 ? 'well' : over <= TOO_FAST ? 'too_fast' : 'out'
  }

  /** Counts what costs as much as so many messages. */
  more(session: Session, messages: number): void {
    if (this.#messageRate === 0) return
    session.messagesSpent = Math.min(session.messagesSpent + TENTHS * messages, this.#messageRate * TENTHS * BURST * OUT)
  }

  /** A connect that brings messages is not held against its client: it is the server that made it come. */
  refund(session: Session): void {
    if (session.messagesSpent >= TENTHS) session.messagesSpent -= TENTHS
  }

  /** How long a session that was too fast should pause, ms: until half of what it may send at once has run off. */
  pause(session: Session): number {
    return Math.ceil((this.#over(session) - 0.5) * BURST * 1_000)
  }

  /** @param most of what may be sent at once, so many times over, to which this may lead */
  #spend(session: Session, bytes: number, most: number, now: number): void {
    if (this.#byteRate === 0) return
    this.#runOff(session, now)
    const limit = Math.floor(this.#byteRate * TENTHS * BURST * most)
    session.bytesSpent = Math.max(session.bytesSpent, Math.min(session.bytesSpent + TENTHS * bytes, limit))
  }

  /** What was sent as a part of what may be at once. */
  #over({ messagesSpent, bytesSpent }: Session): number {
    const part = (spent: number, rate: number): number => (rate === 0 ? 0 : spent / (rate * TENTHS * BURST))
    return Math.max(part(messagesSpent, this.#messageRate), part(bytesSpent, this.#byteRate))
  }

  #runOff(session: Session, now: number): void {
    if (Number.isNaN(this.#from)) this.#from = now
    const at = Math.floor((now - this.#from) / STEP)
    const steps = at - session.paceAt
    if (steps === 0) return
    session.paceAt = at
    session.messagesSpent = Math.max(0, session.messagesSpent - steps * this.#messageRate)
    session.bytesSpent = Math.max(0, session.bytesSpent - steps * this.#byteRate)
  }
}
