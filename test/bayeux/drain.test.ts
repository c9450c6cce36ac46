// A server that is about to stop: who is told what, and that nothing that waits is lost.

import t from 'tap'
import type { Json } from '../../bayeux/index.js'
import { Drive } from '../support/drive.js'

const CONNECT = { channel: '/meta/connect' }
const intervalOf = (reply: Json): number => (reply['advice'] as { interval: number }).interval

t.test('no new session is taken, and the advice says when to try again', t => {
  const drive = new Drive()
  drive.engine.drain(4_000)
  const refused = Array.from({ length: 20 }, () => drive.stranger().handshake())
  for (const reply of refused) {
    t.match(reply, { successful: false, error: '503::draining', advice: { reconnect: 'handshake' } })
    t.ok(intervalOf(reply) >= 4_000 && intervalOf(reply) <= 6_000)
  }
  t.ok(new Set(refused.map(intervalOf)).size > 10, 'not all at once')
  t.end()
})

t.test('no connect is held any more: each is answered with full advice whose interval spreads the sessions', t => {
  const drive = new Drive()
  const clients = Array.from({ length: 20 }, (_, i) => drive.client(i % 2 === 0 ? 'websocket' : 'long-polling'))
  drive.engine.drain(4_000)
  const replies = clients.map(client => client.say(CONNECT))
  for (const reply of replies) {
    t.match(reply, { channel: '/meta/connect', successful: true, advice: { reconnect: 'retry', timeout: 30_000 } })
    t.ok(intervalOf(reply) >= 4_000 && intervalOf(reply) <= 6_000)
  }
  t.ok(new Set(replies.map(intervalOf)).size > 10)
  drive.pass(13_000)
  t.ok(
    clients.every(client => client.session),
    'they may take the time that they were told to take',
  )
  t.match(clients[0]!.say({ channel: '/a', data: 1 }), { successful: true }, 'what they publish meanwhile is taken')
  t.end()
})

t.test('sessions are let go of in waves: held connects are answered with what waits, sockets closed behind it', t => {
  const drive = new Drive()
  const polling = Array.from({ length: 3 }, () => drive.client('long-polling'))
  const sockets = Array.from({ length: 3 }, () => drive.client('websocket'))
  const acked = drive.stranger('websocket')
  acked.handshake({ ext: { ack: true } })
  acked.say({ ...CONNECT, ext: { ack: 0 } })
  const all = [...polling, ...sockets, acked]
  for (const client of all) {
    client.say({ channel: '/meta/subscribe', subscription: '/a' })
    client.say({ ...CONNECT, ext: { ack: 1 } })
  }
  const idle = drive.client('websocket') // no connect of it is held
  drive.engine.drain(1_000)
  drive.engine.server.publish('/a', 'last', {}, null, drive.now)
  t.ok(drive.engine.release(2, drive.now), 'more are left')
  t.equal(all.filter(client => client.data.length === 1).length, 2)
  t.notOk(drive.engine.release(100, drive.now))
  for (const client of all) {
    t.same(client.data, ['last'])
    t.match(client.replies.at(-1), { channel: '/meta/connect', successful: true, advice: { reconnect: 'retry' } })
    t.ok(client.session, 'its session stays')
  }
  for (const client of [...sockets, acked, idle]) t.same(client.endings, ['going_away'])
  for (const client of polling) t.same(client.endings, [])
  t.notOk(drive.engine.release(100, drive.now))
  t.end()
})

t.test('a session that comes back before the end is served, and let go of again', t => {
  const drive = new Drive()
  const client = drive.client('websocket')
  drive.engine.drain(1_000)
  drive.engine.release(1, drive.now)
  t.same(client.endings, ['going_away'])
  t.match(client.say(CONNECT), { successful: true, advice: { reconnect: 'retry' } })
  drive.engine.release(1, drive.now)
  t.same(client.endings, ['going_away', 'going_away'])
  t.end()
})
