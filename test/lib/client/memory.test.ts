// What a client remembers, as the application sees it: over reloads of the page, subscriptions that come and go, lost sessions; in a world's time.

import fc from 'fast-check'
import t from 'tap'
import { Client, type From, type Options } from '../../../lib/client/client.js'
import { MemoryHistory } from '../../../lib/history/memory.js'
import { outcome } from '../../support/outcome.js'
import { Page } from '../../support/page.js'
import { World } from '../../support/world.js'

const RULES = {
  '/kept/**': { history: { messages: 100, age: 3_600_000 } },
  '/few/**': { history: { messages: 3, age: 3_600_000 } },
  '/state/*': { retain: true },
}
const OVER_HTTP: Options = { transports: ['long-polling'] }

function newPage(): Page {
  const options = { timeout: 30_000, maxInterval: 120_000, trustClientSession: true }
  return new Page(new World(1, options, RULES, new MemoryHistory({ messages: 1_000, bytes: 1e6 })))
}

/** A client in a page, and what it heard and missed. */
class Rig {
  readonly client: Client
  readonly heard: unknown[] = []
  readonly gaps: unknown[] = []
  constructor(
    readonly page = newPage(),
    options: Options = {},
  ) {
    this.client = new Client('http://server/cometd', options, page)
    this.client.on('gap', gap => this.gaps.push(gap))
  }
  async up(): Promise<this> {
    void this.client.connect()
    await this.pass()
    return this
  }
  hear(channel: string, from?: From) {
    return this.client.subscribe(channel, ({ data }) => this.heard.push(data), { from })
  }
  pass(ms = 500): Promise<void> {
    return this.page.world.pass(ms)
  }
  async publish(channel: string, ...data: unknown[]): Promise<void> {
    for (const each of data) this.page.world.engine.server.publish(channel, each, {}, null, this.page.world.now)
    await this.pass()
  }
  expire(): void {
    const { world } = this.page
    for (const session of world.engine.server.sessions()) world.engine.server.expire(session, world.now)
  }
}

t.test('a page that is loaded again goes on where the one before was, unless it says where to begin', async t => {
  const rows: [from: From | undefined, heard: unknown[]][] = [
    [undefined, [3, 4, 5]],
    ['all', [1, 2, 3, 4, 5]],
    [{ at: 0 }, [1, 2, 3, 4, 5]],
  ]
  for (const [from, heard] of rows) {
    const first = await new Rig().up()
    first.hear('/kept/a', from)
    await first.pass()
    await first.publish('/kept/a', 1, 2)
    t.strictSame(first.heard, [1, 2])
    const page = first.page.reload()
    await first.publish('/kept/a', 3)
    const next = new Rig(page)
    next.hear('/kept/a', from)
    await next.up()
    await next.publish('/kept/a', 4)
    next.expire()
    await next.publish('/kept/a', 5)
    await next.pass(5_000)
    t.strictSame([next.heard, next.gaps], [heard, []], JSON.stringify(from))
  }
})

t.test('a page that is loaded again gets what is retained, as it has nothing on its screen', async t => {
  for (const between of [[], [2]]) {
    const first = await new Rig().up()
    first.hear('/state/a')
    await first.publish('/state/a', 1)
    await first.publish('/state/b', 'b')
    t.strictSame(first.heard, [1])
    const page = first.page.reload()
    await first.publish('/state/a', ...between)
    const next = new Rig(page)
    next.hear('/state/a')
    await next.up()
    t.strictSame([next.heard, next.gaps], [[1, ...between].slice(-1), []])
    next.expire()
    await next.pass(5_000)
    t.strictSame(next.heard.length, 1, 'but not in a later session of the same page')
  }
})

t.test('a publish of a page that was loaded again is done once, though it is said again in another session', async t => {
  const first = await new Rig(undefined, OVER_HTTP).up()
  void first.client.publish('/kept/a', 0)
  await first.pass()
  const page = first.page.reload()
  const next = await new Rig(page, OVER_HTTP).up()
  page.bend = text => (text.includes('/kept/a') ? [] : [text]) // the server does it, the page does not know
  const said = next.client.publish('/kept/a', 1)
  await next.pass(10)
  next.expire()
  page.bend = text => [text]
  t.match(await outcome(said, () => next.pass(20_000)), { successful: true })
  const { entries } = page.world.engine.server.history('/kept/a', 0, 100)
  t.strictSame(
    entries.map(({ json }) => JSON.parse(json).data),
    [0, 1],
  )
})

t.test('a subscription hears nothing from before it, though the channel was subscribed to before', async t => {
  for (const from of [undefined, 'all'] as const) {
    const rig = await new Rig(undefined, OVER_HTTP).up()
    const old = rig.client.subscribe('/kept/a', () => {})
    await rig.publish('/kept/a', 1)
    rig.client.publish('/x', 'holds the lane').catch(() => {})
    void old.unsubscribe()
    rig.hear('/kept/a', from)
    await rig.publish('/kept/a', 2) // on its way, while the subscribe waits for the lane
    await rig.publish('/kept/a', 3)
    t.strictSame(rig.heard, from === 'all' ? [1, 2, 3] : [3], from ?? 'new')
  }
})

t.test('one that is left before the server has answered leaves no place behind', async t => {
  for (const isUp of [true, false]) {
    const rig = new Rig()
    if (isUp) await rig.up()
    void rig.client.subscribe('/kept/a', () => {}).unsubscribe()
    await rig.up()
    await rig.publish('/kept/a', 'between')
    rig.hear('/kept/a')
    await rig.pass()
    await rig.publish('/kept/a', 'new')
    t.strictSame(rig.heard, ['new'], isUp ? 'connected' : 'before')
  }
})

t.test('who begins behind a place that is kept no more is told', async t => {
  const rig = await new Rig().up()
  const places: unknown[] = []
  rig.client.subscribe('/few/a', ({ ext }) => places.push(ext?.['replay']))
  await rig.pass()
  await rig.publish('/few/a', 1, 2, 3, 4, 5, 6)
  const next = await new Rig(new Page(rig.page.world)).up()
  next.hear('/few/a', places[0] as From)
  await next.pass()
  t.strictSame([next.heard, next.gaps], [[4, 5, 6], [{ channel: '/few/a', dropped: 0 }]])
})

t.test('nobody but the server says where a message is, or what was dropped', async t => {
  const victim = await new Rig().up()
  victim.hear('/**')
  await victim.pass()
  await victim.publish('/kept/a', 1)
  const { epoch } = victim.page.world.engine.server.history('/kept/a', 0, 1)
  const attacker = await new Rig(new Page(victim.page.world)).up()
  const ext = { replay: { id: 8e15, epoch }, dropped: 7, own: true }
  for (const channel of ['/kept/a', '/state/a', '/other']) void attacker.client.publish(channel, 'bad', { ext })
  await attacker.pass()
  await victim.publish('/kept/a', 2)
  t.strictSame([victim.heard, victim.gaps], [[1, 'bad', 'bad', 'bad', 2], []])
  victim.expire()
  await victim.publish('/kept/a', 3)
  await victim.pass(5_000)
  t.strictSame([victim.heard.at(-1), victim.gaps], [3, []])
})

/** One life of one subscription. */
interface Life {
  readonly heard: number[]
  readonly channel: string
  readonly begin: number | null
}

const OPS = [
  'publish',
  'publish',
  'publish',
  'cut',
  'expire',
  'reload',
  'again',
  'again from all',
  'wild from all',
  'pass',
] as const

t.test('whatever comes and goes, each subscription hears all from its first message on, once and in order', async t => {
  const run = async (ops: readonly (typeof OPS)[number][], jitter: number, overHttp: boolean): Promise<string> => {
    const page = newPage()
    const { world } = page
    page.jitter = jitter
    page.latency = () => 1 + Math.floor(world.random() * 30)
    let rig = await new Rig(page, overHttp ? OVER_HTTP : {}).up()
    let count = 0
    const lives: Life[] = []
    const live = new Map<string, [Life, { unsubscribe(): Promise<void> }]>()
    const begin = (channel: string, from?: From, at: number | null = null): void => {
      const life: Life = { heard: [], channel, begin: from === 'all' ? 1 : at }
      lives.push(life)
      live.set(channel, [life, rig.client.subscribe<number>(channel, ({ data }) => life.heard.push(data), { from })])
    }
    begin('/kept/a')
    await rig.pass()
    for (const op of ops) {
      if (op === 'publish') world.engine.server.publish('/kept/a', ++count, {}, null, world.now)
      else if (op === 'cut') rig.page.open[0]?.end()
      else if (op === 'expire') rig.expire()
      else if (op === 'pass') await rig.pass(200)
      else if (op === 'reload') {
        const isUp = rig.client.state === 'connected'
        rig = new Rig(rig.page.reload(), overHttp ? OVER_HTTP : {})
        rig.page.jitter = jitter
        for (const [channel, [{ heard }]] of [...live])
          begin(channel, undefined, isUp && heard.length > 0 ? heard.at(-1)! + 1 : null)
        void rig.client.connect()
      } else {
        const channel = op === 'wild from all' ? '/kept/**' : '/kept/a'
        void live.get(channel)?.[1].unsubscribe()
        begin(channel, op === 'again' ? undefined : 'all')
      }
      await rig.pass(Math.floor(world.random() * 40))
    }
    await rig.pass(60_000)
    world.engine.server.publish('/kept/a', ++count, {}, null, world.now)
    await rig.pass(60_000)
    for (const { heard, begin, channel } of lives) {
      const wrong = heard.some((n, i) => i > 0 && n !== heard[i - 1]! + 1)
      if (wrong || (begin !== null && heard.length > 0 && heard[0] !== begin)) return `${channel} from ${begin}: ${heard}`
    }
    for (const [{ heard }] of live.values()) if (heard.at(-1) !== count) return `not up to ${count}: ${heard}`
    return rig.gaps.length > 0 ? 'a gap' : ''
  }
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(...OPS), { maxLength: 25 }),
      fc.double({ min: 0, max: 0.99, noNaN: true }),
      fc.boolean(),
      async (ops, jitter, overHttp) => {
        const wrong = await run(ops, jitter, overHttp)
        if (wrong !== '') throw new Error(wrong)
      },
    ),
    { numRuns: 300 },
  )
  t.end()
})
