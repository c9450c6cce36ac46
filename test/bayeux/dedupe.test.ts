// dedupe: a publish that is said again with its key is done once, and answered as the first one was.

import fc from 'fast-check'
import t from 'tap'
import type { ChannelRules, Json } from '../../bayeux/index.js'
import { MemoryHistory } from '../../lib/history/memory.js'
import { type Client, Drive } from '../support/drive.js'

const PUBLISHER = 'abcdefghijklmnopqrstuv'
const RULES: ChannelRules = { '/k/**': { history: { messages: 10_000, age: 3_600_000 } } }
const publish = (channel: string, n: number, key?: unknown, ext: object = {}) => ({
  channel,
  data: { n },
  id: String(n),
  ...(key === undefined ? {} : { ext: { ...ext, dedupe: { key } } }),
})
const numbers = (data: readonly unknown[]) => data.map(each => (each as Json)['n'])

class SlowHistory extends MemoryHistory {
  override readonly durable = true
}

function publisher(drive: Drive, id: unknown = PUBLISHER): Client {
  const client = drive.stranger()
  client.handshake({ ext: { dedupe: { publisher: id } } })
  client.say({ channel: '/meta/connect' })
  return client
}

function listener(drive: Drive, subscription: string): Client {
  const client = drive.client()
  client.say({ channel: '/meta/subscribe', subscription })
  return client
}

t.test(
  'said again, also in a later session, it is answered and not delivered; another key or publisher is another message',
  t => {
    const drive = new Drive()
    const reader = listener(drive, '/a')
    const first = publisher(drive)
    t.match(first.replies[0], { ext: { dedupe: true } })
    t.match(first.say(publish('/a', 1, 'x')), { successful: true })
    t.match(first.say(publish('/a', 2, 'x')), { id: '2', successful: true })
    const later = publisher(drive)
    t.match(later.say(publish('/a', 3, 'x')), { id: '3', successful: true })
    later.say(publish('/a', 4, 'y'))
    publisher(drive, `${PUBLISHER}2`).say(publish('/a', 5, 'x'))
    later.say(publish('/a', 6), publish('/a', 7))
    t.same(numbers(reader.data), [1, 4, 5, 6, 7])
    t.end()
  },
)

t.test('neither key nor publisher reach anybody, other members of ext do', t => {
  const drive = new Drive()
  const reader = listener(drive, '/a')
  publisher(drive).say(publish('/a', 1, 'x'), publish('/a', 2, 'y', { mine: 1 }))
  t.strictSame(reader.messages, [
    { channel: '/a', data: { n: 1 } },
    { channel: '/a', data: { n: 2 }, ext: { mine: 1 } },
  ])
  t.end()
})

t.test('who did not ask for it, or not with an id that cannot be guessed, has no keys', t => {
  for (const id of ['short', 1, null, 'x'.repeat(65), 'abcdefghijklmnopqrstu/', {}]) {
    const drive = new Drive()
    const reader = listener(drive, '/a')
    const client = publisher(drive, id)
    t.notOk('dedupe' in ((client.replies[0]!['ext'] as Json | undefined) ?? {}), String(id))
    client.say(publish('/a', 1, 'x'), publish('/a', 2, 'x'))
    t.same(numbers(reader.data), [1, 2])
  }
  const off = new Drive({ dedupeWindow: 0 })
  t.notOk('ext' in publisher(off).replies[0]!)
  t.end()
})

t.test('a key that is none is refused, and nothing is published', t => {
  const drive = new Drive()
  const reader = listener(drive, '/a')
  const client = publisher(drive)
  for (const key of ['', 1, null, {}, [], 'x'.repeat(129)])
    t.match(client.say(publish('/a', 1, key)), { successful: false, error: '400::dedupe_key_invalid' })
  t.match(client.say({ channel: '/a', data: 1, ext: { dedupe: true } }), { successful: false })
  t.match(client.say(publish('/a', 2, 'x'.repeat(128))), { successful: true })
  t.same(numbers(reader.data), [2])
  t.end()
})

t.test('the keys of one user are one, whatever the publisher says; nobody has those of another', t => {
  const drive = new Drive()
  const reader = listener(drive, '/a')
  const as = (user: string, id: string): Client => {
    drive.answer = () => ({ allow: true, identity: { user, roles: [], claims: {}, expiresAt: null, tokenId: null } }) as never
    const client = publisher(drive, id)
    drive.answer = () => true
    return client
  }
  drive.engine.server.police({ handshake: true })
  as('ana', PUBLISHER).say(publish('/a', 1, 'x'))
  as('ana', `${PUBLISHER}2`).say(publish('/a', 2, 'x'))
  as('ben', PUBLISHER).say(publish('/a', 3, 'x'))
  t.same(numbers(reader.data), [1, 3])
  t.end()
})

t.test('what a listener refused may be said again; the listener sees a message once that was taken', t => {
  const drive = new Drive()
  const reader = listener(drive, '/a')
  let asked = 0
  drive.engine.server.listen('/a', () => ++asked > 1)
  const client = publisher(drive)
  t.match(client.say(publish('/a', 1, 'x')), { successful: false })
  t.match(client.say(publish('/a', 2, 'x')), { successful: true })
  t.match(client.say(publish('/a', 3, 'x')), { successful: true })
  t.equal(asked, 2)
  t.same(numbers(reader.data), [2])
  t.end()
})

t.test('keys are remembered for their time and as far as there is room', t => {
  const drive = new Drive({ dedupeWindow: 10_000, maxDedupe: 3, trusted: true, maxInterval: 1e9 })
  const reader = listener(drive, '/a')
  const client = publisher(drive)
  client.say(publish('/a', 1, 'x'))
  drive.pass(9_000)
  client.say(publish('/a', 2, 'x'))
  drive.pass(2_000)
  client.say(publish('/a', 3, 'x'))
  for (let n = 4; n < 8; n++) client.say(publish('/a', n, `k${n}`))
  client.say(publish('/a', 8, 'x'), publish('/a', 9, 'k7'))
  t.same(numbers(reader.data), [1, 3, 4, 5, 6, 7, 8])
  t.end()
})

t.test('said again while the first is on its way to the disk, it waits for the same outcome, good or bad', t => {
  const drive = new Drive({}, RULES, new SlowHistory({ messages: 1e6, bytes: 1e9 }))
  const reader = listener(drive, '/k/a')
  const [one, two] = [publisher(drive), publisher(drive)]
  const replied = (client: Client): unknown[] =>
    client.replies.filter(({ channel }) => channel === '/k/a').map(({ id, successful }) => [id, successful])
  one.say(publish('/k/a', 1, 'x'))
  two.say(publish('/k/a', 2, 'x'))
  t.same([replied(one), replied(two)], [[], []])
  drive.engine.kept(1, null, drive.now)
  t.same([replied(one), replied(two)], [[['1', true]], [['2', true]]])
  one.say(publish('/k/a', 3, 'y'))
  two.say(publish('/k/a', 4, 'y'))
  drive.engine.kept(2, new Error('full'), drive.now)
  t.same(
    [replied(one).at(-1), replied(two).at(-1)],
    [
      ['3', false],
      ['4', false],
    ],
  )
  one.say(publish('/k/a', 5, 'y'))
  drive.engine.kept(3, null, drive.now)
  drive.pass(1)
  t.same(numbers(reader.data), [1, 5])
  t.end()
})

t.test('any repetitions over any sessions, cuts and commits: each key is delivered once, and every publish answered once', t => {
  const step = fc.record({ key: fc.nat(8), session: fc.nat(2), keep: fc.boolean(), again: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), fc.boolean(), (steps, durable) => {
      const history = new (durable ? SlowHistory : MemoryHistory)({ messages: 1e6, bytes: 1e9 })
      const drive = new Drive({ trusted: true }, RULES, history)
      const reader = listener(drive, '/k/a')
      const sessions = [0, 1, 2].map(() => publisher(drive))
      const said = new Set<number>()
      let count = 0
      for (const { key, session, keep, again } of steps) {
        if (again) sessions[session] = publisher(drive)
        sessions[session]!.say({ channel: '/k/a', data: { n: key }, id: String(++count), ext: { dedupe: { key: String(key) } } })
        said.add(key)
        if (keep) drive.engine.kept(history.tip, null, drive.now)
      }
      drive.engine.kept(history.tip, null, drive.now)
      drive.pass(1)
      const replies = drive.clients.flatMap(client => client.replies).filter(({ channel }) => channel === '/k/a')
      if (numbers(reader.data).toSorted().join() !== [...said].toSorted().join())
        throw new Error(`delivered ${numbers(reader.data)} of ${[...said]}`)
      if (new Set(replies.map(({ id }) => id)).size !== count || replies.length !== count)
        throw new Error(`${replies.length} replies to ${count}`)
    }),
    { numRuns: 300 },
  )
  t.end()
})
