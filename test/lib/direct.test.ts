// The direct road of long-polling: what it takes, what it leaves to Fastify, and bodies and connections that go wrong on it.
// That it answers as the road through Fastify does is for the transcripts and the fuzzers, which are played on both.

import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { readConfig } from '../../lib/config.js'
import { DirectRoad } from '../../lib/direct.js'
import { type Bayeux, fastifyOptions, type PerihelionOptions, perihelion } from '../../lib/index.js'
import { start } from '../../lib/serve.js'
import { get, post, rawHttp } from '../support/wire.js'

const HANDSHAKE = '[{"channel":"/meta/handshake","id":"1"}]'

/** A listening server with a hook that counts what Fastify sees. */
async function serve(t: Test, options: PerihelionOptions, prefix = '') {
  const app: FastifyInstance = Fastify({ ...fastifyOptions, forceCloseConnections: true })
  let seen = 0
  app.addHook('onRequest', async () => {
    seen++
  })
  let bayeux!: Bayeux
  const mount = async (scope: FastifyInstance): Promise<void> => {
    await scope.register(perihelion, { trustClientSession: true, allowUnknownCallbackOrigin: true, ...options })
    bayeux = scope.bayeux
  }
  await app.register(mount, { prefix })
  t.teardown(() => app.close())
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, bayeux, origin, seen: () => seen }
}

const clientIdIn = (body: string): string => /"clientId":"(\w+)"/.exec(body)![1]!

t.test('POSTs at the path and below it go past the hooks, all else through them', async t => {
  const { origin, seen } = await serve(t, { direct: true })
  for (const path of ['/cometd', '/cometd/handshake', '/cometd?x=1'])
    t.match((await post(origin + path, HANDSHAKE)).body, 'clientId')
  t.equal(seen(), 0)
  t.equal((await post(`${origin}/cometdx`, HANDSHAKE)).status, 404)
  t.equal((await get(`${origin}/cometd?jsonp=cb&message=${encodeURIComponent(HANDSHAKE)}`)).status, 200)
  t.match((await post(`${origin}/%63ometd`, HANDSHAKE)).body, 'clientId')
  t.equal(seen(), 3)
})

t.test('without the option, and with a context to be made of Fastify’s request, all goes through the hooks', async t => {
  for (const options of [{}, { direct: false }, { direct: true, context: () => 'of the request' }]) {
    const { origin, seen } = await serve(t, options)
    t.match((await post(`${origin}/cometd`, HANDSHAKE)).body, 'clientId')
    t.equal(seen(), 1)
  }
})

t.test('a prefix of the application is part of the path', async t => {
  const { origin, seen } = await serve(t, { direct: true }, '/api')
  t.equal((await post(`${origin}/cometd`, HANDSHAKE)).status, 404, 'nobody mounted anything there')
  t.equal(seen(), 1)
  t.match((await post(`${origin}/api/cometd`, HANDSHAKE)).body, 'clientId')
  t.equal(seen(), 1)
})

t.test('the X-Forwarded headers count where they are of a trusted proxy, on both roads alike', async t => {
  const headers = {
    'x-forwarded-for': '198.51.100.1, 192.0.2.7, 10.0.0.1',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'app.example',
    origin: 'https://app.example',
  }
  for (const direct of [false, true]) {
    for (const proxies of ['', 'loopback,10.0.0.0/8', '10.0.0.0/8']) {
      const flags = ['--port=0', '--log-level=silent', '--browser-cookie-secure', `--trust-proxy=${proxies}`]
      const app = await start(readConfig(flags, {}), { direct })
      t.teardown(() => app.close())
      let address = ''
      app.bayeux.policy({
        canHandshake: (_session, _message, facts) => {
          address = facts.address
          return true
        },
      })
      const answer = await post(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}/cometd`, HANDSHAKE, headers)
      const trusted = proxies.startsWith('loopback')
      t.equal(answer.status, trusted ? 200 : 403, `${proxies}: the origin is judged by the host that the client named`)
      if (!trusted) continue
      t.equal(address, '192.0.2.7', 'what is before it the client may have written itself')
      t.match(answer.headers['set-cookie'], [/; Secure/])
    }
  }
  await t.rejects(start(readConfig(['--trust-proxy=10.0.0.0/99'], {})), {
    code: 'OPTION_INVALID',
    message: /^option trustProxy: /,
  })
})

t.test(
  'a body may come in the smallest pieces; one that is too long is refused as soon as it is, and its connection ends',
  async t => {
    const { origin } = await serve(t, { direct: true, maxMessageSize: 1_000 })
    const chunked = (body: string): string => [...body].map(each => `1\r\n${each}\r\n`).join('')
    const head = 'POST /cometd HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n'
    const last = `${head}Connection: close\r\n\r\n`
    t.match(await rawHttp(origin, `${last}${chunked(HANDSHAKE.padEnd(1_000))}0\r\n\r\n`), '"successful":true')
    const refused = await rawHttp(origin, `${head}\r\n${chunked(HANDSHAKE.padEnd(1_001))}`)
    t.match(refused, /^HTTP\/1\.1 413 /)
    t.match(refused, /\r\nConnection: close\r\n/)
    t.match(await rawHttp(origin, 'POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n'), /^HTTP\/1\.1 413 /)
  },
)

t.test('a message is not given to a pipelined poll whose connection has gone', async t => {
  for (const direct of [false, true]) {
    const { bayeux, origin } = await serve(t, { direct })
    const url = `${origin}/cometd`
    const say = (message: object): string => {
      const body = JSON.stringify([{ id: '1', ...message }])
      return `POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    }
    const ids: string[] = []
    for (let i = 0; i < 2; i++) {
      const clientId = clientIdIn((await post(url, HANDSHAKE)).body)
      await post(url, JSON.stringify([{ channel: '/meta/connect', clientId }]))
      ids.push(clientId)
    }
    const socket: Socket = connect(Number(new URL(origin).port), '127.0.0.1')
    socket.write(ids.map(clientId => say({ channel: '/meta/connect', clientId })).join(''))
    const held = async (count: number): Promise<void> => {
      for (const end = Date.now() + 5_000; bayeux.stats().held !== count && Date.now() < end; )
        await new Promise(resolve => setTimeout(resolve, 2))
    }
    await held(2)
    socket.destroy()
    await held(1) // of the first, the one that has the socket, the end is told
    bayeux.session(ids[1]!)!.deliver('/private', 'not lost')
    await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
    const { body } = await post(url, JSON.stringify([{ channel: '/meta/connect', clientId: ids[1] }]))
    t.match(body, 'not lost', direct ? 'past Fastify' : 'through Fastify')
  }
})

t.test('a server that closes answers what is held, and takes nothing more on this road', async t => {
  const { app, bayeux, origin } = await serve(t, { direct: true })
  const url = `${origin}/cometd`
  const clientId = clientIdIn((await post(url, HANDSHAKE)).body)
  const connectMessage = JSON.stringify([{ channel: '/meta/connect', clientId }])
  await post(url, connectMessage)
  const held = post(url, connectMessage)
  while (bayeux.stats().held === 0) await new Promise(resolve => setTimeout(resolve, 2))
  const closed = app.close()
  t.match((await held).body, '"successful":true')
  await closed
  await t.rejects(post(url, HANDSHAKE))
})

t.test('what breaks on this road costs one request: it is answered 500 and told', async t => {
  const faults: unknown[] = []
  const broken = new Error('broken')
  const context = {
    origins: {
      judge: () => {
        throw broken
      },
    },
  }
  const server = createServer((_request, response) => response.end('from behind'))
  new DirectRoad(context as never, '/cometd', 1_000, null, error => faults.push(error)).install(server)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => void server.close())
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  t.match(await post(`${origin}/cometd`, HANDSHAKE), { status: 500, body: '' })
  t.same(faults, [broken])
  t.equal((await get(`${origin}/cometd`)).body, 'from behind', 'and the server lives')
})
