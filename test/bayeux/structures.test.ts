// The structures that hold the state: channel tree, deadlines, ack, each against a plain version of itself.

import t from 'tap'
import { AckState } from '../../bayeux/ack.js'
import { covers, parseChannel } from '../../bayeux/channel.js'
import { Deadlines, type Timed } from '../../bayeux/deadlines.js'
import { FrozenMessage, IMPATIENT } from '../../bayeux/message.js'
import { type ChannelRules, Rules } from '../../bayeux/rules.js'
import { Session } from '../../bayeux/session.js'
import { Subscriptions } from '../../bayeux/subscriptions.js'
import { type Channel, Tree } from '../../bayeux/tree.js'

const name = (text: string) => parseChannel(text)!
const session = (id: string): Session => new Session(id, null, 'websocket', '', null, false, true)

function makeTree(rules: ChannelRules = {}): { tree: Tree; events: string[] } {
  const events: string[] = []
  const tree = new Tree(new Rules(rules), {
    channelAdded: channel => events.push(`+${channel.name}`),
    channelRemoved: channel => events.push(`-${channel.name}`),
  })
  return { tree, events }
}

/** The same random numbers every time, told apart by the seed. */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0
  return below => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 4_294_967_296) * below)
  }
}

t.test('tree: who gets a message is whoever has a pattern that covers it, once', t => {
  for (const seed of [1, 2, 3]) {
    const random = generator(seed)
    const { tree } = makeTree()
    const patterns = [
      '/a',
      '/b',
      '/*',
      '/**',
      '/a/x',
      '/a/y',
      '/a/*',
      '/a/**',
      '/a/x/1',
      '/a/x/*',
      '/a/x/**',
      '/b/**',
      '/foo*',
      '/__proto__',
      '/__proto__/*',
    ]
    const published = [...patterns, '/c', '/a/z', '/a/x/2', '/b/q/r', '/constructor', '/__proto__/toString']
    const sessions = Array.from({ length: 8 }, (_, index) => session(`s${index}`))
    const plain = new Map(sessions.map(one => [one, new Set<string>()]))
    for (let step = 0; step < 2_000; step++) {
      const one = sessions[random(sessions.length)]!
      const pattern = patterns[random(patterns.length)]!
      const had = plain.get(one)!
      if (random(2) === 0) {
        if (tree.subscribe(one, tree.create(name(pattern))) === had.has(pattern))
          t.fail(`seed ${seed}, step ${step}: subscribe ${pattern}`)
        had.add(pattern)
      } else {
        const channel = tree.find(pattern)
        const was = channel !== undefined && tree.unsubscribe(one, channel)
        if (was !== had.delete(pattern)) t.fail(`seed ${seed}, step ${step}: unsubscribe ${pattern}`)
      }
      if (random(20) === 0) tree.sweep()
      const to = published[random(published.length)]!
      const got = tree.resolve(tree.create(name(to)))
      const expected = sessions.filter(other => [...plain.get(other)!].some(text => covers(name(text), name(to))))
      if (got.length !== new Set(got).size || !expected.every(other => got.includes(other)) || got.length !== expected.length)
        t.fail(
          `seed ${seed}, step ${step}: ${to} goes to ${got.map(other => other.id).join()} instead of ${expected.map(other => other.id).join()}`,
        )
    }
    t.equal(
      tree.subscriptions,
      [...plain.values()].reduce((sum, { size }) => sum + size, 0),
      `seed ${seed}: the count is right`,
    )
    for (const [one, had] of plain) for (const pattern of had) tree.unsubscribe(one, tree.find(pattern)!)
    for (let i = 0; i < 3; i++) tree.sweep()
    t.equal(tree.size, 0, `seed ${seed}: and nothing is left when nobody is`)
  }
  t.end()
})

t.test('subscriptions: few or many, they answer as a map does, in its order', t => {
  const { tree } = makeTree()
  for (const [seed, channels] of [
    [1, 4],
    [2, 12],
    [3, 200],
  ] as const) {
    const random = generator(seed)
    const subscriptions = new Subscriptions()
    const plain = new Map<Channel, number>()
    for (let step = 0; step < 2_000; step++) {
      const channel = tree.create(name(`/c/${random(channels)}`))
      if (random(2) === 0) {
        subscriptions.set(channel, step)
        plain.set(channel, step)
      } else {
        subscriptions.delete(channel)
        plain.delete(channel)
      }
      const asked = tree.create(name(`/c/${random(channels)}`))
      if (subscriptions.indexIn(asked) !== plain.get(asked)) t.fail(`seed ${seed}, step ${step}: ${asked.name}`)
    }
    t.same(
      subscriptions.channels().map(channel => channel.name),
      [...plain.keys()].map(channel => channel.name),
      `seed ${seed}`,
    )
  }
  t.end()
})

t.test('tree: a list that is walked does not change under the walker', t => {
  const { tree } = makeTree()
  const channel = tree.create(name('/a'))
  const [a, b, c] = [session('a'), session('b'), session('c')]
  for (const one of [a, b, c]) tree.subscribe(one, channel)
  const walked = tree.resolve(channel)
  tree.walking++
  tree.unsubscribe(a, channel)
  tree.subscribe(session('d'), channel)
  t.same(
    walked.map(({ id }) => id),
    ['a', 'b', 'c'],
  )
  tree.walking--
  t.same(
    tree
      .resolve(channel)
      .map(({ id }) => id)
      .sort(),
    ['b', 'c', 'd'],
  )
  t.end()
})

t.test('tree: a channel goes after three sweeps in a row without use, a persistent one never', t => {
  const { tree, events } = makeTree({ '/keep/**': { persistent: true } })
  tree.create(name('/a/b'))
  tree.create(name('/keep/x'))
  tree.sweep()
  tree.sweep()
  t.ok(tree.find('/a/b'))
  const one = session('s')
  tree.subscribe(one, tree.create(name('/a/b')))
  tree.unsubscribe(one, tree.find('/a/b')!)
  tree.sweep()
  tree.sweep()
  t.ok(tree.find('/a/b'), 'use begins the count anew')
  tree.sweep()
  t.notOk(tree.find('/a/b'))
  t.ok(tree.find('/keep/x'))
  t.same(events, ['+/a/b', '+/keep/x', '-/a/b'])
  const off = tree.listen(name('/l'), () => true)
  const away = tree.authorize(name('/z'), () => 'grant')
  for (let i = 0; i < 5; i++) tree.sweep()
  t.ok(tree.find('/l') && tree.find('/z'), 'listeners and authorizers are use')
  t.same([tree.listening, tree.authorizing], [1, 1])
  off()
  off()
  away()
  away()
  t.same([tree.listening, tree.authorizing], [0, 0], 'taking away twice counts once')
  t.ok(tree.sweepable)
  for (let i = 0; i < 3; i++) tree.sweep()
  t.notOk(tree.find('/l') ?? tree.find('/z'))
  t.notOk(tree.sweepable)
  t.end()
})

t.test('tree: listeners of a pattern are found for a channel that does not exist, /** first', t => {
  const { tree } = makeTree()
  for (const pattern of ['/a/b', '/a/*', '/a/**', '/**', '/b/**']) tree.listen(name(pattern), () => true)
  const covering = (text: string) => tree.coveringName(name(text)).map(channel => channel.name)
  t.same(covering('/a/b'), ['/**', '/a/**', '/a/*', '/a/b'])
  t.same(covering('/a/new'), ['/**', '/a/**', '/a/*'])
  t.same(covering('/a/new/er'), ['/**', '/a/**'])
  t.same(covering('/a'), ['/**'])
  t.same(covering('/c/d'), ['/**'])
  t.equal(tree.size, 5, 'asking makes no channel')
  t.end()
})

class Item implements Timed {
  heapIndex = -1
  constructor(public at: number) {}
  deadline(): number {
    return this.at
  }
}

t.test('deadlines: what is due comes in time and in order, wherever deadlines move', t => {
  for (const seed of [1, 2, 3]) {
    const random = generator(seed)
    const heap = new Deadlines<Item>()
    const items = Array.from({ length: 50 }, () => new Item(Number.POSITIVE_INFINITY))
    let now = 0
    for (let step = 0; step < 3_000; step++) {
      const item = items[random(items.length)]!
      if (random(10) === 0) {
        item.at = Number.POSITIVE_INFINITY
        heap.remove(item)
      } else {
        item.at = now + 1 + random(100)
        heap.update(item)
      }
      if (random(3) > 0) continue
      now += random(20)
      const due: Item[] = []
      for (let next = heap.due(now); next !== null; next = heap.due(now)) {
        due.push(next)
        if (next.at > now) t.fail(`seed ${seed}: came ${next.at - now} ms early`)
        next.at = Number.POSITIVE_INFINITY
      }
      const late = items.filter(({ at }) => at <= now)
      if (late.length > 0) t.fail(`seed ${seed}, step ${step}: forgot ${late.length}`)
      if (heap.next <= now) t.fail(`seed ${seed}: next lies in the past`)
    }
    t.ok(heap.size <= items.length, `seed ${seed}`)
    for (const item of items) heap.remove(item)
    t.equal(heap.size, 0)
    t.equal(heap.next, Number.POSITIVE_INFINITY)
  }
  t.end()
})

t.test('deadlines: a deadline that moves later costs nothing, one that moves nearer is seen', t => {
  const heap = new Deadlines<Item>()
  const item = new Item(10)
  heap.update(item)
  item.at = 50
  heap.update(item)
  t.equal(heap.next, 10, 'it keeps its place')
  t.equal(heap.due(20), null)
  t.equal(heap.next, 50, 'until its old time has come')
  item.at = 30
  heap.update(item)
  t.equal(heap.due(29), null)
  t.equal(heap.due(30), item)
  t.equal(heap.size, 0, 'it is out once it was given')
  const never = new Item(Number.POSITIVE_INFINITY)
  heap.update(never)
  t.equal(heap.size, 0, 'what waits for nothing is not kept')
  t.end()
})

t.test('ack: what is not acknowledged is taken again, and no number twice', t => {
  const ack = new AckState()
  const [a, b, c] = ['a', 'b', 'c'].map(text => new FrozenMessage('/x', `"${text}"`, IMPATIENT)) as [
    FrozenMessage,
    FrozenMessage,
    FrozenMessage,
  ]
  t.same(ack.take(), { number: 1, messages: [] })
  ack.add(a)
  t.same(ack.take(), { number: 2, messages: [a] })
  ack.add(b)
  t.same(ack.take(), { number: 3, messages: [a, b] })
  ack.acknowledge(1)
  t.equal(ack.size, 2, '1 came before a')
  ack.acknowledge(2)
  t.same([ack.size, ack.bytes], [1, 3])
  ack.acknowledge(-1)
  ack.acknowledge(0)
  ack.add(c)
  t.same(ack.take(), { number: 4, messages: [b, c] })
  ack.acknowledge(9_999)
  t.same([ack.size, ack.bytes, ack.batch], [0, 0, 5])
  t.end()
})
