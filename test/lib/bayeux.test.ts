// `app.bayeux` as an application uses it, seen by clients over the wire.

import t from 'tap'
import {
  type Bayeux,
  BayeuxError,
  type BayeuxSession,
  type Message,
  type PerihelionOptions,
  ServiceError,
} from '../../lib/index.js'
import { startServer, type Teardown } from '../support/server.js'
import { post, WireSocket } from '../support/wire.js'

type Json = Record<string, unknown>

/** A client over WebSocket: deliveries come by themselves, so a test needs no polling. */
class Client {
  readonly #waiting: Json[] = []
  private constructor(
    readonly socket: WireSocket,
    readonly id: string,
    readonly session: BayeuxSession,
  ) {}

  static async join(t: Teardown, url: string, bayeux: Bayeux, extra: Json = {}): Promise<Client> {
    const socket = await new WireSocket(url).open()
    t.teardown(async () => socket.cut())
    socket.send(JSON.stringify([{ channel: '/meta/handshake', id: '1', ...extra }]))
    const [{ clientId }] = (await socket.next()) as [{ clientId: string }]
    const client = new Client(socket, clientId, bayeux.session(clientId)!)
    await client.ask({ channel: '/meta/connect', id: 'c' })
    return client
  }

  send(...messages: Json[]): void {
    this.socket.send(JSON.stringify(messages.map(message => ({ clientId: this.id, ...message }))))
  }

  /** The next message, whatever it is. */
  async next(): Promise<Json> {
    while (this.#waiting.length === 0) this.#waiting.push(...((await this.socket.next()) as Json[]))
    return this.#waiting.shift()!
  }

  /** Sends and gives the next message. */
  async ask(message: Json): Promise<Json> {
    this.send(message)
    return this.next()
  }

  subscribe(...subscription: string[]): Promise<Json> {
    return this.ask({ channel: '/meta/subscribe', id: 's', subscription })
  }

  /** What has come by now and was not asked for. */
  async rest(): Promise<Json[]> {
    await this.socket.roundTrip()
    await this.socket.roundTrip()
    return [...this.#waiting.splice(0), ...this.socket.frames.splice(0).flatMap(frame => JSON.parse(frame) as Json[])]
  }
}

async function begin(t: Teardown, options: PerihelionOptions = {}) {
  const { url, bayeux, app } = await startServer(t, options)
  return { url, bayeux, app, join: (extra?: Json) => Client.join(t, url, bayeux, extra) }
}

t.test('policy: each question is asked with what it is about, and a refusal says why', async t => {
  const { bayeux, join } = await begin(t)
  const client = await join()
  const asked: unknown[][] = []
  bayeux.policy({
    canCreate: (session, channel) => {
      asked.push(['create', session === client.session, channel])
      return channel !== '/uncreatable'
    },
    canSubscribe: (session, channel, message) => {
      asked.push(['subscribe', session === client.session, channel, message['id']])
      return channel === '/closed' ? { deny: 'members only' } : true
    },
    canPublish: (_session, channel, message) => {
      asked.push(['publish', channel, message.data])
      return channel !== '/read'
    },
  })
  t.match(await client.subscribe('/a', '/b/*'), { successful: true })
  t.match(await client.subscribe('/closed'), { error: '403:members only:subscribe_denied' })
  t.match(await client.subscribe('/uncreatable'), { error: '403:denied_by_security_policy:create_denied' })
  t.match(await client.ask({ channel: '/read', data: 7, id: '1' }), { error: '403:denied_by_security_policy:publish_denied' })
  t.same(asked, [
    ['create', true, '/a'],
    ['subscribe', true, '/a', 's'],
    ['create', true, '/b/*'],
    ['subscribe', true, '/b/*', 's'],
    ['create', true, '/closed'],
    ['subscribe', true, '/closed', 's'],
    ['create', true, '/uncreatable'],
    ['create', true, '/read'],
    ['publish', '/read', 7],
  ])
  t.match(await client.subscribe('/meta/x'), { error: '403:denied_by_security_policy:create_denied' })
  t.equal(asked.length, 9, 'about meta channels nobody is asked')
  bayeux.policy({})
  t.match(await client.ask({ channel: '/read', data: 7, id: '2' }), { successful: true }, 'a policy is replaced as a whole')
})

t.test('policy: late answers keep the order of a session, and nobody else waits', async t => {
  const { bayeux, join } = await begin(t)
  const [slow, other] = [await join(), await join()]
  await other.subscribe('/**')
  const open: (() => void)[] = []
  bayeux.policy({
    canPublish: (session, _channel, message) =>
      session === slow.session && message.data === 'slow' ? new Promise(resolve => open.push(() => resolve(true))) : true,
  })
  slow.send({ channel: '/a', data: 'slow', id: '1' }, { channel: '/a', data: 'behind it', id: '2' })
  slow.send({ channel: '/a', data: 'in the next envelope', id: '3' })
  slow.send({ channel: '/a', data: 'slow', id: '4' })
  t.same(await slow.rest(), [])
  t.match(await other.ask({ channel: '/b', data: 'other', id: '1' }), { channel: '/b', data: 'other' })
  await other.next()
  open.shift()!()
  t.match([await slow.next(), await slow.next(), await slow.next()], [{ id: '1' }, { id: '2' }, { id: '3' }])
  t.match(
    [await other.next(), await other.next(), await other.next()],
    [{ data: 'slow' }, { data: 'behind it' }, { data: 'in the next envelope' }],
  )
  for (let tries = 0; open.length === 0 && tries < 100; tries++) await slow.socket.roundTrip()
  open.shift()!()
  t.match(await slow.next(), { id: '4', successful: true })
})

t.test('policy: a client that sends on and on while it is judged is read no further, and then answered in order', async t => {
  const { bayeux, join } = await begin(t)
  const client = await join()
  let answer: (allowed: boolean) => void = () => {}
  bayeux.policy({ canPublish: (_session, channel) => (channel === '/first' ? new Promise(resolve => (answer = resolve)) : true) })
  client.send({ channel: '/first', id: '0', data: 0 })
  for (let i = 1; i <= 200; i++) client.send({ channel: '/a', id: String(i), data: i })
  await new Promise(resolve => setTimeout(resolve, 20))
  t.same(client.socket.frames, [])
  answer(true)
  const ids: unknown[] = []
  for (let i = 0; i <= 200; i++) ids.push((await client.next())['id'])
  t.same(
    ids,
    Array.from({ length: 201 }, (_, i) => String(i)),
  )
})

t.test('policy: a handshake whose client left while it was judged leaves nothing behind', async t => {
  const { bayeux, url } = await begin(t, { maxInterval: 20 })
  let answer: (allowed: boolean) => void = () => {}
  bayeux.policy({ canHandshake: () => new Promise(resolve => (answer = resolve)) })
  const socket = await new WireSocket(url).open()
  socket.send('[{"channel":"/meta/handshake"}]')
  await socket.roundTrip()
  socket.cut()
  await socket.closed
  await new Promise(resolve => setTimeout(resolve, 10))
  answer(true)
  for (let tries = 0; bayeux.stats().sessions === 1 && tries < 400; tries++) await new Promise(resolve => setTimeout(resolve, 5))
  t.match(bayeux.stats(), { sessions: 0 })
})

t.test('session: what is delivered while a handshake is processed rides on its reply where that is allowed', async t => {
  const { bayeux, url } = await begin(t, { allowMessageDeliveryDuringHandshake: true })
  bayeux.on('session', session => {
    session.deliver('/hello', 1)
    session.deliver('/hello', 2)
  })
  const over = async (ext: Json): Promise<Json[]> =>
    JSON.parse((await post(url, JSON.stringify({ channel: '/meta/handshake', id: '1', ext }))).body) as Json[]
  const [reply, ...messages] = await over({})
  t.match(reply, { successful: true, 'x-messages': 2 })
  t.same(messages, [
    { channel: '/hello', data: 1 },
    { channel: '/hello', data: 2 },
  ])
  t.match((await over({ ack: true }))[0], { 'x-messages': 2, ext: { ack: { enabled: true, batch: 1 } } })
  const socket = await new WireSocket(url).open()
  socket.send('{"channel":"/meta/handshake"}')
  t.match([await socket.next(), await socket.next(), await socket.next()], [[{ 'x-messages': 2 }], [{ data: 1 }], [{ data: 2 }]])
  socket.cut()
  const off = await begin(t)
  off.bayeux.on('session', session => session.deliver('/hello', 1))
  t.notOk(
    'x-messages' in (JSON.parse((await post(off.url, '{"channel":"/meta/handshake"}')).body) as [object])[0],
    'and waits for the first connect where it is not',
  )
})

t.test('policy: a throw or a rejection denies; so does a session that ended meanwhile', async t => {
  const { bayeux, join, url } = await begin(t)
  const client = await join()
  let late: (allowed: boolean) => void = () => {}
  bayeux.policy({
    canHandshake: () => Promise.reject(new Error('down')),
    canPublish: () => {
      throw new Error('broken')
    },
    canSubscribe: () => new Promise(resolve => (late = resolve)),
  })
  t.match(await client.ask({ channel: '/a', id: '1' }), { error: '403:denied_by_security_policy:publish_denied' })
  t.match(JSON.parse((await post(url, '{"channel":"/meta/handshake"}')).body), [
    { error: '403::handshake_denied', advice: { reconnect: 'none' } },
  ])
  client.send({ channel: '/meta/subscribe', subscription: '/a', id: '2' })
  await client.socket.roundTrip()
  client.session.remove()
  late(true)
  t.match(await client.next(), { id: '2', successful: false })
  t.match(bayeux.stats(), { sessions: 0, subscriptions: 0 })
})

t.test('policy: a handshake may bring a user, ext, advice', async t => {
  const { bayeux, url, join } = await begin(t)
  bayeux.policy({
    canHandshake: async (session, message) => {
      t.equal(session, null)
      const { user } = (message.ext ?? {}) as { user?: string }
      return user === undefined
        ? { allow: false, ext: { why: 'who?' }, advice: { reconnect: 'handshake', interval: 5 } }
        : { allow: true, user, ext: { hello: user } }
    },
  })
  const client = await join({ ext: { user: 'ann', ack: true } })
  t.equal(client.session.user, 'ann')
  t.match(JSON.parse((await post(url, '{"channel":"/meta/handshake"}')).body), [
    { error: '403::handshake_denied', ext: { why: 'who?' }, advice: { reconnect: 'handshake', interval: 5 } },
  ])
  t.match(JSON.parse((await post(url, '{"channel":"/meta/handshake","ext":{"user":"bob","ack":true}}')).body), [
    { successful: true, ext: { hello: 'bob', ack: true } },
  ])
})

t.test(
  'on: listeners of channels, patterns, services and meta channels see messages before anybody, and may veto them',
  async t => {
    const { bayeux, join } = await begin(t)
    const client = await join()
    await client.subscribe('/a/**')
    const seen: unknown[] = []
    const offs = [
      bayeux.on('/a/b', (message, session) => void seen.push(['/a/b', message.data, session?.id])),
      bayeux.on('/a/*', message => void seen.push(['/a/*', message.data])),
      bayeux.on('/**', message => void seen.push(['/**', message['channel']])),
      bayeux.on('/service/x', message => void seen.push(['/service/x', message['id']])),
      bayeux.on('/meta/subscribe', (message, session) => {
        seen.push(['/meta/subscribe', session === client.session])
        return message.subscription !== '/vetoed'
      }),
      bayeux.on('/a/vetoed', () => false),
    ]
    client.send({ channel: '/a/b', data: 1, id: '1' })
    t.match([await client.next(), await client.next()], [{ data: 1 }, { id: '1', successful: true }])
    t.same(
      seen.splice(0),
      [
        ['/**', '/a/b'],
        ['/a/*', 1],
        ['/a/b', 1, client.id],
      ],
      'from the widest pattern to the channel itself',
    )
    t.match(await client.ask({ channel: '/service/x', id: '2' }), { successful: true })
    t.same(seen.splice(0), [
      ['/**', '/service/x'],
      ['/service/x', '2'],
    ])
    t.match(await client.ask({ channel: '/meta/subscribe', subscription: '/vetoed', id: '3' }), { error: '404::message_deleted' })
    t.match(await client.ask({ channel: '/a/vetoed', data: 1, id: '4' }), { error: '404::message_deleted' })
    bayeux.publish('/a/b', 'from the server')
    t.match(await client.next(), { data: 'from the server' })
    t.same(
      seen.filter(entry => (entry as unknown[])[0] === '/a/b'),
      [['/a/b', 'from the server', undefined]],
      'whose session is null',
    )
    bayeux.publish('/a/vetoed', 1)
    t.same(await client.rest(), [], 'what the server publishes can be vetoed too')
    for (const off of offs) off()
    seen.length = 0
    client.send({ channel: '/a/vetoed', data: 2, id: '5' })
    t.match(await client.next(), { data: 2 })
    t.same(seen, [], 'all are off')
    t.throws(() => bayeux.on('/a//b', () => {}), { code: 'CHANNEL_NAME_INVALID' })
  },
)

t.test('on: a listener that throws is logged and vetoes nothing', async t => {
  const { bayeux, join } = await begin(t)
  const client = await join()
  bayeux.on('/a', () => {
    throw new Error('mine')
  })
  bayeux.on('session', () => {
    throw new Error('mine')
  })
  bayeux.use({
    incoming: () => {
      throw new Error('mine')
    },
    outgoing: () => {
      throw new Error('mine')
    },
  })
  bayeux.authorize('/guarded', () => {
    throw new Error('mine')
  })
  t.match(await client.ask({ channel: '/a', id: '1', data: 1 }), { successful: true })
  t.match(await client.subscribe('/guarded'), { error: '403:internal:subscribe_denied' }, 'but an authorizer that throws denies')
  t.ok(await join(), 'a handshake goes on')
})

t.test('events: sessions, subscriptions and channels, at once, after the effect, and with the reason of the end', async t => {
  const { bayeux, join } = await begin(t, { maxQueue: 1, sweepPeriod: 5 })
  const seen: unknown[] = []
  bayeux.on('session', session => seen.push(['session', bayeux.session(session.id) === session]))
  bayeux.on('removed', (session, reason) => seen.push(['removed', reason, session.alive]))
  const off = bayeux.on('subscribed', (session, channel) => seen.push(['subscribed', channel, session.subscriptions]))
  bayeux.on('unsubscribed', (_session, channel) => seen.push(['unsubscribed', channel]))
  bayeux.on('channel', channel => seen.push(['channel', channel]))
  const gone = new Promise(resolve => bayeux.on('channelRemoved', resolve))
  const client = await join()
  await client.subscribe('/a')
  await client.subscribe('/a')
  await client.ask({ channel: '/meta/unsubscribe', subscription: '/a', id: 'u' })
  off()
  await client.subscribe('/a')
  client.session.disconnect()
  t.same(seen.splice(0), [
    ['session', true],
    ['channel', '/a'],
    ['subscribed', '/a', ['/a']],
    ['unsubscribed', '/a'],
    ['removed', 'kicked', true],
    ['unsubscribed', '/a'],
  ])
  t.equal(await gone, '/a', 'a channel that nobody uses')
  const ends: Record<string, (client: Client) => unknown> = {
    removed: ({ session }) => session.remove(),
    expired: ({ session }) => session.expire(),
    disconnected: other => other.ask({ channel: '/meta/disconnect', id: 'd' }),
  }
  for (const [reason, end] of Object.entries(ends)) {
    const other = await join()
    seen.length = 0
    await end(other)
    t.match(seen, [['removed', reason]], reason)
    t.equal(other.session.alive, false)
    other.session.deliver('/x', 1)
    other.session.disconnect()
    t.equal(seen.length, 1, 'the methods of an ended session do nothing')
  }
})

t.test('service: the answer goes to its caller with the id of the request', async t => {
  const { bayeux, join } = await begin(t)
  const [client, other] = [await join(), await join()]
  await other.subscribe('/**')
  const logged: unknown[] = []
  bayeux.service('/service/now', (data, session, message) => ({ data, mine: session === client.session, id: message['id'] }))
  bayeux.service('/service/soon', async data => {
    await new Promise(resolve => setTimeout(resolve, 5))
    return data
  })
  bayeux.service('/service/silent', data => void logged.push(data))
  bayeux.service('/service/refuses', () => {
    throw new ServiceError({ reason: 'no' })
  })
  bayeux.service('/service/rejects', async () => Promise.reject(new ServiceError(null)))
  bayeux.service('/service/breaks', () => {
    throw new Error('secret')
  })
  const off = bayeux.service('/service/*', () => 'any')
  const call = async (channel: string, data: unknown): Promise<Json[]> => {
    client.send({ channel, id: '7', data })
    const got = [await client.next(), await client.next()]
    return [...got, ...(await client.rest())]
  }
  t.same(
    await call('/service/other', 1),
    [
      { channel: '/service/other', id: '7', data: 'any', successful: true },
      { id: '7', channel: '/service/other', successful: true },
    ],
    'a pattern answers too',
  )
  off()
  t.same(await call('/service/now', 0), [
    { channel: '/service/now', id: '7', data: { data: 0, mine: true, id: '7' }, successful: true },
    { id: '7', channel: '/service/now', successful: true },
  ])
  t.same(await call('/service/soon', [1]), [
    { id: '7', channel: '/service/soon', successful: true },
    { channel: '/service/soon', id: '7', data: [1], successful: true },
  ])
  t.same((await call('/service/refuses', 1))[0], {
    channel: '/service/refuses',
    id: '7',
    data: { reason: 'no' },
    successful: false,
  })
  t.same((await call('/service/rejects', 1))[1], { channel: '/service/rejects', id: '7', data: null, successful: false })
  t.same(
    (await call('/service/breaks', 1))[0],
    { channel: '/service/breaks', id: '7', data: { error: 'internal' }, successful: false },
    'nothing of the error travels',
  )
  t.match(await client.ask({ channel: '/service/silent', data: 3 }), {
    channel: '/service/silent',
    successful: true,
    id: undefined,
  })
  t.same(logged, [3])
  t.same(await other.rest(), [], 'nobody else hears of it')
  t.throws(() => bayeux.service('/a' as '/service/a', () => 1), { code: 'CHANNEL_NAME_INVALID' })
})

t.test('service: an answer that JSON cannot carry fails the call, and an answer to a caller that left goes nowhere', async t => {
  const { bayeux, join } = await begin(t)
  const client = await join()
  const circle: Json = {}
  circle['self'] = circle
  bayeux.service('/service/circle', () => circle)
  t.match(await client.ask({ channel: '/service/circle', id: '1', data: 1 }), {
    id: '1',
    data: { error: 'internal' },
    successful: false,
  })
  let finish: (value: unknown) => void = () => {}
  bayeux.service('/service/late', () => new Promise(resolve => (finish = resolve)))
  await client.next()
  await client.ask({ channel: '/service/late', id: '2', data: 1 })
  client.session.disconnect()
  finish('late')
  t.match(await client.rest(), [{ channel: '/meta/disconnect', successful: true }])
})

t.test('use: extensions see all messages in and out, in opposite orders, and may change or drop them', async t => {
  const { bayeux, join } = await begin(t)
  const client = await join()
  const order: string[] = []
  const offs = [
    bayeux.use({
      incoming: (session, message) => {
        order.push(`1 in ${String(message['channel'])} ${session === client.session}`)
        if (message['channel'] === '/a') message['data'] = 'changed'
        return message['channel'] !== '/dropped'
      },
      outgoing: (_session, message) => {
        order.push('1 out')
        return message['data'] !== 'hidden'
      },
    }),
    bayeux.use({
      incoming: () => void order.push('2 in'),
      outgoing: (_session, message) => {
        order.push('2 out')
        message['stamp'] = 1
      },
    }),
  ]
  await client.subscribe('/a', '/h')
  t.same(order.splice(0), ['1 in /meta/subscribe true', '2 in', '2 out', '1 out'])
  client.send({ channel: '/a', id: '1', data: 'x' })
  t.match(
    [await client.next(), await client.next()],
    [
      { channel: '/a', data: 'changed', stamp: 1 },
      { id: '1', successful: true, stamp: 1 },
    ],
  )
  t.match(await client.ask({ channel: '/dropped', id: '2' }), { error: '404::message_deleted' })
  bayeux.publish('/h', 'hidden')
  bayeux.publish('/h', 'seen')
  t.match(await client.next(), { data: 'seen' })
  for (const off of offs) off()
  bayeux.publish('/h', 'hidden')
  t.same(await client.next(), { channel: '/h', data: 'hidden' })
})

t.test('use: an extension may send a message elsewhere', async t => {
  const { bayeux, join } = await begin(t)
  const client = await join()
  await client.subscribe('/old', '/new')
  bayeux.use({
    incoming: (_session, message) => {
      if (message['channel'] === '/old') message['channel'] = '/new'
    },
  })
  const seen: unknown[] = []
  bayeux.on('/new', message => void seen.push(message.data))
  bayeux.policy({ canPublish: (_session, channel) => channel === '/new' })
  client.send({ channel: '/old', id: '1', data: 1 })
  t.match(
    [await client.next(), await client.next()],
    [
      { channel: '/new', data: 1 },
      { id: '1', successful: true },
    ],
  )
  t.same(seen, [1])
})

t.test('use: what one session’s extension changes, no other session sees', async t => {
  const { bayeux, join } = await begin(t)
  const [a, b] = [await join(), await join()]
  await a.subscribe('/x')
  await b.subscribe('/x')
  bayeux.use({
    outgoing: (session, message) => {
      if (session === a.session) Object.assign(message['data'] as Json, { for: 'a' })
    },
  })
  bayeux.publish('/x', {})
  t.same(
    [await a.next(), await b.next()],
    [
      { channel: '/x', data: { for: 'a' } },
      { channel: '/x', data: {} },
    ],
  )
})

t.test('publish: to all subscribers, with what only the server may say; wrong names and data throw', async t => {
  const { bayeux, join } = await begin(t)
  const client = await join()
  await client.subscribe('/a')
  bayeux.publish('/a', undefined)
  bayeux.publish('/a', { x: 1 }, { ext: { k: 1 } })
  t.same([await client.next(), await client.next()], [{ channel: '/a' }, { channel: '/a', data: { x: 1 }, ext: { k: 1 } }])
  for (const channel of ['a', '/', '/a//b', '/meta/connect', '/service/x'])
    t.throws(() => bayeux.publish(channel, 1), { code: 'CHANNEL_NAME_INVALID' }, channel)
  t.throws(() => bayeux.publish('/a', 1n), { code: 'DATA_INVALID' })
  t.throws(
    () =>
      bayeux.publish('/a', {
        toJSON: () => {
          throw new Error('mine')
        },
      }),
    BayeuxError,
  )
  t.same(await client.rest(), [])
  t.match(bayeux.stats(), { queued: 0 })
})

t.test('session: deliver, batch, subscribe, attributes, user, flags', async t => {
  const { bayeux, join } = await begin(t)
  const client = await join()
  const { session } = client
  session.deliver('/not/subscribed', 1, { id: 'x', successful: false, ext: {} })
  t.same(await client.next(), { channel: '/not/subscribed', id: 'x', data: 1, successful: false, ext: {} })
  session.batch(() => {
    session.deliver('/b', 1)
    session.batch(() => session.deliver('/b', 2))
    session.deliver('/b', 3)
    t.equal(bayeux.stats().queued, 3, 'nothing leaves before the outermost batch ends')
  })
  t.match([await client.next(), await client.next(), await client.next()], [{ data: 1 }, { data: 2 }, { data: 3 }])
  t.throws(
    () =>
      session.batch(() => {
        throw new RangeError('mine')
      }),
    RangeError,
  )
  session.deliver('/b', 4)
  t.match(await client.next(), { data: 4 }, 'a batch that throws ends too')
  session.subscribe('/s')
  bayeux.publish('/s', 5)
  t.match(await client.next(), { data: 5 })
  t.same(session.subscriptions, ['/s'])
  session.broadcastToPublisher = false
  t.match(await client.ask({ channel: '/s', data: 6, id: '1' }), { id: '1', successful: true })
  session.unsubscribe('/s')
  bayeux.publish('/s', 7)
  t.same(await client.rest(), [])
  session.attributes.set('k', 1)
  session.user = 'ann'
  t.equal(bayeux.session(client.id)!.attributes.get('k'), 1, 'it is one object as long as the session lives')
  t.equal(bayeux.session(client.id)!.user, 'ann')
  t.same([session.transport, session.address, session.alive], ['websocket', '127.0.0.1', true])
  t.same([...bayeux.sessions()], [session])
  for (const channel of ['/meta/x', '/service/x', 'x'])
    t.throws(() => session.subscribe(channel), { code: 'CHANNEL_NAME_INVALID' }, channel)
  session.expire()
  t.throws(() => session.subscribe('/s'), { code: 'SESSION_GONE' })
  t.equal(bayeux.session(client.id), undefined)
})

t.test('session: times of its own are told to the client with the next connect, and hold', async t => {
  const { join } = await begin(t)
  const client = await join()
  client.session.times({ timeout: 20, interval: 3, maxInterval: 5_000 })
  const asked = Date.now()
  t.match(await client.ask({ channel: '/meta/connect', id: '2' }), {
    id: '2',
    advice: { reconnect: 'retry', interval: 3, timeout: 20 },
  })
  t.ok(Date.now() - asked >= 19)
  t.same(await client.ask({ channel: '/meta/connect', id: '3' }), { id: '3', channel: '/meta/connect', successful: true }, 'once')
  client.session.times({ timeout: null, interval: null })
  t.match(await client.ask({ channel: '/meta/connect', id: '4', advice: { timeout: 0 } }), {
    advice: { interval: 0, timeout: 30_000 },
  })
  client.session.metaConnectDeliverOnly = true
  client.session.deliver('/x', 1)
  t.same(await client.rest(), [])
  client.send({ channel: '/meta/connect', id: '5' })
  t.match([await client.next(), await client.next()], [{ data: 1 }, { id: '5', successful: true }])
})

t.test('authorize: asked for all operations on all patterns that cover a channel', async t => {
  const { bayeux, join } = await begin(t)
  const client = await join()
  const asked: string[] = []
  const off = bayeux.authorize('/g/**', (operation, channel, session, message) => {
    asked.push(`${operation} ${channel} ${session === client.session} ${String(message['id'])}`)
    return operation === 'publish' ? { deny: 'read only' } : 'grant'
  })
  t.match(await client.subscribe('/g/a'), { successful: true })
  t.match(await client.ask({ channel: '/g/a', id: '1' }), { error: '403:read only:publish_denied' })
  t.same(asked, ['create /g/a true s', 'subscribe /g/a true s', 'publish /g/a true 1'])
  off()
  t.match(await client.ask({ channel: '/g/a', id: '2' }), { channel: '/g/a' })
  t.throws(() => bayeux.authorize('/a//b', () => 'grant'), { code: 'CHANNEL_NAME_INVALID' })
})

t.test('queueMaxed: a listener may drop the message; otherwise the session ends', async t => {
  const { bayeux, url } = await begin(t, { maxQueue: 2 })
  const joinPolling = async (): Promise<BayeuxSession> => {
    const [{ clientId }] = JSON.parse((await post(url, '{"channel":"/meta/handshake"}')).body) as [{ clientId: string }]
    const session = bayeux.session(clientId)!
    session.subscribe('/a')
    return session
  }
  const kept = await joinPolling()
  const dropped: unknown[] = []
  const off = bayeux.on('queueMaxed', (session, message: Message) => {
    dropped.push([session === kept, message.data])
    return 'drop'
  })
  for (const data of [1, 2, 3, 4]) bayeux.publish('/a', data)
  t.same(dropped, [
    [true, 3],
    [true, 4],
  ])
  t.match(bayeux.stats(), { sessions: 1, queued: 2 })
  off()
  bayeux.on('queueMaxed', () => {})
  const reasons: string[] = []
  bayeux.on('removed', (_session, reason) => void reasons.push(reason))
  bayeux.publish('/a', 5)
  t.same(reasons, ['overflow'])
  t.match(bayeux.stats(), { sessions: 0, queued: 0, subscriptions: 0 })
})

t.test('local: a session in this process subscribes and publishes like a client', async t => {
  const { bayeux, join } = await begin(t)
  const client = await join()
  await client.subscribe('/a/*')
  const local = bayeux.local('clerk')
  t.match(local.id, /^clerk_/)
  const seen: unknown[] = []
  const off = local.subscribe('/a/**', message => seen.push(['deep', message.data]))
  const offB = local.subscribe('/a/b', message => seen.push(['b', message.data]))
  local.subscribe('/a/b', () => {
    throw new Error('mine')
  })
  client.send({ channel: '/a/b', data: 1, id: '1' })
  await client.next()
  await client.next()
  await new Promise(resolve => setImmediate(resolve))
  t.same(
    seen.splice(0),
    [
      ['deep', 1],
      ['b', 1],
    ],
    'each receiver once, though two patterns match',
  )
  local.publish('/a/c', 2, { ext: { k: 1 } })
  t.same(await client.next(), { channel: '/a/c', data: 2, ext: { k: 1 } })
  t.same(seen.splice(0), [['deep', 2]], 'its own messages too')
  offB()
  off()
  bayeux.publish('/a/c', 3)
  await client.next()
  t.same(seen, [])
  t.match(bayeux.stats(), { local: 1, sessions: 1 })
  t.throws(() => local.subscribe('x', () => {}), { code: 'CHANNEL_NAME_INVALID' })
  t.throws(() => local.publish('/service/x', 1), { code: 'CHANNEL_NAME_INVALID' })
  local.disconnect()
  local.disconnect()
  t.match(bayeux.stats(), { local: 0 })
  t.throws(() => local.publish('/a/c', 1), { code: 'SESSION_GONE' })
  t.throws(() => local.subscribe('/a/c', () => {}), { code: 'SESSION_GONE' })
})

t.test('stats: all is back to zero when all have left', async t => {
  const { bayeux, join } = await begin(t, { sweepPeriod: 5 })
  t.same(bayeux.stats(), { sessions: 0, local: 0, channels: bayeux.stats().channels, subscriptions: 0, queued: 0, held: 0 })
  const services = bayeux.stats().channels
  const clients = [await join(), await join()]
  for (const client of clients) {
    await client.subscribe('/a', '/b/**')
    client.send({ channel: '/meta/connect', id: '9' })
    await client.socket.roundTrip()
  }
  t.same(bayeux.stats(), { sessions: 2, local: 0, channels: services + 2, subscriptions: 4, queued: 0, held: 2 })
  for (const client of clients) {
    client.send({ channel: '/meta/disconnect', id: 'd' })
    t.match(
      [await client.next(), await client.next()],
      [
        { id: '9', advice: { reconnect: 'none' } },
        { id: 'd', successful: true },
      ],
    )
  }
  for (let tries = 0; bayeux.stats().channels > services && tries < 400; tries++)
    await new Promise(resolve => setTimeout(resolve, 5))
  t.same(bayeux.stats(), { sessions: 0, local: 0, channels: services, subscriptions: 0, queued: 0, held: 0 })
})
