// Identity in the engine: a token's end is told and kept, a new one takes its place, and what somebody may no longer have does not reach them.

import t from 'tap'
import { claimOf, wholeIdentity } from '../../bayeux/identity.js'
import type { Admission, Identity } from '../../bayeux/index.js'
import { enter, plainTokens, subscribe } from '../support/bearer.js'
import { type Client, Drive } from '../support/drive.js'
import { assertEmpty } from '../support/recording.js'

const HOUR = 3_600_000
const SECRET = { '/secret/**': { subscribe: 'role:ops' }, '/**': {} } as const

const EXPIRES = { successful: false, error: '401::token_expires', advice: { reconnect: 'handshake', interval: 0 } }

t.test('the end of a token is told in time, and ends the session', t => {
  for (const transport of ['websocket', 'long-polling'] as const) {
    const drive = plainTokens(new Drive({ tokenRenewal: 30_000, timeout: 20_000 }))
    const client = enter(drive, `alice ops ${HOUR}`, transport)
    subscribe(client, '/a')
    for (let at = 0; at < HOUR - 30_000; at += 20_000) {
      client.say({ channel: '/meta/connect' })
      drive.pass(at + 20_000 < HOUR - 30_000 ? 20_000 : HOUR - 30_001 - at)
    }
    t.match(client.replies.at(-1), { successful: true }, 'until then nothing is said')
    drive.publish('/a', 'before')
    client.say({ channel: '/meta/connect' })
    drive.pass(1)
    t.match(client.replies.at(-1), EXPIRES, 'the held connect says it')
    t.match(client.say({ channel: '/a', data: 1 }), { successful: true }, 'but the session lives on')
    drive.publish('/a', 'meanwhile')
    t.match(client.say({ channel: '/meta/connect' }), EXPIRES, 'and says it again')
    t.same(
      client.data.filter(data => data !== undefined),
      ['before', 1, 'meanwhile'],
      'with what came meanwhile',
    )
    for (let i = 0; i < 3; i++) {
      drive.pass(9_000)
      client.say({ channel: '/a', data: i })
    }
    t.equal(drive.removed.length, 0)
    drive.pass(3_000)
    t.same(drive.removed, ['token_expired'])
    t.match(client.say({ channel: '/a', data: 2 }), { error: '402::session_unknown' })
    drive.pass(60_000)
    assertEmpty(drive.engine, null)
  }
  t.end()
})

t.test('a token that is short from the start is not told of: its client would begin again and again', t => {
  const drive = plainTokens(new Drive({ tokenRenewal: 30_000 }))
  const client = enter(drive, 'alice ops 20000')
  subscribe(client, '/a')
  client.say({ channel: '/meta/connect' })
  drive.pass(19_999)
  t.equal(client.replies.at(-1)!['channel'], '/meta/subscribe', 'the connect is held')
  drive.publish('/a', 1)
  drive.pass(1)
  t.match(client.replies.at(-1), { ...EXPIRES, channel: '/meta/connect' })
  t.same(drive.removed, ['token_expired'])
  drive.publish('/a', 2)
  t.same(client.data, [1])
  drive.pass(4_999)
  t.same(client.endings, [], 'another may be opened before this one goes')
  drive.pass(1)
  t.same(client.endings, ['removed'])
  t.end()
})

t.test('over a socket that was told of the end nothing follows: its client may have left it behind for another', t => {
  const drive = plainTokens(new Drive({ tokenRenewal: 30_000, timeout: HOUR, maxInterval: HOUR }))
  const [left, stays, renews] = [1, 2, 3].map(() => enter(drive, `alice ops ${60_000}`)) as [Client, Client, Client]
  for (const client of [left, stays, renews]) {
    subscribe(client, '/a')
    client.say({ channel: '/meta/connect' })
  }
  drive.pass(30_000)
  for (const client of [left, stays, renews]) t.match(client.replies.at(-1), EXPIRES)
  drive.publish('/a', 1)
  t.match(left.say({ channel: '/b', data: 0 }), { successful: true }, 'what was under way is answered')
  drive.publish('/a', 2)
  stays.handshake({ ext: { token: 'alice ops 90000' } })
  subscribe(stays, '/a')
  t.match(renews.say({ channel: '/service/t', ext: { token: 'alice ops 90000' } }), { ext: { token: { expires: 90_000 } } })
  drive.publish('/a', 3)
  t.same(
    [left, stays, renews].map(client => client.data),
    [[], [3], [1, 2, 3]],
  )
  drive.pass(5_000)
  t.same(
    [left, stays, renews].map(client => client.endings),
    [['removed'], [], []],
    'soon it is closed, if it has found no other session, and its own no new token',
  )
  t.end()
})

t.test('a handshake on a socket that brought the token which is over closes it: another one may bring a newer', t => {
  for (const renewal of [30_000, 60_000]) {
    const drive = new Drive({ tokenRenewal: renewal, timeout: HOUR, maxInterval: HOUR })
    drive.engine.server.police({ handshake: true })
    drive.answer = () => ({ allow: true, identity: { user: 'alice', expiresAt: 1_060_000 } })
    const [again, brings, stays] = [drive.client(), drive.client(), drive.client()]
    t.match(stays.handshake(), { successful: true }, 'before its end nobody minds')
    for (const client of [again, brings, stays]) client.say({ channel: '/meta/connect' })
    drive.pass(renewal)
    for (const client of [again, brings]) t.match(client.replies.at(-1), EXPIRES)
    t.same(again.endings, [], 'the socket stays, or CometD up to 3.0 would not open another')
    again.handshake({ ext: { token: null } })
    t.same(again.endings, ['removed'])
    t.match(
      brings.handshake({ ext: { token: 'newer' } }),
      { successful: true },
      'who has a token in the message needs no other socket',
    )
    t.same(brings.endings, [])
  }
  t.end()
})

t.test('what waits for a session whose token ends goes with it', t => {
  const drive = plainTokens(new Drive({ timeout: 20_000, maxInterval: HOUR }))
  const client = enter(drive, 'alice ops 20000', 'long-polling')
  subscribe(client, '/a')
  drive.publish('/a', 1)
  drive.pass(20_000)
  t.same(drive.removed, ['token_expired'])
  t.match(client.say({ channel: '/meta/connect' }), { error: '402::session_unknown', advice: { reconnect: 'handshake' } })
  t.same(client.data, [])
  t.end()
})

t.test('a new token takes the place of the one before, without a new session', t => {
  const drive = plainTokens(new Drive({ tokenRenewal: 30_000, maxInterval: HOUR }, SECRET))
  const client = enter(drive, 'alice eu 60000')
  t.match(subscribe(client, '/secret/x'), { error: '403:denied_by_security_policy:subscribe_denied' })
  const renewed = client.say({ channel: '/service/token', ext: { token: 'alice ops 90000' } })
  t.match(renewed, { successful: true, ext: { token: { expires: 90_000 } } })
  t.match(subscribe(client, '/secret/x'), { successful: true, ext: undefined }, 'with what it says')
  drive.pass(59_999)
  client.say({ channel: '/meta/connect' })
  t.same(drive.removed, [])
  t.match(client.say({ channel: '/meta/subscribe', subscription: '/secret/y', ext: { token: 'alice ops' } }), {
    channel: '/meta/subscribe',
    successful: true,
    ext: { token: { expires: null } },
  })
  for (let i = 0; i < 20; i++) {
    client.say({ channel: '/meta/connect' })
    drive.pass(30_000)
  }
  t.same(drive.removed, [], 'a token without an end has none')
  t.end()
})

t.test('a held connect answers for the token that it brought', t => {
  const drive = plainTokens(new Drive({ timeout: 1_000 }))
  const client = enter(drive, 'alice eu 60000', 'long-polling')
  client.say({ channel: '/meta/connect', ext: { token: 'alice eu 70000' } })
  drive.pass(1_000)
  t.match(client.replies.at(-1), { channel: '/meta/connect', successful: true, ext: { token: { expires: 70_000 } } })
  t.end()
})

t.test('a token that is refused changes nothing, and says why', t => {
  const drive = plainTokens(new Drive({}, SECRET))
  const client = enter(drive, 'alice ops 60000')
  const ask = (token: unknown) => client.say({ channel: '/meta/subscribe', subscription: '/secret/x', ext: { token } })
  t.match(ask('bad'), { successful: true, ext: { token: { error: '401:expired:token_refused' } } })
  t.match(ask('bob ops 90000'), { successful: true, ext: { token: { error: '401:other_user:token_refused' } } })
  t.notOk('ext' in ask(7), 'what is no text is none')
  t.notOk('ext' in ask('alice ops 60000'), 'and the one that it has is not looked at again')
  t.equal(client.session.credential!.identity.user, 'alice')
  drive.pass(60_000)
  t.same(drive.removed, ['expired'])
  t.end()
})

t.test('an anonymous session does not become somebody by a token: it would keep what it subscribed to as nobody', t => {
  const drive = plainTokens(new Drive())
  const client = enter(drive, '')
  t.match(client.say({ channel: '/service/token', ext: { token: 'alice ops' } }), {
    ext: { token: { error: '401:other_user:token_refused' } },
  })
  t.equal(client.session.credential, null)
  t.end()
})

t.test('a verdict on a new token may take its time, and the rest of the message waits', t => {
  const drive = plainTokens(new Drive({}, SECRET))
  const client = enter(drive, 'alice eu 60000')
  const { answer } = drive
  drive.answer = () => null
  drive.engine.server.police({ subscribe: true })
  client.say(
    { channel: '/meta/subscribe', subscription: '/secret/x', ext: { token: 'alice ops 80000' } },
    { id: '2', channel: '/a', data: 1 },
  )
  t.equal(drive.open.length, 1, 'the token first')
  drive.verdict(answer(drive.open[0]!)!)
  t.match(drive.open, [{ kind: 'subscribe', channel: '/secret/x' }], 'then the policy, as the rules allow it now')
  drive.verdict(true)
  t.match(client.replies.slice(-2), [
    { channel: '/meta/subscribe', successful: true, ext: { token: { expires: 80_000 } } },
    { id: '2', channel: '/a', successful: true },
  ])
  t.end()
})

t.test('a token is not for the subscribers', t => {
  const drive = plainTokens(new Drive())
  const [alice, bob] = [enter(drive, 'alice ops'), enter(drive, 'bob ops')]
  const seen: unknown[] = []
  drive.engine.server.listen('/a', message => void seen.push(message.ext))
  subscribe(bob, '/a')
  drive.engine.server.extend({ outgoing: (_session, message) => void (message['channel'] === '/a' && seen.push(message['ext'])) })
  alice.say({ channel: '/a', data: 1, ext: { token: 'alice ops', other: 1 } })
  t.same(seen.at(0), { token: 'alice ops', other: 1 }, 'code of the server may see it')
  t.ok(seen.length > 1)
  t.same(
    seen.filter(ext => ext !== undefined && ext !== seen[0]),
    [{ other: 1 }],
  )
  t.end()
})

t.test('a role that is taken away ends its subscriptions before the next delivery, with what is queued', t => {
  const changes: [how: string, change: (drive: Drive, client: Client) => void][] = [
    ['a token', (_drive, client) => client.say({ channel: '/service/t', ext: { token: 'alice eu' } })],
    ['the server', (drive, { session }) => drive.engine.server.identify(session, wholeIdentity({ user: 'alice' }), drive.now)],
    ['nobody any more', (drive, { session }) => drive.engine.server.identify(session, null, drive.now)],
    ['a rule', drive => drive.engine.server.setRules({ '/secret/**': { subscribe: 'nobody' } }, drive.now)],
    [
      'an authorizer',
      (drive, { session }) => {
        drive.engine.server.authorize('/secret/**', (operation, channel) =>
          operation === 'subscribe' && channel !== '/open' ? { deny: 'no' } : 'grant',
        )
        drive.engine.server.review(session, drive.now)
      },
    ],
  ]
  for (const [how, change] of changes) {
    for (const ack of [false, true]) {
      const drive = plainTokens(new Drive({}, SECRET))
      const client = drive.stranger('long-polling')
      client.handshake({ ext: { token: 'alice ops', ack } })
      client.say({ channel: '/meta/connect', ext: { ack: 0 } })
      subscribe(client, '/secret/x', '/secret/**', '/open')
      drive.publish('/secret/x', 'secret')
      drive.publish('/open', 'open')
      change(drive, client)
      t.same(drive.unsubscribed.sort(), ['/secret/**', '/secret/x'], how)
      drive.publish('/secret/y', 'secret')
      client.say({ channel: '/meta/connect', ext: { ack: 1 } })
      t.same(client.data, ['open'], `${how}, ${ack ? 'acknowledged' : 'plain'}`)
      t.same(
        [...client.session.subscriptions!.channels()].map(({ name }) => name),
        ['/open'],
      )
    }
  }
  t.end()
})

t.test('what a subscription that stays lets through is not taken', t => {
  const drive = plainTokens(new Drive({}, { '/a/x': { subscribe: 'role:ops' } }))
  const client = enter(drive, 'alice ops', 'long-polling')
  subscribe(client, '/a/x', '/b/**', '/**')
  drive.engine.server.setRules(
    {
      '/a/x': { subscribe: 'role:ops' },
      '/b/**': { subscribe: 'nobody', subscribeAll: 'nobody' },
      '/**': { subscribeAll: 'role:ops' },
    },
    drive.now,
  )
  t.same(drive.unsubscribed, [], 'a rule may keep all of them')
  drive.publish('/b/1', 'b')
  drive.engine.server.setRules({ '/b/**': { subscribe: 'nobody' } }, drive.now)
  t.same(drive.unsubscribed.sort(), ['/**', '/b/**'], 'a wildcard that covers what is forbidden goes as well')
  drive.publish('/a/x', 'a')
  client.say({ channel: '/meta/connect' })
  t.same(client.data, ['a'])
  t.end()
})

t.test('a policy that is asked again holds the deliveries until it has answered', t => {
  for (const ack of [false, true]) {
    for (const allowed of [true, false]) {
      const drive = new Drive()
      drive.engine.server.police({ subscribe: true })
      const client = drive.stranger('long-polling')
      client.handshake({ ext: { ack } })
      client.say({ channel: '/meta/connect', ext: { ack: 0 } })
      subscribe(client, '/a', '/b')
      drive.answer = () => null
      drive.publish('/a', 1)
      drive.engine.server.review(client.session, drive.now)
      t.match(drive.open, [{ channel: '/a', kind: 'subscribe' }, { channel: '/b' }])
      client.say({ channel: '/meta/connect', ext: { ack: 1 } })
      drive.publish('/b', 2)
      client.say({ channel: '/service/x' })
      t.same(client.data, [], 'nothing leaves meanwhile')
      drive.verdict(allowed)
      t.same(client.data, [])
      drive.verdict(true)
      drive.pass(0)
      t.same(client.data, allowed ? [1, 2] : [2], allowed ? 'nothing is lost' : 'but what is refused')
      t.equal(client.session.subscriptions!.size, allowed ? 2 : 1)
    }
  }
  t.end()
})

t.test('a policy that answers at once ends a subscription at once; a session that goes meanwhile is not missed', t => {
  const drive = new Drive()
  drive.engine.server.police({ subscribe: true })
  const client = drive.client('long-polling')
  subscribe(client, '/a', '/b')
  drive.answer = ({ channel }) => channel !== '/a'
  drive.engine.server.review(client.session, drive.now)
  t.same(drive.unsubscribed, ['/a'])
  drive.answer = () => null
  drive.publish('/b', 1)
  drive.engine.server.review(client.session, drive.now)
  client.say({ channel: '/meta/connect' })
  drive.engine.server.disconnect(client.session, drive.now)
  t.same(
    client.data.filter(data => data !== undefined),
    [],
    'what may not be delivered is not, at its end either',
  )
  t.match(client.replies.at(-1), { channel: '/meta/connect', successful: true, advice: { reconnect: 'none' } })
  drive.verdict(true)
  drive.pass(60_000)
  assertEmpty(drive.engine, null)
  t.end()
})

t.test('a subscription that was allowed by yesterday’s rules is not made today', t => {
  const drive = plainTokens(new Drive({}, SECRET))
  const client = enter(drive, 'alice ops')
  drive.engine.server.police({ subscribe: true })
  drive.answer = () => null
  subscribe(client, '/secret/x')
  drive.engine.server.identify(client.session, wholeIdentity({ user: 'alice' }), drive.now)
  drive.verdict(true)
  t.match(client.replies.at(-1), { error: '403:denied_by_security_policy:subscribe_denied' })
  t.equal(client.session.subscriptions, null)
  t.end()
})

t.test('a revoked session ends with a notice, and without what waited for it', t => {
  const drive = new Drive()
  const client = drive.client('long-polling')
  subscribe(client, '/a')
  client.session.batchDepth++
  client.say({ channel: '/meta/connect' })
  drive.publish('/a', 1)
  drive.engine.server.revoke(client.session, drive.now)
  t.match(client.replies.at(-1), { channel: '/meta/connect', successful: true, advice: { reconnect: 'none' } })
  t.same([client.data, drive.removed], [[undefined], ['revoked']], 'the notice alone')
  t.end()
})

t.test('a policy says who somebody is, with or without a name', t => {
  const drive = new Drive()
  drive.engine.server.police({ handshake: true })
  const cases: [admission: Admission, identity: Identity | null, user: unknown][] = [
    [{ allow: true }, null, null],
    [{ allow: true, user: 'alice' }, wholeIdentity({ user: 'alice' }), 'alice'],
    [{ allow: true, user: { id: 7 } }, wholeIdentity({}), { id: 7 }],
    [
      { allow: true, user: { id: 7 }, identity: { user: 'seven', roles: ['x'] } },
      wholeIdentity({ user: 'seven', roles: ['x'] }),
      { id: 7 },
    ],
  ]
  for (const [admission, identity, user] of cases) {
    drive.answer = () => admission
    const client = drive.client()
    t.same([client.session.credential?.identity ?? null, client.session.user], [identity, user])
  }
  t.end()
})

t.test('claims are looked up by their own names only', t => {
  t.equal(claimOf({ a: { b: { c: 1 } } }, 'a.b.c'), 1)
  t.equal(claimOf({ 'a.b': 2, a: { b: 3 } }, 'a.b'), 2)
  for (const name of ['constructor', '__proto__', 'a.constructor', 'a.b.c.d', 'x.y', ''])
    t.equal(claimOf({ a: { b: 1 } }, name), undefined, name)
  t.end()
})
