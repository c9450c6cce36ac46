// The history in memory: the contract, and the bounds over all channels.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { freezePublished, IMPATIENT, type Message } from '../../../bayeux/message.js'
import { MemoryHistory } from '../../../lib/history/memory.js'
import { historyContract, readAll } from '../../contract/history.js'

t.test('contract', async t => {
  historyContract(t, async () => ({ history: new MemoryHistory({ messages: 1e6, bytes: 1e9 }), settled: async () => {} }))
})

t.test('all channels together keep so many messages and bytes, and the oldest go', t => {
  const few = new MemoryHistory({ messages: 100, bytes: 1e9 })
  for (let i = 0; i < 10_000; i++) few.append(`/c/${i % 7}`, '{}', { messages: 1e6, age: 1e9, last: false }, i)
  t.equal(few.messages, 100)
  t.same(
    readAll(few, '/**').map(({ position }) => position),
    Array.from({ length: 100 }, (_, i) => 9_901 + i),
  )
  const small = new MemoryHistory({ messages: 1e6, bytes: 100_000 })
  for (let i = 0; i < 10_000; i++) small.append(`/c/${i}`, 'x'.repeat(i % 1_000), { messages: 1e6, age: 1e9, last: false }, i)
  t.ok(small.bytes <= 100_000 && small.bytes > 90_000)
  const one = new MemoryHistory({ messages: 1e6, bytes: 1_000 })
  one.append('/a', 'x'.repeat(10_000), { messages: 10, age: 1e9, last: false }, 0)
  t.equal(one.messages, 0, 'also one that is too large alone')
  t.end()
})

t.test('channels that come and go leave nothing, also where it is the bound over all that ends them', t => {
  const history = new MemoryHistory({ messages: 1e6, bytes: 1e9 })
  for (let i = 0; i < 100_000; i++) {
    history.append(`/c/${i}`, '{}', { messages: 10, age: 10, last: false }, i)
    if (i % 100 === 0) history.trim(i)
  }
  while (history.trim(200_000) === 200_000);
  t.same([history.messages, history.bytes], [0, 0])
  const few = new MemoryHistory({ messages: 10, bytes: 1e9 })
  for (let i = 0; i < 50_000; i++) few.append(`/c/${i}`, '{}', { messages: 1, age: Number.POSITIVE_INFINITY, last: true }, i)
  const floor = (channel: string): number =>
    few.floor({ name: channel, segments: channel.slice(1).split('/'), kind: 'broadcast', wild: 0 })
  t.equal(few.messages, 10)
  t.equal(floor('/c/5'), 39_990, 'the floor of all that is forgotten')
  t.end()
})

t.test('positions begin behind those of the process before', t => {
  const history = new MemoryHistory({ messages: 10, bytes: 1e9 }, 5_000)
  t.equal(history.tip, 5_000)
  t.equal(history.floor({ name: '/a', segments: ['a'], kind: 'broadcast', wild: 0 }), 5_000, 'what is before is kept no more')
  t.equal(history.append('/a', '{}', { messages: 1, age: 1, last: false }, 0), 5_001)
  t.end()
})

t.test('messages take no more memory than they are counted for', t => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (const length of [10, 100, 1_000]) {
    const history = new MemoryHistory({ messages: 1e6, bytes: 1e9 })
    collect()
    const before = process.memoryUsage().heapUsed
    for (let i = 0; i < 20_000; i++) {
      const message = JSON.parse(`{"channel":"/c","data":"${i}${'x'.repeat(length)}","id":"1","ext":{"a":${i}}}`) as Message
      history.append('/c', freezePublished(message, '/c', IMPATIENT, null).json, { messages: 1e6, age: 1e9, last: false }, 0)
    }
    collect()
    const grown = process.memoryUsage().heapUsed - before
    t.ok(grown < history.bytes, `${length} characters: ${grown} bytes, counted as ${history.bytes}`)
  }
  t.end()
})
