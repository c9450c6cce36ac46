// Limits of the engine: each holds, says so with the advice of DEV-17, is reported, and costs nobody else anything.

import t from 'tap'
import type { Transport } from '../../bayeux/index.js'
import { type Client, Drive } from '../support/drive.js'
import { assertEmpty } from '../support/recording.js'

const publish = { channel: '/a', data: 1 }
const advised = (reconnect: string) => ({ reconnect, interval: Number })

t.test('a session that sends too fast is told to pause, then shown the door', t => {
  const drive = new Drive({ maxMessageRate: 10 })
  const client = drive.client()
  const other = drive.client()
  let passed = 2 // handshake counts for nobody, connect and the next
  while (client.say(publish)['successful'] === true) passed++
  t.equal(passed, 1 + 40, 'four seconds’ worth at once, of which the connect took one')
  const refused = client.replies.at(-1)!
  t.match(refused, {
    channel: '/a',
    successful: false,
    error: '429::rate_limited',
    advice: { ...advised('retry'), timeout: 30_000 },
  })
  t.same(drive.limited, ['maxMessageRate'])
  t.equal(other.say(publish)['successful'], true, 'another session of the same address is not concerned')

  drive.pass((refused['advice'] as { interval: number }).interval)
  t.match(client.say({ channel: '/meta/connect', advice: { timeout: 0 } }), { successful: true }, 'after the pause all is well')
  let again = 0
  while (client.say(publish)['successful'] === true) again++
  t.ok(again >= 15, `and ${again} messages may come at once`)

  for (let i = 0; i < 100 && client.endings.length === 0; i++) client.say(publish)
  t.same(client.endings, ['rate_limited'], 'who does not heed it is shown the door')
  t.same(drive.removed, ['rate_limited'])
  t.equal(drive.engine.server.stats().sessions, 1)
  t.end()
})

t.test('the pace of bytes is kept, too, and a connect is slowed down with full advice', t => {
  const drive = new Drive({ maxByteRate: 1_000, maxMessageRate: 0 })
  const client = drive.client('long-polling')
  const big = { channel: '/a', data: 'x'.repeat(1_500) }
  for (let i = 0; i < 3; i++) t.match(client.say(big), { successful: true }, 'judged by what was sent before')
  t.match(client.say(big), { error: '429::rate_limited' })
  const connect = client.say({ channel: '/meta/connect' })
  t.match(connect, {
    channel: '/meta/connect',
    successful: false,
    error: '429::rate_limited',
    advice: { ...advised('retry'), timeout: 30_000 },
  })
  t.match(client.say({ channel: '/meta/disconnect' }), { successful: true }, 'nobody is kept from leaving')
  assertEmptySoon(drive)
  t.end()
})

t.test('who was slowed down is told of the usual pace again with its next connect, and waited for until then', t => {
  for (const transport of ['websocket', 'long-polling'] as const) {
    const drive = new Drive({ maxMessageRate: 10, timeout: 1_000, maxInterval: 500 })
    const client = drive.client(transport)
    client.say({ channel: '/meta/connect' })
    while (client.say(publish)['successful'] === true);
    const { interval } = client.replies.at(-1)!['advice'] as { interval: number }
    drive.pass(1_000)
    t.strictSame(client.replies.at(-1), { id: '1', channel: '/meta/connect', successful: true }, 'the connect that was held then')
    drive.pass(interval + 400)
    client.say({ channel: '/meta/connect' })
    drive.pass(1_000)
    const usual = { reconnect: 'retry', interval: 0, timeout: 1_000 }
    t.strictSame(client.replies.at(-1), { id: '1', channel: '/meta/connect', successful: true, advice: usual }, 'the next')
    client.say({ channel: '/meta/connect' })
    drive.pass(1_000)
    t.strictSame(client.replies.at(-1), { id: '1', channel: '/meta/connect', successful: true }, 'once is enough')
    drive.pass(501)
    t.same(drive.removed, ['expired'])
  }
  t.end()
})

t.test('a client whose connect was too fast is waited for, and then told of the usual pace', t => {
  const drive = new Drive({ maxMessageRate: 10, maxInterval: 500 })
  const client = drive.client('long-polling')
  let refused = client.say(publish)
  while (refused['successful'] === true) refused = client.say({ channel: '/meta/connect', advice: { timeout: 0 } })
  drive.pass((refused['advice'] as { interval: number }).interval + 400)
  client.say({ channel: '/meta/subscribe', subscription: '/a' })
  client.say({ channel: '/meta/connect' })
  drive.publish('/a', 1)
  t.match(client.replies.at(-1), { channel: '/meta/connect', successful: true, advice: { reconnect: 'retry', interval: 0 } })
  t.end()
})

t.test('advice that was lost with the connect that was to bring it goes with the next', t => {
  const losses: [how: string, transport: Transport, lose: (drive: Drive, client: Client) => void][] = [
    ['superseded', 'websocket', () => {}],
    ['superseded', 'long-polling', () => {}],
    ['broken', 'long-polling', (drive, client) => drive.engine.closed(client.session.held!.connection, drive.now)],
  ]
  for (const [how, transport, lose] of losses) {
    const drive = new Drive({ maxMessageRate: 10, timeout: 1_000 })
    const client = drive.client(transport)
    while (client.say(publish)['successful'] === true);
    drive.pass(3_000)
    client.say({ channel: '/meta/connect' })
    lose(drive, client)
    client.say({ channel: '/meta/connect' })
    drive.pass(1_000)
    const advice = { reconnect: 'retry', interval: 0, timeout: 1_000 }
    t.strictSame(client.replies.at(-1), { id: '1', channel: '/meta/connect', successful: true, advice }, `${how} on ${transport}`)
  }
  t.end()
})

t.test('connects that bring messages are not held against a client: the server made it come', t => {
  const drive = new Drive({ maxMessageRate: 5 })
  const client = drive.client('long-polling')
  client.say({ channel: '/meta/subscribe', subscription: '/a' })
  for (let i = 0; i < 200; i++) {
    client.say({ channel: '/meta/connect' })
    drive.publish('/a', i)
  }
  t.same(
    client.data,
    Array.from({ length: 200 }, (_, i) => i),
  )
  t.same(drive.limited, [])
  t.end()
})

t.test('what runs off in a pause does so whatever its length', t => {
  const drive = new Drive({ maxMessageRate: 7, maxInterval: 10 * 24 * 3_600_000 })
  const client = drive.client()
  for (const pause of [50, 99, 101, 3_333, 24 * 3_600_000, 1]) {
    drive.pass(pause)
    client.say(publish)
  }
  t.same(drive.limited, [])
  t.ok(Number.isInteger(client.session.messagesSpent) && client.session.messagesSpent >= 0, String(client.session.messagesSpent))
  t.end()
})

t.test('an address that handshakes too fast waits, others do not', t => {
  const drive = new Drive({ maxHandshakeRate: 5 })
  const replies = Array.from({ length: 30 }, () => drive.stranger('long-polling', { address: '2001:db8::1' }).handshake())
  t.equal(replies.filter(reply => reply['successful']).length, 20)
  t.match(replies.at(-1), { error: '429::rate_limited', advice: advised('handshake') })
  t.notOk('clientId' in replies.at(-1)!)
  const intervals = new Set(replies.slice(20).map(reply => (reply['advice'] as { interval: number }).interval))
  t.ok(intervals.size > 3, `pauses are spread: ${[...intervals]}`)
  t.match(drive.stranger('websocket', { address: '2001:db8::ffff' }).handshake(), { successful: false }, 'the same /64')
  t.match(drive.stranger('long-polling', { address: '2001:db8:0:1::1' }).handshake(), { successful: true })
  drive.pass(1_000)
  t.match(drive.stranger('long-polling', { address: '2001:db8::1' }).handshake(), { successful: true })
  t.end()
})

t.test('Faye is told to try again in the only way in which it does so once', t => {
  const drive = new Drive({ maxSessions: 1 })
  drive.engine.server.police({ handshake: true })
  const again = { allow: false, advice: { reconnect: 'handshake', interval: 7 } } as const
  drive.answer = ({ message }) => (message['busy'] === true ? again : true)
  const advice = (more: object) =>
    drive.stranger('long-polling').handshake(more)['advice'] as { reconnect: string; interval: number }
  const fayes = [
    ['in-process', 'websocket', 'long-polling'],
    ['websocket', 'eventsource', 'long-polling', 'cross-origin-long-polling', 'callback-polling'],
  ]
  for (const supportedConnectionTypes of fayes)
    t.same(advice({ supportedConnectionTypes, busy: true }), { reconnect: 'retry', interval: 7 }, 'the policy says when')
  t.same(advice({ supportedConnectionTypes: ['websocket', 'long-polling'], busy: true }), again.advice, 'others as it says')
  drive.client()
  for (const supportedConnectionTypes of fayes)
    t.match(advice({ supportedConnectionTypes }), advised('retry'), 'and so the server, when it is full')
  t.match(advice({ supportedConnectionTypes: ['websocket', 'long-polling', 'callback-polling'] }), advised('handshake'))
  t.match(advice({}), advised('handshake'))
  t.end()
})

t.test('sessions are counted in all, of an address, a browser and a user, and given back', t => {
  const limits: [options: Record<string, number>, limit: string, where: (i: number) => object][] = [
    [{ maxSessions: 3 }, 'maxSessions', i => ({ address: `192.0.2.${i}` })],
    [{ maxAddressSessions: 3 }, 'maxAddressSessions', () => ({})],
    [{ maxBrowserSessions: 3 }, 'maxBrowserSessions', i => ({ address: `192.0.2.${i}`, browser: 'b' })],
    [{ maxUserSessions: 3 }, 'maxUserSessions', i => ({ address: `192.0.2.${i}` })],
  ]
  for (const [options, limit, where] of limits) {
    const drive = new Drive(options)
    drive.engine.server.police({ handshake: true })
    drive.answer = ({ kind }) => (kind === 'handshake' ? { allow: true, user: 'alice' } : true)
    const clients = [1, 2, 3].map(i => drive.client('long-polling', where(i)))
    const refused = drive.stranger('long-polling', where(4)).handshake()
    t.match(refused, { successful: false, error: `429:${limit}:too_many_sessions`, advice: advised('handshake') })
    t.same(drive.limited, [limit])
    clients[0]!.say({ channel: '/meta/disconnect' })
    t.match(drive.stranger('long-polling', where(4)).handshake(), { successful: true }, `${limit}: one has left`)
    drive.pass(60_000)
    assertEmptySoon(drive)
  }
  t.end()
})

t.test('a limit that is reached while a verdict is awaited holds', t => {
  const drive = new Drive({ maxUserSessions: 1 })
  drive.engine.server.police({ handshake: true })
  drive.answer = () => null
  const [first, second] = [drive.stranger(), drive.stranger()]
  first.handshake()
  second.handshake()
  drive.verdict({ allow: true, user: 'alice' })
  drive.verdict({ allow: true, user: 'alice' })
  t.match(first.replies[0], { successful: true })
  t.match(second.replies[0], { error: '429:maxUserSessions:too_many_sessions' })
  t.end()
})

t.test('trusted lifts what is counted per address and per second, and nothing else', t => {
  const drive = new Drive({
    trusted: true,
    maxMessageRate: 1,
    maxByteRate: 1,
    maxHandshakeRate: 1,
    maxAddressSessions: 1,
    maxBrowserSessions: 20,
  })
  const clients = Array.from({ length: 20 }, () => drive.client('websocket', { browser: 'b' }))
  for (let i = 0; i < 100; i++) t.equal(clients[0]!.say(publish)['successful'], true)
  t.match(drive.stranger('websocket', { browser: 'b' }).handshake(), { error: '429:maxBrowserSessions:too_many_sessions' })
  drive.pass(60_000)
  assertEmptySoon(drive)
  t.end()
})

t.test('subscriptions of one session are limited, all of a message or none', t => {
  const drive = new Drive({ maxSubscriptions: 10 })
  const client = drive.client()
  const subscribe = (...channels: string[]) => client.say({ channel: '/meta/subscribe', subscription: channels })
  t.match(subscribe(...Array.from({ length: 9 }, (_, i) => `/a/${i}`)), { successful: true })
  t.match(subscribe('/b', '/c'), { successful: false, error: '403::too_many_subscriptions' })
  t.equal(client.session.subscriptions!.size, 9, 'none of the two')
  t.match(
    subscribe('/a/0', '/a/1', '/b', '/b/', '/service/x'),
    { successful: true },
    'those that it has, and services, do not count',
  )
  t.equal(client.session.subscriptions!.size, 10)
  t.match(subscribe('/c'), { error: '403::too_many_subscriptions' })
  t.match(subscribe('/a/5'), { successful: true })
  client.say({ channel: '/meta/unsubscribe', subscription: '/b' })
  t.match(subscribe('/c'), { successful: true })
  t.same(drive.limited, ['maxSubscriptions', 'maxSubscriptions'])
  t.end()
})

t.test('keys, depth, messages and segments are limited', t => {
  const drive = new Drive({ maxKeys: 50, maxDepth: 8, maxMessages: 5, maxChannelSegments: 4 })
  const ends = (message: object, ...others: object[]): string[] => {
    const client = drive.client('long-polling')
    client.say(message, ...others)
    return client.endings
  }
  const list = (length: number) => Array.from({ length }, () => 0)
  t.same(ends({ channel: '/a', data: list(46) }), [], 'four members of the message and so many items')
  t.same(ends({ channel: '/a', data: list(47) }), ['too_many_keys'])
  t.same(ends({ channel: '/a', data: list(25) }, { channel: '/a', data: list(25) }), ['too_many_keys'], 'all messages together')
  t.same(ends({ channel: '/a', data: Object.fromEntries(list(50).map((_, i) => [i, 0])) }), ['too_many_keys'])
  t.same(ends({ channel: '/a', data: [[[[[[]]]]]] }), [])
  t.same(ends({ channel: '/a', data: [[[[[[[]]]]]]] }), ['too_deep'])
  t.same(ends(...(Array.from({ length: 6 }, () => publish) as [object])), ['too_many_messages'])
  t.same(drive.limited, ['maxKeys', 'maxKeys', 'maxKeys', 'maxDepth', 'maxMessages'])
  const client = drive.client()
  t.match(client.say({ channel: '/a/b/c/d', data: 1 }), { successful: true })
  t.match(client.say({ channel: '/a/b/c/d/e', data: 1 }), { error: '405::channel_invalid' })
  t.match(client.say({ channel: '/meta/subscribe', subscription: '/a/b/c/d/**' }), { error: '403::subscription_invalid' })
  t.end()
})

t.test('a socket without a session may say so much, and no more', t => {
  const drive = new Drive()
  const stray = drive.stranger()
  for (let i = 0; i < 999; i++) stray.say(i % 2 === 0 ? { ...publish, clientId: 'nobody' } : { channel: 'bad' })
  t.same(stray.endings, [])
  t.equal(stray.replies.length, 999)
  stray.handshake()
  t.match(stray.say(publish), { successful: true })
  stray.say({ channel: '/meta/disconnect' })
  for (let i = 0; i < 1_000; i++) stray.say({ ...publish, clientId: 'nobody' })
  t.same(stray.endings, [], 'a session in between begins the count anew')
  stray.say({ ...publish, clientId: 'nobody' })
  t.same(stray.endings, ['rate_limited'])
  t.end()
})

t.test('short of memory, no new sessions are taken; in dire need the long queues go', t => {
  const drive = new Drive()
  const [reader, sleeper] = [drive.client(), drive.client('long-polling')]
  for (const client of [reader, sleeper]) client.say({ channel: '/meta/subscribe', subscription: '/a' })
  drive.publish('/a', 'x'.repeat(70_000))
  drive.engine.server.shed('high', drive.now)
  const refused = drive.stranger().handshake()
  t.match(refused, { successful: false, error: '503::overloaded', advice: advised('handshake') })
  t.ok((refused['advice'] as { interval: number }).interval >= 10_000)
  t.same(drive.limited, ['maxMemory'])
  t.match(reader.say(publish), { successful: true }, 'those that are there are served')
  drive.engine.server.shed('critical', drive.now)
  t.same(drive.removed, ['overflow'])
  t.ok(reader.session, 'who reads stays')
  drive.engine.server.shed('ok', drive.now)
  t.match(drive.stranger().handshake(), { successful: true })
  t.end()
})

t.test('a full queue is reported with the name of its limit', t => {
  const drive = new Drive({ maxQueue: 2 })
  const client = drive.client('long-polling')
  client.say({ channel: '/meta/subscribe', subscription: '/a' })
  for (let i = 0; i < 3; i++) drive.publish('/a', i)
  t.same([drive.limited, drive.removed], [['maxQueue'], ['overflow']])
  t.end()
})

/** Once all have left and their channels were swept, nothing is counted. */
function assertEmptySoon(drive: Drive): void {
  for (const session of [...drive.engine.server.sessions()]) drive.engine.server.disconnect(session, drive.now)
  drive.pass(60_000)
  assertEmpty(drive.engine, null)
}
