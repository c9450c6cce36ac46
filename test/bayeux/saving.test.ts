// Sessions that outlive their process: all that their clients can notice is a pause.

import t from 'tap'
import type { ChannelRules, Json, SavedSession } from '../../bayeux/index.js'
import { MemoryHistory } from '../../lib/history/memory.js'
import { type Client, Drive } from '../support/drive.js'

const CONNECT = { channel: '/meta/connect', advice: { timeout: 0 } }
const RULES: ChannelRules = { '/k/**': { history: { messages: 10_000, age: 3_600_000 } }, '/lossy': { overflow: 'drop-oldest' } }

/** The next process: the sessions have been in a file meanwhile. */
function restarted(drive: Drive, options = {}, history: MemoryHistory | null = null): { next: Drive; restored: number } {
  const saved = JSON.parse(JSON.stringify(drive.engine.server.save())) as SavedSession[]
  const next = new Drive(options, RULES, history)
  next.now = drive.now + 5_000
  return { next, restored: next.engine.server.restore(saved, next.now) }
}

/** The same client, at the next process. */
function moved(next: Drive, client: Client): Client {
  const again = next.stranger(client.transport, { address: '192.0.2.1', browser: client.cookie })
  again.id = client.id
  return again
}

t.test('a session goes on with its id, subscriptions, and all that waits for it', t => {
  for (const transport of ['websocket', 'long-polling'] as const) {
    const drive = new Drive()
    const client = drive.client(transport)
    client.say({ channel: '/meta/subscribe', subscription: ['/a', '/b/*'] })
    drive.engine.drain(1_000)
    drive.engine.release(10, drive.now)
    drive.publish('/a', 'between')
    const { next, restored } = restarted(drive)
    t.equal(restored, 1)
    const again = moved(next, client)
    t.match(again.say(CONNECT), { successful: true, advice: { reconnect: 'retry', interval: 0 } })
    t.same(again.data, ['between'])
    next.publish('/b/x', 'after')
    again.say(CONNECT)
    t.same(again.data, ['between', 'after'], transport)
    t.match(again.say({ channel: '/a', data: 1 }), { successful: true })
    t.equal(next.engine.server.stats().subscriptions, 2)
  }
  t.end()
})

t.test('with ack, what was sent and not acknowledged comes again, and the numbers go on', t => {
  const drive = new Drive()
  const client = drive.stranger('long-polling')
  client.handshake({ ext: { ack: true } })
  client.say({ channel: '/meta/connect', ext: { ack: 0 } })
  client.say({ channel: '/meta/subscribe', subscription: '/a' })
  drive.publish('/a', 1)
  const first = client.say({ ...CONNECT, ext: { ack: 1 } })
  drive.publish('/a', 2)
  const { next } = restarted(drive)
  const again = moved(next, client)
  const second = again.say({ ...CONNECT, ext: { ack: 1 } }) // the first reply was lost
  t.same(again.data, [1, 2])
  const number = (reply: Json): number => (reply['ext'] as { ack: number }).ack
  t.ok(number(second) > number(first))
  again.say({ ...CONNECT, ext: { ack: number(second) } })
  t.same(again.data, [1, 2])
  t.end()
})

t.test('a replay under way goes on behind what was read; keys, forms and counts of what was lost stay', t => {
  const history = new MemoryHistory({ messages: 1e6, bytes: 1e9 })
  const options = { maxQueue: 60 }
  const drive = new Drive(options, RULES, history)
  for (let n = 0; n < 500; n++) drive.publish('/k/a', { n })
  const client = drive.stranger('long-polling')
  client.handshake({ ext: { replay: {}, dropped: true, dedupe: { publisher: 'abcdefghijklmnopqrstuv' } } })
  client.say({ channel: '/meta/connect' })
  client.say({ channel: '/meta/subscribe', subscription: ['/k/a', '/lossy'], ext: { replay: { '/k/a': -2 } } })
  client.say(CONNECT)
  client.session.dropped = 3
  const { next } = restarted(drive, options, history)
  const again = moved(next, client)
  next.publish('/k/a', { n: 500 })
  for (let i = 0; i < 40; i++) again.say(CONNECT)
  const all = [...client.messages, ...again.messages]
  t.same(
    all.map(({ data }) => (data as { n: number }).n),
    Array.from({ length: 501 }, (_, n) => n),
  )
  t.ok(all.every(({ ext }) => (ext as { replay: { epoch: string } }).replay.epoch === history.epoch))
  t.equal(
    again.messages.reduce((sum, { ext }) => sum + Number((ext as { dropped?: number }).dropped ?? 0), 0),
    3,
  )
  t.equal(again.session.publisher, 'abcdefghijklmnopqrstuv')
  t.end()
})

t.test('a message that many have not acknowledged is one again', t => {
  const history = new MemoryHistory({ messages: 1e6, bytes: 1e9 })
  const drive = new Drive({}, RULES, history)
  const clients = [0, 1].map(() => {
    const client = drive.stranger('long-polling')
    client.handshake({ ext: { ack: true, replay: {} } })
    client.say({ ...CONNECT, ext: { ack: 0 } })
    client.say({ channel: '/meta/subscribe', subscription: ['/k/a', '/lossy'] })
    return client
  })
  drive.publish('/k/a', 1)
  for (const client of clients) client.say({ ...CONNECT, ext: { ack: 0 } })
  drive.publish('/lossy', 2)
  const { next } = restarted(drive, {}, history)
  const [one, other] = clients.map(({ id }) => next.engine.server.session(id)!)
  const held = one!.ack!.entries().map(([message]) => message)
  t.same(
    held.map(({ position }) => position),
    [1, 0],
  )
  t.ok(held.every((message, i) => message === other!.ack!.entries()[i]![0]))
  t.equal(held[1], one!.queue[0])
  t.end()
})

t.test('a session that was replaying what is gone with the process is not made again; others go on', t => {
  const drive = new Drive({ maxQueue: 60 }, RULES, new MemoryHistory({ messages: 1e6, bytes: 1e9 }))
  for (let n = 0; n < 500; n++) drive.publish('/k/a', { n })
  const [replaying, other] = [0, 1].map(() => {
    const client = drive.stranger('long-polling')
    client.handshake({ ext: { replay: {} } })
    client.say({ channel: '/meta/connect' })
    return client
  })
  replaying!.say({ channel: '/meta/subscribe', subscription: '/k/a', ext: { replay: { '/k/a': -2 } } })
  other!.say({ channel: '/meta/subscribe', subscription: '/k/a' })
  const { next, restored } = restarted(drive, {}, new MemoryHistory({ messages: 1e6, bytes: 1e9 }))
  t.equal(restored, 1)
  t.match(moved(next, replaying!).say(CONNECT), { error: '402::session_unknown', advice: { reconnect: 'handshake' } })
  t.match(moved(next, other!).say(CONNECT), { successful: true })
  t.end()
})

t.test('an identity stays, and ends when its token does', t => {
  const drive = new Drive()
  drive.engine.server.police({ handshake: true })
  drive.answer = () => ({ allow: true, identity: { user: 'ana', roles: ['ops'], expiresAt: drive.now + 60_000 } }) as never
  const client = drive.client('websocket')
  const { next } = restarted(drive, { maxInterval: 100_000 })
  const again = moved(next, client)
  t.match(again.session.credential?.identity, { user: 'ana', roles: ['ops'] })
  again.say(CONNECT)
  next.pass(70_000)
  t.same(next.removed, ['token_expired'])
  t.end()
})

t.test('who does not come back within its time is gone; who is there already, or one too many, is not made again', t => {
  const drive = new Drive()
  const clients = [drive.client(), drive.client(), drive.client()]
  const saved = drive.engine.server.save()
  const next = new Drive({ maxSessions: 2 })
  t.equal(next.engine.server.restore(saved, next.now), 2)
  t.equal(next.engine.server.restore(saved, next.now), 0)
  next.pass(10_001)
  t.same(next.removed, ['expired', 'expired'])
  t.match(moved(next, clients[0]!).say(CONNECT), { error: '402::session_unknown' })
  const local = new Drive()
  local.engine.server.addLocal('local_1', () => {})
  t.same(local.engine.server.save(), [])
  t.end()
})
