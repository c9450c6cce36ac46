// The host: owns one engine and gives it a clock, a timer, ids and a way out.
//
// Knows: when to call the engine (deadlines, the end of a turn) and to which peer an effect goes.
// Does not know: HTTP, WebSocket (their peers do), the API for applications (bayeux.ts).
// Always true: one timer for all deadlines; deliveries of one turn of the event loop leave together at its end, or, when they are too many for
// it, in slices, between which is read what came meanwhile.

import type { ChannelRules } from '../bayeux/index.js'
import {
  BayeuxError,
  type Connection,
  type Ending,
  Engine,
  type Facts,
  type FrozenMessage,
  type History,
  type Question,
  type RemovalReason,
  type SavedSession,
  type Session,
  type Sink,
  type Verdict,
} from '../bayeux/index.js'
import { randomId } from './id.js'

/** A transport's own half of a connection. */
export interface Peer {
  /** Whether what is written now can still arrive. */
  readonly writable: boolean
  write(connection: Connection, head: string, messages: readonly FrozenMessage[], tail: string, together: boolean): void
  end(ending: Ending): void
  pause(paused: boolean): void
  /** The token in the headers that it came with; null for none, or where tokens are not asked for. */
  readonly token: string | null
}

type Told =
  | 'overflow'
  | 'sessionAdded'
  | 'sessionRemoved'
  | 'subscribed'
  | 'unsubscribed'
  | 'channelAdded'
  | 'channelRemoved'
  | 'limited'
  | 'filter'
  | 'fault'

/** Epoch ms from a clock that never runs backwards. */
export function clock(): number {
  return performance.timeOrigin + performance.now()
}

/** What the host tells the application: of the engine's effects those that concern it, and questions, which it may answer later. */
export interface Observer extends Pick<Sink, Told> {
  /** @returns a verdict, or a promise of one; a rejection denies */
  ask(question: Question): Verdict | PromiseLike<Verdict>
  /** What is left of a verdict in the moment in which it is given. */
  confirmed(question: Question, verdict: Verdict): Verdict
}

const NEVER = Number.POSITIVE_INFINITY
/** Under load, no longer than this is written before what came meanwhile is read, ms; and how many sessions pass between two looks at the clock. */
const FLUSH_TIME = 5
const FLUSH_SESSIONS = 64
/** The same for pages of replays, which each session that replays has one of in a turn at most: behind what is live, and whatever there is of that. */
const REPLAY_TIME = 2
/** So many times as long as its pages took nothing is replayed: the rest of the time is for what is live, and for those who get it. */
const REST = 2
/** A server that stops lets go of so many sessions in a ms, a wave of them every so many ms; their clients are to come back after so many at the earliest. */
const DRAINED_PER_MS = 2
const WAVE = 50
const SHORTEST_PAUSE = 500
export const LONGEST_TIMER = 2_147_483_647

export class Host implements Sink {
  readonly engine: Engine
  observer!: Observer
  #timer: NodeJS.Timeout | undefined
  #timerAt = NEVER
  #closed = false
  /** Until then nothing is replayed. */
  #replayAt = 0
  #resting = false
  /** Whether a flush is about to come. */
  #flushing = false
  /** Questions that the policy has not answered yet, with their timers. */
  readonly #questions = new Map<Question, NodeJS.Timeout>()

  /** @throws {BayeuxError} OPTION_UNKNOWN, OPTION_INVALID, RULE_INVALID */
  constructor(
    options: Readonly<Record<string, unknown>>,
    rules: ChannelRules,
    private readonly policyTimeout: number,
    history: History | null = null,
  ) {
    this.engine = new Engine(options, rules, this, history)
    this.arm()
  }

  now(): number {
    return clock()
  }

  /** A moment of the system's clock, which may be set at any time, on ours; and the other way round. */
  fromWall(at: number): number {
    return at + this.now() - Date.now()
  }

  toWall(at: number): number {
    return at + Date.now() - this.now()
  }

  open(facts: Facts, peer: Peer): Connection {
    return this.engine.open(facts, peer)
  }

  receive(connection: Connection, texts: readonly string[]): void {
    this.engine.receive(connection, texts, this.now())
    this.arm()
  }

  lost(connection: Connection): void {
    this.engine.closed(connection, this.now())
    this.arm()
  }

  #unwritable = false
  #unreadable = false

  /** Whether the durable history could not keep what was appended last, or something of it could not be read. */
  get historyFailed(): boolean {
    return this.#unwritable || this.#unreadable
  }

  /** The durable history has all up to a place, or could not keep it. */
  kept(through: number, error: Error | null): void {
    this.#unwritable = error !== null
    this.engine.kept(through, error, this.now())
    this.arm()
  }

  /** All sessions as plain values; the ends of their tokens are moments of the system's clock, as the next process has another. */
  save(): SavedSession[] {
    return this.engine.server.save().map(session => withEnd(session, at => this.toWall(at)))
  }

  /** Makes the sessions of another process again. @returns how many */
  restore(sessions: readonly SavedSession[]): number {
    const own = sessions.map(session => withEnd(session, at => this.fromWall(at)))
    const count = this.engine.server.restore(own, this.now())
    this.arm()
    return count
  }

  /** How short of memory the process is. */
  shed(level: 'ok' | 'high' | 'critical'): void {
    this.engine.server.shed(level, this.now())
    this.arm()
  }

  /** Whether the server is about to stop. */
  get draining(): boolean {
    return this.engine.draining
  }

  /**
   * The server is about to stop: no new sessions, held connects are answered and sockets closed in waves, and clients told to come back at different times.
   *
   * @param timeout ms that it may take
   * @returns fulfilled when nobody is held any more
   */
  async drain(timeout: number): Promise<void> {
    if (this.draining) return
    const sessions = this.engine.server.sessionCount
    const window = Math.min(timeout / 2, sessions / DRAINED_PER_MS)
    const waves = Math.max(1, Math.ceil(window / WAVE))
    this.engine.drain(Math.max(SHORTEST_PAUSE, 2 * window)) // which is spread over half of itself: so long as the waves
    for (let wave = 1; wave <= waves; wave++) {
      this.engine.flush(this.now())
      const more = this.engine.release(Math.ceil(sessions / waves), this.now())
      if (wave < waves && more) await new Promise(resolve => setTimeout(resolve, WAVE))
    }
  }

  /** Answers every held connect and every open question, and forgets the timer: nothing is held after. */
  close(): void {
    this.engine.flush(this.now())
    if (!this.draining) this.engine.drain(0)
    this.engine.release(Number.POSITIVE_INFINITY, this.now())
    for (const question of [...this.#questions.keys()]) this.#answer(question, false)
    this.#closed = true
    clearTimeout(this.#timer)
  }

  /** Sets the timer for the engine's next deadline. To be called after each input. */
  arm(): void {
    const at = this.engine.deadline
    if (at >= this.#timerAt || this.#closed) return
    clearTimeout(this.#timer)
    this.#timerAt = at
    this.#timer = setTimeout(this.#tick, Math.min(LONGEST_TIMER, Math.max(0, Math.ceil(at - this.now()))))
    this.#timer.unref()
  }

  readonly #tick = (): void => {
    this.#timerAt = NEVER
    this.engine.tick(this.now())
    this.arm()
  }

  readonly #flush = (): void => {
    this.#flushing = false
    const from = this.now()
    let now = from
    let more = true
    while (more && now - from < FLUSH_TIME) {
      more = this.engine.flush(now, FLUSH_SESSIONS, false)
      now = this.now()
    }
    const begun = now
    let replays = this.engine.replay(now, 0)
    if (now >= this.#replayAt) {
      while (replays && now < begun + REPLAY_TIME) {
        replays = this.engine.replay(now, 1)
        now = this.now()
      }
      this.#replayAt = now + REST * (now - begun)
    }
    if (more) this.flushSoon()
    else if (replays) this.#rest(this.#replayAt - now)
    this.arm()
  }

  /** Comes back to replays after a while, if nothing else does before. */
  #rest(ms: number): void {
    if (this.#resting) return
    this.#resting = true
    setTimeout(() => {
      this.#resting = false
      if (!this.#closed) this.flushSoon() // the history may be closed by now
    }, ms).unref()
  }

  id(): string {
    return randomId()
  }

  /** At the end of this turn; there is one flush in a turn, however many ask for it. */
  flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    setImmediate(this.#flush)
  }

  writable(connection: Connection): boolean {
    return (connection.peer as Peer).writable
  }

  write(connection: Connection, head: string, messages: readonly FrozenMessage[], tail: string, together: boolean): void {
    const peer = connection.peer as Peer
    try {
      peer.write(connection, head, messages, tail, together)
    } catch (error) {
      this.fault(error) // as of a header that a hook of the application has spoiled: it costs this connection, and no other
      peer.end('failed')
    }
  }

  end(connection: Connection, ending: Ending): void {
    ;(connection.peer as Peer).end(ending)
  }

  pause(connection: Connection, paused: boolean): void {
    ;(connection.peer as Peer).pause(paused)
  }

  ask(question: Question): Verdict | null {
    try {
      const verdict = this.observer.ask(question)
      if (!isThenable(verdict)) return this.#confirmed(question, verdict as Verdict)
      const late = () => {
        this.fault(
          new Error(
            `the policy did not answer canHandshake, canCreate, canSubscribe or canPublish within ${this.policyTimeout} ms`,
          ),
        )
        this.#answer(question, false)
      }
      this.#questions.set(question, setTimeout(late, this.policyTimeout))
      verdict.then(
        value => this.#answer(question, this.#confirmed(question, value as Verdict)),
        error => {
          this.fault(error)
          this.#answer(question, false)
        },
      )
      return null
    } catch (error) {
      this.fault(error)
      return false
    }
  }

  /** What the application answers may be anything: what is no verdict refuses. */
  #checked(verdict: Verdict): Verdict {
    if (
      typeof verdict === 'boolean' ||
      (typeof verdict === 'object' &&
        verdict !== null &&
        (('deny' in verdict && typeof verdict.deny === 'string') || 'allow' in verdict))
    )
      return verdict
    this.fault(new TypeError('a policy must answer true, false, { deny } or, for a handshake, { allow }'))
    return false
  }

  /** A verdict that the engine can take: tokens tell the time by another clock. */
  #confirmed(question: Question, answer: Verdict): Verdict {
    const verdict = this.observer.confirmed(question, this.#checked(answer))
    if (typeof verdict !== 'object' || !('allow' in verdict) || verdict.identity?.expiresAt === undefined) return verdict
    return { ...verdict, identity: { ...verdict.identity, expiresAt: this.fromWall(verdict.identity.expiresAt) } }
  }

  #answer(question: Question, verdict: Verdict): void {
    const timer = this.#questions.get(question)
    if (timer === undefined) return // it is late
    clearTimeout(timer)
    this.#questions.delete(question)
    try {
      this.engine.answer(question, verdict, this.now())
    } catch (error) {
      this.fault(error) // nobody waits for this promise
    }
    this.arm()
  }

  published(): void {
    // one process is complete in itself: there is nobody to tell
  }

  overflow(session: Session, message: FrozenMessage): 'drop' | 'remove' {
    return this.observer.overflow(session, message)
  }

  sessionAdded(session: Session): void {
    this.observer.sessionAdded(session)
  }

  sessionRemoved(session: Session, reason: RemovalReason): void {
    this.observer.sessionRemoved(session, reason)
  }

  subscribed(session: Session, channel: string): void {
    this.observer.subscribed(session, channel)
  }

  unsubscribed(session: Session, channel: string): void {
    this.observer.unsubscribed(session, channel)
  }

  channelAdded(channel: string): void {
    this.observer.channelAdded(channel)
  }

  channelRemoved(channel: string): void {
    this.observer.channelRemoved(channel)
  }

  limited(limit: string, address: string): void {
    this.observer.limited(limit, address)
  }

  filter(kind: string, data: unknown): unknown {
    return this.observer.filter(kind, data)
  }

  fault(error: unknown): void {
    if (error instanceof BayeuxError && error.code === 'HISTORY_UNREADABLE') this.#unreadable = true
    this.observer.fault(error)
  }
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

function withEnd(session: SavedSession, moved: (at: number) => number): SavedSession {
  const { identity } = session
  if (identity === null || identity.expiresAt === null) return session
  return { ...session, identity: { ...identity, expiresAt: moved(identity.expiresAt) } }
}
