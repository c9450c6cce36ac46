// A client's session over the transports that it has: which one carries it, when, and what is left of it in the end.

import t, { type Test } from 'tap'
import { clientDefaults } from '../../../bayeux/client-sink.js'
import type { LineEvents, Settings, TokenSource } from '../../../lib/client/line.js'
import { Link, markOf } from '../../../lib/client/link.js'
import { NOTHING_LEFT, Page } from '../../support/page.js'
import { turn, World } from '../../support/world.js'

const URL = 'http://server/cometd'
const DEFAULTS: Settings = {
  ...clientDefaults,
  url: URL,
  transports: ['websocket', 'long-polling'],
  protocols: [],
  headers: {},
  openTimeout: 4_000,
  upgradeBase: 10_000,
  upgradeMax: 300_000,
  lasting: true,
  reload: true,
}

/** A link in a page, and all that it told. */
class Rig {
  readonly world: World
  readonly page: Page
  readonly link: Link
  readonly seen: string[] = []
  readonly #on: LineEvents = {
    message: message => this.seen.push(`message ${message['data']}`),
    reply: () => {},
    settled: (id, code) => this.seen.push(`settled ${id} ${code}`),
    unrestored: channel => this.seen.push(`unrestored ${channel}`),
    failure: (code, detail) => this.seen.push(`failure ${code} ${detail}`),
    state: (state, ...why) => {
      this.seen.push(['state', state, this.link.transport, ...why].join(' ').trim())
      if (state === 'closed') this.seen.push(`left ${JSON.stringify(this.page.left) === JSON.stringify(NOTHING_LEFT)}`)
    },
    resumed: subscriptions => this.seen.push(`resumed ${subscriptions}`),
    outgoing: () => {},
    incoming: message => message,
  }
  constructor(settings: Partial<Settings> = {}, token?: TokenSource, page?: Page) {
    this.world = page?.world ?? new World(1, { timeout: 30_000, maxInterval: 120_000, trustClientSession: true })
    this.page = page ?? new Page(this.world)
    this.link = new Link({ ...DEFAULTS, ...settings }, token, this.page, this.#on)
  }
  async up(): Promise<this> {
    this.link.start()
    this.link.subscribe('/a')
    await this.world.pass(500)
    this.events()
    this.page.log()
    return this
  }
  publish(data: unknown): void {
    this.world.engine.server.publish('/a', data, {}, null, this.world.now)
  }
  /** What was told since the last look; only what begins with one of these words. */
  events(...words: string[]): string[] {
    const seen = this.seen.splice(0)
    return words.length === 0 ? seen : seen.filter(event => words.some(word => event.startsWith(word)))
  }
  async closed(t: Test): Promise<void> {
    this.link.disconnect()
    await this.world.pass(20_000)
    t.equal(this.link.state, 'closed')
    t.strictSame(this.page.left, NOTHING_LEFT, 'nothing is left')
    t.strictSame(this.world.faults, [])
  }
}

t.test('a session goes over one WebSocket, with one alarm; when closed is told, nothing is left', async t => {
  const rig = new Rig()
  rig.link.publish('/a', 'early')
  rig.link.start()
  rig.link.start()
  await rig.world.pass(500)
  t.strictSame(rig.events('state'), ['state handshaking websocket', 'state connecting websocket', 'state connected websocket'])
  t.strictSame(rig.page.log(), [
    'websocket /meta/handshake',
    'websocket /a',
    'websocket /meta/connect',
    'websocket /meta/connect',
  ])
  t.strictSame(rig.page.left, { alarms: 1, requests: 0, listeners: 1, sockets: 1 })
  t.strictSame(rig.page.urls, ['ws://server/cometd'])
  rig.link.subscribe('/a')
  rig.publish(1)
  await rig.world.pass(100)
  rig.publish(2)
  await rig.world.pass(100)
  t.strictSame(rig.events('message'), ['message 2'])
  rig.link.disconnect()
  await rig.world.pass(100)
  t.strictSame(rig.events(), ['state disconnecting websocket', 'state closed websocket DISCONNECTED', 'left true'])
  rig.link.publish('/a', 'late')
  await rig.closed(t)
})

for (const [sockets, wait, why] of [
  ['refused', 0, 'WebSocket failed'],
  ['forbidden', 0, 'Error: WebSockets are forbidden here'],
  ['hangs', 4_000, 'the WebSocket is mute'],
  ['mute', 4_001, 'the WebSocket is mute'],
] as const) {
  t.test(
    `a WebSocket (${sockets}) gives way to long-polling after ${wait} ms, and is tried again less and less often`,
    async t => {
      const rig = new Rig({ upgradeMax: 70_000 })
      rig.page.sockets = sockets
      rig.link.start()
      rig.link.subscribe('/a')
      if (wait > 0) await rig.world.pass(wait - 1)
      t.equal(rig.link.transport, 'websocket', 'until then')
      await rig.world.pass(50)
      t.strictSame(rig.events('failure', 'state'), [
        'state handshaking websocket',
        `failure CONNECTION_FAILED ${why}`,
        'state connecting long-polling',
        'state connected long-polling',
      ])
      rig.publish(1)
      await rig.world.pass(10)
      t.strictSame(rig.events('message', 'failure'), ['message 1'], 'as good as any')
      const tries: number[] = []
      const from = rig.world.now
      for (let seen = rig.page.urls.length, at = 0; at < 260_000; at += 500) {
        await rig.world.pass(500)
        const sockets = rig.page.urls.slice(seen).filter(url => url.startsWith('ws')).length
        seen = rig.page.urls.length
        if (sockets > 0) tries.push(Math.round((rig.world.now - from) / 10_000))
      }
      if (wait === 0) t.strictSame(tries, [1, 3, 7, 14, 21])
      t.ok(tries.length >= 4 && tries.length <= 5, `${tries}`)
      const moves = tries.flatMap(() => [
        'state broken websocket',
        `failure CONNECTION_FAILED ${why}`,
        'state connected long-polling',
      ])
      t.strictSame(rig.events('failure', 'state'), sockets === 'mute' ? moves : [], 'noticed only where it seemed to open')
      await rig.closed(t)
    },
  )
}

t.test('the way back: a socket beside long-polling, which the session moves to in a quiet moment, losing nothing', async t => {
  const rig = new Rig()
  rig.page.sockets = 'refused'
  await rig.up()
  const { clientId } = rig.link
  rig.page.sockets = 'open'
  for (let i = 0; i < 200; i++) {
    rig.publish(i)
    if (i % 10 === 0) rig.link.publish('/b', i)
    await rig.world.pass(100)
  }
  t.equal(rig.link.transport, 'websocket')
  t.equal(rig.link.clientId, clientId, 'the same session')
  const events = rig.events()
  t.strictSame(
    events.filter(event => event.startsWith('message')),
    Array.from({ length: 200 }, (_, i) => `message ${i}`),
  )
  t.strictSame(
    events.filter(event => /^(?:failure|state)/.test(event)),
    ['state connected websocket'],
  )
  t.equal(events.filter(event => /^settled \d+ null$/.test(event)).length, 20)
  t.equal(rig.page.left.sockets, 1)
  await rig.world.pass(100_000)
  t.equal(rig.page.made.length, 2, 'and no more is tried')
  await rig.closed(t)
})

t.test('a spare socket that is lost before its quiet moment, or does not open in time, changes nothing', async t => {
  const rig = new Rig()
  rig.page.sockets = 'refused'
  await rig.up()
  rig.page.sockets = 'open'
  await rig.world.pass(10_000)
  t.equal(rig.page.open.length, 1, 'it is there, but a connect is held')
  rig.page.open[0]?.bare({ text: '[{"channel":"/a","data":"from nowhere"}]' })
  await rig.world.pass(10)
  rig.page.open[0]?.end()
  rig.page.sockets = 'hangs'
  await rig.world.pass(21_000)
  t.equal(rig.page.open.length, 1, 'the next')
  await rig.world.pass(4_000)
  t.equal(rig.page.open.length, 0)
  rig.publish(1)
  await rig.world.pass(10)
  t.equal(rig.link.transport, 'long-polling')
  t.strictSame(rig.events('message', 'failure', 'state'), ['message 1'])
  rig.page.sockets = 'open'
  await rig.world.pass(90_000)
  t.equal(rig.link.transport, 'websocket')
  await rig.closed(t)
})

t.test('a spare socket carries the next try when the connection breaks', async t => {
  const rig = new Rig()
  rig.page.sockets = 'refused'
  await rig.up()
  rig.page.sockets = 'open'
  rig.page.jitter = 0.999
  await rig.world.pass(16_000)
  rig.page.http = 'down'
  rig.link.publish('/b', 1)
  await rig.world.pass(20_000)
  t.equal(rig.link.transport, 'websocket')
  t.equal(rig.link.state, 'connected')
  t.equal(rig.page.made.length, 2)
  await rig.closed(t)
})

t.test(
  'no alarm is set for longer than ten seconds, whatever the options and the advice: timers cannot count for ever',
  async t => {
    const rig = new Rig({
      openTimeout: 2 ** 40,
      replyTimeout: 2 ** 40,
      callTimeout: 2 ** 40,
      upgradeBase: 2 ** 40,
      upgradeMax: 2 ** 45,
    })
    const lengths: number[] = []
    const { after } = rig.page
    rig.page.after = (ms, ring) => {
      lengths.push(ms)
      return after.call(rig.page, ms, ring)
    }
    rig.page.bend = text => [text.replace(/"interval":0/, '"interval":1e300')]
    rig.page.sockets = 'refused'
    await rig.up()
    await rig.world.pass(100_000)
    t.ok(lengths.length > 10 && lengths.every(ms => ms >= 0 && ms <= 10_000), `${lengths}`)
  },
)

t.test('a socket that cannot send any more breaks nothing: it tells its end itself', async t => {
  const rig = await new Rig({ lasting: false }).up()
  const [socket] = rig.page.open
  socket!.send = () => {
    throw new Error('closing')
  }
  const id = rig.link.publish('/b', 1)
  await rig.world.pass(10)
  t.strictSame(rig.events(), [])
  socket?.end()
  await rig.world.pass(2_000)
  t.strictSame(rig.events('settled'), [`settled ${id} CONNECTION_FAILED`])
  t.equal(rig.link.state, 'connected')
  await rig.closed(t)
})

t.test('a spare socket goes with the session', async t => {
  const rig = new Rig()
  rig.page.sockets = 'refused'
  await rig.up()
  rig.page.sockets = 'open'
  await rig.world.pass(15_000)
  t.equal(rig.page.open.length, 1)
  await rig.closed(t)
})

t.test(
  'a WebSocket that worked and breaks is opened again, with the same session; long-polling only if it does not open twice',
  async t => {
    const rig = await new Rig().up()
    const { clientId } = rig.link
    rig.page.open[0]?.end()
    rig.link.publish('/b', 1)
    rig.publish(1)
    await rig.world.pass(2_000)
    t.match(rig.events(), [
      'state broken websocket',
      /^failure CONNECTION_FAILED/,
      'message 1',
      'state connected websocket',
      /^settled \d+ null$/,
    ])
    t.equal(rig.link.clientId, clientId)
    rig.page.sockets = 'refused'
    const tried = rig.page.urls.length
    rig.page.open[0]?.end()
    await rig.world.pass(6_000)
    t.equal(rig.link.transport, 'long-polling')
    t.strictSame(
      rig.page.urls.slice(tried, tried + 3).map(url => url.slice(0, 2)),
      ['ws', 'ws', 'ht'],
    )
    t.equal(rig.link.clientId, clientId)
    await rig.closed(t)
  },
)

t.test('while nothing works, WebSocket and long-polling are tried by turns', async t => {
  const rig = new Rig()
  rig.page.sockets = 'refused'
  rig.page.http = 'down'
  rig.link.start()
  await rig.world.pass(60_000)
  const tried = rig.page.urls.map(url => url.slice(0, 2))
  t.strictSame(tried.slice(0, 6), ['ws', 'ht', 'ws', 'ht', 'ws', 'ht'])
  t.ok(tried.length < 40, `${tried.length} tries a minute`)
  rig.page.sockets = 'open'
  await rig.world.pass(60_000)
  t.equal(rig.link.transport, 'websocket')
  await rig.closed(t)
})

t.test('where there is WebSocket alone, it is tried again with a backoff; where there is none, it is not missed', async t => {
  const alone = new Rig({ transports: ['websocket'], connectionTypes: ['websocket'] })
  alone.page.sockets = 'refused'
  alone.link.start()
  await alone.world.pass(30_000)
  t.equal(alone.link.transport, 'websocket')
  t.ok(alone.page.made.length > 3 && alone.page.made.length < 10, `${alone.page.made.length} tries`)
  alone.page.sockets = 'open'
  await alone.world.pass(60_000)
  t.equal(alone.link.state, 'connected')
  await alone.closed(t)
  for (const transports of [['long-polling'], ['websocket', 'long-polling']] as const) {
    const page = new Page(new World(1))
    if (transports.length > 1) Object.assign(page, { openSocket: null })
    const rig = await new Rig({ transports, connectionTypes: transports }, undefined, page).up()
    t.equal(rig.link.transport, 'long-polling')
    await rig.world.pass(400_000)
    t.equal(rig.page.made.length, 0)
    await rig.closed(t)
  }
  const none = new Page(new World(1))
  Object.assign(none, { openSocket: null })
  t.throws(() => new Rig({ transports: ['websocket'] }, undefined, none), TypeError)
  t.end()
})

t.test('a server that does not list websocket is spoken to over long-polling, though it opened a socket', async t => {
  const rig = new Rig()
  rig.page.bend = text => [text.replace('"websocket",', '')]
  await rig.up()
  t.equal(rig.link.state, 'connected')
  t.equal(rig.link.transport, 'long-polling')
  await rig.world.pass(400_000)
  t.equal(rig.page.made.length, 1)
  await rig.closed(t)
  const only = new Rig({ transports: ['websocket'], connectionTypes: ['websocket'] })
  only.page.bend = text => [text.replace('"websocket",', '')]
  only.link.start()
  await only.world.pass(1_000)
  t.match(only.events('state').at(-1), 'state closed websocket TYPE_UNSUPPORTED')
  t.end()
})

t.test('a token goes with each handshake; a function is asked anew for each', async t => {
  const tokens = (rig: Rig) =>
    rig.page.sent
      .flatMap(({ messages }) => messages)
      .filter(({ channel }) => channel === '/meta/handshake')
      .map(({ ext }) => (ext as { token?: string }).token)
  let asked = 0
  const sources: [source: TokenSource, tokens: unknown[]][] = [
    ['fixed', ['fixed', 'fixed']],
    [() => `token ${++asked}`, ['token 1', 'token 2']],
    [async () => `token ${++asked}`, ['token 1', 'token 2']],
    [() => null, [undefined, undefined]],
  ]
  for (const [source, expected] of sources) {
    for (const sockets of ['open', 'refused'] as const) {
      asked = 0
      const rig = new Rig({}, source)
      rig.page.sockets = sockets
      rig.link.start()
      await rig.world.pass(500)
      for (const session of rig.world.engine.server.sessions()) rig.world.engine.server.expire(session, rig.world.now)
      await rig.world.pass(40_000)
      t.strictSame(tokens(rig), expected, `${sockets}: ${source}`)
      t.match(rig.page.sent[0]?.messages[0], { ext: { ack: true } }, 'beside other extensions')
      await rig.closed(t)
    }
  }
  t.end()
})

t.test('a token that cannot be had is a failure and a retry with a backoff; one that comes too late is not sent', async t => {
  let asked = 0
  const rig = new Rig({}, () => {
    asked++
    if (asked === 1) throw new Error('logged out')
    if (asked === 2) return Promise.reject(new Error('no network'))
    if (asked === 3) return new Promise(resolve => late.push(resolve))
    return 'good'
  })
  const late: ((token: string) => void)[] = []
  rig.link.start()
  await rig.world.pass(5_000)
  t.equal(asked, 3)
  t.strictSame(rig.events('failure'), [
    'failure CONNECTION_FAILED Error: logged out',
    'failure CONNECTION_FAILED Error: no network',
  ])
  t.strictSame(rig.page.sent, [])
  await rig.world.pass(30_000)
  late[0]?.('late')
  await rig.world.pass(100)
  t.match(rig.events('failure'), [/mute|TIMEOUT/])
  t.equal(rig.link.state, 'connected')
  t.equal(rig.page.sent.filter(({ messages }) => messages[0]?.['channel'] === '/meta/handshake').length, 1)
  await rig.closed(t)
})

t.test('closing while the token is awaited sends nothing any more', async t => {
  const late: ((token: string) => void)[] = []
  for (const end of ['resolve', 'reject'] as const) {
    const rig = new Rig(
      {},
      () => new Promise((resolve, reject) => late.push(end === 'resolve' ? resolve : () => reject(new Error('late')))),
    )
    rig.page.sockets = 'refused'
    rig.link.start()
    await rig.world.pass(100)
    rig.link.disconnect()
    rig.events()
    late.pop()?.('late')
    await rig.world.pass(100)
    t.strictSame([rig.page.sent, rig.events()], [[], []])
    await rig.closed(t)
  }
  t.end()
})

t.test('an alarm that rings late has slept: the connection is proved, and a dead one found out in 4 s', async t => {
  for (const [asleep, proved] of [
    [2_000, 0],
    [8_000, 2],
  ] as const) {
    const rig = await new Rig().up()
    rig.page.sleep(10_000 + asleep)
    await rig.world.pass(100)
    t.equal(rig.page.log().length, proved, `${asleep} ms late`) // the proof, and the connect that is held after it
    t.equal(rig.link.state, 'connected')
    rig.page.open[0]!.send = () => {}
    rig.page.sleep(18_000)
    await rig.world.pass(4_100)
    t.strictSame(rig.events('failure'), ['failure TIMEOUT '])
    await rig.world.pass(3_000)
    t.equal(rig.link.state, 'connected', 'and replaced')
    await rig.closed(t)
  }
  t.end()
})

t.test('what wakes the page ends the backoff, and brings the next try of a WebSocket forward', async t => {
  const rig = new Rig()
  rig.page.http = 'down'
  rig.page.sockets = 'refused'
  rig.link.start()
  await rig.world.pass(200_000)
  t.ok(rig.events('failure').length > 5)
  rig.page.http = 'up'
  const wait = rig.world.now
  rig.page.tell('wake')
  await rig.world.pass(2_500)
  t.equal(rig.link.state, 'connected', `after ${rig.world.now - wait} ms`)
  rig.page.sockets = 'open'
  rig.page.tell('wake')
  await rig.world.pass(10)
  t.equal(rig.page.open.length, 1)
  await rig.closed(t)
})

t.test('a page that is loaded again goes on with its session', async t => {
  const { page, ...old } = await new Rig({}, 'token').up()
  const { world } = page
  old.link.publish('/b', 'in flight')
  page.tell('leave')
  for (const socket of page.open) socket.close()
  page.sent.splice(0)
  const next = new Page(world)
  Object.assign(next, { storage: page.storage })
  world.engine.server.publish('/a', 'between', {}, null, world.now)
  const rig = new Rig({}, 'token', next)
  const { clientId } = old.link
  rig.link.start()
  t.equal(rig.link.clientId, clientId)
  await world.pass(500)
  t.strictSame(rig.events(), ['resumed /a', 'state connecting websocket', 'message between', 'state connected websocket'])
  t.strictSame(next.log(), ['websocket /meta/connect', 'websocket /meta/connect'])
  const copy = new Page(world)
  Object.assign(copy, { storage: page.storage })
  const other = await new Rig({}, 'token', copy).up()
  t.not(other.link.clientId, clientId, 'but no copy of it')
  await rig.closed(t)
})

t.test('what was kept of no use is as nothing: too old, broken, forbidden, not wanted, of a page that came back', async t => {
  const keep = async (page: Page): Promise<void> => {
    await new Rig({}, undefined, page).up()
    page.tell('leave')
  }
  const forbidden = () => {
    throw new Error('forbidden')
  }
  const key = `perihelion:${URL} ${markOf([undefined, {}])}`
  const rows: [why: string, settings: Partial<Settings>, act: (page: Page) => void][] = [
    ['older than a minute', {}, page => page.sleep(60_000)],
    ['not JSON', {}, page => page.storage?.setItem(key, '{"clientId":')],
    ['null', {}, page => page.storage?.setItem(key, 'null')],
    ['a number', {}, page => page.storage?.setItem(key, '5')],
    ['without end', {}, page => page.storage?.setItem(key, '{"clientId":"x"}')],
    ['of another kind', {}, page => page.storage?.setItem(key, '{"until":9e15}')],
    ['of another kind', {}, page => page.storage?.setItem(key, '{"until":9e15,"clientId":5,"subscriptions":7}')],
    ['not wanted', { reload: false }, () => {}],
    ['came back', {}, page => page.tell('back')],
    ['forbidden', {}, page => Object.assign(page.storage!, { getItem: forbidden, removeItem: forbidden })],
    ['none', {}, page => Object.assign(page, { storage: null })],
  ]
  for (const [why, settings, act] of rows) {
    const page = new Page(new World(1))
    await keep(page)
    t.match(JSON.parse(page.storage?.getItem(key) ?? 'null'), { subscriptions: ['/a'], until: page.now() + 60_000 })
    act(page)
    const rig = new Rig(settings, undefined, page)
    rig.link.start()
    await rig.world.pass(500)
    t.strictSame(rig.events('resumed', 'failure'), [], why)
    t.equal(rig.link.state, 'connected', why)
  }
  const full = new Page(new World(1))
  Object.assign(full.storage!, { setItem: forbidden })
  await keep(full)
  const off = await new Rig({ reload: false }).up()
  off.page.tell('leave')
  t.equal(off.page.storage?.getItem(key), null)
  t.end()
})

t.test('a reload keeps no session for another user', async t => {
  for (const [before, after] of [
    ['mine', 'another'],
    ['mine', undefined],
    [() => 'mine', () => 'mine'],
  ] as const) {
    const old = await new Rig({}, before).up()
    old.page.tell('leave')
    const next = new Page(old.world)
    Object.assign(next, { storage: old.page.storage })
    const rig = await new Rig({}, after, next).up()
    t.not(rig.link.clientId, old.link.clientId, `${before} ${after}`)
    t.equal(rig.link.state, 'connected')
  }
  const old = await new Rig({ headers: { Authorization: 'mine' } }).up()
  old.page.tell('leave')
  const next = new Page(old.world)
  Object.assign(next, { storage: old.page.storage })
  const rig = await new Rig({ headers: { Authorization: 'another' } }, undefined, next).up()
  t.not(rig.link.clientId, old.link.clientId, 'who is told by headers')
  t.end()
})

t.test('a socket that waits for the token is not mute', async t => {
  const rig = new Rig({}, () => new Promise(resolve => rig.world.plan(9_000, () => resolve('slow'))))
  rig.link.start()
  await rig.world.pass(9_500)
  t.strictSame(rig.events('failure'), [])
  t.strictSame([rig.link.state, rig.link.transport], ['connected', 'websocket'])
  await rig.closed(t)
})

t.test('what is no Bayeux is a failure with a code and a retry with a backoff; then the session goes on', async t => {
  const html = '<!doctype html><title>Sign in to the network</title>'
  const rows: [answer: object, failure: RegExp][] = [
    [{ text: html }, /^failure REPLY_INVALID <!doctype/],
    [{ text: '{}' }, /^failure REPLY_INVALID/],
    [{ text: '[]' }, /^failure REPLY_MISSING/],
    [[{ channel: '/meta/handshake', successful: true, clientId: 'x' }], /^failure REPLY_MISSING/],
    [{ status: 500, text: html }, /^failure CONNECTION_FAILED HTTP 500/],
    [{ status: 404 }, /^failure CONNECTION_FAILED HTTP 404/],
    [{ status: 204 }, /^failure CONNECTION_FAILED HTTP 204/],
  ]
  for (const [answer, failure] of rows) {
    const rig = new Rig({ transports: ['long-polling'], connectionTypes: ['long-polling'] })
    rig.page.answer = () => answer
    rig.link.start()
    await rig.world.pass(60_000)
    const failures = rig.events('failure')
    t.ok(failures.length > 3 && failures.length < 20, `${failures.length} tries a minute`)
    t.ok(
      failures.every(text => failure.test(text)),
      `${failure}`,
    )
    rig.page.answer = () => undefined
    await rig.world.pass(60_000)
    t.equal(rig.link.state, 'connected')
    rig.page.answer = () => answer
    await rig.world.pass(31_000)
    t.equal(rig.link.state, 'broken')
    rig.page.answer = () => undefined
    await rig.world.pass(60_000)
    t.equal(rig.link.state, 'connected')
    await rig.closed(t)
  }
  t.end()
})

t.test('a page that leaves says so with a request that outlives it', async t => {
  const rig = new Rig({ transports: ['long-polling'], connectionTypes: ['long-polling'], headers: { 'X-Mine': 'yes' } })
  await rig.up()
  rig.link.disconnect()
  await rig.world.pass(10)
  const { init } = rig.page.sent.at(-1)!
  t.match(init, { method: 'POST', keepalive: true, credentials: 'include', headers: { 'X-Mine': 'yes' } })
  await rig.closed(t)
})

t.test('a batch leaves in one envelope', async t => {
  const rig = await new Rig().up()
  rig.link.startBatch()
  rig.link.publish('/a', 1)
  rig.link.unsubscribe('/a')
  rig.link.call('x', 1)
  await turn()
  t.strictSame(rig.page.log(), [])
  rig.link.endBatch()
  await rig.world.pass(5)
  t.equal(rig.page.log()[0], 'websocket /a /meta/unsubscribe /service/x')
  await rig.closed(t)
})

t.test('a session that ended begins again, by the way that worked last', async t => {
  const rig = new Rig()
  rig.page.sockets = 'refused'
  await rig.up()
  await rig.closed(t)
  rig.link.start()
  await rig.world.pass(100)
  t.strictSame([rig.link.state, rig.link.transport], ['connected', 'long-polling'])
  rig.page.sockets = 'open'
  await rig.world.pass(90_000)
  t.equal(rig.link.transport, 'websocket')
  await rig.closed(t)
})

t.test('timesync: the offset of the clocks is known', async t => {
  const rig = new Rig()
  t.equal(rig.link.offset, null)
  rig.page.bend = text => [text.replace(/"ts":(\d+)/, (_, ts) => `"ts":${Number(ts) + 5_000}`)]
  rig.world.engine.server.extend({})
  await rig.up()
  t.ok(Math.abs((rig.link.offset ?? 0) - 5_000) < 3, `${rig.link.offset}`)
  await rig.closed(t)
})
