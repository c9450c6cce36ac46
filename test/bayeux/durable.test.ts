// Durable histories, whose messages are safe only a while later: nobody gets one before, nor hears that it is published; all else goes on.

import fc from 'fast-check'
import t from 'tap'
import type { ChannelRules, Json } from '../../bayeux/index.js'
import { MemoryHistory } from '../../lib/history/memory.js'
import { Drive } from '../support/drive.js'

class SlowHistory extends MemoryHistory {
  override readonly durable = true
}

const RULES: ChannelRules = { '/k/**': { history: { messages: 10_000, age: 3_600_000 } } }
const store = () => new SlowHistory({ messages: 100_000, bytes: 1e9 })
const publish = (channel: string, n: number) => ({ channel, data: { n }, id: String(n) })
const numbers = (data: readonly unknown[]) => data.map(each => (each as Json)['n'])

t.test('a message is delivered and answered once it is kept, in the order of its place; other channels do not wait', t => {
  const history = store()
  const drive = new Drive({}, RULES, history)
  const [ana, ben] = [drive.client(), drive.client()]
  for (const client of [ana, ben]) client.say({ channel: '/meta/subscribe', subscription: ['/k/a', '/live'] })
  const before = ana.replies.length
  ana.say(publish('/k/a', 1))
  ben.say(publish('/k/a', 2))
  ana.say(publish('/live', 3))
  t.same(numbers(ana.data), [3])
  t.match(ana.replies.slice(before), [{ channel: '/live', id: '3', successful: true }], 'its publisher goes on meanwhile')
  drive.engine.kept(1, null, drive.now)
  drive.pass(1)
  t.same(numbers(ben.data), [3, 1])
  t.match(ana.replies.at(-1), { channel: '/k/a', id: '1', successful: true })
  drive.engine.kept(2, null, drive.now)
  drive.pass(1)
  t.same(numbers(ben.data), [3, 1, 2])
  t.match(ben.replies.at(-1), { channel: '/k/a', id: '2', successful: true })
  t.end()
})

t.test('the replies of an envelope leave together, when all of it is kept; over HTTP too', t => {
  for (const transport of ['websocket', 'long-polling'] as const) {
    const drive = new Drive({}, RULES, store())
    const client = drive.client(transport)
    const before = client.replies.length
    client.say(publish('/k/a', 1), publish('/live', 2), publish('/k/b', 3))
    t.equal(client.replies.length, before)
    drive.engine.kept(1, null, drive.now)
    t.equal(client.replies.length, before)
    drive.engine.kept(2, null, drive.now)
    t.same(
      client.replies.slice(before).map(({ id }) => id),
      ['1', '2', '3'],
      transport,
    )
  }
  t.end()
})

t.test('what could not be kept fails with a code, and nobody gets it', t => {
  const drive = new Drive({}, RULES, store())
  const client = drive.client()
  client.say({ channel: '/meta/subscribe', subscription: '/k/a' })
  client.say(publish('/k/a', 1))
  client.say(publish('/k/a', 2))
  const told: unknown[] = []
  drive.engine.server.publish('/k/a', { n: 3 }, {}, null, drive.now, error => told.push(error))
  const full = new Error('disk full')
  drive.engine.kept(1, full, drive.now)
  t.match(client.replies.at(-1), { id: '1', successful: false, error: '503::history_failed' })
  drive.engine.kept(2, null, drive.now)
  drive.engine.kept(3, full, drive.now)
  drive.pass(1)
  t.same(numbers(client.data), [2])
  t.same(told, [full])
  t.end()
})

t.test('a publisher that is gone, or its connection, keeps nobody from getting what it published', t => {
  const drive = new Drive({}, RULES, store())
  const [reader, leaver, poller] = [drive.client(), drive.client(), drive.client('long-polling')]
  reader.say({ channel: '/meta/subscribe', subscription: '/k/**' })
  leaver.say(publish('/k/a', 1))
  leaver.say({ channel: '/meta/disconnect' })
  poller.say(publish('/k/b', 2))
  poller.cut()
  drive.engine.kept(2, null, drive.now)
  drive.pass(100_000)
  t.same(numbers(reader.data), [1, 2])
  t.match(drive.engine.server.stats(), { sessions: 0, subscriptions: 0, queued: 0 })
  t.end()
})

t.test('a connection with too much that is not kept yet is read no more until it is', t => {
  const history = store()
  const drive = new Drive({ trusted: true }, RULES, history)
  const client = drive.client()
  for (let n = 1; n <= 1_100; n++) client.say(publish('/k/a', n))
  const replies = (): number => client.replies.filter(({ channel }) => channel === '/k/a').length
  t.equal(history.tip, 1_024)
  t.same(drive.engine.server.history('/k/a', 0, 10_000), { entries: [], through: 0, floor: 0, epoch: history.epoch }, 'nor read')
  drive.engine.kept(1_024, null, drive.now)
  t.equal(replies(), 1_024)
  t.equal(history.tip, 1_100)
  t.equal(drive.engine.server.history('/k/a', 0, 10_000).entries.length, 1_024)
  drive.engine.kept(1_100, null, drive.now)
  t.equal(replies(), 1_100)
  t.end()
})

t.test('a replay joins what is being kept: any order of publishing, keeping, subscribing and reading gives one stream', t => {
  const op = fc.constantFrom('publish', 'keep', 'join', 'connect')
  fc.assert(
    fc.property(fc.array(op, { maxLength: 120 }), fc.boolean(), (ops, socket) => {
      const history = store()
      const drive = new Drive({ maxQueue: 20 }, RULES, history)
      const publisher = drive.client()
      const readers: { client: ReturnType<Drive['client']> }[] = []
      let n = 0
      let safe = 0
      for (const each of ops) {
        if (each === 'publish') publisher.say(publish('/k/a', ++n))
        else if (each === 'keep' && safe < n) {
          drive.engine.kept(++safe, null, drive.now)
          drive.pass(0)
        } else if (each === 'join') {
          const client = drive.client(socket ? 'websocket' : 'long-polling')
          client.say({ channel: '/meta/subscribe', subscription: '/k/a', ext: { replay: { '/k/a': -2 } } })
          readers.push({ client })
        } else for (const { client } of readers) client.say({ channel: '/meta/connect', advice: { timeout: 0 } })
      }
      drive.engine.kept(n, null, drive.now)
      for (let i = 0; i < 40; i++)
        for (const { client } of readers) client.say({ channel: '/meta/connect', advice: { timeout: 0 } })
      if (drive.removed.length > 0) return // it was too slow
      const all = Array.from({ length: n }, (_, i) => i + 1).join()
      for (const { client } of readers)
        if (numbers(client.data).join() !== all) throw new Error(`${numbers(client.data)} of ${all}`)
    }),
    { numRuns: 300 },
  )
  t.end()
})
