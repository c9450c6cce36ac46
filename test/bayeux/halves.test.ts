// The client half against the server half, joined in memory by a network that delays and cuts, with time as an argument.

import fc from 'fast-check'
import t from 'tap'
import { type SimulatedClient, World } from '../support/world.js'

const OPTIONS = { timeout: 3_000, maxInterval: 120_000, maxSessionsPerBrowser: -1 }
const numbers = (client: SimulatedClient): number[] => client.received.map(message => message['data'] as number)

/** A publisher on a sound network and subscribers on one that loses things. @returns the subscribers, after all has come to rest */
function conversation(
  seed: number,
  kinds: readonly ('http' | 'websocket')[],
  ack: boolean,
  messages: number,
): { world: World; subscribers: SimulatedClient[] } {
  const world = new World(seed, OPTIONS)
  const subscribers = kinds.map(kind => world.add(kind, { ack }))
  for (const subscriber of subscribers) {
    subscriber.do((half, now) => half.handshake(now))
    subscriber.do((half, now) => half.subscribe(['/numbers/*', '/numbers/**'], now))
  }
  world.run(1_000)
  world.losses = 0.05
  for (let i = 0; i < messages; i++) {
    world.engine.server.publish('/numbers/all', i, {}, null, world.now)
    if (world.random() < 0.05) subscribers[Math.floor(world.random() * subscribers.length)]!.cut()
    world.run(Math.floor(world.random() * 200))
  }
  world.losses = 0
  world.run(400_000)
  return { world, subscribers }
}

const everyKind = fc.array(fc.constantFrom('http' as const, 'websocket' as const), { minLength: 1, maxLength: 4 })

t.test('with ack, cuts lose nothing, double nothing and reorder nothing while the session lives', t => {
  fc.assert(
    fc.property(fc.integer(), everyKind, (seed, kinds) => {
      const { world, subscribers } = conversation(seed, kinds, true, 60)
      const all = Array.from({ length: 60 }, (_, i) => i)
      for (const subscriber of subscribers) if (JSON.stringify(numbers(subscriber)) !== JSON.stringify(all)) return false
      return world.faults.length === 0
    }),
    { numRuns: 60 },
  )
  t.pass('60 random conversations')
  t.end()
})

t.test('without ack, what arrives is in order and nothing arrives twice', t => {
  let arrived = 0
  fc.assert(
    fc.property(fc.integer(), everyKind, (seed, kinds) => {
      const { subscribers } = conversation(seed, kinds, false, 60)
      for (const subscriber of subscribers) {
        const got = numbers(subscriber)
        arrived += got.length
        if (got.some((number, i) => i > 0 && number <= got[i - 1]!)) return false
      }
      return true
    }),
    { numRuns: 60 },
  )
  t.ok(arrived > 60 * 30, 'most of it arrives')
  t.end()
})

t.test('a session that was lost is made anew with its subscriptions, without the application', t => {
  for (const kind of ['http', 'websocket'] as const) {
    const world = new World(7, { ...OPTIONS, maxInterval: 1_000 })
    const client = world.add(kind)
    client.do((half, now) => half.handshake(now))
    client.do((half, now) => half.subscribe('/numbers/all', now))
    world.run(500)
    const before = client.half.clientId
    for (const session of world.engine.server.sessions()) world.engine.server.expire(session, world.now)
    t.equal(world.engine.server.stats().subscriptions, 0, `${kind}: the server knows nothing of it any more`)
    world.run(60_000)
    t.not(client.half.clientId, before, `${kind}: another session`)
    world.engine.server.publish('/numbers/all', 1, {}, null, world.now)
    world.run(500)
    t.same(numbers(client), [1], `${kind}: the subscription is there again`)
  }
  t.end()
})

t.test('each message that the application sends settles once, whatever the network does', t => {
  fc.assert(
    fc.property(fc.integer(), fc.constantFrom('http' as const, 'websocket' as const), (seed, kind) => {
      const world = new World(seed, OPTIONS)
      const client = world.add(kind)
      client.do((half, now) => half.handshake(now))
      world.losses = 0.1
      const ids: (string | null)[] = []
      for (let i = 0; i < 40; i++) {
        ids.push(client.do((half, now) => half.publish('/numbers/all', i, now)))
        if (world.random() < 0.1) client.cut()
        world.run(Math.floor(world.random() * 300))
      }
      world.losses = 0
      world.run(200_000)
      client.do((half, now) => half.disconnect(now))
      world.run(60_000)
      return ids.every(id => id !== null && client.settlements.get(id) === 1) && client.deadline === Number.POSITIVE_INFINITY
    }),
    { numRuns: 60 },
  )
  t.pass('60 random conversations')
  t.end()
})

t.test('after all have disconnected nothing is left of them in the server', t => {
  const world = new World(11, OPTIONS)
  const clients = Array.from({ length: 20 }, (_, i) => world.add(i % 2 === 0 ? 'http' : 'websocket'))
  for (const client of clients) {
    client.do((half, now) => half.handshake(now))
    client.do((half, now) => half.subscribe(['/numbers/all', '/numbers/*'], now))
  }
  world.run(2_000)
  t.match(world.engine.server.stats(), { sessions: 20, subscriptions: 40 })
  for (const client of clients) client.do((half, now) => half.disconnect(now))
  world.run(10_000)
  t.same(world.engine.server.stats(), { sessions: 0, local: 0, channels: 0, subscriptions: 0, queued: 0, held: 0 })
  t.equal(world.engine.deadline, Number.POSITIVE_INFINITY, 'and nothing is waited for')
  t.end()
})
