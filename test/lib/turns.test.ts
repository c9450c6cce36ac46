// What the host does at the end of a turn of the event loop: what is live first, then a page for each replay, and once, however many ask for it.

import t from 'tap'
import { MemoryHistory } from '../../lib/history/memory.js'
import { Host, type Peer } from '../../lib/host.js'

const KEPT = 2_000
const PAGE = 256
/** How far the clock goes on with each turn, ms. */
const TURN = 20

interface Client {
  readonly id: string
  /** What it got in each turn, in order. */
  readonly got: string[]
  say(message: object): void
}

/** A host whose turns end when `turn` is called. */
function stage(): { host: Host; join: (name: string) => Client; turn: () => number; log: string[] } {
  const asked: (() => void)[] = []
  const rests: (() => void)[] = []
  const { setImmediate: ordinary, setTimeout: timeout } = globalThis
  const { now: clock } = performance
  let passed = performance.now()
  globalThis.setImmediate = ((work: () => void) => asked.push(work)) as never
  globalThis.setTimeout = ((work: () => void, ms: number) => {
    if (ms < TURN) rests.push(work) // between two pages
    return { unref: () => undefined }
  }) as never
  performance.now = () => {
    passed += 0.1 // each look at it
    return passed
  }
  t.teardown(() => {
    globalThis.setImmediate = ordinary
    globalThis.setTimeout = timeout
    performance.now = clock
  })
  const history = new MemoryHistory({ messages: 10_000, bytes: 1e8 })
  const host = new Host({}, { '/kept': { history: { messages: KEPT, age: 1e9 } } }, 1_000, history)
  host.observer = new Proxy({}, { get: () => () => true }) as never
  const log: string[] = []
  const join = (name: string): Client => {
    const got: string[] = []
    let reply = ''
    const peer: Peer = {
      writable: true,
      token: null,
      end: () => t.fail(`${name} was cut off`),
      pause: () => undefined,
      write: (_connection, head, messages, tail) => {
        reply = head + tail
        for (const { json } of messages) got.push(json)
        if (messages.length > 0) log.push(`${name} ${messages.length}`)
      },
    }
    const connection = host.open({ transport: 'websocket', browser: null, address: '', http2: false, context: null }, peer)
    const say = (message: object): void => host.receive(connection, [JSON.stringify([{ clientId: id, ...message }])])
    let id = ''
    say({ channel: '/meta/handshake', ext: { replay: {} } })
    id = (JSON.parse(reply) as { clientId: string }).clientId
    return { id, got, say }
  }
  const turn = (): number => {
    passed += TURN
    for (const rested of rests.splice(0)) rested()
    const works = asked.splice(0)
    for (const work of works) work()
    return works.length
  }
  return { host, join, turn, log }
}

t.test('a replay has one page of a turn, behind what is live', t => {
  const { host, join, turn, log } = stage()
  const publish = (channel: string, data: number): void => host.engine.server.publish(channel, data, {}, null, host.now())
  for (let i = 0; i < KEPT; i++) publish('/kept', i)
  const [late, live] = [join('late'), join('live')]
  live.say({ channel: '/meta/subscribe', subscription: '/live' })
  while (turn() > 0);
  late.say({ channel: '/meta/subscribe', subscription: '/kept', ext: { replay: { '/kept': -2 } } })
  let turns = 0
  for (log.splice(0); late.got.length < KEPT && turns < 100; turns++) {
    publish('/live', turns)
    const before = [late.got.length, live.got.length]
    t.equal(turn(), 1, 'one flush, whatever asked for it')
    t.ok(late.got.length - before[0]! <= PAGE, `a page at most: ${late.got.length - before[0]!}`)
    t.equal(live.got.length - before[1]!, 1)
  }
  t.ok(turns >= KEPT / PAGE && turns <= KEPT / PAGE + 3, `${turns} turns`)
  t.equal(new Set(late.got).size, KEPT)
  while (turn() > 0);
  t.equal(turn(), 0, 'and there is an end of it')
  t.end()
})

t.test('sessions that replay take turns, and what asks for a flush while there is one has it then', t => {
  const { host, join, turn } = stage()
  for (let i = 0; i < KEPT; i++) host.engine.server.publish('/kept', i, {}, null, host.now())
  const clients = Array.from({ length: 20 }, (_, i) => join(`client ${i}`))
  while (turn() > 0);
  for (const client of clients)
    client.say({ channel: '/meta/subscribe', subscription: '/kept', ext: { replay: { '/kept': -2 } } })
  let most = 0
  for (let turns = 0; turns < 1_000 && clients.some(({ got }) => got.length < KEPT); turns++) {
    t.equal(turn(), 1)
    const counts = clients.map(({ got }) => got.length)
    most = Math.max(most, Math.max(...counts) - Math.min(...counts))
  }
  t.same(
    clients.map(({ got }) => got.length),
    clients.map(() => KEPT),
  )
  t.ok(most <= 2 * PAGE, `none is ahead of another by more than ${most}`)
  t.end()
})
