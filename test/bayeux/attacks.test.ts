// What a review of the engine by somebody who meant it no good found: each test says what holds since.

import t from 'tap'
import { wholeIdentity } from '../../bayeux/identity.js'
import { enter, plainTokens, subscribe } from '../support/bearer.js'
import { type Client, Drive } from '../support/drive.js'
import { assertEmpty } from '../support/recording.js'

const HOUR = 3_600_000
const SECRET = { '/secret/**': { subscribe: 'role:ops' } } as const

t.test('a role that the server took away does not come back with the old token', t => {
  const drive = plainTokens(new Drive({}, SECRET))
  const client = enter(drive, 'alice ops')
  drive.engine.server.identify(client.session, wholeIdentity({ user: 'alice' }), drive.now)
  client.say({ channel: '/service/x', ext: { token: 'alice ops' } })
  t.match(subscribe(client, '/secret/x'), { successful: false })
  t.end()
})

for (const judge of ['policy', 'authorizer'] as const)
  t.test(`a subscription that the ${judge} allowed before a review is judged again when it is made after it`, t => {
    const drive = new Drive()
    drive.engine.server.police({ subscribe: true })
    const client = drive.client()
    let member = true
    const allows = (channel: string | null): boolean => channel !== '/secret' || member
    if (judge === 'authorizer')
      drive.engine.server.authorize('/**', (_operation, channel) => (allows(channel) ? 'grant' : { deny: 'no' }))
    drive.answer = ({ channel }) => (channel === '/slow' ? null : judge === 'authorizer' || allows(channel))
    subscribe(client, '/secret', '/slow')
    member = false
    drive.engine.server.review(client.session, drive.now)
    drive.verdict(true)
    drive.publish('/secret', 1)
    t.same(
      client.data.filter(each => each !== undefined),
      [],
    )
    t.end()
  })

for (const how of ['rules', 'identify', 'verdict'] as const)
  t.test(`a listener that disconnects who loses a subscription breaks nothing: ${how}`, t => {
    const drive = plainTokens(new Drive({}, SECRET))
    const clients = [enter(drive, 'alice ops'), enter(drive, 'bob ops')]
    for (const client of clients) subscribe(client, '/secret/x')
    const [, bob] = clients as [Client, Client]
    const session = bob.session
    drive.sink['watch'].unsubscribed = gone => drive.engine.server.disconnect(gone, drive.now)
    if (how === 'rules') t.doesNotThrow(() => drive.engine.server.setRules({ '/secret/**': { subscribe: 'nobody' } }, drive.now))
    if (how === 'identify') t.doesNotThrow(() => drive.engine.server.identify(session, null, drive.now))
    if (how === 'verdict') {
      drive.engine.server.police({ subscribe: true })
      drive.answer = () => null
      drive.engine.server.review(session, drive.now)
      t.doesNotThrow(() => drive.verdict(false))
    }
    drive.publish('/secret/x', 1)
    t.notOk(bob.data.includes(1), 'nobody gets what he may not')
    t.end()
  })

t.test('a session that is gone is subscribed to nothing', t => {
  const drive = new Drive()
  const client = drive.client()
  drive.sink['watch'].subscribed = session => drive.engine.server.disconnect(session, drive.now)
  subscribe(client, '/a', '/b')
  drive.pass(60_000)
  t.doesNotThrow(() => assertEmpty(drive.engine, null))
  t.end()
})

t.test('who is identified while it is removed is not counted for ever', t => {
  const drive = plainTokens(new Drive({ maxUserSessions: 2 }))
  drive.sink['watch'].sessionRemoved = session => drive.engine.server.identify(session, null, drive.now)
  for (let i = 0; i < 5; i++) enter(drive, 'alice').say({ channel: '/meta/disconnect' })
  const granted = [1, 2, 3, 4].filter(() => drive.stranger().handshake({ ext: { token: 'alice' } })['successful'])
  t.equal(granted.length, 2)
  t.end()
})

t.test('messages that are refused before they are counted are counted', t => {
  const cases: [string, boolean, object][] = [
    ['no channel, no session', false, { channel: undefined }],
    ['bad channel, no session', false, { channel: 'x' }],
    ['handshakes that are refused', false, { channel: '/meta/handshake' }],
    ['foreign clientId on a bound socket', true, { channel: '/a', data: 'x'.repeat(50), clientId: 'nobody' }],
    ['bad channel on a bound socket', true, { channel: 'x', data: 'x'.repeat(50) }],
    ['bad id on a bound socket', true, { channel: '/a', id: 'a-b' }],
  ]
  for (const [name, bound, message] of cases) {
    const drive = new Drive({ maxHandshakeRate: 1 })
    const client = bound ? drive.client() : drive.stranger()
    const batch = Array.from(
      { length: message && 'channel' in message && message.channel === '/meta/handshake' ? 1 : 1_000 },
      () => message,
    )
    for (let i = 0; i < 20_000 / batch.length && client.endings.length === 0; i++) client.say(...(batch as [object]))
    t.same(client.endings, ['rate_limited'], `${name}: ${client.replies.length} replies`)
  }
  t.end()
})

t.test('bytes count whatever they carry', t => {
  const drive = new Drive({ maxByteRate: 1_000 })
  const client = drive.client()
  for (let i = 0; i < 1_000; i++) client.say({ channel: '/a', clientId: 'nobody', data: 'x'.repeat(10_000) })
  t.same(client.endings, ['rate_limited'])
  t.end()
})

t.test('a client that was told to pause is told when it need not any more', t => {
  const drive = new Drive({ maxMessageRate: 10 })
  const client = drive.client('long-polling')
  while (client.say({ channel: '/a', data: 1 })['successful'] === true);
  const { interval } = client.replies.at(-1)!['advice'] as { interval: number }
  drive.pass(interval)
  client.say({ channel: '/meta/connect' })
  drive.publish('/b', 1)
  drive.pass(30_000)
  const reply = client.replies.at(-1)!
  t.match(reply, { channel: '/meta/connect', successful: true })
  t.match(reply['advice'], { interval: 0 }, `it pauses ${interval} ms after each connect for ever`)
  t.end()
})

t.test('a client that heeds the pause has a session after it', t => {
  const drive = new Drive({ maxMessageRate: 10, maxInterval: 3_000 })
  const client = drive.client('long-polling')
  while (client.say({ channel: '/a', data: 1 })['successful'] === true);
  for (let i = 0; i < 30; i++) client.say({ channel: '/a', data: 1 })
  client.say({ channel: '/meta/connect' })
  const { interval } = client.replies.at(-1)!['advice'] as { interval: number }
  drive.pass(interval)
  t.match(client.say({ channel: '/meta/connect', advice: { timeout: 0 } }), { successful: true }, `after ${interval} ms`)
  t.same(drive.removed, [])
  t.end()
})

t.test('a subscription is not judged entry by entry when it has too many', t => {
  const drive = new Drive({ maxSubscriptions: 10 })
  drive.engine.server.police({ subscribe: true, create: true })
  let asked = 0
  drive.answer = () => {
    asked++
    return true
  }
  const client = drive.client('websocket')
  const names = Array.from({ length: 5_000 }, (_, i) => `/a/${i}`)
  client.say({ channel: '/meta/subscribe', subscription: names })
  t.match(client.replies.at(-1), { successful: false, error: '403::too_many_subscriptions' })
  t.ok(asked < 100, `the policy was asked ${asked} times for one message`)
  t.end()
})

t.test('what a client names is bounded, whether it stays or not', t => {
  const drive = new Drive({ maxInterval: HOUR })
  const client = drive.client('websocket')
  const { tree } = drive.engine.server['core']
  const named = (prefix: string) => Array.from({ length: 900 }, (_, i) => `${prefix}/n${i}/a/b/c`)
  for (let i = 0; i < 20; i++) {
    client.say({ channel: '/meta/subscribe', subscription: named(`/service/x${i}`) })
    drive.pass(2_000)
  }
  t.ok(tree.size < 10_100, `${tree.size} channels of services that nobody uses`)
  drive.pass(5_000)
  t.equal(tree.size, 0, 'and none after the sweeps')
  let refused = 0
  for (let i = 0; i < 20; i++) if (subscribe(client, ...named(`/y${i}`))['successful'] === false) refused++
  t.equal(refused, 19, 'of those that stay, as many as it may have')
  t.end()
})

t.test('each entry of a subscription counts as a message', t => {
  const drive = new Drive({ maxMessageRate: 100, maxSubscriptions: 10_000 })
  const client = drive.client()
  t.match(subscribe(client, ...Array.from({ length: 500 }, (_, i) => `/a/${i}`)), { successful: true })
  t.match(client.say({ channel: '/a', data: 1 }), { error: '429::rate_limited' })
  t.end()
})

t.test('HTTP envelopes behind a verdict are bounded', t => {
  const drive = new Drive()
  drive.engine.server.police({ publish: true })
  const client = drive.client('long-polling')
  drive.answer = () => null
  for (let i = 0; i < 5_000; i++) client.say({ channel: '/a', data: 'x'.repeat(10_000) })
  const waiting = client.session.waiting?.length ?? 0
  t.ok(waiting <= 64, `${waiting} envelopes of 10 kB wait`)
  t.end()
})

t.test('a review that takes much away looks at each message once', t => {
  const drive = plainTokens(new Drive({ maxInterval: HOUR }, { '/x/**': { subscribe: 'role:ops' } }))
  const client = enter(drive, 'alice ops', 'long-polling')
  subscribe(client, ...Array.from({ length: 900 }, (_, i) => `/x/${i}`))
  for (let i = 0; i < 9_000; i++) drive.publish(`/x/${i % 900}`, i)
  const { tree } = drive.engine.server['core']
  const coveringName = tree.coveringName.bind(tree)
  let looks = 0
  tree.coveringName = name => {
    looks++
    return coveringName(name)
  }
  client.say({ channel: '/service/x', ext: { token: 'alice eu' } })
  t.equal(client.session.subscriptions!.size, 0)
  t.equal(client.session.queue.length, 0)
  t.ok(looks <= 900, `and at each channel: ${looks}`)
  t.end()
})

t.test('nobody becomes somebody without a name', t => {
  const drive = plainTokens(new Drive({}, SECRET))
  const client = enter(drive, '')
  client.say({ channel: '/service/token', ext: { token: '- ops' } })
  t.equal(client.session.credential, null)
  t.end()
})

t.test('roles are a list', t => {
  const drive = new Drive({}, { '/secret/**': { subscribe: 'role:admin' } })
  const client = drive.client()
  drive.engine.server.identify(client.session, wholeIdentity({ user: 'x', roles: 'no-admin' as unknown as string[] }), drive.now)
  t.match(subscribe(client, '/secret/x'), { successful: false })
  t.end()
})

t.test('a fan-out does not reach who lost its subscription in it', t => {
  const drive = new Drive({}, SECRET)
  const [alice, bob] = [drive.client(), drive.client()]
  for (const { session } of [alice, bob]) drive.engine.server.identify(session, wholeIdentity({ roles: ['ops'] }), drive.now)
  for (const client of [alice, bob]) subscribe(client, '/secret/x')
  let done = false
  drive.engine.server.extend({
    outgoing: (_session, message) => {
      if (message['data'] !== 1 || done) return
      done = true
      drive.engine.server.identify(bob.session, null, drive.now)
    },
  })
  drive.publish('/secret/x', 1)
  t.same(
    bob.data.filter(each => each !== undefined),
    [],
  )
  t.end()
})

t.test('lazy messages that have waited long enough leave, whatever is dropped beside them', t => {
  const drive = new Drive({ maxInterval: HOUR, metaConnectDeliverOnly: true }, { '/lazy': { lazy: 1_000 }, ...SECRET })
  const client = drive.client('websocket')
  drive.engine.server.identify(client.session, wholeIdentity({ roles: ['ops'] }), drive.now)
  subscribe(client, '/lazy', '/secret/x')
  drive.publish('/lazy', 'lazy')
  drive.publish('/secret/x', 'secret')
  drive.pass(2_000)
  drive.engine.server.identify(client.session, null, drive.now)
  client.say({ channel: '/meta/connect' })
  drive.pass(10_000)
  t.ok(client.data.includes('lazy'), 'it has waited since long')
  t.end()
})

t.test('a connect is not answered again and again while a policy thinks about a review', t => {
  for (const transport of ['websocket', 'long-polling'] as const) {
    const drive = new Drive()
    drive.engine.server.police({ subscribe: true })
    const client = drive.stranger(transport)
    client.handshake({ ext: { ack: true } })
    client.say({ channel: '/meta/connect', ext: { ack: 0 } })
    subscribe(client, '/a')
    drive.publish('/a', 1)
    client.say({ channel: '/meta/connect', ext: { ack: 1 } })
    drive.answer = () => null
    drive.publish('/a', 2)
    drive.engine.server.review(client.session, drive.now)
    const before = client.replies.length
    for (let i = 0; i < 10; i++) client.say({ channel: '/meta/connect', ext: { ack: 1 } })
    t.ok(client.replies.length - before <= 1, `${transport}: ${client.replies.length - before} empty replies at once`)
  }
  t.end()
})

t.test('a channel with a blank at its end is the one without, whoever else has been there', t => {
  const drive = new Drive({}, { '/secret': { subscribe: 'role:ops' } })
  const [eve, alice] = [drive.client(), drive.client()]
  subscribe(eve, '/secret /')
  alice.say({ channel: '/secret ', data: 'secret' })
  t.same(
    eve.data.filter(each => each !== undefined),
    [],
  )
  t.end()
})

t.test('what a token lets wait is over when the token is, also between two ticks', t => {
  const drive = plainTokens(new Drive())
  const client = enter(drive, 'alice ops 10000')
  subscribe(client, '/a')
  drive.now += 10_500
  drive.publish('/a', 1)
  t.same(
    client.data.filter(each => each !== undefined),
    [],
  )
  t.end()
})

t.test('who is shown the door on a socket is told 1008', t => {
  const drive = new Drive({ maxMessageRate: 10 })
  const client = drive.client()
  client.say({ channel: '/meta/connect' })
  for (let i = 0; i < 100 && client.endings.length === 0; i++) client.say({ channel: '/a', data: 1 })
  t.same(client.endings, ['rate_limited'])
  t.end()
})

t.test('what is queued travels with the word that the token ends', t => {
  const drive = plainTokens(new Drive({ tokenRenewal: 30_000, maxInterval: HOUR }))
  const client = enter(drive, 'alice ops 40000', 'long-polling')
  subscribe(client, '/a')
  drive.pass(15_000)
  drive.publish('/a', 1)
  t.match(client.say({ channel: '/meta/connect' }), { error: '401::token_expires' })
  t.ok(client.data.includes(1))
  t.end()
})

t.test('bytes run off as the option says', t => {
  const drive = new Drive({ maxByteRate: 19, maxMessageRate: 0, maxInterval: HOUR })
  const { session } = drive.client()
  const { pacer } = drive.engine.server['core']
  session.bytesSpent = 50_000 // in tenths
  for (let i = 1; i <= 600; i++) pacer.message(session, drive.now + i * 100)
  t.equal(session.bytesSpent, 50_000 - 60 * 190, 'a minute of 19 bytes a second')
  t.end()
})

t.test('who sends one envelope is told before he is shown the door', t => {
  const drive = new Drive({ maxMessageRate: 100 })
  const client = drive.client()
  client.say(...(Array.from({ length: 1_000 }, () => ({ channel: '/a', data: 1 })) as [object]))
  t.same(client.endings, [], 'it had no time to heed any advice, and does not learn that 399 of them were published')
  t.end()
})

t.test('a message of the largest size that is allowed can be sent by somebody', t => {
  const drive = new Drive({ maxByteRate: 1_048_576 }) // beside maxMessageSize: 10_000_000
  const client = drive.client()
  drive.pass(5_000)
  client.say({ channel: '/a', data: 'x'.repeat(9_000_000) })
  t.same(client.endings, [])
  t.end()
})

t.test('a handshake whose session is removed at once is not a success', t => {
  const drive = new Drive()
  drive.sink['watch'].sessionAdded = session => drive.engine.server.disconnect(session, drive.now)
  t.match(drive.stranger().handshake(), { successful: false })
  t.end()
})
