// Replay: sessions that begin to listen in the past get what is kept, then what comes, once and in order.

import fc from 'fast-check'
import t from 'tap'
import type { ChannelRules, Json, Transport } from '../../bayeux/index.js'
import { MemoryHistory } from '../../lib/history/memory.js'
import { type Client, Drive } from '../support/drive.js'

const RULES: ChannelRules = { '/k/**': { history: { messages: 10_000, age: 3_600_000 } }, '/r/**': { retain: true } }
const CONNECT = { channel: '/meta/connect', advice: { timeout: 0 } }
const store = (limits: Partial<{ messages: number; bytes: number }> = {}) =>
  new MemoryHistory({ messages: 100_000, bytes: 1e9, ...limits })

function subscribe(client: Client, subscription: string | string[], replay?: object): Json {
  client.say({ channel: '/meta/subscribe', subscription, ...(replay === undefined ? {} : { ext: { replay } }) })
  return client.replies.findLast(({ channel }) => channel === '/meta/subscribe')!
}

function joined(drive: Drive, ext: object = { replay: true }, transport: Transport = 'websocket'): Client {
  const client = drive.stranger(transport)
  client.handshake({ ext })
  client.say({ channel: '/meta/connect', ext: { ack: 0 } })
  return client
}

const replayIds = (client: Client) =>
  client.messages.map(({ data }) => ((data as Json)['event'] as Json | undefined)?.['replayId'])

t.test('without rules that keep, nothing is said of replay and positions are not read', t => {
  const drive = new Drive({}, {}, store())
  const client = drive.stranger()
  t.notOk('ext' in client.handshake({ ext: { replay: true } }))
  client.say({ channel: '/meta/connect' })
  t.match(subscribe(client, '/k/a', { '/k/a': 77 }), { successful: true })
  t.end()
})

t.test('a session that asked as Salesforce clients do gets the replay id in data.event, any other the message as it is', t => {
  const drive = new Drive({}, RULES, store())
  const [asking, silent, elsewhere, plain] = [drive.stranger(), drive.stranger(), drive.stranger(), drive.stranger()]
  t.match(asking.handshake({ ext: { replay: true } }), { ext: { replay: true } })
  t.match(silent.handshake(), { ext: { replay: true } }, 'jsforce turns it on by the reply')
  elsewhere.handshake()
  plain.handshake()
  for (const client of [asking, silent, elsewhere, plain]) {
    client.say({ channel: '/meta/connect' })
    const map = client === silent ? { '/k/a': -1 } : client === elsewhere ? { '/k/b': 99 } : undefined
    subscribe(client, ['/k/a', '/live'], map)
  }
  drive.publish('/k/a', { payload: 1, event: { createdBy: 'x' } })
  drive.publish('/k/a', 'text')
  drive.publish('/live', { n: 1 })
  const createdDate = new Date(drive.now).toISOString()
  t.same(asking.data, [
    { payload: 1, event: { createdBy: 'x', replayId: 1, createdDate } },
    { event: { replayId: 2, createdDate }, payload: 'text' },
    { n: 1 },
  ])
  t.same(silent.data, asking.data, 'also -1 says positions: how else would it go on where it was')
  t.same(elsewhere.data, asking.data, 'and so does a map without this channel')
  t.same(plain.data, [{ payload: 1, event: { createdBy: 'x' } }, 'text', { n: 1 }])
  t.end()
})

t.test(
  '-2 replays all that is kept, a position what is behind it, -1 and none only what is new; a map may name other channels',
  t => {
    for (const transport of ['websocket', 'long-polling'] as const) {
      const drive = new Drive({}, RULES, store())
      for (let n = 1; n <= 5; n++) drive.publish(n % 2 === 1 ? '/k/odd' : '/k/even', { n })
      const places: [subscription: string, map: object, expected: number[]][] = [
        ['/k/odd', { '/k/odd': -2 }, [1, 3, 5, 6]],
        ['/k/odd', { '/k/odd': 1, '/k/even': 99, '/other': 'x' }, [3, 5, 6]],
        ['/k/odd', { '/k/odd': 5 }, [6]],
        ['/k/odd', { '/k/odd': 0 }, [1, 3, 5, 6]],
        ['/k/odd', { '/k/odd': -1 }, [6]],
        ['/k/odd', {}, [6]],
        ['/k/*', { '/k/*': 2 }, [3, 4, 5, 6]],
        ['/k/**', { '/k/**': -2 }, [1, 2, 3, 4, 5, 6]],
      ]
      const clients = places.map(([subscription, map]) => {
        const client = joined(drive, { replay: true }, transport)
        t.match(subscribe(client, subscription, map), { successful: true })
        return client
      })
      drive.publish('/k/odd', { n: 6 })
      for (const [index, [subscription, map, expected]] of places.entries()) {
        const client = clients[index]!
        for (let i = 0; i < 3; i++) client.say(CONNECT)
        t.same(
          client.data.map(data => (data as Json)['n']),
          expected,
          `${transport} ${subscription} ${JSON.stringify(map)}`,
        )
      }
    }
    t.end()
  },
)

t.test('a place that is none is refused with the text that clients know, and the subscription is not made', t => {
  const drive = new Drive({}, { '/k/**': { history: { messages: 2, age: 1_000_000 } } }, store())
  for (let n = 1; n <= 5; n++) drive.publish('/k/a', { n })
  const { epoch } = drive.engine.server.history('/k/a', 0, 1)
  const none = [
    ...[6, 9, 1.5, 5.000001, -0.5, -3, -1.5, 2, 1e300, -1e300, 2 ** 53],
    ...['3', '5', '-1', '-2', '', 'NaN', 'x'.repeat(10_000), true, false, null, [], [5], [[]], {}],
    ...[{ id: 5 }, { id: '5', epoch }, { id: 6, epoch }, { id: -1, epoch }, { id: 1.5, epoch }, { id: null, epoch }, { epoch }],
    ...[{ id: 5, epoch: 1 }, { id: 5, epoch: null }, { at: '0' }, { at: null }, { at: [] }, { now: 1 }],
  ]
  for (const form of [true, {}]) {
    for (const place of [...none, Number.POSITIVE_INFINITY]) {
      const client = joined(drive, { replay: form })
      const map = JSON.stringify({ '/k/a': place }).replace('null', place === Number.POSITIVE_INFINITY ? '1e999' : 'null')
      client.raw(`{"channel":"/meta/subscribe","subscription":["/k/a","/k/b"],"ext":{"replay":${map}}}`)
      const reply = client.replies.at(-1)!
      t.match(reply, { successful: false }, map)
      t.match(
        reply['error'],
        /^400::The replayId \{.{0,40}\} you provided was invalid\. Please provide a valid ID, -2 to replay all events, or -1 to replay only new events\.$/,
      )
      t.equal(client.session.subscriptions, null)
    }
  }
  t.match(subscribe(joined(drive), '/k/a', { '/k/a': 3 }), { successful: true }, 'the last that is gone leaves no gap behind it')
  t.end()
})

t.test(
  'a channel may be named with a slash at its end, in the subscription, in the map, or in both; the reply names it as the map does',
  t => {
    const drive = new Drive({}, RULES, store())
    for (let n = 1; n <= 3; n++) drive.publish('/k/a/b', { n })
    for (const subscription of ['/k/a/b', '/k/a/b/'])
      for (const key of ['/k/a/b', '/k/a/b/', '/k/a/b '])
        for (const map of [
          { [key]: 1 },
          { '/k/other/': 'x', [key]: 1 },
          { ...(key === '/k/a/b' ? { '/k/a/b/': 'x' } : {}), [key]: 1 },
        ]) {
          const [plain, own] = [joined(drive), joined(drive, { replay: {} })]
          t.match(subscribe(plain, subscription, map), { successful: true }, `${subscription} ${JSON.stringify(map)}`)
          t.match(subscribe(own, subscription, map), { successful: true, ext: { replay: { [key]: { recovered: true, id: 1 } } } })
          for (const client of [plain, own])
            t.same(
              client.data.map(data => (data as Json)['n']),
              [2, 3],
            )
        }
    t.end()
  },
)

t.test('our own form: id and epoch on each message, and the reply says whether anything is missing', t => {
  const drive = new Drive({}, { '/k/**': { history: { messages: 2, age: 1_000_000 } } }, store())
  const client = drive.stranger()
  const { epoch } = (client.handshake({ ext: { replay: {} } })['ext'] as { replay: { epoch: string } }).replay
  t.match(epoch, /^\w{10,}$/)
  client.say({ channel: '/meta/connect' })
  for (let n = 1; n <= 4; n++) drive.publish('/k/a', { n })
  const cases: [place: unknown, recovered: boolean, data: number[]][] = [
    [{ id: 3, epoch }, true, [4]],
    [{ id: 4, epoch }, true, []],
    [{ id: 1, epoch }, false, [3, 4]],
    [{ id: 1, epoch: 'another life' }, false, [3, 4]],
    [{ at: drive.now + 1 }, true, []],
    [{ at: 0 }, false, [3, 4]],
    [-2, true, [3, 4]],
  ]
  for (const [place, recovered, data] of cases) {
    const each = joined(drive, { replay: {} })
    t.match(subscribe(each, '/k/a', { '/k/a': place }), { successful: true, ext: { replay: { '/k/a': { recovered, epoch } } } })
    t.same(
      each.data.map(n => (n as Json)['n']),
      data,
      JSON.stringify(place),
    )
    for (const { ext, data } of each.messages) t.same(ext, { replay: { id: (data as { n: number }).n, epoch } })
  }
  t.match(subscribe(joined(drive, { replay: {} }), '/k/a', { '/k/a': { id: 5, epoch } }), { successful: false })
  drive.engine.server.publish('/k/a', 1, { ext: { mine: 1 } }, null, drive.now)
  const last = joined(drive, { replay: {} })
  subscribe(last, '/k/a', { '/k/a': { id: 4, epoch } })
  t.same(
    last.messages.map(({ ext }) => ext),
    [{ mine: 1, replay: { id: 5, epoch } }],
  )
  t.end()
})

t.test('retain gives a new subscriber the last message, through a wildcard that of each channel, and no one twice', t => {
  const drive = new Drive({}, RULES, store())
  for (const [channel, n] of [
    ['/r/a', 1],
    ['/r/b', 2],
    ['/r/a', 3],
    ['/k/a', 4],
  ] as const)
    drive.publish(channel, { n })
  const client = joined(drive, {})
  subscribe(client, '/r/a')
  t.same(client.data, [{ n: 3 }])
  subscribe(client, '/r/a')
  t.equal(client.data.length, 1, 'who is subscribed already is no new subscriber')
  const wild = joined(drive, {})
  subscribe(wild, '/**')
  t.same(wild.data, [{ n: 2 }, { n: 3 }], 'not what is only kept for replay')
  drive.pass(100_000_000)
  const late = joined(drive, {})
  subscribe(late, '/r/b')
  t.same(late.data, [{ n: 2 }], 'however long ago')
  const own = joined(drive, { replay: {} })
  const told = (subscribe(own, '/r/**', { '/r/**': { now: true } })['ext'] as Json)['replay'] as Json
  t.match(told, { '/r/**': { recovered: true, id: 4 } })
  t.same(own.data, [{ n: 2 }, { n: 3 }], 'also who asks where the present is')
  t.same(
    own.messages.map(({ ext }) => ext),
    [undefined, undefined],
    'without places, which are before the present',
  )
  subscribe(own, '/r/**', { '/r/**': { now: true } })
  t.equal(own.data.length, 2, 'once')
  t.end()
})

t.test('retain beside history: the last stays at any age, the others go by the rule; and it is replayed once', t => {
  const drive = new Drive({}, { '/r/**': { retain: true, history: { messages: 10, age: 10_000 } } }, store())
  for (let n = 1; n <= 3; n++) drive.publish('/r/a', { n })
  drive.publish('/r/b', { n: 4 })
  drive.pass(60_000)
  const [plain, wild, replaying, both] = [0, 1, 2, 3].map(() => joined(drive, {}))
  subscribe(plain!, '/r/a')
  subscribe(wild!, '/r/*')
  subscribe(replaying!, '/r/**', { '/r/**': -2 })
  subscribe(both!, ['/r/**', '/r/a'], { '/r/**': -2 })
  for (const [client, expected] of [
    [plain, [3]],
    [wild, [3, 4]],
    [replaying, [3, 4]],
    [both, [3, 4]],
  ] as const)
    t.same(
      client!.data.map(data => (data as Json)['n']),
      expected,
    )
  t.equal(drive.engine.server.history('/r/**', 0, 100).entries.length, 2)
  t.end()
})

t.test('through a wildcard so many retained messages are given at once as half of a queue holds, the newest', t => {
  const drive = new Drive({ maxQueue: 40, maxQueueBytes: 100_000 }, RULES, store())
  for (let n = 0; n < 100; n++) drive.publish(`/r/${n}`, { n })
  for (let n = 0; n < 100; n++) drive.publish(`/k/${n}`, { n })
  const client = joined(drive, {}, 'long-polling')
  subscribe(client, '/**')
  client.say(CONNECT)
  t.same(
    client.data.map(data => (data as Json)['n']),
    Array.from({ length: 20 }, (_, i) => 80 + i),
  )
  for (let n = 0; n < 5; n++) drive.publish(`/r/${n}`, { n, pad: 'x'.repeat(20_000) })
  const large = joined(drive, {}, 'long-polling')
  subscribe(large, '/r/*')
  large.say(CONNECT)
  t.same(
    large.data.map(data => (data as Json)['n']),
    [3, 4],
  )
  t.same(drive.removed, [])
  t.end()
})

t.test('while a channel is replayed to a session, nothing of it reaches it another way, and nothing else waits for it', t => {
  const drive = new Drive({ maxQueue: 100 }, { ...RULES, '/j': RULES['/k/**']! }, store())
  for (let n = 0; n < 1_000; n++) drive.publish('/k/a', { n })
  const client = joined(drive, {}, 'long-polling')
  subscribe(client, '/j')
  subscribe(client, ['/k/a', '/live'], { '/k/a': -2 })
  for (let n = 1_000; n < 1_010; n++) drive.publish('/k/a', { n })
  drive.publish('/j', { who: 'j' })
  drive.publish('/live', { who: 'live' })
  t.ok(client.session.queue.length <= 300, 'a page at a time')
  client.say(CONNECT)
  t.same(client.data.map(data => (data as Json)['who']).filter(Boolean), ['j', 'live'])
  for (let i = 0; i < 40; i++) client.say(CONNECT)
  t.same(
    client.data.map(data => (data as Json)['n']).filter(n => n !== undefined),
    Array.from({ length: 1_010 }, (_, n) => n),
  )
  t.same(drive.removed, [])
  t.equal(client.session.replays, null)
  t.end()
})

t.test('a long replay to a session with ack goes on with each connect, also with one that is held', t => {
  for (const transport of ['websocket', 'long-polling'] as const) {
    const drive = new Drive({}, RULES, store())
    for (let n = 0; n < 2_000; n++) drive.publish('/k/a', { n })
    const client = joined(drive, { ack: true, replay: {} }, transport)
    subscribe(client, '/k/a', { '/k/a': -2 })
    for (let i = 0; i < 12; i++) {
      const last = client.replies.findLast(({ channel }) => channel === '/meta/connect')!
      client.say({ channel: '/meta/connect', ext: { ack: (last['ext'] as { ack: number }).ack } })
    }
    t.same(
      client.data.map(data => (data as Json)['n']),
      Array.from({ length: 2_000 }, (_, n) => n),
      transport,
    )
  }
  t.end()
})

t.test('a replay ends with its subscription, also when that is no longer allowed', t => {
  const drive = new Drive({ maxQueue: 100 }, RULES, store())
  for (let n = 0; n < 1_000; n++) drive.publish('/k/a', { n })
  const [leaving, refused] = [joined(drive, {}, 'long-polling'), joined(drive, {}, 'long-polling')]
  for (const client of [leaving, refused]) subscribe(client, '/k/a', { '/k/a': -2 })
  leaving.say({ channel: '/meta/unsubscribe', subscription: '/k/a' })
  drive.engine.server.setRules({ ...RULES, '/k/a': { subscribe: 'nobody' } }, drive.now)
  for (const client of [leaving, refused]) for (let i = 0; i < 20; i++) client.say(CONNECT)
  t.ok(leaving.data.length < 400)
  t.same(refused.data, [])
  t.end()
})

t.test(
  'a right that is lost, or a policy that thinks better of it, ends a replay; a wildcard that covers what one may not see is none',
  t => {
    const rules: ChannelRules = { ...RULES, '/k/secret': { subscribe: 'role:ops' } }
    for (const how of ['rule', 'policy', 'later', 'authorizer'] as const) {
      const drive = new Drive({ maxQueue: 20 }, rules, store())
      for (let n = 0; n < 100; n++) drive.publish('/k/a', { n })
      drive.publish('/k/secret', { n: -1 })
      const client = joined(drive, { replay: {} }, 'long-polling')
      t.match(subscribe(client, '/k/*', { '/k/*': -2 }), { successful: false, error: /subscribe_denied$/ })
      t.match(subscribe(client, '/k/**', { '/k/**': -2 }), { successful: false })
      t.match(subscribe(client, '/k/a', { '/k/a': -2 }), { successful: true })
      client.say(CONNECT)
      const before = client.data.length
      t.ok(before > 0 && before < 100, how)
      drive.answer = ({ kind }) => (kind !== 'subscribe' ? true : how === 'later' ? null : false)
      if (how === 'rule') drive.engine.server.setRules({ ...rules, '/k/a': { subscribe: 'nobody' } }, drive.now)
      else if (how === 'authorizer') drive.engine.server.authorize('/k/a', () => ({ deny: 'closed' }))
      else drive.engine.server.police({ subscribe: true })
      drive.engine.server.review(client.session, drive.now)
      for (let i = 0; i < 10; i++) client.say(CONNECT)
      if (how === 'later') {
        t.equal(client.data.length, before, 'while the policy thinks, nothing leaves')
        drive.verdict(false)
      }
      for (let i = 0; i < 10; i++) client.say(CONNECT)
      drive.publish('/k/a', { n: 100 })
      client.say(CONNECT)
      t.equal(client.data.length, before, `${how}: nothing more of it`)
      t.match(drive.engine.server.stats(), { queued: 0, subscriptions: 0 })
    }
    t.end()
  },
)

t.test(
  'what retention takes while a slow session replays is a gap: its session ends, and its client is told when it comes back',
  t => {
    const drive = new Drive({ maxQueue: 20 }, { '/k/**': { history: { messages: 50, age: 1_000_000 } } }, store())
    for (let n = 1; n <= 50; n++) drive.publish('/k/a', { n })
    const client = joined(drive, { replay: {} }, 'long-polling')
    t.match(subscribe(client, '/k/a', { '/k/a': -2 }), { ext: { replay: { '/k/a': { recovered: true } } } })
    client.say(CONNECT)
    for (let n = 51; n <= 90; n++) drive.publish('/k/a', { n })
    for (let i = 0; i < 5; i++) client.say(CONNECT)
    t.same(drive.removed, ['overflow'])
    const { length } = client.data
    t.ok(length >= 10 && length < 50, 'what was read before is not lost')
    const again = joined(drive, { replay: {} })
    const { epoch } = drive.engine.server.history('/k/a', 0, 1)
    t.match(subscribe(again, '/k/a', { '/k/a': { id: length, epoch } }), { ext: { replay: { '/k/a': { recovered: false } } } })
    t.end()
  },
)

t.test('large messages are replayed within the bounds of the queue, on each transport', t => {
  for (const transport of ['websocket', 'long-polling'] as const)
    for (const ack of [false, true]) {
      const drive = new Drive({ maxQueueBytes: 100_000 }, RULES, store())
      for (let n = 0; n < 60; n++) drive.publish('/k/a', { n, pad: 'x'.repeat(30_000) })
      const client = joined(drive, { replay: {}, ack }, transport)
      subscribe(client, '/k/a', { '/k/a': -2 })
      for (let i = 0; i < 100; i++) {
        t.ok((client.session.ack?.bytes ?? client.session.queuedBytes) <= 100_000)
        const last = client.replies.findLast(({ channel }) => channel === '/meta/connect')!
        client.say({ ...CONNECT, ext: { ack: (last['ext'] as { ack?: number } | undefined)?.ack ?? 0 } })
      }
      t.same(
        client.data.map(data => (data as Json)['n']),
        Array.from({ length: 60 }, (_, n) => n),
        `${transport} ${ack}`,
      )
      t.same(drive.removed, [])
    }
  t.end()
})

t.test('what cannot be read ends the session that was to get it, with a fault that says why; all else goes on', t => {
  const history = store()
  const drive = new Drive({ maxQueue: 20 }, RULES, history)
  for (let n = 0; n < 100; n++) drive.publish('/k/a', { n })
  const [reader, other] = [joined(drive, {}, 'long-polling'), joined(drive, {})]
  subscribe(other, ['/k/a', '/live'])
  subscribe(reader, '/k/a', { '/k/a': -2 })
  const { read, last, trim } = history
  history.read =
    history.last =
    history.trim =
      () => {
        throw new Error('page not found')
      }
  reader.say(CONNECT)
  reader.say(CONNECT)
  t.same(drive.removed, ['overflow'])
  t.match(drive.sink.faults, [{ code: 'HISTORY_UNREADABLE' }])
  t.match(subscribe(joined(drive, {}), '/k/a', { '/k/a': -2 }), { successful: false, error: '503::history_unreadable' })
  t.match(subscribe(joined(drive, {}), '/r/a'), { successful: true })
  drive.publish('/k/a', { n: 100 })
  drive.publish('/live', { n: 101 })
  t.same(other.data, [{ n: 100 }, { n: 101 }])
  drive.pass(100_000_000)
  Object.assign(history, { read, last, trim })
  drive.pass(60_000)
  t.equal(history.messages, 0, 'it is trimmed again')
  t.end()
})

t.test(
  'a message is one for all sessions that get it in the same form, live and replayed: what is not acknowledged is not held for each',
  t => {
    for (const form of ['plain', 'event', 'own'] as const) {
      const drive = new Drive({}, RULES, store())
      const ext = { ack: true, ...(form === 'plain' ? {} : { replay: form === 'own' ? {} : true }) }
      const held = (client: Client) => client.session.ack!.entries().map(([message]) => message)
      const live = [joined(drive, ext), joined(drive, ext)] as const
      for (const client of live) subscribe(client, '/k/a')
      for (let n = 0; n < 5; n++) drive.publish('/k/a', { n })
      const replaying = [joined(drive, ext), joined(drive, ext)] as const
      for (const client of replaying) subscribe(client, '/k/a', { '/k/a': -2 })
      for (const [one, other] of [live, replaying]) {
        const [mine, others] = [held(one), held(other)]
        t.equal(mine.length, 5)
        t.ok(
          mine.every((message, i) => message === others[i]),
          form,
        )
        t.ok(mine.every(({ position }, i) => position === i + 1))
      }
    }
    t.end()
  },
)

t.test('two subscriptions that meet give one stream: in order, and whole for the one when the other ends', t => {
  const drive = new Drive({ maxQueue: 20 }, RULES, store())
  const publish = (from: number, to: number) => {
    for (let n = from; n <= to; n++) drive.publish(n % 2 === 0 ? '/k/even' : '/k/odd', { n })
  }
  const numbers = (client: Client) => client.data.map(data => (data as Json)['n'])
  publish(1, 40)
  const [ends, wide, narrow] = [0, 1, 2].map(() => joined(drive, {}, 'long-polling'))
  subscribe(ends!, '/k/**', { '/k/**': -2 })
  subscribe(ends!, '/k/even')
  subscribe(wide!, '/k/**')
  subscribe(wide!, '/k/odd', { '/k/odd': 20 })
  subscribe(narrow!, '/k/odd', { '/k/odd': 30 })
  subscribe(narrow!, '/k/**', { '/k/**': 34 })
  publish(41, 50)
  ends!.say(CONNECT)
  const got = numbers(ends!)
  t.ok(got.length > 0 && got.length < 40)
  ends!.say({ channel: '/meta/unsubscribe', subscription: '/k/**' })
  for (const client of [ends!, wide!, narrow!]) for (let i = 0; i < 20; i++) client.say(CONNECT)
  const from = (first: number, last: number, odd = false) =>
    Array.from({ length: last - first + 1 }, (_, i) => first + i).filter(n => !odd || n % 2 === 1)
  const left = numbers(ends!)
    .slice(got.length)
    .filter(n => (n as number) > 40)
  t.same(left, [42, 44, 46, 48, 50], 'what was held back for the sake of the other')
  t.same(numbers(wide!), [...from(21, 40, true), ...from(41, 50)])
  t.same(numbers(narrow!), [...from(31, 34, true), ...from(35, 50)], 'none twice')
  t.end()
})

t.test('what was kept before this server began is there', t => {
  const history = store()
  new Drive({}, RULES, history).publish('/k/a', { n: 1 })
  const client = joined(new Drive({}, RULES, history))
  subscribe(client, '/k/a', { '/k/a': -2 })
  t.same(replayIds(client), [1])
  t.end()
})

t.test('what is too old goes, and reading from before it is a gap', t => {
  const history = store()
  const drive = new Drive({}, { '/k/**': { history: { messages: 100, age: 10_000 } } }, history)
  drive.publish('/k/a', { n: 1 })
  drive.pass(6_000)
  drive.publish('/k/a', { n: 2 })
  drive.pass(6_000)
  t.equal(history.messages, 1)
  const client = joined(drive)
  t.match(subscribe(client, '/k/a', { '/k/a': 0 }), { successful: false })
  t.match(subscribe(client, '/k/a', { '/k/a': 1 }), { successful: true })
  t.same(replayIds(client), [2])
  drive.pass(20_000)
  t.equal(history.messages, 0)
  t.end()
})

t.test(
  'any interleaving of publishing, reading, cuts, and retention gives each replay a gapless stream, or says that it has a gap',
  t => {
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({ op: fc.constant('publish' as const), channel: fc.constantFrom('/k/a', '/k/b', '/live') }),
      },
      { weight: 4, arbitrary: fc.record({ op: fc.constant('connect' as const), who: fc.nat(3) }) },
      {
        weight: 2,
        arbitrary: fc.record({
          op: fc.constant('resume' as const),
          who: fc.nat(3),
          channel: fc.constantFrom('/k/a', '/k/*', '/k/**'),
        }),
      },
      { weight: 1, arbitrary: fc.record({ op: fc.constant('pass' as const) }) },
    )
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 200 }),
        fc.constantFrom('websocket' as const, 'long-polling' as const),
        fc.boolean(),
        fc.constantFrom(5, 1_000),
        (steps, transport, ack, messages) => {
          const drive = new Drive({ maxQueue: 24 }, { '/k/**': { history: { messages, age: 3_000 } } }, store())
          const channels = ['/k/a', '/k/b']
          const published: { channel: string; n: number }[] = []
          /** What each person has of each channel, over all sessions; from a told gap on. */
          const people = Array.from({ length: 4 }, () => ({
            client: null as Client | null,
            seen: 0,
            pattern: '',
            at: 0,
            epoch: '',
            got: [] as number[],
            from: 0,
            since: 0,
          }))
          let n = 0
          const faults: string[] = []
          const read = (person: (typeof people)[number]): void => {
            const { client } = person
            if (client === null) return
            for (const { channel, data, ext } of client.messages.slice(person.seen)) {
              const place = (ext as { replay?: { id: number } } | undefined)?.replay
              if (place === undefined) continue // live
              if (place.id <= person.at) faults.push(`${channel} ${place.id} after ${person.at}`)
              person.at = place.id
              person.got.push((data as { n: number }).n)
            }
            person.seen = client.messages.length
          }
          const expected = (pattern: string, from: number): number[] =>
            published
              .filter(({ channel, n }) => n > from && (pattern === channel || (pattern !== '/k/a' && channels.includes(channel))))
              .map(({ n }) => n)
          for (const each of steps) {
            if (each.op === 'pass') drive.pass(1_000)
            else if (each.op === 'publish') {
              if (each.channel !== '/live') published.push({ channel: each.channel, n: ++n })
              drive.publish(each.channel, { n })
            } else {
              const person = people[each.who]!
              if (each.op === 'connect')
                person.client?.say({ channel: '/meta/connect', advice: { timeout: 0 }, ext: { ack: 99_999 } })
              else {
                read(person)
                const begins = person.pattern !== each.channel
                const client = drive.stranger(transport)
                const { epoch } = (
                  client.handshake({ ext: { replay: {}, ...(ack ? { ack: true } : {}) } })['ext'] as { replay: { epoch: string } }
                ).replay
                client.say({ channel: '/meta/connect', ext: { ack: 0 } })
                if (begins) Object.assign(person, { pattern: each.channel, at: 0, got: [], from: 0 })
                const reply = subscribe(client, each.channel, { [each.channel]: begins ? -2 : { id: person.at, epoch } })
                const told = (reply['ext'] as { replay: Record<string, { recovered: boolean }> }).replay[each.channel]!
                // begun at the beginning, or with a gap: the stream is whole from its first message on
                if (begins || !told.recovered) Object.assign(person, { got: [], from: null })
                Object.assign(person, { client, seen: 0, epoch })
              }
              read(person)
            }
          }
          for (const person of people) {
            for (let i = 0; i < 60 && person.client !== null; i++) {
              person.client.say({ channel: '/meta/connect', advice: { timeout: 0 }, ext: { ack: 99_999 } })
              read(person)
            }
            if (person.client === null || person.client.session === undefined) continue
            const first = person.got[0]
            const whole = expected(person.pattern, person.from === null ? (first ?? n + 1) - 1 : person.from)
            if (person.got.join() !== whole.join() && !drive.removed.includes('overflow'))
              faults.push(`${person.pattern}: got ${person.got} of ${whole}`)
          }
          if (faults.length > 0) throw new Error(faults.join('; '))
        },
      ),
      { numRuns: 300 },
    )
    t.end()
  },
)
