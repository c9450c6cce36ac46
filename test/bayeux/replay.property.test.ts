// Replay under everything that may happen: each subscription's stream is without gap and in order, or its client was told of the gap.
//
// The model is the list of all that was published. A client assembles a stream for each of its subscriptions, by positions, as ours does; what it
// takes into one must be what is published next there, from the place on at which the stream began, or from anywhere where a gap was told.
// `SEED=n` runs another series, `RUNS=n` a longer one (on disk a 25th of it); a failure prints its seed and the shortest series of steps that fails.

import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { type ChannelRules, covers, type History, type Json, parseChannel, type Transport } from '../../bayeux/index.js'
import { LmdbHistory } from '../../lib/history/lmdb.js'
import { MemoryHistory } from '../../lib/history/memory.js'
import { type Client, Drive } from '../support/drive.js'

const SEED = Number(process.env['SEED'] ?? 20_261_126)
const RUNS = Number(process.env['RUNS'] ?? 0)
const PEOPLE = 3
const CHANNELS = ['/k/a', '/k/b', '/k/c/d', '/live'] as const
const PATTERNS = ['/k/a', '/k/b', '/k/*', '/k/**'] as const
const name = (text: string) => parseChannel(text)!

interface Kind {
  readonly transport: Transport
  readonly form: 'own' | 'event'
  readonly ack: boolean
}

interface Setting {
  readonly people: readonly Kind[]
  readonly messages: number
  readonly age: number
  /** In all, of the store in memory. */
  readonly most: number
  readonly maxQueue: number
  readonly maxQueueBytes: number
}

type From = 'new' | 'now' | 'all' | 'at'
type Step =
  | { readonly op: 'publish'; readonly channel: (typeof CHANNELS)[number]; readonly times: number }
  | { readonly op: 'settle' }
  | { readonly op: 'read' | 'cut' | 'expire' | 'again' | 'afresh'; readonly who: number }
  | { readonly op: 'subscribe'; readonly who: number; readonly pattern: (typeof PATTERNS)[number]; readonly from: From }
  | { readonly op: 'unsubscribe'; readonly who: number; readonly pattern: (typeof PATTERNS)[number] }
  | { readonly op: 'pass'; readonly ms: number }
  | { readonly op: 'restart'; readonly saved: boolean }

interface Published {
  readonly channel: string
  readonly n: number
  readonly position: number
  readonly at: number
}

/** A subscription's stream, over all sessions of its client. */
interface Stream {
  /** The position that its client would say; null for none yet. */
  id: number | null
  epoch: string
  /** What is published next behind this place is what comes next. */
  behind: number
  /** Begun with all that is kept, or told of a gap: so far what is kept no more may be missing. */
  loose: boolean
}

interface Person {
  readonly kind: Kind
  readonly streams: Map<string, Stream>
  client: Client | null
  seen: number
  /** The number of its last connect reply that it has read. */
  ack: number
}

/** A store and how it is opened again; `settled` when all that was appended is kept. */
interface Store {
  open(world: World): History
  settled(): Promise<void>
  reopen(): Promise<void>
}

class World {
  drive!: Drive
  history!: History
  readonly published: Published[] = []
  readonly people: Person[]
  safe = 0
  now = 1_000_000
  private ids = 0

  constructor(
    private readonly setting: Setting,
    private readonly store: Store,
  ) {
    this.people = setting.people.map(kind => ({ kind, streams: new Map(), client: null, seen: 0, ack: 0 }))
    this.begin()
  }

  begin(): void {
    const { messages, age, maxQueue, maxQueueBytes } = this.setting
    const rules: ChannelRules = { '/k/**': { history: { messages, age } } }
    this.history = this.store.open(this)
    this.safe = this.history.tip
    this.drive = new Drive({ maxQueue, maxQueueBytes, trusted: true, maxInterval: 20_000 }, rules, this.history)
    this.drive.now = this.now
    for (let i = 0; i < this.ids; i++) this.drive.sink.id() // no id is given twice
    this.ids += 200
  }

  async do(step: Step): Promise<void> {
    switch (step.op) {
      case 'publish':
        for (let i = 0; i < step.times; i++) this.publish(step.channel)
        return
      case 'settle':
        return this.store.settled()
      case 'pass':
        this.drive.pass(step.ms)
        this.now = this.drive.now
        return
      case 'restart':
        return this.restart(step.saved)
      default:
        return this.act(this.people[step.who]!, step)
    }
  }

  publish(channel: string): void {
    const n = this.published.length + 1
    this.drive.engine.server.publish(channel, { n, pad: 'x'.repeat((n * 37) % 300) }, {}, null, this.now)
    if (channel !== '/live') this.published.push({ channel, n, position: this.history.tip, at: this.now })
    if (!this.history.durable) this.safe = this.history.tip
    this.drive.pass(0)
  }

  async restart(saved: boolean): Promise<void> {
    await this.store.settled()
    for (const person of this.people) this.read(person)
    const sessions = JSON.parse(JSON.stringify(this.drive.engine.server.save()))
    await this.store.reopen()
    this.begin()
    if (saved) this.drive.engine.server.restore(sessions, this.now)
    for (const person of this.people) {
      const { client } = person
      if (client === null) continue
      if (this.drive.engine.server.session(client.id) === undefined) {
        this.leave(person)
        continue
      }
      const again = this.drive.stranger(person.kind.transport, { address: '192.0.2.1', browser: client.cookie })
      again.id = client.id
      Object.assign(person, { client: again, seen: 0 })
      this.connect(person)
    }
  }

  act(person: Person, step: Extract<Step, { who: number }>): void {
    if (step.op === 'expire') {
      const session = person.client === null ? undefined : this.drive.engine.server.session(person.client.id)
      if (session !== undefined) this.drive.engine.server.expire(session, this.now)
      this.leave(person)
    } else if (step.op === 'cut') {
      person.client?.cut()
      if (person.client !== null) person.seen = person.client.messages.length // what it has not read is lost
      if (person.kind.ack) this.connect(person)
      else this.say(person, [...person.streams.keys()])
    } else if (step.op === 'again') this.say(person, [...person.streams.keys()])
    else if (step.op === 'afresh') {
      this.leave(person)
      this.enter(person)
    } else if (step.op === 'read') {
      this.read(person)
      this.connect(person)
    } else if (step.op === 'unsubscribe') {
      this.read(person)
      person.streams.delete(step.pattern)
      person.client?.say({ channel: '/meta/unsubscribe', subscription: step.pattern })
    } else if (step.op === 'subscribe' && !person.streams.has(step.pattern)) {
      if (person.client === null) this.enter(person)
      this.read(person)
      if (person.client !== null) this.say(person, [step.pattern], step.from)
    }
  }

  leave(person: Person): void {
    Object.assign(person, { client: null, seen: 0, ack: 0 })
  }

  enter(person: Person): void {
    const { form, ack, transport } = person.kind
    const client = this.drive.stranger(transport)
    client.handshake({ ext: { replay: form === 'own' ? {} : true, ...(ack ? { ack: true } : {}) } })
    Object.assign(person, { client, seen: 0, ack: 0 })
    this.connect(person)
    this.say(person, [...person.streams.keys()])
  }

  /** It goes on where it was, or begins. Refused, it asks for all: it knows of the gap. */
  say(person: Person, patterns: readonly string[], from: From = 'new'): void {
    const { client, streams, kind } = person
    if (client === null || patterns.length === 0) return
    this.read(person) // what comes before the reply is not of what it answers
    const own = kind.form === 'own'
    const starts = patterns.map(pattern => {
      const stream = streams.get(pattern)
      if (stream !== undefined && stream.id !== null) return own ? { id: stream.id, epoch: stream.epoch } : stream.id
      if (stream !== undefined) return own ? { now: true } : -2
      return from === 'all' ? -2 : from === 'at' && own ? { at: this.now - 1_000 } : from === 'now' && own ? { now: true } : -1
    })
    const reply = this.subscribe(client, patterns, starts)
    if (reply === undefined) return this.leave(person) // it was ended meanwhile
    if (reply['successful'] !== true) {
      this.fault(
        patterns.every(pattern => (streams.get(pattern)?.id ?? null) === null),
        `refused without a position: ${JSON.stringify(starts)}`,
      )
      for (const pattern of patterns) streams.set(pattern, { id: null, epoch: '', behind: 0, loose: true })
      this.subscribe(
        client,
        patterns,
        patterns.map(() => -2),
      )
      return
    }
    const told = (reply['ext'] as { replay?: Record<string, { recovered: boolean; id: number; epoch: string }> } | undefined)
      ?.replay
    for (const [i, pattern] of patterns.entries()) {
      const before = streams.get(pattern)
      const answer = own ? told?.[pattern] : undefined
      const start = starts[i]
      const stream: Stream = before ?? { id: null, epoch: '', behind: 0, loose: false }
      streams.set(pattern, stream)
      if (answer?.recovered === false)
        Object.assign(stream, { id: answer.id, epoch: answer.epoch, behind: answer.id, loose: true })
      else if (before !== undefined && before.id !== null) continue
      else {
        // at the beginning: all, or from the present on, or from a moment on
        const older = this.published.filter(({ at }) => at < this.now - 1_000).at(-1)?.position ?? 0
        stream.loose = start === -2
        stream.behind = start === -2 ? 0 : start === -1 || 'now' in (start as object) ? this.safe : older
        if (answer !== undefined) Object.assign(stream, { id: answer.id, epoch: answer.epoch })
      }
    }
  }

  subscribe(client: Client, patterns: readonly string[], starts: readonly unknown[]): Json | undefined {
    const before = client.replies.length
    const replay = Object.fromEntries(patterns.map((pattern, i) => [pattern, starts[i]]))
    client.say({ channel: '/meta/subscribe', subscription: patterns, ext: { replay } })
    const reply = client.replies.slice(before).find(({ channel }) => channel === '/meta/subscribe')
    return String(reply?.['error']).startsWith('402') ? undefined : reply
  }

  /** It reads what has come; with ack it says so with the next connect. */
  read(person: Person): void {
    const { client, streams } = person
    if (client === null) return
    for (const message of client.messages.slice(person.seen)) {
      const channel = message['channel'] as string
      if (channel === '/live') continue
      const data = message['data'] as { n: number; event?: { replayId: number } }
      const place = (message['ext'] as { replay?: { id: number; epoch: string } } | undefined)?.replay
      const id = place?.id ?? data.event!.replayId
      for (const [pattern, stream] of streams)
        if (covers(name(pattern), name(channel))) this.take(person, pattern, stream, channel, id, place?.epoch ?? '', data.n)
    }
    person.seen = client.messages.length
    const last = client.replies.findLast(({ channel, ext }) => channel === '/meta/connect' && ext !== undefined)
    person.ack = Math.max(person.ack, ((last?.['ext'] as Json | undefined)?.['ack'] as number | undefined) ?? 0)
  }

  take(person: Person, pattern: string, stream: Stream, channel: string, id: number, epoch: string, n: number): void {
    const entry = this.published.find(other => other.n === n)!
    this.fault(entry.channel !== channel, `${n} came on ${channel}`)
    if (stream.id !== null && stream.epoch === epoch && id <= stream.id) return // it has it
    if (entry.position <= stream.behind) return // of another subscription, which began before
    const floor = this.history.floor(name(pattern))
    for (const missing of this.covered(pattern)) {
      if (missing.position <= stream.behind || missing.position >= entry.position) continue
      this.fault(!stream.loose, `${JSON.stringify(person.kind)} ${pattern}: ${n} came, ${missing.n} did not`)
    }
    if (entry.position >= floor) stream.loose = false
    Object.assign(stream, { id, epoch, behind: entry.position })
  }

  covered(pattern: string): Published[] {
    return this.published.filter(({ channel }) => covers(name(pattern), name(channel)))
  }

  connect(person: Person): void {
    const { client, ack, kind } = person
    if (client === null) return
    const before = client.replies.length
    client.say({ channel: '/meta/connect', advice: { timeout: 0 }, ...(kind.ack ? { ext: { ack } } : {}) })
    const reply = client.replies.slice(before).find(({ channel }) => channel === '/meta/connect')
    if (reply === undefined || reply['successful'] !== false) return
    this.leave(person)
    this.enter(person)
  }

  /** All is quiet: each stream reaches to the end. */
  async end(): Promise<void> {
    await this.store.settled()
    for (const person of this.people) {
      if (person.client === null) this.enter(person)
      for (let quiet = 0, seen = -1; quiet < 4; quiet = seen === person.seen ? quiet + 1 : 0) {
        seen = person.seen
        this.read(person)
        this.connect(person)
      }
      this.read(person)
      for (const [pattern, { behind }] of person.streams) {
        const missing = this.covered(pattern).find(
          ({ channel, position }) => position > behind && position > this.history.floor(name(channel)),
        )
        this.fault(missing !== undefined, `${JSON.stringify(person.kind)} ${pattern}: ends before ${missing?.n}`)
      }
    }
  }

  fault(is: boolean, what: string): void {
    if (is) throw new Error(what)
  }
}

const who = fc.nat(PEOPLE - 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      op: fc.constant('publish' as const),
      channel: fc.constantFrom(...CHANNELS),
      times: fc.constantFrom(1, 1, 1, 7),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ op: 'settle' as const }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('read' as const), who }) },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constantFrom('cut' as const, 'again' as const, 'afresh' as const, 'expire' as const), who }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('subscribe' as const),
      who,
      pattern: fc.constantFrom(...PATTERNS),
      from: fc.constantFrom('new' as const, 'now' as const, 'all' as const, 'at' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('unsubscribe' as const), who, pattern: fc.constantFrom(...PATTERNS) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('pass' as const), ms: fc.constantFrom(10, 500, 3_000) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('restart' as const), saved: fc.boolean() }) },
)
const kind: fc.Arbitrary<Kind> = fc.record({
  transport: fc.constantFrom('websocket' as const, 'long-polling' as const),
  form: fc.constantFrom('own' as const, 'event' as const),
  ack: fc.boolean(),
})
const setting: fc.Arbitrary<Setting> = fc.record({
  people: fc.array(kind, { minLength: PEOPLE, maxLength: PEOPLE }),
  messages: fc.constantFrom(3, 20, 1_000),
  age: fc.constantFrom(2_000, 1e9),
  most: fc.constantFrom(15, 1e6),
  maxQueue: fc.constantFrom(8, 1_000),
  maxQueueBytes: fc.constantFrom(2_048, 1e6),
})

async function run(store: (setting: Setting) => Store, numRuns: number): Promise<void> {
  const property = fc.asyncProperty(setting, fc.array(step, { maxLength: 60, size: 'max' }), async (given, steps) => {
    const world = new World(given, store(given))
    for (const each of steps) await world.do(each)
    await world.end()
  })
  await fc.assert(property, { seed: SEED, numRuns, includeErrorInReport: true })
}

t.test('in memory, where each process is another epoch', async t => {
  let first = 0
  await t.resolves(
    run(({ most }) => {
      first = 0
      return {
        open: () => new MemoryHistory({ messages: most, bytes: 1e9 }, ++first * 1_000_000),
        settled: async () => {},
        reopen: async () => {},
      }
    }, RUNS || 500),
  )
})

t.test('on disk, where all is there again', async t => {
  const folder = t.testdir({})
  let stores = 0
  await t.resolves(
    run(() => {
      const directory = join(folder, String(++stores))
      let history: LmdbHistory
      let wake = (): void => {}
      let waiting = 0
      const settled = async (world: World): Promise<void> => {
        while (world.safe < waiting) await new Promise<void>(resolve => (wake = resolve))
      }
      let current: World
      return {
        open: world => {
          current = world
          history = new LmdbHistory(
            directory,
            (through, error) => {
              world.safe = through
              world.drive.engine.kept(through, error, world.now)
              world.drive.pass(0)
              wake()
            },
            { now: world.now },
          )
          return history
        },
        settled: async () => {
          waiting = history.tip
          await settled(current)
        },
        reopen: () => history.close(),
      }
    }, RUNS || 20),
  )
})
