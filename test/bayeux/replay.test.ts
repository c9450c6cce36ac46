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
  for (const place of [6, 1.5, -3, '3', true, null, [], {}, { id: 9, epoch: 'other' }.id, 2, 1e300]) {
    const client = joined(drive)
    const reply = subscribe(client, ['/k/a', '/k/b'], { '/k/a': place })
    t.match(reply, { successful: false }, JSON.stringify(place))
    t.match(
      reply['error'],
      /^400::The replayId \{.*\} you provided was invalid\. Please provide a valid ID, -2 to replay all events, or -1 to replay only new events\.$/,
    )
    t.equal(client.session.subscriptions, null)
  }
  t.match(subscribe(joined(drive), '/k/a', { '/k/a': 3 }), { successful: true }, 'the last that is gone leaves no gap behind it')
  t.end()
})

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
