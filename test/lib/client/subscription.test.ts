// One subscription by itself: callback or loops, their backlog, how they end.

import t from 'tap'
import { ClientError } from '../../../lib/client/error.js'
import { type Message, Subscription } from '../../../lib/client/subscription.js'
import { turn } from '../../support/world.js'

interface Rig {
  readonly subscription: Subscription
  readonly left: () => number
  give(...data: unknown[]): void
}

function make(maxBacklog = 10, callback: ((message: Message) => void) | null = null): Rig {
  let left = 0
  const owner = { maxBacklog, left: async () => void left++ }
  const subscription = new Subscription('/a', Promise.resolve(), owner, callback)
  return {
    subscription,
    left: () => left,
    give: (...all) => {
      for (const data of all) subscription.give({ channel: '/a', data })
    },
  }
}

t.test('a callback gets each message while the subscription lives; it cannot be looped over', async t => {
  const seen: unknown[] = []
  const rig = make(10, ({ data }) => seen.push(data))
  rig.give(1, 2)
  t.throws(() => rig.subscription[Symbol.asyncIterator](), TypeError)
  await rig.subscription.unsubscribe()
  await rig.subscription.unsubscribe()
  rig.give(3)
  t.strictSame(seen, [1, 2])
  t.equal(rig.left(), 1)
})

t.test('a loop gets what came before it began and while it was busy, in order; then it waits', async t => {
  const rig = make()
  rig.give(1, 2)
  const seen: unknown[] = []
  const loop = (async () => {
    for await (const { data } of rig.subscription) {
      seen.push(data)
      if (data === 2) rig.give(3)
      await turn()
    }
  })()
  for (let turns = 0; turns < 5; turns++) await turn()
  t.strictSame(seen, [1, 2, 3])
  rig.give(4)
  rig.subscription.end(null)
  rig.give(5)
  rig.subscription.end(new Error('too late'))
  await loop
  t.strictSame(seen, [1, 2, 3, 4], 'what came before the end is still given')
  t.equal(rig.left(), 0, 'who was ended from outside does not ask for it')
})

t.test('a loop throws where the end was not the application’s wish, and so does every later one', async t => {
  const rig = make()
  const why = new ClientError('KICKED')
  rig.give(1)
  const iterator = rig.subscription[Symbol.asyncIterator]()
  rig.subscription.end(why)
  t.match(await iterator.next(), { done: false, value: { data: 1 } })
  await t.rejects(iterator.next(), why)
  await t.rejects(rig.subscription[Symbol.asyncIterator]().next(), why)
  t.notOk(rig.subscription.active)
})

t.test('return ends an iterator that waits', async t => {
  const rig = make()
  const iterator = rig.subscription[Symbol.asyncIterator]()
  const [one, two] = [iterator.next(), iterator.next()]
  t.strictSame(await iterator.return?.(), { done: true, value: undefined })
  t.strictSame(await Promise.all([one, two]), [
    { done: true, value: undefined },
    { done: true, value: undefined },
  ])
  t.equal(rig.left(), 1)
  const late = make()
  late.give(1)
  const idle = late.subscription[Symbol.asyncIterator]()
  await idle.return?.()
  t.strictSame(await idle.next(), { done: true, value: undefined }, 'what waited is nobody’s')
})

t.test('several loops, and several calls of next, share the messages, and all of them end', async t => {
  const rig = make()
  const seen: unknown[] = []
  const run = async (name: string): Promise<void> => {
    for await (const { data } of rig.subscription) seen.push(`${name} ${data}`)
    seen.push(`${name} over`)
  }
  const loops = [run('one'), run('two')]
  await turn()
  rig.give(1)
  await turn()
  rig.give(2)
  await turn()
  rig.give(3, 4)
  await turn()
  rig.subscription.end(null)
  await Promise.all(loops)
  t.strictSame(
    seen.map(text => String(text).split(' ')[1]),
    ['1', '2', '3', '4', 'over', 'over'],
  )
})

t.test('a loop that falls maxBacklog messages behind gets these, and then the reason', async t => {
  const rig = make(3)
  const seen: unknown[] = []
  const loop = (async () => {
    for await (const { data } of rig.subscription) {
      seen.push(data)
      if (data === 1) rig.give(2, 3, 4)
      if (data === 4) rig.give(5, 6, 7, 8, 9)
    }
  })()
  rig.give(1)
  await t.rejects(loop, { code: 'BACKLOG_FULL', detail: '/a' })
  t.strictSame(seen, [1, 2, 3, 4, 5, 6, 7])
  t.equal(rig.left(), 1, 'the server is told once')
})

t.test('leaving a loop, by break or by an error of its own, unsubscribes and does not wait', async t => {
  for (const own of [false, true]) {
    let left = 0
    const never = new Promise<void>(() => {})
    const owner = {
      maxBacklog: 5,
      left: () => {
        left++
        return never
      },
    }
    const subscription = new Subscription('/a', Promise.resolve(), owner, null)
    subscription.give({ channel: '/a', data: 1 })
    const loop = (async () => {
      for await (const _ of subscription) {
        if (own) throw new Error('mine')
        break
      }
    })()
    if (own) await t.rejects(loop, /mine/)
    else await loop
    t.equal(left, 1)
  }
})
