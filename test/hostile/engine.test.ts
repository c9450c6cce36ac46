// Hostile envelopes against the bare engine: whatever a client sends is answered or ends its connection, and nothing of it stays.
//
// A million messages, or `MESSAGES=n`; `SEED=n` runs the same series again. A failure prints the seed and the envelope.

import assert from 'node:assert/strict'
import t from 'tap'
import { Engine, type Json, type Question, TRANSPORTS, type Transport } from '../../bayeux/index.js'
import {
  assertEmpty,
  flushIfDue,
  openWire,
  RecordingSink,
  type RootOfTree,
  rootOf,
  runTo,
  type Wire,
  type Written,
} from '../support/recording.js'
import { Hostile, prototypes } from './envelopes.js'

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const MESSAGES = Number(process.env['MESSAGES'] ?? 1_000_000)
/** How many of the spoiled envelopes are huge or deep: few, as most of the time would go into parsing them. */
const EXTREMES = 0.005
const MAX_DEPTH = 32
t.setTimeout(300_000) // of a busy machine
const REFUSALS = ['malformed', 'too_deep', 'too_many_messages']
/** Envelopes after which everybody leaves, and nothing may be left. */
const SERIES = 500
/** The longest that a client may keep its session without a word: maxTimeout twice, as hold and as interval, and some. */
const LONG = 700_000
/** Channels of the listeners and authorizers below. */
const LISTENING = 3
const BROWSERS = ['browser1', 'browser2', null]

class Fuzzed {
  now = 1_000_000
  readonly engine: Engine
  readonly sink: RecordingSink
  readonly hostile: Hostile
  answered = 0
  delivered = 0
  readonly refused = new Map<string, number>()
  #sockets: Wire[] = []
  readonly #requests = new Set<Wire>()
  #questions: Question[] = []
  #welcoming = false
  #root: RootOfTree | null = null

  constructor(
    seed: number,
    options: Readonly<Record<string, unknown>>,
    private readonly dressed: boolean,
  ) {
    this.hostile = new Hostile(seed, EXTREMES)
    this.sink = new RecordingSink({
      written: written => this.#written(written),
      ended: (wire, ending) => {
        this.#requests.delete(wire)
        this.refused.set(ending, (this.refused.get(ending) ?? 0) + 1)
      },
      asked: question => {
        if (this.#welcoming) return true
        if (this.hostile.chance(0.5)) return this.hostile.chance(0.9)
        this.#questions.push(question)
        return null
      },
    })
    this.engine = new Engine(options, { '/lazy/**': { lazy: 50 } }, this.sink)
    if (!dressed) return
    const { server } = this.engine
    server.police({ handshake: true, create: true, subscribe: true, publish: true })
    server.extend({ incoming: () => true, outgoing: () => true })
    server.listen('/**', () => true)
    server.listen('/meta/*', () => true)
    server.authorize('/auth/**', () => 'ignore')
  }

  step(): void {
    const { hostile } = this
    const speaker = hostile.clients.length === 0 ? undefined : this.engine.server.session(hostile.pick(hostile.clients))
    const wire = this.#wire(hostile.pick<Transport>(TRANSPORTS), speaker?.browser ?? hostile.pick(BROWSERS))
    hostile.speaker = wire.connection.session?.id ?? speaker?.id ?? null
    const text = hostile.envelope()
    const texts = wire.socket || hostile.chance(0.9) ? [text] : [text, hostile.envelope()]
    try {
      this.engine.receive(wire.connection, texts, this.now)
      if (hostile.chance(0.7)) flushIfDue(this.engine, this.sink, this.now)
      if (hostile.chance(0.3)) this.#answer()
      if (hostile.chance(0.1)) this.#cut()
      if (hostile.chance(0.05)) this.#run(hostile.pick([1, 60, 2_000]))
      if (hostile.chance(0.002)) this.#run(hostile.pick([15_000, 40_000]))
      if (this.sink.faults.length > 0) throw this.sink.faults[0]
      this.#root ??= rootOf(this.engine)
    } catch (error) {
      throw new Error(`seed ${hostile.seed}: ${texts.map(each => each.slice(0, 2_000)).join(' + ')}`, { cause: error })
    }
  }

  /** One who means well finds the server as it should be. */
  #welcome(): void {
    this.#welcoming = true
    this.#answerAll()
    const wire = openWire(this.engine, 'websocket', null)
    const replies: Json[] = []
    const messages: unknown[] = []
    const say = (message: object): void => {
      this.#listen = written => {
        if (written.wire !== wire) return
        replies.push(...(written.head === null ? [] : [written.head]), ...written.replies)
        messages.push(...written.messages.map(({ channel, data }) => ({ channel, data })))
      }
      this.engine.receive(wire.connection, [JSON.stringify([message])], this.now)
      flushIfDue(this.engine, this.sink, this.now)
      this.#listen = null
    }
    say({ channel: '/meta/handshake', id: '1', version: '1.0', supportedConnectionTypes: ['websocket'] })
    const clientId = replies[0]?.['clientId']
    say({ channel: '/meta/subscribe', id: '2', clientId, subscription: '/welcome/*' })
    say({ channel: '/welcome/x', id: '3', clientId, data: { n: 1 } })
    say({ channel: '/meta/connect', id: '4', clientId, connectionType: 'websocket' })
    say({ channel: '/meta/disconnect', id: '5', clientId })
    this.#welcoming = false
    this.#close(wire)
    assert.deepEqual(
      replies.map(({ id, successful }) => [id, successful]),
      ['1', '2', '3', '4', '5'].map(id => [id, true]),
    )
    assert.deepEqual(messages, [{ channel: '/welcome/x', data: { n: 1 } }])
  }

  /** One who means well is served; then all connections break, time passes, and nothing is left but what listens. */
  end(): void {
    this.#welcome()
    this.hostile.clients.length = 0
    for (const wire of [...this.#sockets, ...this.#requests]) this.#close(wire)
    this.#run(LONG)
    if (!this.dressed) return assertEmpty(this.engine, this.#root)
    const { sessions, channels, subscriptions, queued, held } = this.engine.server.stats()
    assert.deepEqual([sessions, channels, subscriptions, queued, held], [0, LISTENING, 0, 0, 0])
  }

  #listen: ((written: Written) => void) | null = null

  #written(written: Written): void {
    const { wire, head, messages, replies } = written
    this.#listen?.(written)
    this.#requests.delete(wire)
    const all = head === null ? replies : [head, ...replies]
    for (const reply of all) {
      assert.equal(typeof reply['successful'], 'boolean')
      assert.equal(reply['successful'] === false, typeof reply['error'] === 'string')
      if (typeof reply['clientId'] === 'string') this.#remember(reply['clientId'])
    }
    for (const message of messages) {
      assert.equal(typeof message['channel'], 'string')
      this.delivered++
      assert(depthOf(message) < MAX_DEPTH, 'a message from too deep an envelope')
      const notice = message['channel'] === '/meta/disconnect'
      if (!notice)
        for (const name of ['id', 'clientId', 'advice', 'successful', 'error']) assert(!Object.hasOwn(message, name), name)
    }
    if (!wire.socket) assert(all.length > 0, 'an answer without a reply')
    this.answered += all.length
  }

  #remember(id: string): void {
    const { clients } = this.hostile
    if (clients.length < 12) clients.push(id)
    else clients[this.hostile.below(clients.length)] = id
  }

  #wire(transport: Transport, browser: string | null): Wire {
    const { hostile } = this
    this.#sockets = this.#sockets.filter(({ state }) => state !== 'done')
    const ready = this.#sockets.filter(({ paused }) => !paused)
    if (transport === 'websocket' && ready.length > 0 && (this.#sockets.length > 20 || hostile.chance(0.8)))
      return hostile.pick(ready)
    const wire = openWire(this.engine, transport, browser)
    if (wire.socket) this.#sockets.push(wire)
    else this.#requests.add(wire)
    return wire
  }

  #answer(): void {
    const [question] = this.#questions.splice(this.hostile.below(this.#questions.length), 1)
    if (question !== undefined) this.engine.answer(question, this.hostile.chance(0.8), this.now)
  }

  #answerAll(): void {
    for (let next = this.#questions.shift(); next !== undefined; next = this.#questions.shift())
      this.engine.answer(next, true, this.now)
    flushIfDue(this.engine, this.sink, this.now)
  }

  #cut(): void {
    const wires = this.hostile.chance(0.5) ? this.#sockets : [...this.#requests]
    if (wires.length > 0) this.#close(this.hostile.pick(wires))
  }

  #close(wire: Wire): void {
    if (wire.state === 'done') return
    wire.state = 'done'
    this.#requests.delete(wire)
    this.engine.closed(wire.connection, this.now)
  }

  #run(ms: number): void {
    runTo(this.engine, this.sink, this.now, this.now + ms, now => {
      this.now = now
    })
  }
}

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(depthOf))
}

const variants: readonly (readonly [string, Readonly<Record<string, unknown>>, boolean])[] = [
  ['as it comes', { trustClientSession: true }, false],
  [
    'with all extensions, connect-only',
    { timestamp: true, allowMessageDeliveryDuringHandshake: true, metaConnectDeliverOnly: true, maxQueue: 50 },
    false,
  ],
  [
    'with a policy that answers late, listeners, authorizers',
    { activity: 'client-server', maxInactivity: 60_000, trustClientSession: true, maxQueue: 50 },
    true,
  ],
]
for (const [i, [name, options, dressed]] of variants.entries()) {
  t.test(`hostile envelopes leave an engine ${name} as it was`, t => {
    const before = prototypes()
    const fuzzed = new Fuzzed(SEED + i, options, dressed)
    const enough = Math.ceil(MESSAGES / variants.length)
    for (let run = 1; fuzzed.hostile.written < enough; run++) {
      fuzzed.step()
      if (run % SERIES === 0) fuzzed.end()
    }
    fuzzed.end()
    t.comment(`SEED=${SEED}`)
    t.same(prototypes(), before, 'no prototype was touched')
    t.ok(fuzzed.answered > enough / 4, `${fuzzed.answered} replies to ${fuzzed.hostile.written} messages`)
    t.ok(fuzzed.delivered > enough / 200, `${fuzzed.delivered} deliveries`)
    for (const refusal of REFUSALS) t.ok(fuzzed.refused.has(refusal), `${refusal}: ${fuzzed.refused.get(refusal)}`)
    t.end()
  })
}
