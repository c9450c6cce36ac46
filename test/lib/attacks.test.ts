// What a review of the server by somebody who meant it no good found: each test says what holds since.

import { spawnSync } from 'node:child_process'
import net from 'node:net'
import { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import t from 'tap'
import { checkConfig } from '../../lib/commands/check-config.js'
import { readConfig } from '../../lib/config.js'
import { fastifyOptions, type PerihelionOptions, perihelion } from '../../lib/index.js'
import { start } from '../../lib/serve.js'
import { Bearer, bearerToken, DENIED, type Json, soon } from '../support/bearer.js'
import { hs256, SECRET } from '../support/issuer.js'
import { startServer, type Teardown, type TestServer } from '../support/server.js'
import { rawHttp, WireSocket } from '../support/wire.js'

const RULES = { '/secret/**': { subscribe: 'role:ops' } } as const

t.test('a renewal does not undo what the policy said of the token', async t => {
  const { url, bayeux } = await startServer(t, { tokenSecret: SECRET, channels: RULES })
  bayeux.policy({ canHandshake: () => ({ allow: true, identity: { roles: [] } }) })
  const token = bearerToken('alice', { roles: ['ops'] })
  const inHeader = await Bearer.join(t, url, {}, { authorization: `Bearer ${token}` })
  t.match(await inHeader.subscribe('/secret/x'), DENIED)
  await inHeader.say({ channel: '/service/x', ext: { token } })
  t.match(await inHeader.subscribe('/secret/x'), DENIED, 'the same token, said in ext')

  const inExt = await Bearer.join(t, url, { ext: { token } })
  // two of the last character's bits are no part of the signature: the same token, another text
  const last = token.at(-1)!
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const other = token.slice(0, -1) + alphabet[alphabet.indexOf(last) ^ 1]
  await inExt.say({ channel: '/service/x', ext: { token: other } })
  t.match(await inExt.subscribe('/secret/x'), DENIED, 'the same token, written another way')
})

t.test('what the server said of somebody outlives the token that he had', async t => {
  const { url, bayeux } = await startServer(t, { tokenSecret: SECRET, channels: RULES })
  const token = bearerToken('alice', { roles: ['ops'] })
  const alice = await Bearer.join(t, url, { ext: { token } })
  const session = bayeux.session(alice.id)!
  session.identify({ ...session.identity!, roles: [] })
  await alice.say({ channel: '/service/x', ext: { token } }) // as some clients put it into every message
  t.match(await alice.subscribe('/secret/x'), DENIED)
})

t.test('a policy that refuses later, and a listener that disconnects: the process lives', async t => {
  const index = fileURLToPath(new URL('../../lib/index.js', import.meta.url))
  const program = `
    import Fastify from 'fastify'
    import WebSocket from 'ws'
    import { perihelion } from ${JSON.stringify(index)}
    const app = Fastify()
    await app.register(perihelion, {})
    const origin = await app.listen({ port: 0 })
    let member = true
    app.bayeux.policy({ canSubscribe: async () => member })
    app.bayeux.on('unsubscribed', session => session.disconnect())
    const ws = new WebSocket(origin.replace('http', 'ws') + '/cometd')
    ws.on('open', () => ws.send('[{"channel":"/meta/handshake"}]'))
    ws.on('message', data => {
      const [{ channel, clientId }] = JSON.parse(data)
      if (channel === '/meta/handshake') ws.send(JSON.stringify([{ channel: '/meta/subscribe', subscription: '/a', clientId }]))
      if (channel !== '/meta/subscribe') return
      member = false
      for (const session of app.bayeux.sessions()) session.review()
      setTimeout(() => { console.log('alive'); process.exit(0) }, 200)
    })`
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    cwd: fileURLToPath(new URL('../../..', import.meta.url)),
  })
  t.match({ status, stdout }, { status: 0, stdout: 'alive\n' }, stderr.split('\n').slice(0, 12).join('\n'))
})

t.test('rules hold in the order in which they were given', async t => {
  const { url, bayeux } = await startServer(t)
  await Promise.all([
    bayeux.channels({ '/secret': { filter: 'no-markup' } }), // which has to be loaded first
    bayeux.channels({ '/secret': { subscribe: 'nobody' } }),
  ])
  t.match(await (await Bearer.join(t, url)).subscribe('/secret'), DENIED)
})

t.test('a revocation holds to the end of the token, also where the clock is set', async t => {
  const { url, bayeux } = await startServer(t, { tokenSecret: SECRET, tokenClockTolerance: 0 })
  const { now } = Date
  t.teardown(() => {
    Date.now = now
  })
  Date.now = () => now() + 3_600_000 // the time server has spoken: the process began with a clock that was an hour slow
  const token = bearerToken('alice', { exp: soon(2) })
  const alice = await Bearer.join(t, url, { ext: { token } })
  t.match(alice.greeting, { successful: true })
  const { identity } = bayeux.session(alice.id)!
  bayeux.revoke({ user: 'alice' })
  t.match((await Bearer.join(t, url, { ext: { token } })).greeting, { successful: false }, 'revoked')
  const bob = await Bearer.join(t, url, { ext: { token: bearerToken('bob', { exp: soon(1) }) } })
  await new Promise(resolve => setTimeout(resolve, 3_000))
  t.ok(Date.now() > identity!.expiresAt)
  t.notOk(bayeux.session(bob.id)?.alive, 'expired')
})

t.test('a revoked token is refused as long as it would hold', async t => {
  const { url, bayeux } = await startServer(t, { tokenSecret: SECRET, tokenClockTolerance: 60 })
  const exp = soon(-10)
  const token = bearerToken('alice', { exp, jti: 't1' })
  const alice = await Bearer.join(t, url, { ext: { token } })
  t.match(alice.greeting, { successful: true }, 'still within the tolerance')
  bayeux.revoke({ tokenId: 't1', until: exp * 1_000 })
  t.match((await Bearer.join(t, url, { ext: { token } })).greeting, { successful: false })
})

t.test('a user whom the policy has renamed is revoked, too', async t => {
  const { url, bayeux } = await startServer(t, { tokenSecret: SECRET })
  bayeux.policy({
    canHandshake: (_session, _message, { identity }) => ({ allow: true, identity: { user: `u-${identity!.user}` } }),
  })
  const token = bearerToken('alice')
  const alice = await Bearer.join(t, url, { ext: { token } })
  t.equal(bayeux.session(alice.id)?.identity?.user, 'u-alice')
  t.equal(bayeux.revoke({ user: 'u-alice' }), 1)
  t.match((await Bearer.join(t, url, { ext: { token } })).greeting, { successful: false })
})

async function logging(t: Teardown, level: string, options: PerihelionOptions) {
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

for (const direct of [false, true])
  t.test(`a client that has gone before it is read is no fault of the application: direct ${direct}`, async t => {
    const { url, lines, bayeux } = await logging(t, 'warn', { direct })
    const { port } = new URL(url)
    const body = '[{"channel":"/meta/handshake"}]'
    for (let i = 0; i < 20; i++) {
      await new Promise<void>(resolve => {
        const socket = net.connect(Number(port), '127.0.0.1', () => {
          socket.write(
            `POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
          )
          socket.resetAndDestroy()
          setTimeout(resolve, 5)
        })
      })
    }
    t.same(
      lines.map(line => (JSON.parse(line) as { err?: { message: string } }).err?.message),
      [],
      `${bayeux.stats().sessions} sessions`,
    )
  })

t.test('a policy that breaks does not fill the log', async t => {
  const { url, lines, bayeux } = await logging(t, 'info', {})
  bayeux.policy({ canPublish: (_session, _channel, message) => (message.data as string).startsWith('x') })
  const client = await Bearer.join(t, url)
  client.socket.send(JSON.stringify(Array.from({ length: 900 }, () => ({ channel: '/a', clientId: client.id, data: 1 }))))
  await client.socket.next()
  t.ok(lines.length < 25, `${lines.length} lines, ${lines.join('').length} bytes for one envelope`)
})

t.test('check-config shows no control characters of a token', async t => {
  const text = await checkConfig(
    ['--claims', JSON.stringify({ sub: 'eve\n\n/secret/x\n  subscribe  yes\u001b[8m' }), '--channel', '/a'],
    {},
  )
  t.notOk(text.includes('\u001b'))
  t.equal(text.split('\n').filter(line => line.startsWith('  subscribe')).length, 1)
})

t.test('a right that is withdrawn in the turn in which the verdict comes', async t => {
  const survivors: number[] = []
  for (let k = 0; k < 14; k++) {
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
    const socket = await new WireSocket(url).open()
    t.teardown(async () => socket.cut())
    socket.send(
      JSON.stringify([{ channel: '/meta/handshake', ext: { token: hs256({ sub: 'alice', exp: soon(), iat: soon(-1) }) } }]),
    )
    await asked
    decide(true)
    for (let i = 0; i < k; i++) await Promise.resolve()
    bayeux.revoke({ user: 'alice' })
    await socket.next()
    if ([...bayeux.sessions()].length > 0) survivors.push(k)
  }
  t.same(survivors, [], 'revoked so many microtasks after the policy’s answer, the session lives')
})

t.test('both roads see the same address and host', async t => {
  const forwarded = [
    '203.0.113.7',
    'garbage',
    '1.1.1.1, 203.0.113.7',
    '203.0.113.7:55',
    '[2001:db8::1]:5',
    '203.0.113.7, 127.0.0.1',
    '127.0.0.1',
    ' , ',
    '1.1.1.1\r\nX-Forwarded-For: 2.2.2.2',
    '203.0.113.7, garbage',
    '::ffff:203.0.113.7',
    'unknown, 127.0.0.1',
  ]
  const seen: Json[] = []
  for (const direct of [true, false]) {
    const app: FastifyInstance = await start(
      readConfig(['--port', '0', '--log-level', 'silent', '--trust-proxy', 'loopback'], {}),
      { direct },
    )
    t.teardown(() => app.close())
    const { port } = app.server.address() as net.AddressInfo
    const found: Json = {}
    for (const each of forwarded) {
      const body = '[{"channel":"/meta/handshake"}]'
      await rawHttp(
        `http://127.0.0.1:${port}`,
        `POST /cometd HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: ${each}\r\nX-Forwarded-Host: a, b\r\nOrigin: https://b\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      )
      const sessions = [...app.bayeux.sessions()]
      found[each] = sessions.at(-1)?.address ?? null
      for (const session of sessions) session.disconnect()
    }
    seen.push(found)
  }
  t.same(seen[0], seen[1])
  t.comment(JSON.stringify(seen[0]))
})
