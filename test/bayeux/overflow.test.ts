// Sessions that cannot keep up: what the rule of a channel makes of its messages, and what the client is told of it.

import fc from 'fast-check'
import t from 'tap'
import type { ChannelRules } from '../../bayeux/index.js'
import { type Client, Drive } from '../support/drive.js'

const SUBSCRIBE = (subscription: string | string[]) => ({ channel: '/meta/subscribe', subscription })
const CONNECT = { channel: '/meta/connect', advice: { timeout: 0 } }

/** A long-polling client with subscriptions that does not connect: what it gets waits. */
function sleeper(drive: Drive, subscription: string | string[], ext: object = {}): Client {
  const client = drive.stranger('long-polling')
  client.handshake({ ext })
  client.say({ channel: '/meta/connect', ext: { ack: 0 } })
  client.say(SUBSCRIBE(subscription))
  return client
}

const dropped = (client: Client): unknown[] =>
  client.messages.map(({ ext }) => (ext as { dropped?: number } | undefined)?.dropped ?? 0)

t.test('conflate keeps of each value of its field the newest message, at the place of the newest', t => {
  const drive = new Drive({}, { '/prices': { conflate: 'symbol' } })
  const client = sleeper(drive, ['/prices', '/news'])
  const price = (symbol: unknown, at: number): void => drive.publish('/prices', { symbol, at })
  price('IBM', 1)
  price('SAP', 2)
  drive.publish('/news', 'n')
  price('IBM', 3)
  price({ nested: 1 }, 4)
  price({ nested: 1 }, 5)
  drive.publish('/prices', { at: 6 }) // no symbol: it stands for itself
  drive.publish('/prices', { at: 7 })
  drive.publish('/prices', 'text')
  price(null, 8)
  price(null, 9)
  client.say(CONNECT)
  t.same(client.data, [
    { symbol: 'SAP', at: 2 },
    'n',
    { symbol: 'IBM', at: 3 },
    { symbol: { nested: 1 }, at: 5 },
    { at: 6 },
    { at: 7 },
    'text',
    { symbol: null, at: 9 },
  ])
  t.equal(drive.engine.server.dropped().conflated, 3)
  price('IBM', 10)
  client.say(CONNECT)
  t.same(client.data.at(-1), { symbol: 'IBM', at: 10 }, 'what was sent stands for nothing any more')
  t.equal(drive.engine.server.dropped().conflated, 3)
  t.end()
})

t.test('conflate costs who keeps up nothing: every message is delivered', t => {
  const drive = new Drive({}, { '/prices': { conflate: 'symbol' } })
  const client = drive.client('websocket')
  client.say(SUBSCRIBE('/prices'))
  for (let at = 0; at < 5; at++) drive.publish('/prices', { symbol: 'IBM', at })
  t.equal(client.data.length, 5)
  t.end()
})

t.test('by default a full queue ends the session; drop-oldest and drop-newest lose messages instead, and count them', t => {
  const expected: [overflow: 'disconnect' | 'drop-oldest' | 'drop-newest', data: number[], counts: object][] = [
    ['disconnect', [], { oldest: 0, newest: 0 }],
    ['drop-oldest', [3, 4, 5], { oldest: 3, newest: 0 }],
    ['drop-newest', [0, 1, 2], { oldest: 0, newest: 3 }],
  ]
  for (const [overflow, data, counts] of expected) {
    const drive = new Drive({ maxQueue: 3 }, { '/a': { overflow } })
    const client = sleeper(drive, '/a')
    for (let n = 0; n < 6; n++) drive.publish('/a', n)
    t.same(drive.removed, overflow === 'disconnect' ? ['overflow'] : [], overflow)
    client.say(CONNECT)
    t.same(client.data, data, overflow)
    t.match(drive.engine.server.dropped(), counts, overflow)
    t.ok(drive.limited.includes('maxQueue'), 'the limit is named')
  }
  t.end()
})

t.test('the size of a queue counts as its length does', t => {
  const drive = new Drive({ maxQueueBytes: 5_000 }, { '/a': { overflow: 'drop-oldest' } })
  const client = sleeper(drive, '/a')
  for (let n = 0; n < 20; n++) drive.publish('/a', `${n} ${'x'.repeat(1_000)}`)
  t.ok(client.session.queuedBytes < 7_000)
  client.say(CONNECT)
  t.equal(String(client.data.at(-1)).slice(0, 2), '19')
  t.equal(client.data.length + drive.engine.server.dropped().oldest, 20)
  t.end()
})

t.test(
  'overflow: conflate keeps everything until the queue is full, then of each channel, or value of the field, the newest',
  t => {
    const drive = new Drive(
      { maxQueue: 4 },
      { '/c/*': { overflow: 'conflate' }, '/p': { overflow: 'conflate', conflate: 'key' } },
    )
    const client = sleeper(drive, ['/c/*', '/p'])
    for (let n = 0; n < 4; n++) drive.publish(`/c/${n % 2}`, n)
    t.equal(drive.engine.server.stats().queued, 4)
    drive.publish('/p', { key: 1, n: 4 })
    drive.publish('/p', { key: 2, n: 5 })
    drive.publish('/p', { key: 1, n: 6 })
    drive.publish('/c/0', 7)
    client.say(CONNECT)
    t.same(client.data, [3, { key: 2, n: 5 }, { key: 1, n: 6 }, 7])
    t.equal(drive.engine.server.dropped().conflated, 4)
    client.say({ channel: '/meta/disconnect' })
    const full = sleeper(drive, '/p')
    for (let key = 0; key < 4; key++) drive.publish('/p', { key })
    t.ok(full.session, 'four keys have room')
    drive.publish('/p', { key: 4 })
    t.same(drive.removed, ['disconnected', 'overflow'], 'a fifth has none: the session ends, as nothing of it may be lost')
    t.end()
  },
)

t.test('what may not be lost is never lost for what may: a message that may is lost instead, and ends no session', t => {
  for (const overflow of ['drop-oldest', 'drop-newest'] as const) {
    const drive = new Drive({ maxQueue: 3 }, { '/noise': { overflow } })
    const client = sleeper(drive, ['/noise', '/orders'])
    for (let n = 0; n < 3; n++) drive.publish('/orders', n)
    drive.publish('/noise', 'lost')
    t.same(drive.removed, [])
    client.say(CONNECT)
    t.same(client.data, [0, 1, 2])
    t.equal(drive.engine.server.dropped().newest, 1)
    drive.publish('/noise', 'a')
    for (let n = 3; n < 6; n++) drive.publish('/orders', n)
    t.same(drive.removed, ['overflow'], 'an order that has no room is not lost in silence')
  }
  t.end()
})

t.test('who asked for it in the handshake is told with the next message how many were lost before it, others are not', t => {
  const drive = new Drive({ maxQueue: 2 }, { '/old': { overflow: 'drop-oldest' }, '/new': { overflow: 'drop-newest' } })
  const deaf = sleeper(drive, '/new')
  const client = drive.stranger('long-polling')
  t.match(client.handshake({ ext: { dropped: true } }), { ext: { dropped: true } })
  t.notOk('dropped' in ((drive.stranger().handshake({ ext: { dropped: 'yes' } })['ext'] as object | undefined) ?? {}))
  client.say({ channel: '/meta/connect' })
  client.say(SUBSCRIBE(['/old', '/new']))
  for (let n = 0; n < 5; n++) drive.publish('/new', n)
  client.say(CONNECT)
  drive.publish('/new', { own: 'ext' })
  client.say(CONNECT)
  t.same(client.data, [0, 1, { own: 'ext' }])
  t.same(dropped(client), [0, 0, 3])
  for (let n = 0; n < 6; n++) drive.publish('/old', n)
  client.say(CONNECT)
  t.same(client.data.slice(3), [4, 5])
  t.equal(
    dropped(client)
      .slice(3)
      .reduce((sum: number, n) => sum + Number(n), 0),
    4,
    'also what a lost message was to tell',
  )
  deaf.say(CONNECT)
  drive.publish('/new', 9)
  deaf.say(CONNECT)
  t.same(dropped(deaf), [0, 0, 0])
  t.end()
})

t.test('a session with ack loses nothing that was sent, and gets again what it had, with what it was told', t => {
  const drive = new Drive({ maxQueue: 4 }, { '/a': { overflow: 'drop-oldest' }, '/p': { conflate: 'key' } })
  const client = sleeper(drive, ['/a', '/p'], { ack: true, dropped: true })
  drive.publish('/a', 0)
  drive.publish('/a', 1)
  client.say({ ...CONNECT, ext: { ack: 0 } })
  t.same(client.data, [0, 1])
  for (let n = 2; n < 6; n++) drive.publish('/a', n) // two in flight, room for two
  client.say({ ...CONNECT, ext: { ack: 0 } }) // the reply before was lost
  t.same(client.data.slice(2), [0, 1, 4, 5])
  t.same(dropped(client).slice(2), [0, 0, 1, 1])
  const last = (): number => Number((client.replies.at(-1)!['ext'] as { ack: number }).ack)
  client.say({ ...CONNECT, ext: { ack: last() } })
  drive.publish('/p', { key: 1, n: 1 })
  drive.publish('/p', { key: 1, n: 2 })
  const before = last()
  client.say({ ...CONNECT, ext: { ack: before } })
  t.same(client.data.slice(6), [{ key: 1, n: 2 }])
  drive.publish('/p', { key: 1, n: 3 })
  client.say({ ...CONNECT, ext: { ack: before } })
  t.same(
    client.data.slice(7),
    [
      { key: 1, n: 2 },
      { key: 1, n: 3 },
    ],
    'what is in flight is not replaced',
  )
  t.end()
})

t.test('with an unacknowledged queue that is full, a new message that may be lost is', t => {
  const drive = new Drive({ maxQueue: 2 }, { '/a': { overflow: 'drop-oldest' } })
  const client = sleeper(drive, '/a', { ack: true })
  drive.publish('/a', 0)
  drive.publish('/a', 1)
  client.say({ ...CONNECT, ext: { ack: 0 } })
  drive.publish('/a', 2)
  t.same(drive.removed, [])
  t.equal(drive.engine.server.dropped().newest, 1)
  t.end()
})

t.test('lazy messages that were replaced keep nobody waiting and wake nobody', t => {
  const drive = new Drive({}, { '/l': { conflate: 'key', lazy: 1_000 } })
  const client = drive.client('websocket')
  client.say(SUBSCRIBE('/l'))
  drive.publish('/l', { key: 1, n: 1 })
  drive.pass(500)
  drive.publish('/l', { key: 1, n: 2 })
  t.same(client.data, [])
  drive.pass(600)
  t.same(client.data, [{ key: 1, n: 2 }])
  t.equal(client.session.urgent, 0)
  t.end()
})

t.test('rules name the field and one of four ways', t => {
  for (const rule of [{ overflow: 'never' }, { conflate: 1 }] as object[])
    t.throws(() => new Drive({}, { '/a': rule } as ChannelRules), { code: 'RULE_INVALID' })
  t.end()
})

t.test(
  'any publishing and reading: order holds, what is not expendable is never lost, every loss is told, the newest of a topic arrives',
  t => {
    const rules: ChannelRules = {
      '/keep': {},
      '/old': { overflow: 'drop-oldest' },
      '/new': { overflow: 'drop-newest' },
      '/price': { conflate: 'key', overflow: 'drop-oldest' },
    }
    const channels = Object.keys(rules)
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ publish: fc.constantFrom(...channels), key: fc.nat(2) }) },
      { weight: 1, arbitrary: fc.constant('connect' as const) },
      { weight: 1, arbitrary: fc.constant('lost' as const) },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), fc.boolean(), (steps, ack) => {
        const drive = new Drive({ maxQueue: 8 }, rules)
        const client = sleeper(drive, channels, { ack, dropped: true })
        const published = new Map<string, number[]>(channels.map(channel => [channel, []]))
        const latest = new Map<number, number>()
        let acked = 0
        let n = 0
        let seen = 0
        const got: { channel: string; n: number; missing: number }[] = []
        const connect = (heard: boolean): void => {
          const reply = client.say({ ...CONNECT, ext: { ack: acked } })
          const messages = client.messages.slice(seen)
          seen = client.messages.length
          if (!heard && ack) return // it comes again
          acked = Number((reply['ext'] as { ack?: number } | undefined)?.ack ?? 0)
          for (const { channel, data, ext } of messages)
            got.push({
              channel: String(channel),
              n: (data as { n: number }).n,
              missing: (ext as { dropped?: number } | undefined)?.dropped ?? 0,
            })
        }
        for (const each of steps) {
          if (drive.removed.length > 0) return // an order had no room
          if (each === 'connect') connect(true)
          else if (each === 'lost') connect(false)
          else {
            published.get(each.publish)!.push(++n)
            if (each.publish === '/price') latest.set(each.key, n)
            drive.publish(each.publish, { n, key: each.key })
          }
        }
        if (drive.removed.length > 0) return
        connect(true)
        connect(true) // acknowledges
        drive.publish('/keep', { n: ++n, key: 0 }) // carries what is still to be told
        connect(true)
        published.get('/keep')!.push(n)
        const { oldest, newest, conflated } = drive.engine.server.dropped()
        const told = got.reduce((sum, { missing }) => sum + missing, 0)
        const faults: string[] = []
        if (got.length + oldest + newest + conflated !== n) faults.push('not all is accounted for')
        if (told !== oldest + newest) faults.push(`told of ${told}, lost ${oldest} and ${newest}`)
        for (const channel of channels) {
          const mine = got.filter(each => each.channel === channel).map(each => each.n)
          if (mine.some((value, i) => i > 0 && value <= mine[i - 1]!)) faults.push(`${channel} out of order`)
          if (channel === '/keep' && mine.join() !== published.get(channel)!.join())
            faults.push('a message was lost that may not be')
        }
        if (oldest + newest === 0)
          for (const last of latest.values())
            if (!got.some(each => each.n === last)) faults.push('the newest of a topic is missing')
        if (faults.length > 0) throw new Error(faults.join(', '))
      }),
      { numRuns: 400 },
    )
    t.end()
  },
)
