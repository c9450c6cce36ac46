// What a client remembers beyond its sessions: what it asks for, what it hears once, what it says again.

import fc from 'fast-check'
import t from 'tap'
import { Memory } from '../../bayeux/client-memory.js'
import { coveringNames } from '../../bayeux/covering.js'
import { MemoryHistory } from '../../lib/history/memory.js'
import { World } from '../support/world.js'

const PUBLISHER = 'abcdefghijklmnopqrstuvwxyz'
const ABLE = { replay: { epoch: 'e' }, dedupe: true }

function able(ext: object = ABLE): Memory {
  const memory = new Memory(PUBLISHER)
  memory.welcomed(ext as Record<string, unknown>)
  return memory
}

/** What is said in a message with the id 7. */
const told = (memory: Memory, channel: string, channels: string[], ext: object, role: string) =>
  JSON.parse(memory.extended({ id: '7', channel, channels, ext: JSON.stringify(ext), role }))
/** By the client itself; `subscribed`: by the application. */
const asked = (memory: Memory, names: string[], ext = {}) => told(memory, '/meta/subscribe', names, ext, 'restore')
const subscribed = (memory: Memory, names: string[], ext = {}) => told(memory, '/meta/subscribe', names, ext, 'plain')
const said = (memory: Memory, channel: string, ext = {}) => told(memory, channel, [], ext, 'plain')
const at = (id: number, epoch = 'e') => ({ replay: { id, epoch } })

t.test('a server that cannot is asked for nothing in later messages', t => {
  t.strictSame(able().greeting(), { replay: {}, dropped: true, dedupe: { publisher: PUBLISHER } })
  for (const ext of [{}, { replay: true }, { replay: { epoch: 7 } }, { dedupe: 'yes' }]) {
    const memory = able(ext)
    t.strictSame(asked(memory, ['/a']), {})
    t.strictSame(said(memory, '/a', { k: 1 }), { k: 1 })
    t.notOk(memory.knowsAgain('/a'))
  }
  t.equal(hearing(able({})).fresh('/a', {}), null, 'and its messages are new to all')
  t.end()
})

/** The same, and which gaps were told. */
function hearing(memory: Memory) {
  const gaps: string[] = []
  const gap = (name: string): void => void gaps.push(name)
  return {
    gaps: () => gaps.splice(0),
    fresh: (channel: string, ext: Record<string, unknown>, batch = Number.POSITIVE_INFINITY) =>
      memory.fresh(coveringNames(channel), ext, batch),
    begun: (name: string, id: number, epoch = 'e', recovered = true, more = {}) =>
      memory.begun({ id: '7', channels: [name] }, { replay: { [name]: { id, epoch, recovered, ...more } } }, gap),
  }
}

t.test('a publish has a key, which the application may give itself; what ends at the server has none', t => {
  const memory = able()
  t.strictSame(said(memory, '/a', { k: 1 }), { dedupe: { key: `${PUBLISHER} 7` }, k: 1 })
  t.strictSame(said(memory, '/a', { dedupe: { key: 'mine' } }), { dedupe: { key: 'mine' } })
  for (const channel of ['/service/a', '/meta/connect']) t.strictSame(said(memory, channel), {})
  t.end()
})

t.test(
  'what is too long for the server is given up at once, what is first in flight whenever the connection breaks after a while',
  t => {
    const memory = able()
    const lost = (id: string, detail = '', channel = '/a') => memory.spoilerOf([{ id, channel, body: '' }], detail) !== null
    t.ok(lost('1', 'HTTP 413'))
    t.ok(lost('2', 'WebSocket closed: 1009 too big'))
    t.notOk(lost('3', 'HTTP 502'))
    for (let n = 0; n < 18; n++) t.notOk(lost('3'))
    t.ok(lost('3'))
    for (let n = 0; n < 30; n++) t.notOk(lost(String(n % 2)), 'there is progress')
    for (let n = 0; n < 30; n++) t.notOk(lost('9', 'HTTP 413', '/meta/subscribe'))
    const sent = ['/a', '/b', '/service/a'].map((channel, n) => ({ id: `1${n}`, channel, body: 'x'.repeat(n) }))
    t.equal(memory.spoilerOf(sent, 'HTTP 413'), sent[1], 'the longest that would be sent again')
    t.equal(memory.spoilerOf([], 'HTTP 413'), null)
    t.end()
  },
)

t.test('a subscription goes on behind the last message; without one as the application wishes, else with new ones', t => {
  const memory = able()
  const { fresh, begun, gaps } = hearing(memory)
  t.strictSame(asked(memory, ['/a', '/b'], { replay: { '/b': -2 }, k: 1 }), {
    k: 1,
    replay: { '/a': { now: true }, '/b': -2 },
  })
  begun('/a', 5, 'e')
  t.strictSame(asked(memory, ['/a']), { replay: { '/a': { id: 5, epoch: 'e' } } }, 'the reply said where it began')
  begun('/a', 5, 'e')
  t.strictSame(fresh('/a', at(6)), ['/a'])
  t.strictSame(fresh('/a', at(6)), [], 'once')
  t.equal(fresh('/c', at(6)), null, 'what nobody has subscribed to is the caller’s to judge')
  t.strictSame(asked(memory, ['/a']), { replay: { '/a': { id: 6, epoch: 'e' } } })
  memory.forget('/a')
  t.strictSame(asked(memory, ['/a']), { replay: { '/a': { now: true } } })
  memory.clear()
  t.strictSame(asked(memory, ['/b']), { replay: { '/b': { now: true } } })
  t.strictSame(gaps(), [])
  t.end()
})

t.test('something is missing where a subscription that had a place could not be recovered', t => {
  const memory = able()
  const { fresh, begun, gaps } = hearing(memory)
  asked(memory, ['/a', '/b'])
  begun('/a', 5, 'e', false)
  t.strictSame(gaps(), ['/a'], 'also where it was to begin behind a place that the application has kept')
  memory.begun({ id: '7', channels: ['/b', '/c'] }, { replay: { '/b': 'nonsense' } }, t.fail)
  fresh('/a', at(9))
  asked(memory, ['/a'])
  begun('/a', 0, 'f', false)
  t.strictSame(gaps(), ['/a'])
  t.strictSame(asked(memory, ['/a']), { replay: { '/a': { id: 0, epoch: 'f' } } }, 'and goes on where the reply says')
  t.end()
})

t.test(
  'what comes before the reply to a subscribe is for others, and is asked for again where it may have been for this one',
  t => {
    const memory = able()
    const { fresh, begun, gaps } = hearing(memory)
    asked(memory, ['/a'])
    t.strictSame(begun('/a', 10), [])
    t.strictSame(fresh('/a', at(11)), ['/a'])
    asked(memory, ['/**'], { replay: { '/**': -2 } })
    t.strictSame(fresh('/a', at(12)), ['/a'], 'the wider one begins in the past, which this is not')
    t.strictSame(begun('/**', 0), ['/**'], 'but its own messages may come so, if the reply was overtaken')
    asked(memory, ['/**'])
    t.strictSame(begun('/**', 0), [])
    t.strictSame([fresh('/a', at(1)), fresh('/b', at(2)), fresh('/a', at(12))], [['/**'], ['/**'], ['/**']])
    t.strictSame(fresh('/a', at(13)), ['/a', '/**'])
    memory.welcomed(ABLE)
    t.strictSame(fresh('/a', at(14)), [], 'in a new session all of them are to be answered')
    t.strictSame(asked(memory, ['/a']), { replay: { '/a': { id: 13, epoch: 'e' } } })
    t.strictSame(gaps(), [])
    t.end()
  },
)

t.test('with acks the number of the connect reply says what was sent before the subscription was made', t => {
  const memory = able()
  const { fresh, begun } = hearing(memory)
  asked(memory, ['/a'])
  begun('/a', 10, 'e', true, { ack: 3 })
  t.strictSame(fresh('/a', at(11), 3), ['/a'])
  asked(memory, ['/**'], { replay: { '/**': -2 } })
  t.strictSame(fresh('/a', at(12), 4), ['/a'])
  t.strictSame(begun('/**', 0, 'e', true, { ack: 6 }), [], 'it was sent before')
  t.strictSame(fresh('/a', at(13), 5), ['/a'], 'and so was this, which the reply has overtaken')
  t.strictSame([fresh('/a', at(1), 6), fresh('/a', at(14), 6)], [['/**'], ['/a', '/**']])
  asked(memory, ['/b'], { replay: { '/b': -2 } })
  fresh('/b', at(20), 8)
  t.strictSame(begun('/b', 0, 'e', true, { ack: 8 }), ['/b'])
  t.end()
})

t.test('the application’s wish counts where it is farther back, until it is answered, and then the place', t => {
  const kept = at(4).replay
  const rows: [wish: unknown, start: unknown][] = [
    [-2, -2],
    [{ at: 1 }, { at: 1 }],
    [kept, kept],
    [at(8).replay, at(6).replay],
    [at(3, 'd').replay, at(3, 'd').replay],
  ]
  for (const [wish, start] of rows) {
    const memory = able()
    const { begun, fresh } = hearing(memory)
    asked(memory, ['/a'])
    begun('/a', 6)
    const { replay } = subscribed(memory, ['/a'], { replay: { '/a': wish } })
    t.match(replay, { '/a': start })
    t.match(asked(memory, ['/a']).replay, { '/a': start }, 'asked again in another session')
    t.match(subscribed(memory, ['/a']).replay, { '/a': start }, 'one beside it does not hide it')
    begun('/a', 2)
    t.strictSame(fresh('/a', at(9)), ['/a'])
    t.strictSame(asked(memory, ['/a']).replay, { '/a': at(9).replay })
  }
  const memory = able()
  subscribed(memory, ['/a'], { replay: { '/a': -2 } })
  t.strictSame(subscribed(memory, ['/a'], { replay: { '/a': kept } }).replay, { '/a': -2 })
  t.end()
})

t.test('who subscribes to what is subscribed to gets what is retained, too', t => {
  const memory = able()
  subscribed(memory, ['/a'])
  hearing(memory).begun('/a', 6)
  t.strictSame(subscribed(memory, ['/a']).replay, { '/a': { id: 6, epoch: 'e', retained: true } })
  t.strictSame(asked(memory, ['/a']).replay, { '/a': { id: 6, epoch: 'e' } })
  const { replay } = at(6)
  t.strictSame(subscribed(memory, ['/a'], { replay: { '/a': replay } }).replay, { '/a': replay }, 'not who knows where it was')
  t.end()
})

t.test('the reply to another subscribe than the last says nothing, nor one to what was unsubscribed meanwhile', t => {
  const memory = able()
  const { begun, fresh } = hearing(memory)
  subscribed(memory, ['/a'])
  memory.ask('/a', '8')
  begun('/a', 6)
  t.strictSame(fresh('/a', at(7)), [])
  subscribed(memory, ['/a'])
  memory.forget('/a')
  begun('/a', 6)
  t.strictSame(subscribed(memory, ['/a']).replay, { '/a': { now: true } })
  subscribed(memory, ['/b'])
  told(memory, '/meta/unsubscribe', ['/b'], {}, 'plain')
  begun('/b', 6)
  t.strictSame(memory.save()['places'], { '/a': null })
  t.end()
})

t.test('a page that is loaded anew goes on with what the one before knew; what is broken is nothing', t => {
  const memory = able()
  asked(memory, ['/a', '/b'])
  hearing(memory).begun('/a', 5)
  hearing(memory).fresh('/a', at(6))
  const next = new Memory('another')
  next.restore(JSON.parse(JSON.stringify(memory.save())))
  t.strictSame(asked(next, ['/a', '/b']), { replay: { '/a': { id: 6, epoch: 'e' }, '/b': { now: true } } })
  t.ok(next.knowsAgain('/a'))
  t.match(next.greeting(), { dedupe: { publisher: PUBLISHER } }, 'to the server it is the same publisher in every later session')
  t.match(
    said(next, '/a'),
    { dedupe: { key: 'another 7' } },
    'but its keys are never those of the page before, which may come back',
  )
  next.restore({})
  t.strictSame(asked(next, ['/a']), {})
  t.end()
})

const RULES = { '/numbers/**': { history: { messages: 10_000, age: 3_600_000 } } }
const OPTIONS = { timeout: 3_000, maxInterval: 2_000, maxSessionsPerBrowser: -1 }
const everyKind = fc.array(fc.constantFrom('http' as const, 'websocket' as const), { minLength: 1, maxLength: 4 })

t.test('through cuts and lost sessions all is heard once and in order, and done once, whatever the transport', t => {
  let renewed = 0
  fc.assert(
    fc.property(fc.integer(), everyKind, fc.constantFrom('http' as const, 'websocket' as const), (seed, kinds, kind) => {
      const world = new World(seed, OPTIONS, RULES, new MemoryHistory({ messages: 100_000, bytes: 1e9 }))
      const subscribers = kinds.map(each => world.add(each, {}, new Memory(`${PUBLISHER}${world.clients.length}`)))
      const publisher = world.add(kind, {}, new Memory(PUBLISHER))
      for (const client of world.clients) client.do((half, now) => half.handshake(now))
      for (const client of subscribers) client.do((half, now) => half.subscribe('/numbers/*', now))
      world.run(1_000)
      world.losses = 0.05
      const ids: (string | null)[] = []
      for (let i = 0; i < 60; i++) {
        ids.push(publisher.do((half, now) => half.publish('/numbers/all', i, now)))
        // each has a second subscription later on, which begins in the past
        const late = subscribers[i - 20]
        late?.do((half, now) => half.subscribe('/numbers/**', now, { ext: { replay: { '/numbers/**': -2 } } }))
        if (world.random() < 0.1) world.clients[Math.floor(world.random() * world.clients.length)]!.cut()
        if (world.random() < 0.1)
          for (const session of world.engine.server.sessions())
            if (world.random() < 0.3) {
              renewed++
              world.engine.server.expire(session, world.now)
            }
        world.run(Math.floor(world.random() * 200))
      }
      world.losses = 0
      world.run(400_000)
      const all = JSON.stringify(Array.from({ length: 60 }, (_, i) => i))
      const done = world.engine.server.history('/numbers/all', 0, 1_000)
      return (
        JSON.stringify(done.entries.map(({ json }) => JSON.parse(json).data)) === all &&
        subscribers.every(({ gaps }) => gaps.length === 0) &&
        subscribers.every(each => JSON.stringify(each.heardBy('/numbers/*')) === all) &&
        subscribers.every(each => JSON.stringify(each.heardBy('/numbers/**')) === all) &&
        ids.every(id => id !== null && publisher.settlements.get(id) === 1) &&
        world.faults.length === 0
      )
    }),
    { numRuns: 120 },
  )
  t.ok(renewed > 100, `${renewed} sessions were lost`)
  t.end()
})
