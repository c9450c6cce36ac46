// The client's API: what its promises, loops, callbacks and events do, against the real engine in a world of its own time.

import t, { type Test } from 'tap'
import { Client, type ClientExtension, type Options } from '../../../lib/client/client.js'
import type { Message } from '../../../lib/client/subscription.js'
import type { Surroundings } from '../../../lib/client/surroundings.js'
import { codeOf, outcome } from '../../support/outcome.js'
import { NOTHING_LEFT, Page } from '../../support/page.js'
import { turn, World } from '../../support/world.js'

type Json = Record<string, unknown>

/** A client in a page, and what it told. */
class Rig {
  readonly world: World
  readonly page: Page
  readonly client: Client
  readonly errors: string[] = []
  readonly states: string[] = []
  constructor(options: Options = {}, page?: Page) {
    this.world = page?.world ?? new World(1, { timeout: 30_000, maxInterval: 120_000, trustClientSession: true })
    this.page = page ?? new Page(this.world)
    this.client = new Client('http://server/cometd', options, this.page)
    this.client.on('error', ({ message }) => this.errors.push(message))
    this.client.on('state', ({ state }) => this.states.push(state))
  }
  async up(): Promise<this> {
    await this.get(this.client.connect())
    return this
  }
  get<T>(promise: Promise<T>, ms = 500): Promise<T | string> {
    return outcome(promise, () => this.world.pass(ms))
  }
  /** Whether the server takes a subscription; else the code of the error. */
  taken(subscription: { readonly ready: Promise<void> }, ms?: number): Promise<string> {
    return this.get(
      subscription.ready.then(() => 'taken'),
      ms,
    )
  }
  publish(channel: string, data: unknown, extra = {}): void {
    this.world.engine.server.publish(channel, data, extra, null, this.world.now)
  }
  /** Everything that a loop over a subscription gives, and how it ends. */
  loop(subscription: AsyncIterable<Message>): unknown[] {
    const seen: unknown[] = []
    const run = async (): Promise<void> => {
      for await (const { data } of subscription) seen.push(data)
      seen.push('end')
    }
    run().catch(error => seen.push(codeOf(error)))
    return seen
  }
  sent(channel: string): Json[] {
    return this.page.sent.flatMap(({ messages }) => messages).filter(message => message['channel'] === channel)
  }
  expire(): void {
    for (const session of this.world.engine.server.sessions()) this.world.engine.server.expire(session, this.world.now)
  }
  async closed(t: Test): Promise<void> {
    t.equal(await this.get(this.client.close(), 20_000), undefined, 'closed')
    t.equal(this.client.state, 'closed')
    t.strictSame(this.page.left, NOTHING_LEFT, 'nothing is left')
    t.strictSame(this.world.faults, [])
  }
}

const UNHANDLED: unknown[] = []
process.on('unhandledRejection', error => UNHANDLED.push(error))

t.test('connect is fulfilled when the session is up, and says so; close ends it and leaves nothing', async t => {
  const rig = new Rig()
  t.strictSame([rig.client.state, rig.client.transport, rig.client.clientId], ['closed', null, null])
  const promise = rig.client.connect()
  const again = rig.client.connect()
  t.strictSame([rig.client.state, rig.client.transport], ['connecting', 'websocket'])
  t.strictSame(await rig.get(Promise.all([promise, again])), [undefined, undefined], 'however often it is asked for')
  t.equal(await rig.get(rig.client.connect(), 0), undefined, 'when it is up already')
  t.type(rig.client.clientId, 'string')
  t.ok(Math.abs(rig.client.serverTime() - rig.world.now) < 50)
  await rig.closed(t)
  t.equal(await rig.get(rig.client.close(), 0), undefined, 'when it is closed already')
  t.strictSame(rig.states, ['connecting', 'connected', 'closing', 'closed'])
  t.equal(rig.client.clientId, null)
  t.equal(await rig.get(new Rig().client.close()), undefined, 'when it was never open')
  const never = new Rig()
  const waiting = [never.client.publish('/a', 1), never.client.subscribe('/a').ready]
  const settled = Promise.allSettled(waiting)
  t.equal(await never.get(never.client.close()), undefined)
  t.match(
    await settled,
    [{ reason: { code: 'DISCONNECTED' } }, { reason: { code: 'DISCONNECTED' } }],
    'who waited for it is told',
  )
  t.equal(await never.get(never.client.connect()), undefined)
  await never.closed(t)
})

t.test('close settles what waits, in every state', async t => {
  const rows: [state: string, act: (rig: Rig) => void, wait: number, connect: unknown][] = [
    ['connecting', ({ page }) => (page.sockets = 'hangs'), 100, 'DISCONNECTED'],
    ['connecting', ({ page }) => Object.assign(page, { sockets: 'refused', http: 'hangs' }), 5_000, 'DISCONNECTED'],
    ['connected', () => {}, 1_000, undefined],
    [
      'reconnecting',
      ({ page }) => page.world.plan(500, () => Object.assign(page, { sockets: 'hangs' }).open[0]?.end()),
      3_000,
      undefined,
    ],
  ]
  for (const [state, act, wait, connect] of rows) {
    const rig = new Rig()
    act(rig)
    const connected = rig.get(rig.client.connect(), 0)
    const connecting = rig.client.connect()
    for (const promise of [connecting, connected]) promise.catch(() => {})
    const subscription = rig.client.subscribe('/a')
    const seen = rig.loop(subscription)
    await rig.world.pass(wait)
    await connected
    t.equal(rig.client.state, state)
    const publish = rig.client.publish('/a', 1)
    publish.catch(() => {})
    const [closed, again] = [rig.client.close(), rig.client.close()]
    t.equal(await rig.get(closed, 12_000), undefined)
    t.equal(await rig.get(again, 0), undefined, 'both are fulfilled')
    t.equal(await rig.get(connecting, 0), connect)
    t.match(await rig.get(publish, 0), state === 'connected' ? { successful: true } : 'DISCONNECTED')
    t.equal(await rig.taken(subscription, 0), connect === undefined ? 'taken' : 'DISCONNECTED')
    t.equal(seen.at(-1), 'end', 'the loop ends as the application wished')
    await rig.closed(t)
  }
})

t.test('connect again: after close, while connecting, out of the very event that it is closed', async t => {
  const rig = await new Rig().up()
  const first = rig.client.clientId
  await rig.closed(t)
  t.equal(await rig.get(rig.client.connect()), undefined)
  t.not(rig.client.clientId, first)
  await rig.closed(t)

  const lost = rig.get(rig.client.connect(), 0)
  await lost
  void rig.client.close()
  t.equal(await rig.get(rig.client.connect()), undefined, 'closed while connecting, and connected at once')
  await rig.closed(t)

  await rig.up()
  let again: Promise<void> | null = null
  const heard: unknown[] = []
  const off = rig.client.on('state', ({ state }) => {
    if (state !== 'closed') return
    off()
    again = rig.client.connect()
    rig.client.subscribe('/a', ({ data }) => heard.push(data))
  })
  void rig.client.close()
  await rig.world.pass(500)
  t.equal(await rig.get(again!, 0), undefined)
  rig.publish('/a', 1)
  await rig.world.pass(100)
  t.strictSame(heard, [1], 'what was asked for there is the new session’s')
  await rig.closed(t)
})

t.test('a server that refuses for good, kicks or stops rejects and ends all that waits, with the reason', async t => {
  const refusal = { successful: false, error: '403::handshake_denied', advice: { reconnect: 'none' } }
  const rig = new Rig()
  rig.page.answer = ([message]) => [{ ...refusal, channel: message!['channel'], id: message!['id'] }]
  const seen = rig.loop(rig.client.subscribe('/a'))
  const publish = rig.client.publish('/a', 1)
  const connect = rig.client.connect()
  connect.catch(() => {})
  t.equal(await rig.get(publish), 'REFUSED')
  const error = await connect.catch(error => error)
  t.match(error, { code: 'REFUSED', status: 403, text: 'handshake_denied', name: 'ClientError' })
  t.equal(error.message, 'REFUSED: 403::handshake_denied')
  t.strictSame(seen, ['REFUSED'], 'the loop throws')
  t.strictSame(rig.errors, ['REFUSED: 403::handshake_denied'], 'told once')
  t.equal(rig.client.state, 'closed')
  await rig.closed(t)
  t.equal(await rig.get(rig.client.publish('/a', 1)), 'CLOSED')
  t.equal(await rig.get(rig.client.call('x')), 'CLOSED')
  t.equal(await rig.get(rig.client.subscribe('/a').ready), 'CLOSED')

  const kicked = await new Rig().up()
  const loop = kicked.loop(kicked.client.subscribe('/a'))
  const late = kicked.client.call('never')
  await kicked.world.pass(100)
  for (const session of kicked.world.engine.server.sessions()) kicked.world.engine.server.disconnect(session, kicked.world.now)
  t.match(await kicked.get(late), /KICKED|STOPPED/)
  t.match(loop[0], /KICKED|STOPPED/)
  t.equal(kicked.errors.length, 1)
  await kicked.closed(t)
})

t.test('publish is fulfilled with the reply, and rejected with why it failed; before connect it waits', async t => {
  const rig = new Rig({ lasting: false })
  const early = rig.client.publish('/a', 1)
  await rig.up()
  t.match(await rig.get(early), { successful: true, channel: '/a' })
  t.match(await rig.get(rig.client.publish('/a', 2, { ext: { k: 1 } })), { successful: true })
  t.match(rig.sent('/a')[1], { data: 2, ext: { k: 1 } })
  t.equal(await rig.get(rig.client.publish('nonsense', 1)), 'TypeError: not a channel to use: nonsense')
  t.match(await rig.get(rig.client.publish('/a', 1n)), /TypeError/)
  rig.page.answer = messages =>
    messages.some(({ channel }) => channel === '/a')
      ? messages.map(({ channel, id }) => ({ channel, id, successful: false, error: '403:no:publish_denied' }))
      : undefined
  const promise = rig.client.publish('/a', 1)
  await rig.get(promise)
  t.match(await promise.catch(error => error), { code: 'REFUSED', status: 403, text: 'publish_denied', reply: { id: /\d/ } })
  rig.page.answer = () => 'silence'
  t.equal(await rig.get(rig.client.publish('/a', 1), 11_000), 'TIMEOUT')
  const broken = await new Rig({ lasting: false }).up()
  const lost = broken.get(broken.client.publish('/a', 1))
  broken.page.open[0]?.end()
  t.equal(await lost, 'CONNECTION_FAILED')
})

t.test('the outbox has a limit', async t => {
  const rig = new Rig({ maxQueue: 2 })
  const published = [1, 2, 3].map(data => rig.client.publish('/a', data))
  t.equal(await rig.get(published[2]!), 'OUTBOX_FULL')
  t.equal(await rig.get(rig.client.subscribe('/b').ready), 'OUTBOX_FULL')
  await rig.up()
  t.match(await rig.get(published[1]!), { successful: true })
  await rig.closed(t)
})

t.test('a call gives the data of its answer, or why there is none', async t => {
  const rig = await new Rig({ callTimeout: 5_000 }).up()
  rig.world.engine.server.extend({
    incoming: (session, message) => {
      const { channel, id, data, ext } = message
      if (channel === '/service/echo')
        rig.world.engine.server.deliver(
          session!,
          channel,
          data,
          { id, successful: true, ...(ext ? { ext } : null) } as never,
          rig.world.now,
        )
      if (channel === '/service/fail')
        rig.world.engine.server.deliver(session!, channel, { why: 'no' }, { id, successful: false } as never, rig.world.now)
      return true
    },
  })
  t.strictSame(await rig.get(rig.client.call('echo', { a: 1 })), { a: 1 })
  t.strictSame(await rig.get(rig.client.call('/echo')), {}, 'without data')
  t.strictSame(await rig.get(rig.client.call('echo', null)), null)
  t.strictSame(await rig.get(rig.client.call('echo', new Uint8Array([1, 2]))), new Uint8Array([1, 2]))
  const failed = rig.client.call('fail')
  t.equal(await rig.get(failed), 'REFUSED')
  t.match(await failed.catch(error => error.reply), { data: { why: 'no' } })
  t.equal(await rig.get(rig.client.call('silent'), 6_000), 'TIMEOUT')
  await rig.closed(t)
})

t.test('a batch leaves in one envelope, also when its work throws, and gives what the work gives', async t => {
  const rig = await new Rig().up()
  rig.page.log()
  t.equal(
    rig.client.batch(() => {
      void rig.client.publish('/a', 1)
      rig.client.batch(() => void rig.client.publish('/b', 1))
      return 7
    }),
    7,
  )
  t.throws(
    () =>
      rig.client.batch(() => {
        void rig.client.publish('/c', 1)
        throw new Error('mine')
      }),
    /mine/,
  )
  await rig.world.pass(100)
  t.strictSame(rig.page.log(), ['websocket /a /b', 'websocket /c'])
  await rig.closed(t)
})

t.test('bytes travel both ways; what claims to be bytes and is not is given as it came, with an error', async t => {
  const rig = await new Rig().up()
  const seen: Message[] = []
  rig.client.subscribe('/f', message => seen.push(message))
  await rig.world.pass(100)
  void rig.client.publish('/f', new Uint8Array([1, 2, 3]))
  void rig.client.publish('/f', new Uint8Array([4]), { last: false, meta: { name: 'x' }, ext: { k: 1 }, mark: 2 })
  await rig.world.pass(100)
  rig.publish('/f', { data: '~', last: true }, { ext: { binary: {} } })
  await rig.world.pass(100)
  t.match(rig.sent('/f')[1], { data: { data: '1o', last: false, meta: { name: 'x' } }, ext: { k: 1, binary: {} }, mark: 2 })
  t.notOk(rig.sent('/f')[1]?.['meta'])
  t.match(seen, [
    { data: new Uint8Array([1, 2, 3]), binary: { last: true } },
    { data: new Uint8Array([4]), binary: { last: false, meta: { name: 'x' } } },
    { data: { data: '~' } },
  ])
  t.match(rig.errors, [/^BINARY_INVALID: RangeError/])
  await rig.closed(t)
})

t.test('a message is given once to each subscription that covers its channel', async t => {
  const rig = await new Rig().up()
  const heard: string[] = []
  const patterns = ['/a/b', '/a/*', '/a/**', '/**', '/a', '/a/b/c', '/*', '/a/b/*']
  for (const pattern of patterns) rig.client.subscribe(pattern, () => heard.push(pattern))
  rig.client.subscribe('/a/b', () => heard.push('twice'))
  rig.client.on('message', ({ channel }) => heard.push(`message ${channel}`))
  await rig.world.pass(100)
  rig.publish('/a/b', 1)
  await rig.world.pass(100)
  t.strictSame(heard.toSorted(), ['/**', '/a/*', '/a/**', '/a/b', 'message /a/b', 'twice'])
  t.equal(rig.sent('/meta/subscribe').length, patterns.length, 'the server knows of each channel once')
  await rig.closed(t)
})

t.test('the server is told of the first subscription to a channel and of the end of the last', async t => {
  const rig = await new Rig().up()
  const heard: string[] = []
  const one = rig.client.subscribe('/a', () => heard.push('one'), { ext: { replay: -2 } })
  const two = rig.client.subscribe('/a', () => heard.push('two'))
  t.equal(one.channel, '/a')
  t.equal(await rig.taken(two), 'taken')
  await one.unsubscribe()
  rig.publish('/a', 1)
  await rig.world.pass(100)
  t.strictSame(heard, ['two'])
  t.strictSame([one.active, two.active], [false, true])
  t.strictSame(rig.sent('/meta/unsubscribe'), [])
  t.equal(await rig.get(two.unsubscribe()), undefined)
  t.equal(await rig.get(two.unsubscribe()), undefined, 'a second time')
  rig.publish('/a', 2)
  await rig.world.pass(100)
  t.strictSame(heard, ['two'])
  t.match(rig.sent('/meta/subscribe'), [{ subscription: '/a', ext: { replay: -2 } }])
  t.match(rig.sent('/meta/unsubscribe'), [{ subscription: '/a' }])
  t.equal(rig.world.engine.server.stats().subscriptions, 0)
  t.equal(await rig.taken(rig.client.subscribe('/a')), 'taken', 'and anew')
  await rig.closed(t)
})

t.test('a service channel is listened to without asking the server', async t => {
  const rig = await new Rig().up()
  const heard: unknown[] = []
  const subscription = rig.client.subscribe('/service/news', ({ data }) => heard.push(data))
  t.equal(await rig.taken(subscription), 'taken')
  for (const session of rig.world.engine.server.sessions())
    rig.world.engine.server.deliver(session, '/service/news', 1, {}, rig.world.now)
  await rig.world.pass(100)
  t.strictSame(heard, [1])
  await rig.get(subscription.unsubscribe())
  t.strictSame([rig.sent('/meta/subscribe'), rig.sent('/meta/unsubscribe')], [[], []])
  await rig.closed(t)
})

t.test('a loop gets every message; leaving it unsubscribes', async t => {
  const rig = await new Rig().up()
  const subscription = rig.client.subscribe('/a')
  const seen: unknown[] = []
  const loop = (async () => {
    for await (const { data } of subscription) {
      seen.push(data)
      if (data === 3) break
    }
    return 'left'
  })()
  await rig.world.pass(100)
  for (const data of [1, 2, 3, 4]) rig.publish('/a', data)
  t.equal(await rig.get(loop), 'left')
  t.strictSame(seen, [1, 2, 3])
  t.equal(rig.world.engine.server.stats().subscriptions, 0)
  t.strictSame(rig.loop(subscription), [], 'not yet')
  await turn()
  t.strictSame(rig.loop(rig.client.subscribe('/b')), [])
  await rig.closed(t)
})

t.test('a refused subscription rejects, ends its loop and is an error; it can be tried again', async t => {
  const rig = await new Rig().up()
  rig.page.answer = messages =>
    messages.some(({ channel }) => channel === '/meta/subscribe')
      ? messages.map(({ channel, id }) => ({ channel, id, successful: false, error: '403:no:subscribe_denied' }))
      : undefined
  const seen = rig.loop(rig.client.subscribe('/a'))
  const subscription = rig.client.subscribe('/a', () => {})
  t.equal(await rig.taken(subscription), 'REFUSED')
  t.strictSame(seen, ['REFUSED'])
  t.notOk(subscription.active)
  t.strictSame(rig.errors, ['REFUSED: 403:no:subscribe_denied'])
  await subscription.unsubscribe()
  t.strictSame(rig.sent('/meta/unsubscribe'), [])
  rig.page.answer = () => undefined
  t.equal(await rig.taken(rig.client.subscribe('/a')), 'taken')
  await rig.closed(t)
})

t.test('what cannot be subscribed to throws; what cannot be said rejects and ends the loop', async t => {
  const rig = await new Rig().up()
  for (const channel of ['', 'a', '/', '/meta/connect', 5 as unknown as string])
    t.throws(() => rig.client.subscribe(channel), TypeError)
  const subscription = rig.client.subscribe('/a', undefined, { ext: { big: 1n } })
  const seen = rig.loop(subscription)
  t.match(await rig.get(subscription.ready), /TypeError/)
  t.match(seen, [/TypeError/])
  await rig.closed(t)
})

t.test('subscriptions outlast lost requests, broken connections and sessions, without the application', async t => {
  for (const sockets of ['open', 'refused'] as const) {
    const rig = new Rig()
    rig.page.sockets = sockets
    const seen = rig.loop(rig.client.subscribe('/a'))
    await rig.up()
    rig.publish('/a', 1)
    await rig.world.pass(100)
    const later = rig.client.subscribe('/b')
    const others = rig.loop(later)
    if (sockets === 'open') rig.page.open[0]?.end()
    else rig.page.http = 'down'
    await rig.world.pass(100)
    rig.page.http = 'up'
    t.equal(await rig.taken(later, 10_000), 'taken', 'lost on the way, and asked again')
    rig.expire()
    await rig.world.pass(40_000)
    rig.publish('/a', 2)
    rig.publish('/b', 3)
    await rig.world.pass(100)
    t.strictSame([seen, others], [[1, 2], [3]])
    t.ok(
      rig.errors.every(error => /^(?:CONNECTION_FAILED|SESSION_LOST)/.test(error)),
      `${rig.errors}`,
    )
    await rig.closed(t)
  }
})

t.test('an unsubscribe that is lost is asked again', async t => {
  const rig = await new Rig().up()
  const subscription = rig.client.subscribe('/a')
  await rig.world.pass(100)
  const over = subscription.unsubscribe()
  rig.page.open[0]?.end()
  t.equal(await rig.get(over, 5_000), undefined)
  t.equal(rig.world.engine.server.stats().subscriptions, 0)
  await rig.closed(t)
})

t.test('a subscription that is refused in a new session ends with one error', async t => {
  const rig = await new Rig().up()
  const seen = rig.loop(rig.client.subscribe('/a'))
  await rig.world.pass(100)
  rig.page.answer = messages =>
    messages.some(({ channel }) => channel === '/meta/subscribe')
      ? messages.map(({ channel, id }) => ({ channel, id, successful: false, error: '403:no:subscribe_denied' }))
      : undefined
  rig.expire()
  await rig.world.pass(40_000)
  t.strictSame(seen, ['REFUSED'])
  t.strictSame(
    rig.errors.filter(error => error.startsWith('REFUSED')),
    ['REFUSED: 403:no:subscribe_denied'],
  )
  await rig.closed(t)
})

t.test('what listeners, callbacks and extensions throw is reported, and stops nothing', async t => {
  const reported: unknown[] = []
  Object.assign(globalThis, { reportError: (error: Error) => reported.push(error.message) })
  t.teardown(() => Reflect.deleteProperty(globalThis, 'reportError'))
  const rig = new Rig()
  const bad = (name: string) => (): never => {
    throw new Error(name)
  }
  const off = rig.client.on('state', bad('state'))
  rig.client.on('error', bad('error'))
  rig.client.on('message', bad('message'))
  rig.client.on('reply', bad('reply'))
  rig.client.registerExtension('bad', { incoming: bad('incoming'), outgoing: bad('outgoing') })
  const heard: unknown[] = []
  rig.client.subscribe('/a', bad('callback'))
  rig.client.subscribe('/a', ({ data }) => heard.push(data))
  await rig.up()
  rig.publish('/a', 1)
  await rig.world.pass(100)
  rig.page.open[0]?.end()
  await rig.world.pass(2_000)
  t.equal(rig.client.state, 'connected')
  t.strictSame(heard, [1])
  t.strictSame([...new Set(reported)].toSorted(), ['callback', 'error', 'incoming', 'message', 'outgoing', 'reply', 'state'])
  off()
  reported.length = 0
  await rig.closed(t)
  t.notOk(reported.includes('state'), 'who is off hears no more')
  Reflect.deleteProperty(globalThis, 'reportError')
  const told: unknown[] = []
  const { error } = console
  console.error = (error: Error) => told.push(error.message)
  t.teardown(() => Object.assign(console, { error }))
  const node = await new Rig().up()
  node.client.on('state', bad('where there is no reportError'))
  await node.closed(t)
  console.error = error
  t.ok(told.includes('where there is no reportError'))
})

t.test('every reply is told, those to handshake and connect too', async t => {
  const rig = new Rig()
  const replies: string[] = []
  rig.client.on('reply', ({ channel }) => replies.push(channel))
  await rig.up()
  void rig.client.publish('/a', 1)
  await rig.world.pass(100)
  t.strictSame(replies, ['/meta/handshake', '/meta/connect', '/a'])
  await rig.closed(t)
})

t.test('extensions see what goes out in order, what comes in reverse; they change it, or put another in its place', async t => {
  const rig = new Rig()
  const order: string[] = []
  const mark = (name: string): ClientExtension => ({
    registered: (given, client) => order.push(`${given} ${client === rig.client}`),
    unregistered: () => order.push(`${name} gone`),
    outgoing: message => {
      if (message['channel'] === '/a') order.push(`out ${name}`)
    },
    incoming: message => {
      if (message['channel'] === '/a' && 'data' in message) order.push(`in ${name}`)
    },
  })
  rig.client.registerExtension('one', mark('one'))
  rig.client.registerExtension('two', mark('two'))
  t.throws(() => rig.client.registerExtension('one', {}), TypeError)
  rig.client.registerExtension('other', {
    outgoing: message => (message['channel'] === '/a' ? { ...message, data: 'out', ext: { mine: 1 } } : message),
    incoming: message => ('data' in message ? { ...message, data: `${message['data']} and in` } : message),
  })
  const heard: unknown[] = []
  rig.client.subscribe('/a', ({ data }) => heard.push(data))
  await rig.up()
  t.match(await rig.get(rig.client.publish('/a', 'mine')), { successful: true })
  t.strictSame(heard, ['out and in'])
  t.match(rig.sent('/a'), [{ data: 'out', ext: { mine: 1 } }])
  t.strictSame(order, ['one true', 'two true', 'out one', 'out two', 'in two', 'in one'])
  t.ok(rig.client.unregisterExtension('one'))
  t.notOk(rig.client.unregisterExtension('one'))
  t.equal(order.at(-1), 'one gone')
  await rig.closed(t)
})

t.test('an extension drops what comes in, but nothing that goes out; what is no message changes nothing', async t => {
  const rig = new Rig()
  let nonsense: unknown = null
  const give = (message: Json): Json => (message['channel'] === '/a' ? (nonsense as Json) : message)
  rig.client.registerExtension('nonsense', { outgoing: give, incoming: message => ('data' in message ? give(message) : message) })
  const heard: unknown[] = []
  rig.client.subscribe('/a', ({ data }) => heard.push(data))
  await rig.up()
  for (const [value, expected] of [
    [null, []],
    [undefined, ['undefined']],
    ['text', ['text']],
    [5, ['5']],
    [true, ['true']],
  ] as const) {
    nonsense = value
    t.match(await rig.get(rig.client.publish('/a', String(value))), { successful: true }, `${value}`)
    t.strictSame(heard.splice(0), expected, `${value}`)
  }
  await rig.closed(t)
})

t.test('what an extension makes that JSON cannot carry costs that message, and no more', async t => {
  const rig = new Rig()
  const reported: unknown[] = []
  Object.assign(globalThis, { reportError: (error: Error) => reported.push(error) })
  t.teardown(() => Reflect.deleteProperty(globalThis, 'reportError'))
  let big = true
  rig.client.registerExtension('big', {
    outgoing: message => (big && message['channel'] === '/meta/connect' ? { ...message, ext: { big: 1n } } : message),
  })
  t.equal(await rig.get(rig.client.connect(), 3_000), undefined)
  t.match(reported[0], /BigInt/)
  big = false
  t.match(await rig.get(rig.client.publish('/a', 1)), { successful: true })
  await rig.closed(t)
})

t.test('a page that is loaded again gets what came meanwhile, in order, and leaves what it does not want any more', async t => {
  const old = await new Rig().up()
  for (const channel of ['/a', '/a/**', '/b', '/c']) old.client.subscribe(channel, () => {})
  await old.world.pass(100)
  old.page.tell('leave')
  for (const socket of old.page.open) socket.close()
  for (const [i, channel] of ['/a', '/b', '/a', '/c'].entries()) old.publish(channel, i)
  const page = new Page(old.world)
  Object.assign(page, { storage: old.page.storage })
  const rig = new Rig({}, page)
  const heard: unknown[] = []
  const first = rig.client.connect()
  await rig.world.pass(500)
  await first
  t.strictSame(heard, [])
  rig.client.subscribe('/a', ({ data }) => heard.push(data))
  rig.client.subscribe('/a', ({ data }) => heard.push(`also ${data}`))
  const seen = rig.loop(rig.client.subscribe('/b'))
  rig.publish('/a', 4)
  await rig.world.pass(100)
  t.strictSame(heard, [0, 'also 0', 2, 'also 2', 4, 'also 4'])
  t.strictSame(seen, [1])
  t.equal(rig.sent('/meta/handshake').length, 0)
  await rig.world.pass(10_000)
  t.strictSame(
    rig.sent('/meta/unsubscribe').map(({ subscription }) => subscription),
    ['/a/**', '/c'],
  )
  rig.client.subscribe('/c', ({ data }) => heard.push(data))
  await rig.world.pass(100)
  t.equal(heard.length, 6, 'not kept for ever')
  await rig.closed(t)
})

t.test('what comes early has a limit, and is forgotten with the session', async t => {
  const old = await new Rig().up()
  old.client.subscribe('/a', () => {})
  await old.world.pass(100)
  old.page.tell('leave')
  for (const socket of old.page.open) socket.close()
  const page = new Page(old.world)
  Object.assign(page, { storage: old.page.storage })
  const rig = await new Rig({}, page).up()
  for (let i = 0; i < 1_500; i++) rig.publish('/a', i)
  await rig.world.pass(500)
  const heard: unknown[] = []
  const subscription = rig.client.subscribe('/a', ({ data }) => heard.push(data))
  await turn()
  t.strictSame(
    heard,
    Array.from({ length: 1_000 }, (_, i) => i),
  )
  await rig.get(subscription.unsubscribe())
  await rig.closed(t)
  t.equal(rig.page.left['alarms'], 0, 'not even the alarm for it')
})

t.test('bad input to the constructor throws; addresses are made whole', t => {
  const page = new Page(new World(1))
  for (const url of ['', '/cometd', 'ftp://server/', 'http://']) t.throws(() => new Client(url, {}, page), TypeError, url)
  const none: Surroundings = Object.assign(new Page(new World(1)), { openSocket: null })
  t.throws(() => new Client('http://x/', { transports: ['websocket'] }, none), TypeError)
  Object.assign(globalThis, { location: { href: 'https://page.example/dir/index.html' } })
  t.teardown(() => Reflect.deleteProperty(globalThis, 'location'))
  const urls = [
    ['/cometd', 'wss://page.example/cometd'],
    ['cometd/', 'wss://page.example/dir/cometd'],
    ['http://other/#x', 'ws://other'],
    [new URL('https://other/b?q=1'), 'wss://other/b?q=1'],
  ] as const
  for (const [given, opened] of urls) {
    const page = new Page(new World(1))
    void new Client(given, { openTimeout: undefined as never }, page).connect().catch(() => {})
    t.strictSame(page.urls, [opened])
  }
  Object.assign(globalThis, { location: { href: 'about:blank' } })
  t.ok(new Client('http://x/', {}, page))
  t.end()
})

t.test('no rejection went unhandled', async t => {
  await turn()
  t.strictSame(UNHANDLED, [])
})

for (const order of ['wake', 'back'] as const) {
  t.test(`a page that comes back (${order}) after another went on with its session hears what it subscribed to`, async t => {
    const world = new World(1, { timeout: 30_000, maxInterval: 120_000, trustClientSession: true })
    const page = new Page(world)
    const heard: unknown[] = []
    const client = new Client('http://server/cometd', {}, page)
    client.subscribe('/a', ({ data }) => heard.push(data))
    void client.connect()
    await world.pass(500)
    const { clientId } = client
    const sockets = [...page.open]
    for (const socket of sockets) socket.close() // frozen, it is not told
    page.tell('leave')
    const next = new Page(world)
    Object.assign(next, { storage: page.storage })
    const other = new Client('http://server/cometd', {}, next)
    void other.connect()
    await world.pass(11_000)
    t.equal(other.clientId, clientId)
    t.equal(world.engine.server.stats().subscriptions, 0, 'it has given up what it does not want')
    next.tell('leave')
    for (const socket of next.open) socket.close()
    page.tell(order)
    page.tell('back')
    for (const socket of sockets) socket.onclose?.({ code: 1006, reason: '' })
    await world.pass(3_000)
    t.equal(client.state, 'connected')
    t.not(client.clientId, clientId)
    world.engine.server.publish('/a', 'x', {}, null, world.now)
    await world.pass(100)
    t.strictSame(heard, ['x'])
    void client.close()
    await world.pass(500)
    t.strictSame(page.left, NOTHING_LEFT)
  })
}

t.test('a page that comes back to the session that it left goes on with it', async t => {
  const page = new Page(new World(1, { timeout: 30_000, maxInterval: 120_000, trustClientSession: true }))
  const client = new Client('http://server/cometd', {}, page)
  void client.connect()
  await page.world.pass(500)
  const { clientId } = client
  page.tell('leave')
  page.tell('back')
  await page.world.pass(3_000)
  t.ok(clientId)
  t.equal(client.clientId, clientId)
})
