// The whole client, over both transports, against a network and a server that keep to nothing, with an application that does as it likes.

import fc from 'fast-check'
import t from 'tap'
import { Client } from '../../../lib/client/client.js'
import type { Subscription } from '../../../lib/client/subscription.js'
import { NOTHING_LEFT, Page, type Way } from '../../support/page.js'
import { generator, turn, World } from '../../support/world.js'

type Json = Record<string, unknown>

const OPS = [
  ...(['wait', 'wait', 'wait', 'wait', 'push', 'push', 'push', 'publish', 'call', 'subscribe', 'loop', 'leave'] as const),
  ...([
    'batch',
    'sockets',
    'http',
    'bend',
    'bend',
    'bend',
    'cut',
    'expire',
    'kick',
    'page',
    'close',
    'connect',
    'reload',
  ] as const),
]
type Op = (typeof OPS)[number]
const WAITS = [1, 40, 900, 5_000, 12_000, 45_000, 130_000]
const SOCKETS = ['open', 'open', 'refused', 'hangs', 'mute', 'forbidden'] as const
const HTTP = ['up', 'up', 'down', 'hangs'] as const
const GARBAGE = [
  '<html>Sign in</html>',
  '',
  '{}',
  '[]',
  'null',
  '[{}',
  '[null,7,"x",[],{"channel":5}]',
  '[{"channel":"/x","id":"1"}]',
]
const ADVICES: Json[] = [
  { reconnect: 'handshake' },
  { reconnect: 'none' },
  { reconnect: 'retry', interval: 3_000, timeout: 1_000 },
  { 'multiple-clients': true, reconnect: 'retry', interval: 2_000 },
  { reconnect: 'retry', interval: 0, timeout: 30_000, maxInterval: 5_000 },
  { reconnect: 'never', interval: '5', timeout: null, unknown: {} },
]

/** One life of a client. `faults`: what must not be. */
class Life {
  readonly world: World
  page: Page
  client: Client
  readonly faults: string[] = []
  readonly random: () => number
  /** Promises and loops that have not come to an end. */
  open = 0
  settled = 0
  /** Pages; what one waited for is nobody's when the next is there. */
  pages = 0
  pushed = 0
  given = 0
  resumed = 0
  subscriptions: Subscription[] = []
  /** What each session of the server was to be sent on /always. */
  readonly due = new Map<string, number[]>()
  /** Of the subscription to /always in use. */
  heard: number[] = []
  always: Subscription | null = null
  #bends: ((text: string, way: Way) => readonly string[])[] = []
  #last = '[]'
  #kept: string | null = null

  constructor(
    seed: number,
    readonly ack: boolean,
    readonly transports: readonly ('websocket' | 'long-polling')[],
  ) {
    this.world = new World(seed, { timeout: 20_000, maxInterval: 60_000, trustClientSession: true })
    this.random = generator(seed)
    this.page = new Page(this.world)
    this.page.latency = () => 1 + Math.floor(this.random() * 300)
    this.page.random = () => this.random()
    this.page.bend = (text, way) => this.#bend(text, way)
    this.client = this.start()
  }

  start(): Client {
    const { ack, transports } = this
    const client = new Client('http://server/cometd', { ack, transports }, this.page)
    client.on('error', error => {
      if (!/^[A-Z_]+$/.test(error.code)) this.faults.push(`error ${error.code}`)
    })
    return client
  }

  /** The page is loaded again, and goes on where the session does. */
  reload(): void {
    const { clientId } = this.client
    this.page = this.page.reload()
    this.pages++
    this.open = 0
    this.subscriptions = []
    this.client = this.start()
    const heard = this.heard
    this.always = null
    this.connect()
    if (clientId !== null && this.client.clientId === clientId) {
      this.heard.push(...heard)
      this.resumed++
    }
  }

  /** Every promise of the client has to come to an end, whatever end. */
  watch(promise: Promise<unknown>): void {
    this.open++
    const page = this.pages
    const over = (): void => {
      if (page !== this.pages) return
      this.open--
      this.settled++
    }
    promise.then(over, over)
  }

  connect(): void {
    this.watch(this.client.connect())
    if (this.always?.active) return
    const heard: number[] = []
    this.heard = heard
    this.always = this.client.subscribe('/always', ({ data }) => {
      this.given++
      if (heard.includes(Number(data))) this.faults.push(`${data} was given twice`)
      heard.push(Number(data))
    })
    this.watch(this.always.ready)
  }

  push(): void {
    const n = ++this.pushed
    const { server } = this.world.engine
    for (const session of server.sessions()) {
      if (!session.subscriptions?.channels().some(({ name }) => name === '/always')) continue
      const due = this.due.get(session.id)
      if (due === undefined) this.due.set(session.id, [n])
      else due.push(n)
    }
    server.publish('/always', n, {}, null, this.world.now)
    server.publish(`/some/${n % 3}`, n, {}, null, this.world.now)
  }

  loop(channel: string): void {
    const subscription = this.client.subscribe(channel)
    this.subscriptions.push(subscription)
    this.watch(subscription.ready)
    const run = async (): Promise<void> => {
      const seen = new Set<unknown>()
      for await (const { channel, data } of subscription) {
        const message = `${channel} ${data}`
        if (seen.has(message) && Number(data) > 0) this.faults.push(`${message} was given twice to a loop`)
        seen.add(message)
        if (Number(data) % 7 === 0) break
      }
    }
    this.watch(run())
  }

  /** Spoils what the server sends: a text, or what is in it. */
  #bend(text: string, way: Way): readonly string[] {
    const bent = this.#bends.shift()?.(text, way) ?? [text]
    this.#last = text
    if (this.#kept === null || bent.length === 0) return bent
    const kept = this.#kept
    this.#kept = null
    return [...bent, kept]
  }

  plan(n: number): void {
    const change = (text: string, act: (message: Json) => Json): string => JSON.stringify((JSON.parse(text) as Json[]).map(act))
    const carries = (text: string): boolean => /"data":/.test(text)
    const lossy = (text: string): boolean => this.ack || !carries(text)
    /** What a client can know again: deliveries that a connect reply numbers. Those before a kick have none. */
    const numbered = (text: string): boolean => !carries(text) || (this.ack && text.includes('"/meta/connect"'))
    const bends: ((text: string, way: Way) => readonly string[])[] = [
      text => [text],
      () => [],
      text => (numbered(text) ? [text, text] : [text]),
      text => [
        change(text, message => (message['id'] === undefined ? message : { ...message, id: String(Number(message['id']) + 1) })),
      ],
      text => [change(text, message => ('data' in message ? message : { ...message, id: undefined }))],
      text => [
        change(text, message => ('successful' in message ? { ...message, advice: ADVICES[n % ADVICES.length] } : message)),
      ],
      text => [
        change(text, message => ({ ...message, unknown: [1], clientId2: {}, ext: { ...(message['ext'] as Json), x: 1 } })),
      ],
      () => [GARBAGE[n % GARBAGE.length]!],
      // over HTTP what comes beside a connect is taken as it is
      (text, way) => (numbered(this.#last) && (way === 'websocket' || !carries(this.#last)) ? [this.#last] : [text]),
      text => {
        if (!lossy(text)) return [text]
        this.#kept = text
        return []
      },
    ]
    this.#bends.push(bends[n % bends.length]!)
  }

  act(op: Op, n: number): Promise<void> | void {
    const { client, page, world } = this
    const { server } = world.engine
    if (op === 'wait') return world.pass(WAITS[n % WAITS.length]!)
    if (op === 'push') this.push()
    else if (op === 'publish') this.watch(client.publish('/some/1', -n))
    else if (op === 'call') this.watch(client.call('nobody', n))
    else if (op === 'subscribe') {
      const subscription = client.subscribe(`/some/${n % 3}`, () => {})
      this.subscriptions.push(subscription)
      this.watch(subscription.ready)
    } else if (op === 'loop') this.loop(['/some/1', '/some/*', '/**'][n % 3]!)
    else if (op === 'leave') {
      const [subscription] = this.subscriptions.splice(n % Math.max(1, this.subscriptions.length), 1)
      if (subscription !== undefined) this.watch(subscription.unsubscribe())
    } else if (op === 'batch') client.batch(() => [1, 2, 3].map(data => this.watch(client.publish('/some/2', -data))))
    else if (op === 'sockets') page.sockets = SOCKETS[n % SOCKETS.length]!
    else if (op === 'http') page.http = HTTP[n % HTTP.length]!
    else if (op === 'bend') this.plan(n)
    else if (op === 'cut') page.open[0]?.end()
    else if (op === 'expire') for (const session of server.sessions()) server.expire(session, world.now)
    else if (op === 'kick' && n % 3 === 0) for (const session of server.sessions()) server.disconnect(session, world.now)
    else if (op === 'page') page.tell((['wake', 'leave', 'back'] as const)[n % 3]!)
    else if (op === 'reload' && n % 2 === 0) this.reload()
    else if (op === 'close' && n % 3 === 0) this.watch(client.close())
    else if (op === 'connect') this.connect()
  }

  /** The network heals, the server keeps to the protocol again. */
  async heal(): Promise<void> {
    this.#bends = []
    this.#kept = null
    Object.assign(this.page, { sockets: 'open', http: 'up' })
    for (let turns = 0; turns < 40 && this.client.state !== 'connected' && this.client.state !== 'closed'; turns++)
      await this.world.pass(30_000)
    await this.world.pass(90_000)
    const { state, clientId } = this.client
    if (state !== 'connected' && state !== 'closed') this.faults.push(`${state} in the end`)
    if (state !== 'connected') return
    for (let i = 0; i < 3; i++) this.push()
    await this.world.pass(30_000)
    if (this.client.clientId !== clientId) this.faults.push('another session on a sound network')
    if (!this.always?.active) return
    const due = this.due.get(clientId ?? '') ?? []
    const want = this.ack ? due : due.slice(-3)
    if (due.length < 3) this.faults.push('the subscription is not there any more')
    const lost = want.filter(n => !this.heard.includes(n))
    if (lost.length > 0) this.faults.push(`lost ${lost} of ${due}`)
  }
}

t.test('no promise hangs, nothing is given twice, nothing is lost with ack, and nothing is left after close', async t => {
  const unhandled: unknown[] = []
  const note = (error: unknown): void => void unhandled.push(error)
  process.on('unhandledRejection', note)
  Object.assign(globalThis, { reportError: note })
  t.teardown(() => {
    process.off('unhandledRejection', note)
    Reflect.deleteProperty(globalThis, 'reportError')
  })
  const seen = { connected: 0, closed: 0, given: 0, settled: 0, resumed: 0 }
  const life = fc.record({
    seed: fc.integer(),
    ack: fc.boolean(),
    transports: fc.constantFrom(['websocket', 'long-polling'] as const, ['long-polling'] as const, ['websocket'] as const),
    script: fc.array(fc.tuple(fc.constantFrom(...OPS), fc.nat(999)), { maxLength: 60, size: 'max' }),
  })
  const seed = Date.now() % 1_000_000_007
  t.comment(`seed ${seed}`)
  await fc.assert(
    fc.asyncProperty(life, async ({ seed, ack, transports, script }) => {
      const life = new Life(seed, ack, transports)
      life.connect()
      for (const [op, n] of script) {
        await life.act(op, n)
        await turn()
        const { alarms, sockets, requests, listeners } = life.page.left as Record<string, number>
        if (life.client.state !== 'closed' && alarms === 0) life.faults.push('nothing will ring')
        if (alarms! > 2 || sockets! > 2 || requests! > 2 || listeners! > 1) life.faults.push(JSON.stringify(life.page.left))
      }
      await life.heal()
      if (life.client.state === 'connected') seen.connected++
      else seen.closed++
      if (script.length % 2 === 0) life.page.sockets = 'mute'
      let closed = false
      const left = life.client.close().then(() => {
        closed = true
        if (JSON.stringify(life.page.left) !== JSON.stringify(NOTHING_LEFT))
          life.faults.push(`left ${JSON.stringify(life.page.left)}`)
      })
      await life.world.pass(11_000)
      await turn()
      if (!closed) life.faults.push('not closed in time')
      else await left
      if (life.open > 0) life.faults.push(`${life.open} promises or loops hang`)
      if (life.world.faults.length > 0) life.faults.push(`engine: ${life.world.faults}`)
      if (unhandled.length > 0) life.faults.push(`unhandled: ${unhandled.splice(0)}`)
      seen.given += life.given
      seen.settled += life.settled
      seen.resumed += life.resumed
      if (life.faults.length > 0) throw new Error(life.faults.join('; '))
    }),
    { numRuns: 250, seed },
  )
  t.comment(seen)
  t.ok(
    seen.connected > 25 && seen.closed > 10 && seen.given > 500 && seen.settled > 500 && seen.resumed > 50,
    'the script reaches what it should',
  )
})
