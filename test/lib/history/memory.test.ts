// The history in memory: the contract, and the bounds over all channels.

import t from 'tap'
import { MemoryHistory } from '../../../lib/history/memory.js'
import { historyContract, readAll } from '../../contract/history.js'

t.test('contract', async t => {
  historyContract(t, async () => ({ history: new MemoryHistory({ messages: 1e6, bytes: 1e9 }), settled: async () => {} }))
})

t.test('all channels together keep so many messages and bytes, and the oldest go', t => {
  const few = new MemoryHistory({ messages: 100, bytes: 1e9 })
  for (let i = 0; i < 10_000; i++) few.append(`/c/${i % 7}`, '{}', { messages: 1e6, age: 1e9 }, i)
  t.equal(few.messages, 100)
  t.same(
    readAll(few, '/**').map(({ position }) => position),
    Array.from({ length: 100 }, (_, i) => 9_901 + i),
  )
  const small = new MemoryHistory({ messages: 1e6, bytes: 100_000 })
  for (let i = 0; i < 10_000; i++) small.append(`/c/${i}`, 'x'.repeat(i % 1_000), { messages: 1e6, age: 1e9 }, i)
  t.ok(small.bytes <= 100_000 && small.bytes > 90_000)
  const one = new MemoryHistory({ messages: 1e6, bytes: 1_000 })
  one.append('/a', 'x'.repeat(10_000), { messages: 10, age: 1e9 }, 0)
  t.equal(one.messages, 0, 'also one that is too large alone')
  t.end()
})

t.test('channels that come and go leave nothing', t => {
  const history = new MemoryHistory({ messages: 1e6, bytes: 1e9 })
  for (let i = 0; i < 100_000; i++) {
    history.append(`/c/${i}`, '{}', { messages: 10, age: 10 }, i)
    if (i % 100 === 0) history.trim(i)
  }
  while (history.trim(200_000) === 200_000);
  t.same([history.messages, history.bytes], [0, 0])
  t.equal(
    history.floor({ name: '/c/5', segments: ['c', '5'], kind: 'broadcast', wild: 0 }),
    100_000,
    'the floor of all that is forgotten',
  )
  t.end()
})
