// Tabs that share one session: clients over message ports, the worker's hub at the other ends, the real engine behind it.

import t, { type Test } from 'tap'
import { clientDefaults } from '../../../bayeux/client-sink.js'
import { Client, type Options } from '../../../lib/client/client.js'
import { Hub } from '../../../lib/client/hub.js'
import type { Settings } from '../../../lib/client/line.js'
import { SharedLine } from '../../../lib/client/shared-line.js'
import { MemoryHistory } from '../../../lib/history/memory.js'
import { outcome } from '../../support/outcome.js'
import { NOTHING_LEFT, Page } from '../../support/page.js'
import { turn, World } from '../../support/world.js'

const SETTINGS: Settings = {
  ...clientDefaults,
  url: 'http://server/cometd',
  transports: ['websocket', 'long-polling'],
  protocols: [],
  headers: {},
  openTimeout: 4_000,
  upgradeBase: 10_000,
  upgradeMax: 300_000,
  lasting: true,
  reload: true,
}

/** A worker and its tabs. Messages of a port take a turn of the event loop or two. */
class Office {
  readonly world = new World(
    1,
    { timeout: 30_000, maxInterval: 120_000, trustClientSession: true },
    { '/kept/**': { history: { messages: 100, age: 3_600_000 } }, '/state/*': { retain: true } },
    new MemoryHistory({ messages: 1_000, bytes: 1e6 }),
  )
  /** What the worker has: the network is here. */
  readonly page = new Page(this.world)
  readonly hub: Hub
  readonly ports: MessagePort[] = []
  constructor(t: Test, settings: Partial<Settings> = {}) {
    this.hub = new Hub({ ...SETTINGS, ...settings }, this.page)
    t.teardown(() => {
      for (const port of this.ports) port.close()
    })
  }
  tab(options: Options = {}, answered = true): Tab {
    const { port1, port2 } = new MessageChannel()
    this.ports.push(port1, port2)
    if (answered) this.hub.add(port2)
    return new Tab(this, port1, options)
  }
  async pass(ms = 200): Promise<void> {
    for (let part = 0; part < 4; part++) {
      for (let turns = 0; turns < 8; turns++) await turn()
      await this.world.pass(ms / 4)
    }
    for (let turns = 0; turns < 8; turns++) await turn()
  }
  publish(channel: string, data: unknown): void {
    this.world.engine.server.publish(channel, data, {}, null, this.world.now)
  }
  get stats() {
    const { sessions, subscriptions } = this.world.engine.server.stats()
    return { sessions, subscriptions }
  }
  sent(channel: string): Record<string, unknown>[] {
    return this.page.sent.flatMap(({ messages }) => messages).filter(message => message['channel'] === channel)
  }
}

class Tab {
  readonly page: Page
  readonly client: Client
  readonly worker: { port: MessagePort; onerror: (() => void) | null }
  readonly errors: string[] = []
  readonly states: string[] = []
  readonly heard: unknown[] = []
  constructor(
    readonly office: Office,
    port: MessagePort,
    options: Options,
  ) {
    this.page = new Page(office.world)
    this.page.jitter = office.ports.length / 10
    this.worker = { port, onerror: null }
    this.client = new Client(
      SETTINGS.url,
      options,
      this.page,
      (settings, token, around, on) => new SharedLine(this.worker as never, settings, token, around, on),
    )
    this.client.on('error', ({ message }) => this.errors.push(message))
    this.client.on('state', ({ state }) => this.states.push(state))
  }
  get<T>(promise: Promise<T>, ms?: number): Promise<T | string> {
    return outcome(promise, () => this.office.pass(ms))
  }
  async up(...channels: string[]): Promise<this> {
    const connected = this.client.connect()
    for (const channel of channels) this.client.subscribe(channel, ({ data }) => this.heard.push(data))
    await this.get(connected)
    return this
  }
}

t.test('tabs share one session; each gets what it subscribed to', async t => {
  const office = new Office(t)
  const one = await office.tab().up('/a', '/both/*')
  const two = await office.tab().up('/b', '/both/*')
  t.strictSame([one.client.state, two.client.state], ['connected', 'connected'])
  t.equal(one.client.clientId, two.client.clientId)
  t.equal(one.client.transport, 'websocket')
  t.strictSame(office.stats, { sessions: 1, subscriptions: 3 })
  office.publish('/a', 'a')
  office.publish('/b', 'b')
  office.publish('/both/x', 'both')
  await office.pass()
  t.strictSame(
    [one.heard, two.heard],
    [
      ['a', 'both'],
      ['b', 'both'],
    ],
  )
  t.match(await one.get(one.client.publish('/b', 'from one')), { successful: true })
  t.strictSame(two.heard.at(-1), 'from one')
  t.strictSame(office.page.left, { alarms: 1, requests: 0, listeners: 1, sockets: 1 })
  t.strictSame(one.page.urls, [], 'the tabs themselves open nothing')
})

t.test('the server is told when the last tab gives a channel up; the session ends with the last tab', async t => {
  const office = new Office(t)
  const one = office.tab()
  const two = office.tab()
  const subscription = one.client.subscribe('/a', ({ data }) => one.heard.push(data))
  await one.up()
  await two.up('/a')
  t.equal(await one.get(subscription.unsubscribe()), undefined)
  t.strictSame(office.stats, { sessions: 1, subscriptions: 1 })
  office.publish('/a', 1)
  await office.pass()
  t.strictSame([one.heard, two.heard], [[], [1]])
  t.equal(await two.get(two.client.close()), undefined)
  t.strictSame(office.stats, { sessions: 1, subscriptions: 0 })
  t.equal(one.client.state, 'connected')
  t.strictSame(two.states.slice(-2), ['closing', 'closed'])
  const last = one.client.publish('/x', 1)
  t.equal(await one.get(one.client.close()), undefined)
  t.match(await one.get(last), { successful: true }, 'what was sent before is waited for')
  t.strictSame(office.stats, { sessions: 0, subscriptions: 0 })
  for (const page of [office.page, one.page, two.page]) t.strictSame(page.left, NOTHING_LEFT)
})

t.test('a tab that finds a worker whose session has ended begins another, and is not told of that end', async t => {
  const office = new Office(t)
  const one = await office.tab().up()
  await one.get(one.client.close())
  const two = await office.tab().up('/a')
  t.strictSame(two.states, ['connecting', 'connected'])
  t.strictSame(two.errors, [])
  t.strictSame(office.stats, { sessions: 1, subscriptions: 1 })
})

t.test('two tabs that close at once do not wait for each other', async t => {
  const office = new Office(t)
  const one = await office.tab().up('/a')
  const two = await office.tab().up('/a')
  office.page.answer = messages => (messages.some(({ channel }) => channel === '/slow') ? 'silence' : undefined)
  const slow = one.get(one.client.publish('/slow', 1), 0)
  const closed = Promise.all([one.client.close(), two.client.close()])
  t.match(await one.get(closed, 1_000), [undefined, undefined])
  await slow
  t.strictSame(office.stats, { sessions: 0, subscriptions: 0 })
  t.strictSame(office.page.left, NOTHING_LEFT)
})

t.test('a tab connects again after it has closed, also as the last one', async t => {
  const office = new Office(t)
  const one = await office.tab().up('/a')
  const two = await office.tab().up()
  t.equal(await one.get(one.client.close()), undefined)
  t.equal(await one.get(one.client.publish('/a', 1)), 'CLOSED')
  await one.up('/a')
  t.equal(one.client.state, 'connected')
  office.publish('/a', 1)
  await office.pass()
  t.strictSame(one.heard, [1])
  await one.get(Promise.all([one.client.close(), two.client.close()]))
  await two.up('/b')
  t.equal(two.client.state, 'connected')
  office.publish('/b', 2)
  await office.pass()
  t.strictSame(two.heard, [2])
})

t.test('a tab that comes while the session of the last one ends gets the next', async t => {
  const office = new Office(t)
  const old = await office.tab().up('/a')
  const first = old.client.clientId
  office.page.answer = messages => (messages.some(({ channel }) => channel === '/meta/disconnect') ? 'silence' : undefined)
  old.page.tell('leave')
  await office.pass(20)
  const next = office.tab()
  const subscription = next.client.subscribe('/b', ({ data }) => next.heard.push(data))
  const connected = next.client.connect()
  t.equal(await next.get(connected, 11_000), undefined)
  t.equal(await next.get(subscription.ready.then(() => 'taken')), 'taken')
  t.not(next.client.clientId, first)
  office.publish('/b', 1)
  await office.pass()
  t.strictSame(next.heard, [1])
  t.strictSame(next.errors, [])
})

t.test(
  'a tab that is gone without a word is noticed by its lock, or by the page that leaves; one that comes back is back',
  async t => {
    const office = new Office(t)
    const one = await office.tab().up('/a', '/b')
    const two = await office.tab().up('/b')
    one.page.tell('leave')
    await office.pass()
    t.strictSame(office.stats, { sessions: 1, subscriptions: 1 })
    one.page.tell('back')
    await office.pass()
    t.strictSame(office.stats, { sessions: 1, subscriptions: 2 })
    office.publish('/a', 1)
    await office.pass()
    t.strictSame(one.heard, [1])
    one.page.tell('leave')
    two.page.tell('leave')
    await office.pass()
    t.strictSame(office.stats, { sessions: 0, subscriptions: 0 })
    one.page.tell('back')
    await office.pass()
    t.equal(one.client.state, 'connected', 'in a new session')
    office.publish('/a', 2)
    await office.pass()
    t.strictSame(one.heard, [1, 2])
  },
)

t.test('what a tab missed, or asks for of the past, comes to it alone, and once', async t => {
  const office = new Office(t)
  const one = await office.tab().up('/kept/a')
  const two = await office.tab().up('/kept/a')
  office.publish('/kept/a', 1)
  await office.pass()
  one.page.tell('leave')
  await office.pass()
  office.publish('/kept/a', 2)
  await office.pass()
  t.strictSame([one.heard, two.heard], [[1], [1, 2]])
  one.page.tell('back')
  await office.pass()
  office.publish('/kept/a', 3)
  await office.pass()
  t.strictSame(
    [one.heard, two.heard],
    [
      [1, 2, 3],
      [1, 2, 3],
    ],
  )
  const three = await office.tab().up()
  three.client.subscribe('/kept/a', ({ data }) => three.heard.push(data), { from: 'all' })
  await office.pass()
  t.strictSame(
    [one.heard, two.heard, three.heard],
    [
      [1, 2, 3],
      [1, 2, 3],
      [1, 2, 3],
    ],
  )
  for (const tab of [one, two, three]) tab.page.tell('leave')
  await office.pass()
  office.publish('/kept/a', 4)
  t.strictSame(office.stats, { sessions: 0, subscriptions: 0 })
  two.page.tell('back')
  await office.pass()
  t.strictSame(two.heard, [1, 2, 3, 4], 'also in another session')
})

t.test('what a tab wants of the past is not heard by one that began later, nor lost by one that is behind', async t => {
  const office = new Office(t)
  office.publish('/kept/a', 1)
  const one = await office.tab().up('/kept/a')
  await office.pass()
  const two = await office.tab().up()
  two.client.subscribe('/kept/a', ({ data }) => two.heard.push(data), { from: 'all' })
  await office.pass()
  office.publish('/kept/a', 2)
  await office.pass()
  t.strictSame([one.heard, two.heard], [[2], [1, 2]])
  const three = await office.tab().up('/kept/a') // has heard nothing, so has no place by a message
  await office.pass()
  one.page.tell('leave')
  await office.pass()
  office.publish('/kept/a', 3)
  for (const tab of [two, three]) tab.page.tell('leave')
  await office.pass()
  t.strictSame(office.stats, { sessions: 0, subscriptions: 0 })
  office.publish('/kept/a', 4)
  for (const tab of [one, two, three]) tab.page.tell('back')
  await office.pass()
  office.publish('/kept/a', 5)
  await office.pass()
  t.strictSame(
    [one.heard, two.heard, three.heard],
    [
      [2, 3, 4, 5],
      [1, 2, 3, 4, 5],
      [3, 4, 5],
    ],
    'all are back, in another session: each goes on where it was',
  )
})

t.test('each tab gets what is retained', async t => {
  const office = new Office(t)
  office.publish('/state/a', 1)
  const one = await office.tab().up('/state/a')
  await office.pass()
  const two = await office.tab().up('/state/a')
  await office.pass()
  t.strictSame([one.heard.at(-1), two.heard], [1, [1]])
})

/** Locks as the browser has them, for tabs that can be killed. */
class Locks {
  readonly held = new Map<string, () => void>()
  readonly #queue = new Map<string, (() => void)[]>()
  async request(name: string, run: () => unknown): Promise<void> {
    if (this.held.has(name)) {
      const free = new Promise<void>(resolve => this.#queue.set(name, [...(this.#queue.get(name) ?? []), resolve]))
      await free
    }
    this.held.set(name, () => {
      this.held.delete(name)
      for (const go of this.#queue.get(name) ?? []) go()
    })
    await run()
  }
}

t.test('with locks: the worker hears of a tab that crashed', async t => {
  const locks = new Locks()
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator')
  Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { locks } })
  t.teardown(() => {
    if (before === undefined) Reflect.deleteProperty(globalThis, 'navigator')
    else Object.defineProperty(globalThis, 'navigator', before)
  })
  const office = new Office(t)
  const one = office.tab({ token: () => 'mine' })
  void one.client.connect() // before the lock is there
  await one.up('/a')
  t.match(office.sent('/meta/handshake'), [{ ext: { token: 'mine' } }], 'its token is known from the first word on')
  const two = office.tab()
  await two.up('/b')
  t.strictSame(office.stats, { sessions: 1, subscriptions: 2 })
  locks.held.get('perihelion 0.2')?.()
  await office.pass()
  t.strictSame(office.stats, { sessions: 1, subscriptions: 1 })
  locks.held.get('perihelion 0.4')?.()
  await office.pass()
  t.strictSame(office.stats, { sessions: 0, subscriptions: 0 })
  Object.assign(locks, { request: () => Promise.reject(new Error('forbidden')) })
  await office.tab().up('/c')
  t.strictSame(office.stats, { sessions: 1, subscriptions: 1 }, 'without a lock it works too')
})

t.test('the token is the newest tab’s; one that cannot be had is a failure and asked for again', async t => {
  const office = new Office(t)
  const one = await office.tab({ token: 'fixed' }).up()
  t.match(office.sent('/meta/handshake').at(-1), { ext: { token: 'fixed' } })
  let asked = 0
  const two = office.tab({
    token: async () => {
      if (++asked === 1) throw new Error('logged out')
      return 'fresh'
    },
  })
  await two.up()
  for (const session of office.world.engine.server.sessions()) office.world.engine.server.expire(session, office.world.now)
  await office.pass(40_000)
  t.match(office.sent('/meta/handshake').at(-1), { ext: { token: 'fresh' } })
  t.ok(
    office.sent('/meta/handshake').every(({ ext }) => (ext as { token?: string }).token !== undefined),
    'none without',
  )
  for (const tab of [one, two]) {
    t.equal(tab.client.state, 'connected')
    t.match(tab.errors.slice(-2), [/^SESSION_LOST/, 'CONNECTION_FAILED: Error: logged out'])
  }
})

t.test('what goes wrong is told to every tab, with its reason', async t => {
  const office = new Office(t)
  const refusal = { successful: false, error: '403::handshake_denied', advice: { reconnect: 'none' } }
  office.page.answer = ([message]) => [{ ...refusal, channel: message!['channel'], id: message!['id'] }]
  const one = office.tab()
  const two = office.tab()
  t.strictSame(
    [await Promise.all([one.get(one.client.connect(), 1_000), two.get(two.client.connect(), 1_000)]), two.client.state],
    [['REFUSED', 'REFUSED'], 'closed'],
  )
  t.strictSame(one.errors, ['REFUSED: 403::handshake_denied'])
  office.page.answer = () => undefined
  await one.up('/a')
  await two.up('/a')
  office.page.answer = messages =>
    messages.some(({ channel }) => channel === '/meta/subscribe')
      ? messages.map(({ channel, id }) => ({ channel, id, successful: false, error: '403:no:subscribe_denied' }))
      : undefined
  const refused = one.client.subscribe('/no', () => {})
  t.equal(await one.get(refused.ready), 'REFUSED')
  for (const session of office.world.engine.server.sessions()) office.world.engine.server.expire(session, office.world.now)
  await office.pass(40_000)
  for (const tab of [one, two]) t.equal(tab.errors.at(-1), 'REFUSED: 403:no:subscribe_denied')
  office.page.answer = () => undefined
  for (const session of office.world.engine.server.sessions()) office.world.engine.server.disconnect(session, office.world.now)
  await office.pass()
  for (const tab of [one, two]) t.equal(tab.client.state, 'closed')
  t.equal(await one.get(one.client.publish('/a', 1)), 'CLOSED')
})

t.test('batches, calls, service channels, extensions and limits are as without a worker', async t => {
  const office = new Office(t, { maxQueue: 2 })
  const tab = office.tab()
  tab.client.registerExtension('mine', {
    outgoing: message => ({ ...message, ext: { mine: 1 } }),
    incoming: message => (message['data'] === 'drop' ? null : message['data'] === 'no message' ? { data: 1 } : message),
  })
  const news = tab.client.subscribe('/service/news', ({ data }) => tab.heard.push(data))
  t.equal(await tab.get(news.ready), undefined)
  const published = [1, 2, 3].map(data => tab.client.publish('/x', data))
  t.equal(await tab.get(published[2]!), 'OUTBOX_FULL')
  await tab.up()
  t.match(office.sent('/x'), [{ data: 1, ext: { mine: 1 } }, { data: 2 }])
  office.page.log()
  tab.client.batch(() => {
    void tab.client.publish('/x', 1)
    tab.client.batch(() => void tab.client.publish('/x', 2))
  })
  tab.client.batch(() => {})
  await office.pass()
  t.strictSame(office.page.log(), ['websocket /x /x'])
  office.world.engine.server.extend({
    incoming: (session, { channel, id, data }) => {
      if (channel === '/service/echo')
        office.world.engine.server.deliver(session!, channel, data, { id } as never, office.world.now)
      return true
    },
  })
  t.equal(await tab.get(tab.client.call('/echo', 'hello')), 'hello')
  for (const session of office.world.engine.server.sessions())
    for (const data of ['drop', 'no message', 'news'])
      office.world.engine.server.deliver(session, '/service/news', data, {}, office.world.now)
  await office.pass()
  t.strictSame(tab.heard, ['news'])
  t.ok(tab.client.serverTime() > 0)
  t.match(await tab.get(office.tab().client.publish('/x', 1n)), /TypeError/)
  t.match(await tab.get(tab.client.publish('x', 1)), /TypeError/)
  t.throws(() => tab.client.subscribe('x'), TypeError)
  t.equal(await tab.get(tab.client.close()), undefined)
})

t.test('what wakes a tab proves the connection of all', async t => {
  const office = new Office(t)
  const tab = await office.tab().up()
  office.page.log()
  tab.page.tell('wake')
  await office.pass()
  t.strictSame(office.page.log(), ['websocket /meta/connect', 'websocket /meta/connect'], 'the proof, and the one that is held')
})

for (const how of ['says nothing', 'cannot be loaded'] as const) {
  t.test(`where the worker ${how} the tab has a session of its own, and loses nothing that was asked before`, async t => {
    const office = new Office(t)
    const tab = office.tab({}, false)
    const published = tab.client.publish('/x', 1)
    tab.client.batch(() => {
      void tab.client.publish('/x', 2)
      void tab.client.publish('/x', 3)
    })
    const given = tab.client.subscribe('/y')
    const connected = tab.client.connect()
    tab.client.subscribe('/a', ({ data }) => tab.heard.push(data))
    void given.unsubscribe()
    if (how === 'cannot be loaded') tab.worker.onerror?.()
    else t.equal(await tab.get(connected, 4_800), 'still waiting')
    t.equal(await tab.get(connected, 1_000), undefined)
    tab.worker.onerror?.()
    t.match(await tab.get(published), { successful: true })
    t.equal(tab.client.transport, 'websocket')
    office.publish('/a', 1)
    await office.pass()
    t.strictSame(tab.heard, [1])
    t.strictSame(office.stats, { sessions: 1, subscriptions: 1 })
    tab.page.tell('wake')
    t.match(await tab.get(tab.client.publish('/x', 4)), { successful: true })
    t.match(await tab.get(tab.client.call('/nobody', 1), 25_000), 'TIMEOUT')
    t.strictSame(tab.page.left, { alarms: 1, requests: 0, listeners: 1, sockets: 1 })
    t.equal(await tab.get(tab.client.close()), undefined)
    t.strictSame(tab.page.left, NOTHING_LEFT)
    await tab.up('/a')
    t.equal(tab.client.state, 'connected', 'and again')
    t.equal(await tab.get(tab.client.close()), undefined)
    t.strictSame(tab.page.left, NOTHING_LEFT)
  })
}

t.test('a tab that closes before the worker has spoken is closed all the same', async t => {
  const office = new Office(t)
  const tab = office.tab({ maxQueue: 1 }, false)
  for (const data of [1, 2]) tab.client.publish('/x', data).catch(() => {})
  tab.client.connect().catch(() => {})
  t.equal(await tab.get(tab.client.close(), 6_000), undefined)
  t.strictSame(tab.page.left, NOTHING_LEFT)
  t.strictSame(office.stats, { sessions: 0, subscriptions: 0 })
})

t.test('a worker that does not say that a tab has left is not waited for', async t => {
  const office = new Office(t)
  const tab = await office.tab().up('/a')
  const [, port] = office.ports
  port!.onmessage = null
  t.equal(await tab.get(tab.client.close(), 4_900), 'still waiting')
  await office.pass(200)
  t.equal(tab.client.state, 'closed')
  t.strictSame(tab.page.left, NOTHING_LEFT)
})
