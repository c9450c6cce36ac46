// The bare engine's surroundings in a test: wires that break like real ones, and a sink that notes each effect.
//
// Knows: what may be written to a wire and when; a breach of it is thrown at once, out of the engine's call.
// Does not know: what is right to be written; `watch` sees everything and judges.
// Always true: an HTTP wire carries one answer; a wire that is done carries nothing.

import assert from 'node:assert/strict'
import type {
  Connection,
  Ending,
  Engine,
  FrozenMessage,
  Json,
  Question,
  RemovalReason,
  Session,
  Sink,
  Transport,
  Verdict,
} from '../../bayeux/index.js'

/**
 * One request or one socket.
 *
 * `open`: what is written arrives. `deaf`: it does not, and the server cannot know. `broken`: the host knows (`Sink.writable` is false),
 * the engine was not told yet. `done`: answered, ended by the engine, or reported closed.
 */
export class Wire {
  connection!: Connection
  state: 'open' | 'deaf' | 'broken' | 'done' = 'open'
  paused = false

  constructor(readonly transport: Transport) {}

  get socket(): boolean {
    return this.transport === 'websocket'
  }
}

/** One write, read back from JSON. */
export interface Written {
  readonly wire: Wire
  /** Whether the client got it. */
  readonly heard: boolean
  readonly head: Json | null
  readonly messages: readonly Json[]
  readonly replies: readonly Json[]
  readonly together: boolean
}

/** What a test looks at, or answers in the application's place. */
export interface Watch {
  written?(written: Written): void
  ended?(wire: Wire, ending: Ending): void
  /** @returns null to answer later, by `Engine.answer` */
  asked?(question: Question): Verdict | null
  overflow?(session: Session, message: FrozenMessage): 'drop' | 'remove'
  published?(message: FrozenMessage): void
  limited?(limit: string, address: string): void
  filter?(kind: string, data: unknown): unknown
  sessionAdded?(session: Session): void
  sessionRemoved?(session: Session, reason: RemovalReason): void
  subscribed?(session: Session, channel: string): void
  unsubscribed?(session: Session, channel: string): void
}

export class RecordingSink implements Sink {
  readonly faults: unknown[] = []
  /** Asked for since it was last set to false. */
  flushDue = false
  #ids = 0

  constructor(private readonly watch: Watch) {}

  id(): string {
    return `id${++this.#ids}`.padEnd(26, 'x')
  }

  writable(connection: Connection): boolean {
    const { state } = wireOf(connection)
    return state === 'open' || state === 'deaf'
  }

  write(connection: Connection, head: string, messages: readonly FrozenMessage[], tail: string, together: boolean): void {
    const wire = wireOf(connection)
    assert(this.writable(connection), `written to a ${wire.transport} wire that is ${wire.state}`)
    const heard = wire.state === 'open'
    if (!wire.socket) wire.state = 'done'
    this.watch.written?.({
      wire,
      heard,
      head: head === '' ? null : (JSON.parse(head) as Json),
      messages: messages.map(message => JSON.parse(message.json) as Json),
      replies: JSON.parse(`[${tail}]`) as Json[],
      together,
    })
  }

  end(connection: Connection, ending: Ending): void {
    const wire = wireOf(connection)
    assert.notEqual(wire.state, 'done', `${ending}: the ${wire.transport} wire is done already`)
    wire.state = 'done'
    this.watch.ended?.(wire, ending)
  }

  pause(connection: Connection, paused: boolean): void {
    const wire = wireOf(connection)
    assert.notEqual(wire.paused, paused, 'asked to pause, or to go on, twice')
    wire.paused = paused
  }

  ask(question: Question): Verdict | null {
    return this.watch.asked === undefined ? true : this.watch.asked(question)
  }

  flushSoon(): void {
    this.flushDue = true
  }

  published(message: FrozenMessage): void {
    this.watch.published?.(message)
  }

  limited(limit: string, address: string): void {
    this.watch.limited?.(limit, address)
  }

  filter(kind: string, data: unknown): unknown {
    return this.watch.filter?.(kind, data) ?? data
  }

  overflow(session: Session, message: FrozenMessage): 'drop' | 'remove' {
    return this.watch.overflow?.(session, message) ?? 'remove'
  }

  sessionAdded(session: Session): void {
    this.watch.sessionAdded?.(session)
  }

  sessionRemoved(session: Session, reason: RemovalReason): void {
    this.watch.sessionRemoved?.(session, reason)
  }

  subscribed(session: Session, channel: string): void {
    this.watch.subscribed?.(session, channel)
  }

  unsubscribed(session: Session, channel: string): void {
    this.watch.unsubscribed?.(session, channel)
  }

  channelAdded(): void {
    // stats() tells
  }

  channelRemoved(): void {
    // stats() tells
  }

  fault(error: unknown): void {
    this.faults.push(error)
  }
}

export function openWire(engine: Engine, transport: Transport, browser: string | null, address = '192.0.2.1'): Wire {
  const wire = new Wire(transport)
  wire.connection = engine.open({ transport, browser, address, http2: false, context: null }, wire)
  return wire
}

function wireOf(connection: Connection): Wire {
  return connection.peer as Wire
}

/** Lets time run to `until`, with a look at each of the engine's deadlines as the host's timer gives it. `clock` is told the time. */
export function runTo(engine: Engine, sink: RecordingSink, from: number, until: number, clock: (now: number) => void): void {
  let now = from
  flushIfDue(engine, sink, now)
  for (let looks = 0; engine.deadline <= until; looks++) {
    assert(looks < 10_000, `the engine asks for a look at ${engine.deadline} again and again`)
    now = Math.max(now, engine.deadline)
    clock(now)
    engine.tick(now)
    flushIfDue(engine, sink, now)
  }
  clock(until)
}

/** The end of the host's turn. */
export function flushIfDue(engine: Engine, sink: RecordingSink, now: number): void {
  while (sink.flushDue) {
    sink.flushDue = false
    engine.flush(now)
  }
}

/**
 * Holds that nobody is left in an engine: no session, channel, queue or held connect, no node of the tree, nothing that waits for a moment.
 *
 * @param root of the tree, from `rootOf`, where a channel was seen
 */
export function assertEmpty(engine: Engine, root: RootOfTree | null): void {
  assert.deepEqual(engine.server.stats(), { sessions: 0, local: 0, channels: 0, subscriptions: 0, queued: 0, held: 0 })
  const core = engine.server['core']
  assert.equal(core.deadlines.size, 0, 'something waits in the heap')
  assert.equal(engine.deadline, Number.POSITIVE_INFINITY, 'a timer is left')
  assert.equal(core.heldByBrowser.size, 0, 'a held connect is counted for ever')
  assert.deepEqual([core.dirty.length, core.doomed.length, core.lingering.length], [0, 0, 0])
  assert.equal(core.current, null)
  assert.equal(core.census.empty, true, 'a session is counted for ever')
  assert.equal(core.reviews.size, 0, 'a subscription is judged for ever')
  assert.equal(core.tree.sweepable, false)
  assert.deepEqual(
    [root?.children ?? null, root?.star ?? null, root?.deep ?? null],
    [null, null, null],
    'nodes are left in the tree',
  )
}

export type RootOfTree = NonNullable<ReturnType<typeof rootOf>>

/** The tree's root, found from any channel that exists; null when there is none. */
export function rootOf(engine: Engine) {
  for (const channel of engine.server['core'].tree.channels()) {
    let node = channel
    while (node.parent !== null) node = node.parent
    return node
  }
  return null
}
