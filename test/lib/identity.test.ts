// Tokens over the wire: where they may stand, what they open, how they are renewed and revoked, and that nothing of them is told.

import { Writable } from 'node:stream'
import Fastify from 'fastify'
import { pino } from 'pino'
import t from 'tap'
import { type BayeuxSession, fastifyOptions, type PerihelionOptions, perihelion, type RemovalReason } from '../../lib/index.js'
import { Bearer, bearerToken, DENIED, type Json, soon } from '../support/bearer.js'
import { hs256, SECRET } from '../support/issuer.js'
import { startServer, type Teardown, type TestServer } from '../support/server.js'
import { post } from '../support/wire.js'

const CHANNELS = { '/secret/**': { subscribe: 'role:ops' }, '/user/{sub}/**': { subscribe: 'authenticated' } } as const

t.test('a token may stand in ext, in Authorization or in a cookie, on each transport and road', async t => {
  for (const direct of [false, true]) {
    const { url, bayeux } = await startServer(t, { tokenSecret: SECRET, tokenCookie: 'jwt', channels: CHANNELS, direct })
    const token = bearerToken('alice', { roles: ['ops'] })
    const places: [message: Json, headers: Record<string, string>][] = [
      [{ ext: { token } }, {}],
      [{}, { authorization: `Bearer ${token}` }],
      [{}, { authorization: `bearer ${token}` }],
      [{}, { authorization: `OAuth ${token}` }],
      [{}, { cookie: `a=b; jwt=${token}` }],
      [{ ext: { token } }, { authorization: 'Bearer broken' }],
    ]
    for (const [message, headers] of places) {
      const client = await Bearer.join(t, url, message, headers)
      t.match(bayeux.session(client.id)?.identity, { user: 'alice', roles: ['ops'], claims: { sub: 'alice' } })
      t.equal(bayeux.session(client.id)?.user, 'alice')
      t.match(await client.subscribe('/secret/x', '/user/alice/inbox'), { successful: true })
      t.match(await client.subscribe('/user/bob/inbox'), DENIED)
      const answer = await post(url, JSON.stringify([{ channel: '/meta/handshake', ...message }]), headers)
      const [{ clientId }] = JSON.parse(answer.body) as [{ clientId: string }]
      t.equal(bayeux.session(clientId)?.identity?.user, 'alice', 'over long-polling')
    }
  }
})

t.test('without a token somebody is nobody, or refused; with a bad one refused in any case', async t => {
  const { url, bayeux } = await startServer(t, { tokenSecret: SECRET, channels: CHANNELS })
  const nobody = await Bearer.join(t, url)
  t.equal(bayeux.session(nobody.id)?.identity, null)
  t.match(await nobody.subscribe('/secret/x'), DENIED)
  t.match(await nobody.subscribe('/**'), DENIED)
  t.match(await nobody.subscribe('/open'), { successful: true })
  const bad: [ext: Json, reason: string][] = [
    [{ token: 'broken' }, 'invalid'],
    [{ token: '' }, 'invalid'],
    [{ token: 7 }, 'invalid'],
    [{ token: null }, 'invalid'],
    [{ token: hs256({ sub: 'alice', exp: soon() }, 'another secret of thirty-two bytes.') }, 'invalid'],
    [{ token: bearerToken('alice', { exp: soon(-60) }) }, 'expired'],
    [{ token: bearerToken('alice', { nbf: soon(60) }) }, 'not_yet_valid'],
  ]
  for (const [ext, reason] of bad) {
    const { greeting } = await Bearer.join(t, url, { ext })
    const wanted = { successful: false, error: `401:${reason}:token_refused`, advice: { reconnect: 'none' } }
    t.match(greeting, ext['token'] === null ? { successful: true } : wanted, JSON.stringify(ext))
    t.equal('clientId' in greeting, ext['token'] === null)
  }
  const strict = await startServer(t, { tokenSecret: SECRET, tokenRequired: true })
  const { greeting } = await Bearer.join(t, strict.url)
  t.match(greeting, { successful: false, error: '401::token_missing', advice: { reconnect: 'none' } })
  t.match((await Bearer.join(t, strict.url, { ext: { token: bearerToken('alice') } })).greeting, { successful: true })
})

t.test('the application’s policy has the last word, and knows who asks', async t => {
  const { url, bayeux } = await startServer(t, { tokenSecret: SECRET })
  const seen: unknown[] = []
  bayeux.policy({
    canHandshake: async (_session, _message, { identity }) => {
      seen.push(identity?.user ?? null)
      if (identity === null) return false
      if (identity.user === 'eve') return { deny: 'no' }
      if (identity.user === 'bob') throw new Error('policy broke')
      return { allow: true, user: { id: 7 }, identity: { roles: ['by-policy'] }, ext: { hello: true } }
    },
    canSubscribe: session => session.identity?.roles.includes('by-policy') === true,
  })
  const alice = await Bearer.join(t, url, { ext: { token: bearerToken('alice', { roles: ['by-token'] }) } })
  t.match(alice.greeting, { successful: true, ext: { hello: true } })
  t.match(bayeux.session(alice.id), { user: { id: 7 }, identity: { user: 'alice', roles: ['by-policy'] } })
  t.match(await alice.subscribe('/a'), { successful: true })
  for (const user of ['eve', 'bob'])
    t.match(
      (await Bearer.join(t, url, { ext: { token: bearerToken(user) } })).greeting,
      { error: /^40[13]:.*:?(?:handshake_denied|token_refused)$/ },
      user,
    )
  t.match((await Bearer.join(t, url)).greeting, { error: '403::handshake_denied' })
  t.same(seen, ['alice', 'eve', 'bob', null])
})

t.test('a role that is taken away, a rule that comes: subscriptions end, and an event says so', async t => {
  const { url, bayeux } = await startServer(t, { tokenSecret: SECRET, channels: CHANNELS })
  const ended: string[] = []
  bayeux.on('unsubscribed', (_session, channel) => void ended.push(channel))
  const client = await Bearer.join(t, url, { ext: { token: bearerToken('alice', { roles: ['ops'] }) } })
  await client.subscribe('/secret/**', '/open/**')
  const session = bayeux.session(client.id) as BayeuxSession
  session.identify({ ...session.identity!, roles: [] })
  bayeux.publish('/secret/x', 'secret')
  await bayeux.channels({ '/open/b': { subscribe: 'nobody' } })
  bayeux.publish('/open/a', 'open')
  t.match(await client.say({ channel: '/service/none', data: 'last' }), { successful: true })
  t.same(client.socket.frames, [])
  t.same(ended, ['/secret/**', '/open/**'])
  await t.rejects(bayeux.channels({ '/x': { subscribe: 'everyone' } }), { code: 'RULE_INVALID' })
  t.match(await client.subscribe('/open/b'), DENIED, 'the rules before stay')
})

t.test('a token is renewed over the wire, without losing the session', async t => {
  const { url, bayeux } = await startServer(t, { tokenSecret: SECRET, channels: CHANNELS })
  const client = await Bearer.join(t, url, { ext: { token: bearerToken('alice', { exp: soon(60) }) } })
  t.match(await client.subscribe('/secret/x'), DENIED)
  const reply = await client.say({
    channel: '/service/token',
    ext: { token: bearerToken('alice', { exp: soon(600), iat: soon(0), roles: ['ops'] }) },
  })
  const { expires } = (reply['ext'] as { token: { expires: number } }).token
  t.ok(expires > 590_000 && expires < 610_000, `ms: ${expires}`)
  t.match(await client.subscribe('/secret/x'), { successful: true })
  t.match(await client.say({ channel: '/service/token', ext: { token: bearerToken('bob') } }), {
    ext: { token: { error: '401:other_user:token_refused' } },
  })
  t.equal(bayeux.session(client.id)?.identity?.user, 'alice')
})

t.test('the end of a token ends its session', async t => {
  const { url, bayeux } = await startServer(t, { tokenSecret: SECRET, tokenClockTolerance: 0 })
  const removed = new Promise<RemovalReason>(resolve => bayeux.on('removed', (_session, reason) => resolve(reason)))
  const client = await Bearer.join(t, url, { ext: { token: bearerToken('alice', { exp: soon(2) }) } })
  await client.subscribe('/a')
  await client.say({ channel: '/meta/connect' })
  client.socket.send(JSON.stringify([{ channel: '/meta/connect', clientId: client.id, id: '9' }]))
  t.match(await client.socket.next(), [{ id: '9', error: '401::token_expires', advice: { reconnect: 'handshake' } }])
  t.equal(await removed, 'token_expired')
})

t.test('who is revoked goes at once, and does not come back with what he had', async t => {
  const { url, bayeux } = await startServer(t, { tokenSecret: SECRET })
  const join = (user: string, claims: Json = {}) => Bearer.join(t, url, { ext: { token: bearerToken(user, claims) } })
  const [first, second, bob, byId, plain] = [
    await join('alice'),
    await join('alice'),
    await join('bob'),
    await join('carol', { jti: 't1' }),
    await join('dave'),
  ]
  for (const client of [first, second, bob, byId, plain]) await client.subscribe('/a')
  t.equal(bayeux.revoke({ user: 'alice' }), 2)
  t.equal(bayeux.revoke({ tokenId: 't1', until: Date.now() + 600_000 }), 1)
  t.equal(bayeux.revoke({ session: plain.id }), 1)
  t.equal(bayeux.revoke({ session: 'nobody' }), 0)
  bayeux.publish('/a', 1)
  for (const client of [first, second, byId, plain])
    t.same(await client.socket.next(), [{ channel: '/meta/disconnect', successful: true }])
  t.match(await bob.socket.next(), [{ channel: '/a', data: 1 }], 'others are not concerned')
  const refused = { error: '401:revoked:token_refused' }
  t.match((await join('alice', { iat: soon(-1) })).greeting, refused)
  t.match((await join('alice', { iat: soon(5) })).greeting, { successful: true }, 'a token from later on is a new right')
  t.match((await join('carol', { jti: 't1' })).greeting, refused)
  t.match((await join('carol', { jti: 't2' })).greeting, { successful: true })
  t.match((await join('dave')).greeting, { successful: true }, 'of a session only the session')
})

t.test('a revocation while the policy still thinks is not missed', async t => {
  const { url, bayeux } = await startServer(t, { tokenSecret: SECRET })
  let decide: (verdict: boolean) => void = () => undefined
  const asked = new Promise<void>(resolve => {
    bayeux.policy({
      canHandshake: () => {
        resolve()
        return new Promise(resolve => {
          decide = resolve
        })
      },
    })
  })
  const joining = Bearer.join(t, url, { ext: { token: bearerToken('alice') } })
  await asked
  bayeux.revoke({ user: 'alice' })
  decide(true)
  t.match((await joining).greeting, { error: '401:revoked:token_refused' })
})

/** A server whose log is kept. */
async function logging(
  t: Teardown,
  level: string,
  options: PerihelionOptions,
): Promise<TestServer & { readonly lines: string[] }> {
  const lines: string[] = []
  const stream = new Writable({
    write: (chunk, _encoding, done) => {
      lines.push(String(chunk))
      done()
    },
  })
  const app = Fastify({ ...fastifyOptions, loggerInstance: pino({ level }, stream), forceCloseConnections: true })
  await app.register(perihelion, options)
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(async () => {
    await app.close()
  })
  return { url: `${origin}/cometd`, app: app as unknown as TestServer['app'], bayeux: app.bayeux, lines }
}

t.test('neither ids nor tokens stand in a log, an error or another’s message', async t => {
  const { url, bayeux, lines } = await logging(t, 'trace', { tokenSecret: SECRET, maxMessageRate: 5, channels: CHANNELS })
  bayeux.policy({ canPublish: () => Promise.reject(new Error('policy broke')) })
  const token = bearerToken('alice')
  const watcher = await Bearer.join(t, url)
  await watcher.subscribe('/open/**')
  const client = await Bearer.join(t, url, { ext: { token } })
  const heard: Json[] = [await client.subscribe('/secret/x'), await client.say({ channel: '/open/x', data: 1, ext: { token } })]
  bayeux.policy({})
  heard.push(await client.say({ channel: '/open/x', data: 1, ext: { token, other: 1 } }))
  for (let i = 0; i < 60 && client.socket.code === null; i++)
    heard.push(await client.say({ channel: '/open/y', data: i }).catch(() => ({})))
  heard.push((await Bearer.join(t, url, { ext: { token: `${token}x` } })).greeting)
  await watcher.say({ channel: '/meta/disconnect' })
  const all = [...lines, ...watcher.socket.frames, ...heard.map(each => JSON.stringify(each))].join('\n')
  t.ok(
    lines.some(line => line.includes('session removed')) && lines.some(line => line.includes('policy broke')),
    'something was logged',
  )
  t.ok(watcher.socket.frames.length > 0)
  for (const secret of [client.id, watcher.id, client.id.slice(0, 6), token, token.slice(-20), SECRET])
    t.notOk(all.includes(secret), secret)
})

t.test('limits that hold are counted, and logged once in a while', async t => {
  const { url, bayeux, lines } = await logging(t, 'warn', { maxMessageRate: 1, maxMessageSize: 1_024 })
  const client = await Bearer.join(t, url)
  for (let i = 0; i < 6; i++) await client.say({ channel: '/a', data: i })
  await post(url, 'x'.repeat(2_000))
  await post(url, 'x'.repeat(2_000))
  const big = await Bearer.join(t, url)
  big.socket.send('x'.repeat(2_000))
  t.equal(await big.socket.closed, 1009)
  t.match(bayeux.limits(), { maxMessageRate: 2, maxMessageSize: 3 })
  const logged = lines.map(line => JSON.parse(line) as Json).filter(({ msg }) => msg === 'limit reached')
  t.match(logged, [
    { limit: 'maxMessageRate', times: 1, address: '127.0.0.1' },
    { limit: 'maxMessageSize', times: 1 },
  ])
  t.equal(logged.length, 2)
  const trusted = await logging(t, 'warn', { trusted: true, maxMessageRate: 1 })
  t.match(
    trusted.lines.map(line => JSON.parse(line) as Json),
    [{ msg: 'trusted: limits per address and per second are lifted' }],
  )
})

t.test('a filter cleans what is published before anybody gets it', async t => {
  const { url, bayeux } = await startServer(t, {
    channels: { '/chat/**': { filter: 'no-markup' }, '/service/say': { filter: 'no-markup' } },
  })
  const seen: unknown[] = []
  bayeux.on('/chat/x', message => void seen.push(message.data))
  bayeux.service('/service/say', data => bayeux.publish('/open', data))
  const client = await Bearer.join(t, url)
  await client.subscribe('/chat/**', '/open')
  const dirty = { text: '<img src=x onerror=alert(1)>hi <b>you</b>', list: ['<script>alert(1)</script>', 7] }
  const clean = { text: 'hi you', list: ['', 7] }
  const heard = async (message: Json): Promise<Json> => {
    client.socket.send(JSON.stringify([{ clientId: client.id, ...message }]))
    const [delivery] = (await client.socket.next()) as [Json]
    await client.socket.next()
    return delivery
  }
  t.match(await heard({ channel: '/chat/x', data: dirty }), { channel: '/chat/x', data: clean })
  t.same(seen, [clean], 'listeners, too')
  t.match(await heard({ channel: '/service/say', data: dirty }), { channel: '/open', data: clean }, 'and services')
  bayeux.publish('/chat/y', { toJSON: () => dirty })
  t.match(await client.socket.next(), [{ channel: '/chat/y', data: clean }], 'what the server publishes, too')
  t.match(await heard({ channel: '/open', data: dirty }), { data: dirty }, 'other channels are as they were')
  await bayeux.channels({ '/open': { filter: 'no-script' } })
  t.match(await heard({ channel: '/open', data: dirty }), { data: { text: '<img src="x" />hi <b>you</b>', list: ['', 7] } })
  t.match(await heard({ channel: '/chat/x', data: dirty }), { data: dirty })
})
