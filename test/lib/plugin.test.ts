// The plugin in somebody's application, and the bytes that nobody should send.

import { createHash, randomBytes } from 'node:crypto'
import http, { METHODS } from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import Fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import t from 'tap'
import { BayeuxError, type ClientFacts, fastifyOptions, perihelion } from '../../lib/index.js'
import { startServer } from '../support/server.js'
import { get, post, rawHttp, request, WireSocket } from '../support/wire.js'

const HANDSHAKE = { channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['websocket', 'long-polling'], id: '1' }

type Message = Record<string, unknown>

/** A client over long-polling that remembers its cookie and clientId. */
async function join(url: string): Promise<{ id: string; cookie: string; say: (...messages: Message[]) => Promise<Message[]> }> {
  const { headers, body } = await post(url, JSON.stringify([HANDSHAKE]))
  const cookie = headers['set-cookie']![0]!.split(';')[0]!
  const id = (JSON.parse(body) as Message[])[0]!['clientId'] as string
  const say = async (...messages: Message[]): Promise<Message[]> => {
    const answer = await post(url, JSON.stringify(messages.map(message => ({ clientId: id, ...message }))), { cookie })
    return JSON.parse(answer.body) as Message[]
  }
  return { id, cookie, say }
}

async function joinSocket(
  url: string,
  ...args: ConstructorParameters<typeof WireSocket> extends [string, ...infer R] ? R : never
) {
  const socket = await new WireSocket(url, ...args).open()
  socket.send(JSON.stringify([HANDSHAKE]))
  const [reply] = (await socket.next()) as Message[]
  return { socket, id: reply!['clientId'] as string }
}

const bodyOf = (response: string): string => response.slice(response.indexOf('\r\n\r\n') + 4)
const statusOf = (response: string): number => Number(/^HTTP\/1\.1 (\d+)/.exec(response)?.[1])

t.test('what an application does with its own errors, bodies and unknown paths stays as it was', async t => {
  const app = Fastify({ ...fastifyOptions })
  app.setErrorHandler((error: FastifyError, _request, reply) => reply.code(418).send({ mine: error.message }))
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ mine: 'not found' }))
  app.addContentTypeParser('application/x-mine', { parseAs: 'string' }, (_request, body, done) =>
    done(null, `mine:${String(body)}`),
  )
  app.get('/throws', async () => {
    throw new Error('thrown')
  })
  app.post('/body', async request => ({ body: request.body }))
  await app.register(perihelion)
  app.get('/later', async () => 'later')
  t.teardown(() => app.close())

  t.same((await app.inject('/throws')).json(), { mine: 'thrown' })
  t.same((await app.inject('/nowhere')).json(), { mine: 'not found' })
  t.equal((await app.inject('/later')).body, 'later')
  const posted = (type: string, payload: string) =>
    app.inject({ method: 'POST', url: '/body', headers: { 'content-type': type }, payload })
  t.same((await posted('application/x-mine', 'x')).json(), { body: 'mine:x' })
  t.same((await posted('application/json', '{"a":1}')).json(), { body: { a: 1 } })
  t.equal((await posted('application/json', '{')).statusCode, 418, 'its own handler sees its own parse errors')
  t.equal((await posted('application/x-unknown', 'x')).statusCode, 418, 'its own 415')
  t.same((await app.inject({ method: 'PROPFIND' as 'GET', url: '/nowhere' })).json(), { mine: 'not found' })

  const bad = await app.inject({ method: 'POST', url: '/cometd', headers: { 'content-type': 'application/json' }, payload: '{' })
  t.same([bad.statusCode, bad.body], [400, ''], 'and the Bayeux path answers in its own way')
})

t.test('a wrong option is refused at registration, with its code', async t => {
  const register = (options: object) => {
    const app = Fastify()
    t.teardown(() => app.close())
    return Promise.resolve(app.register(perihelion, options))
  }
  await t.rejects(register({ timeot: 1 }), { code: 'OPTION_UNKNOWN', message: 'unknown option timeot' })
  await t.rejects(register({ timeout: '1' }), { code: 'OPTION_INVALID' })
  await t.rejects(register({ 'ws.maxQueue': 1 }), { code: 'OPTION_UNKNOWN' }, 'an option that no transport has for itself')
  await t.rejects(register({ channels: { '/a/*/b': {} } }), { code: 'RULE_INVALID' })
  await t.rejects(register({ path: 'cometd' }), BayeuxError, 'a path that Fastify would refuse')
})

t.test('a path of its own, also the root', async t => {
  const bayeux = await startServer(t, { path: '/bayeux' })
  t.equal((await post(bayeux.url, JSON.stringify([HANDSHAKE]))).status, 200)
  t.equal(bayeux.bayeux.path, '/bayeux')
  const app = Fastify({ ...fastifyOptions })
  await app.register(perihelion, { path: '/' })
  t.teardown(() => app.close())
  for (const url of ['/', '/handshake', '/a/b'])
    t.equal((await app.inject({ method: 'POST', url, payload: [HANDSHAKE] })).statusCode, 200, url)
})

t.test('`context` keeps of the request what the policy wants to know', async t => {
  const { url, bayeux } = await startServer(t, { context: request => request.headers['x-user'] ?? null })
  const seen: ClientFacts[] = []
  bayeux.policy({
    canHandshake: (_session, _message, facts) => {
      seen.push(facts)
      return { allow: true, user: facts.context }
    },
  })
  const { body } = await post(url, JSON.stringify([HANDSHAKE]), { 'x-user': 'ann' })
  const { id } = await joinSocket(url, { 'x-user': 'bob' })
  t.match(seen, [
    { transport: 'long-polling', address: '127.0.0.1', context: 'ann' },
    { transport: 'websocket', address: '127.0.0.1', context: 'bob' },
  ])
  t.equal(bayeux.session((JSON.parse(body) as Message[])[0]!['clientId'] as string)!.user, 'ann')
  t.equal(bayeux.session(id)!.user, 'bob')
})

t.test('behind a proxy that says https the cookie is Secure, if that is wanted', async t => {
  const app = Fastify({ ...fastifyOptions, trustProxy: true })
  await app.register(perihelion, { browserCookieSecure: true, browserCookieSameSite: 'None' })
  t.teardown(() => app.close())
  const cookie = async (headers: Record<string, string>) =>
    (await app.inject({ method: 'POST', url: '/cometd', headers, payload: [HANDSHAKE] })).headers['set-cookie']
  t.match(await cookie({ 'x-forwarded-proto': 'https' }), /^BAYEUX_BROWSER=\w{16}; Path=\/; HttpOnly; Secure; SameSite=None$/)
  t.match(await cookie({}), /^BAYEUX_BROWSER=\w{16}; Path=\/; HttpOnly; SameSite=None$/)
})

t.test('over HTTP/2 any number of one browser’s connects is held, and errors are empty', async t => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  await app.register(perihelion, { allowedTransports: ['long-polling'], timeout: 100 })
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const client = http2.connect(origin)
  t.teardown(async () => {
    client.destroy()
    await app.close()
  })
  const ask = (body: string, cookie = '') =>
    new Promise<{ status: number; cookie: string; body: string }>((resolve, reject) => {
      const stream = client.request({
        ':method': 'POST',
        ':path': '/cometd',
        'content-type': 'application/json',
        ...(cookie === '' ? null : { cookie }),
      })
      let head: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {}
      let text = ''
      stream.on('response', headers => {
        head = headers
      })
      stream.on('data', chunk => {
        text += String(chunk)
      })
      stream.on('error', reject)
      stream.on('end', () =>
        resolve({ status: Number(head[':status']), cookie: head['set-cookie']?.[0]?.split(';')[0] ?? '', body: text }),
      )
      stream.end(body)
    })
  const first = await ask(JSON.stringify([HANDSHAKE]))
  t.match(first, { status: 200, cookie: /^BAYEUX_BROWSER=/ })
  const second = await ask(JSON.stringify([HANDSHAKE]), first.cookie)
  const ids = [first, second].map(({ body }) => (JSON.parse(body) as [Message])[0]['clientId'])
  for (const clientId of ids) await ask(JSON.stringify([{ channel: '/meta/connect', clientId, id: '2' }]), first.cookie)
  const held = ids.map(clientId => ask(JSON.stringify([{ channel: '/meta/connect', clientId, id: '3' }]), first.cookie))
  for (const answer of await Promise.all(held))
    t.same(JSON.parse(answer.body), [{ channel: '/meta/connect', id: '3', successful: true }])
  t.match(await ask('{'), { status: 400, body: '' })
  const superseded = ask(JSON.stringify([{ channel: '/meta/connect', clientId: ids[0], id: '4' }]), first.cookie)
  await ask(JSON.stringify([{ channel: '/meta/connect', clientId: ids[0], id: '5', advice: { timeout: 0 } }]), first.cookie)
  t.match(await superseded, { status: 500, body: '' })
})

t.test('every method that Node knows gets an empty answer', async t => {
  const { url } = await startServer(t)
  for (const method of METHODS) {
    if (method === 'CONNECT' || method === 'POST') continue // CONNECT never becomes a request
    const { status, body } = await request(url, { method }, null).answer
    t.same([status, body], [method === 'OPTIONS' ? 200 : 400, ''], method)
  }
})

t.test('every content type will do, also none and nonsense', async t => {
  const { url } = await startServer(t)
  const types = [
    'application/json',
    'application/json; charset="utf-8"',
    'text/html',
    'image/png',
    'x',
    '/',
    'a/b/c',
    ';;;',
    'multipart/form-data',
  ]
  for (const type of types) {
    const { status, body } = await post(url, JSON.stringify([HANDSHAKE]), { 'content-type': type })
    t.match([status, JSON.parse(body)], [200, [{ successful: true }]], type)
  }
  const latin = Buffer.from('[{"channel":"/meta/handshake","id":"1","x":"\xe9"}]', 'latin1')
  t.equal((await post(url, latin, { 'content-type': 'application/json;charset=ISO-8859-1' })).status, 200, 'a charset of its own')
  t.same((await post(url, latin, { 'content-type': 'application/json;charset=x-unknown' })).status, 400, 'one that nobody knows')
})

t.test('what is no HTTP, or too much of it, gets a status and an empty body', async t => {
  const { url } = await startServer(t)
  const host = `Host: ${new URL(url).host}\r\nConnection: close\r\n`
  const wire: Record<string, [bytes: string, status: number]> = {
    'no HTTP at all': ['HELLO\r\n\r\n', 400],
    'a URL that cannot be decoded': [`GET /cometd/%zz HTTP/1.1\r\n${host}\r\n`, 400],
    'a URL that cannot be decoded, elsewhere': [`GET /%zz HTTP/1.1\r\n${host}\r\n`, 400],
    'headers over 32 KiB': [`GET /cometd HTTP/1.1\r\n${host}X: ${'x'.repeat(40_000)}\r\n\r\n`, 431],
    'a URL over 32 KiB': [`GET /cometd?jsonp=a&message=${'x'.repeat(40_000)} HTTP/1.1\r\n${host}\r\n`, 431],
    'a bad header': [`GET /cometd HTTP/1.1\r\n${host}X Y: 1\r\n\r\n`, 400],
    'two lengths': [`POST /cometd HTTP/1.1\r\n${host}Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]`, 400],
    'a bad chunk': [`POST /cometd HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, 400],
    'chunks beyond maxMessageSize': [
      `POST /cometd HTTP/1.1\r\n${host}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${`4000\r\n${' '.repeat(0x4000)}\r\n`.repeat(5)}0\r\n\r\n`,
      413,
    ],
    'a length beyond maxMessageSize': [`POST /cometd HTTP/1.1\r\n${host}Content-Type: a/b\r\nContent-Length: 70000\r\n\r\n`, 413],
    'a body of a GET': [`GET /cometd HTTP/1.1\r\n${host}Content-Length: 2\r\n\r\n[]`, 400],
    'a content type of many megabytes of blanks': [
      `POST /cometd HTTP/1.1\r\n${host}Content-Type: a${' '.repeat(20_000)}/b\r\nContent-Length: 2\r\n\r\n[]`,
      400,
    ],
  }
  for (const [what, [bytes, status]] of Object.entries(wire)) {
    const answer = await rawHttp(url, bytes)
    t.same([statusOf(answer), bodyOf(answer)], [status, ''], what)
  }
  t.match(
    await rawHttp(url, `POST /cometd HTTP/1.1\r\n${host}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}`),
    /channel_missing/,
    'Expect is met',
  )
  const last = await rawHttp(url, `POST /cometd HTTP/1.1\r\n${host}Content-Length: 2\r\n\r\n{}rubbish\r\n\r\n`)
  t.match(last, /^HTTP\/1\.1 200 .*channel_missing/s, 'what comes behind the last request does not take its answer')
})

t.test('a body that is refused or that nobody wants is not waited for: its connection ends with the answer', async t => {
  for (const direct of [false, true]) {
    const { url } = await startServer(t, { direct })
    const begun = (method: string, chunk: string, times: number): string =>
      `${method} /cometd HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(times)}`
    const bodies: [what: string, bytes: string, status: number][] = [
      ['of a method that has none', begun('PUT', '1\r\nx\r\n', 1), 400],
      ['in too many pieces', begun('POST', '1\r\n \r\n', 1_100), 400],
      ['that is too large', begun('POST', `1000\r\n${' '.repeat(0x1000)}\r\n`, 17), 413],
    ]
    for (const [what, bytes, status] of bodies) {
      const answer = await rawHttp(url, bytes)
      t.same([statusOf(answer), bodyOf(answer)], [status, ''], what)
      t.match(answer, /\r\nconnection: close\r\n/i, what)
    }
  }
})

t.test('a callback-polling URL of 16 KiB has room', async t => {
  const { url } = await startServer(t)
  const message = encodeURIComponent(JSON.stringify([{ ...HANDSHAKE, filler: 'x'.repeat(16_000) }]))
  t.equal((await get(`${url}/?jsonp=cb&message=${message}`, { 'sec-fetch-site': 'same-origin' })).status, 200)
})

t.test('a script of a strange page is refused before anything of it is processed', async t => {
  const { url, bayeux } = await startServer(t, { allowedOrigins: ['https://app.example'] })
  const ask = (headers: Record<string, string>) =>
    get(`${url}?jsonp=cb&message=${encodeURIComponent(JSON.stringify([HANDSHAKE]))}`, headers)
  for (const headers of [{}, { 'sec-fetch-site': 'cross-site' }, { referer: 'https://evil.example/' }] as Record<
    string,
    string
  >[])
    t.match(await ask(headers), { status: 403, body: '' }, JSON.stringify(headers))
  t.equal(bayeux.stats().sessions, 0)
  t.match(await ask({ referer: 'https://app.example/page', 'sec-fetch-site': 'cross-site' }), { status: 200, body: /clientId/ })
  t.match(await ask({ referer: new URL('/page', url).href }), { status: 200, body: /clientId/ })
  t.equal((await get(`${url}?message=[]`)).status, 400, 'what is no callback is judged as any request')
})

t.test('a body that breaks off is nobody’s message, and the server goes on', async t => {
  const { url, bayeux } = await startServer(t)
  const { port, host } = new URL(url)
  const socket = net.connect(Number(port), '127.0.0.1')
  socket.write(
    `POST /cometd HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[{"channel":"/meta/handshake"}`,
  )
  await new Promise(resolve => setTimeout(resolve, 20))
  socket.destroy()
  t.equal((await post(url, JSON.stringify([HANDSHAKE]))).status, 200)
  t.equal(bayeux.stats().sessions, 1)
})

t.test('no envelope, however odd, ends in anything but a refusal without body or replies', async t => {
  const { url } = await startServer(t)
  const client = await join(url)
  for (const body of [
    'nul',
    '"x"',
    'true',
    '[[]]',
    '[true]',
    '{"a":',
    '\ufeff[]',
    '\u0000',
    '[{}',
    '{}}',
    'message=',
    'message=%',
    'message=5&message=[]',
  ]) {
    const answer = await post(url, body)
    t.same([answer.status, answer.body], [400, ''], JSON.stringify(body))
  }
  const odd: Message[] = [
    { channel: ['/a'] },
    { channel: { toString: 1 } },
    { channel: '/a', id: { toString: 1 } },
    { channel: '/meta/subscribe', subscription: [{ toString: 1, valueOf: 1 }] },
    { channel: '/meta/subscribe', subscription: [[{ toString: null }]] },
    { channel: '/meta/unsubscribe', subscription: { length: 1, 0: '/a' } },
    { channel: '/meta/connect', advice: { timeout: { valueOf: 1 } }, ext: [], clientId: [client.id] },
    { channel: '/meta/handshake', version: { toString: 1 }, supportedConnectionTypes: { includes: 1 }, ext: { ack: [true] } },
    { channel: `/${'x'.repeat(1_024)}` },
    { channel: '/a', clientId: { toString: 1 } },
  ]
  for (const message of odd) {
    const replies = await client.say(message)
    t.match(replies, [{ successful: Boolean }], JSON.stringify(message).slice(0, 80))
    t.equal(replies.length, 1)
  }
  t.match(
    await client.say({ channel: `/${'x'.repeat(1_023)}`, id: '1' }),
    [{ successful: true }],
    '1,024 characters are a channel',
  )
  t.match(await client.say({ channel: '/meta/subscribe', subscription: `/${'x'.repeat(1_024)}` }), [
    { error: '403::subscription_invalid' },
  ])
})

t.test('a page of another origin is served only if it is allowed', async t => {
  const strict = await startServer(t)
  const { host } = new URL(strict.url)
  const from = async (url: string, origin: string): Promise<number> =>
    (await post(url, JSON.stringify([HANDSHAKE]), { origin })).status
  t.equal(await from(strict.url, `http://${host}`), 200, 'the same origin')
  t.equal(await from(strict.url, 'http://evil.example'), 403)
  t.equal(await from(strict.url, 'null'), 403, 'a sandboxed page')
  t.equal(strict.bayeux.stats().sessions, 1)
  await t.rejects(new WireSocket(strict.url, { origin: 'http://evil.example' }).open(), /403/)
  const open = await startServer(t, { allowedOrigins: ['http://*.good.example'] })
  t.equal(await from(open.url, 'http://a.good.example'), 200)
  t.equal(await from(open.url, 'http://.good.example'), 403)
  const socket = await new WireSocket(open.url, { origin: 'http://a.good.example' }).open()
  socket.cut()
})

t.test('an upgrade that is not to be is refused at once', async t => {
  const polling = await startServer(t, { allowedTransports: ['long-polling'] })
  await t.rejects(new WireSocket(polling.url).open(), /400/, 'websocket is not served')
  const { url } = await startServer(t)
  await t.rejects(new WireSocket(url.replace('/cometd', '/elsewhere')).open(), /404/)
  const host = `Host: ${new URL(url).host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`
  const noKey = await rawHttp(url, `GET /cometd HTTP/1.1\r\n${host}Sec-WebSocket-Version: 13\r\n\r\n`)
  t.equal(statusOf(noKey), 400, 'no key')
  const oldVersion = await rawHttp(
    url,
    `GET /cometd HTTP/1.1\r\n${host}Sec-WebSocket-Version: 7\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
  )
  t.ok(statusOf(oldVersion) >= 400, 'an old version')
  const badProtocol = await rawHttp(
    url,
    `GET /cometd HTTP/1.1\r\n${host}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ,\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
  )
  t.equal(statusOf(badProtocol), 400, 'a sub-protocol that is none')
  for (const path of ['', '/', '/x', '/59.0/']) (await new WireSocket(url + path).open()).cut()
  t.pass('every path under the mount takes upgrades')
})

t.test(
  'an upgrade that comes to nothing ends its connection, whatever its client still says, and so does the server',
  async t => {
    const { url, app } = await startServer(t)
    const { port, host } = new URL(url)
    const upgrade = (path: string): string =>
      `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n`
    const answer = await rawHttp(url, upgrade('/cometd/%zz'))
    t.same([statusOf(answer), bodyOf(answer)], [400, ''], 'a URL that cannot be decoded')
    await rawHttp(url, `POST /cometd HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 2\r\n\r\n{}${upgrade('/cometd')}`)
    t.pass('behind a request that is not answered yet')
    for (const path of ['/cometd', '/cometd/%zz']) {
      const socket = net.connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true })
      t.teardown(() => socket.destroy())
      socket.on('error', () => {})
      const answered = new Promise(resolve => socket.once('data', resolve))
      socket.write(upgrade(path))
      await answered
      socket.write('more') // and then it stays, with its own side open
    }
    await app.close()
    t.pass('the server ends')
  },
)

/** A WebSocket of bytes: what it sends is up to the test. */
async function rawSocket(url: string): Promise<{ socket: net.Socket; closeCode: Promise<number | null> }> {
  const { port, host } = new URL(url)
  const key = randomBytes(16).toString('base64')
  const socket = net.connect(Number(port), '127.0.0.1')
  let bytes = Buffer.alloc(0)
  let upgraded: () => void = () => {}
  const open = new Promise<void>(resolve => {
    upgraded = resolve
  })
  let head = -1
  socket.on('data', chunk => {
    bytes = Buffer.concat([bytes, chunk])
    if (head === -1 && bytes.includes('\r\n\r\n')) {
      head = bytes.indexOf('\r\n\r\n') + 4
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
      if (bytes.includes(accept)) upgraded()
    }
  })
  socket.on('error', () => {})
  const closeCode = new Promise<number | null>(resolve =>
    socket.on('close', () => {
      const frames = bytes.subarray(head)
      const at = frames.indexOf(0x88)
      resolve(at === -1 ? null : frames.readUInt16BE(at + 2))
    }),
  )
  socket.write(
    `GET /cometd HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  )
  await open
  return { socket, closeCode }
}

t.test('broken frames end their socket with the right code, and no other', async t => {
  const { url, bayeux } = await startServer(t)
  const other = await joinSocket(url)
  const frames: Record<string, [bytes: number[], code: number]> = {
    'a frame without a mask': [[0x81, 0x02, 0x5b, 0x5d], 1002],
    'a reserved opcode': [[0x83, 0x80, 0, 0, 0, 0], 1002],
    'a reserved bit': [[0xc1, 0x80, 0, 0, 0, 0], 1002],
    'a continuation of nothing': [[0x80, 0x80, 0, 0, 0, 0], 1002],
    'a fragmented ping': [[0x09, 0x80, 0, 0, 0, 0], 1002],
    'text that is not UTF-8': [[0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28], 1007],
    'a length beyond maxMessageSize': [[0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], 1009],
    'a message in too many fragments': [
      [1, 0x80, 0, 0, 0, 0, ...Array<number[]>(130).fill([0, 0x81, 0, 0, 0, 0, 0x20]).flat()],
      1008,
    ],
  }
  for (const [what, [bytes, code]] of Object.entries(frames)) {
    const { socket, closeCode } = await rawSocket(url)
    socket.write(Buffer.from(bytes))
    t.equal(await closeCode, code, what)
    socket.destroy()
  }
  other.socket.send(JSON.stringify([{ channel: '/a', clientId: other.id, id: '2', data: 1 }]))
  t.match(await other.socket.next(), [{ id: '2', successful: true }])
  t.equal(bayeux.stats().sessions, 1)
  other.socket.cut()
})

t.test('binary frames are ignored, fragments put together, pings answered', async t => {
  const { url } = await startServer(t)
  const { socket, id } = await joinSocket(url)
  socket.ws.send(Buffer.from('[{"channel":"/a"}]'), { binary: true })
  const text = JSON.stringify([{ channel: '/a', clientId: id, id: '2', data: 'é' }])
  const bytes = Buffer.from(text)
  const middle = bytes.indexOf(0xc3) + 1 // inside a character
  socket.ws.send(bytes.subarray(0, middle), { binary: false, fin: false })
  socket.ws.send(bytes.subarray(middle), { binary: false, fin: true })
  t.match(await socket.next(), [{ id: '2', successful: true }])
  await socket.roundTrip()
  t.same(socket.frames, [], 'nothing for the binary frame')
  socket.cut()
})

t.test('a socket is closed when it was silent for ws.idleTimeout, not before, and never when that is 0', async t => {
  const patient = await startServer(t, { 'ws.idleTimeout': 0 })
  const open = await new WireSocket(patient.url).open()
  const { url } = await startServer(t, { 'ws.idleTimeout': 50 })
  const socket = await new WireSocket(url).open()
  for (const end = Date.now() + 150; Date.now() < end; ) await socket.roundTrip()
  t.equal(socket.code, null, 'a ping is enough to keep it open')
  const silentAt = performance.now()
  t.equal(await socket.closed, 1000)
  t.ok(performance.now() - silentAt >= 45, 'timers may come a little early')
  await open.roundTrip()
  t.equal(open.code, null)
  open.cut()
})

t.test('with compression the frames are those of ws, and say the same', async t => {
  const { url, bayeux } = await startServer(t, { 'ws.enableExtension.permessage-deflate': true })
  const { WebSocket } = await import('ws')
  const ws = new WebSocket(url.replace('http', 'ws'))
  const frames: string[] = []
  ws.on('message', data => frames.push(String(data)))
  const got = async (count: number): Promise<void> => {
    while (frames.length < count) await new Promise(resolve => ws.once('message', resolve))
  }
  await new Promise(resolve => ws.once('open', resolve))
  t.match(ws.extensions, /permessage-deflate/)
  ws.send(JSON.stringify([HANDSHAKE]))
  await got(1)
  const id = (JSON.parse(frames[0]!) as Message[])[0]!['clientId'] as string
  ws.send(JSON.stringify([{ channel: '/meta/subscribe', clientId: id, id: '2', subscription: '/a' }]))
  await got(2)
  bayeux.publish('/a', 'x'.repeat(5_000))
  await got(3)
  t.same(JSON.parse(frames[2]!), [{ channel: '/a', data: 'x'.repeat(5_000) }])
  for (let i = 0; i < 30; i++) bayeux.publish('/a', 'x'.repeat(100_000)) // more than may wait, until it is compressed
  await got(33)
  bayeux.publish('/a', 'after that')
  await got(34)
  t.same(JSON.parse(frames[33]!), [{ channel: '/a', data: 'after that' }])
  ws.terminate()
})

t.test(
  'a client that does not read makes its queue grow, not the server’s buffers, and gets all in order when it reads',
  async t => {
    const { url, bayeux } = await startServer(t, { maxQueue: 10_000, maxQueueBytes: 100_000_000 })
    const { socket, id } = await joinSocket(url)
    socket.send(JSON.stringify([{ channel: '/meta/subscribe', clientId: id, id: '2', subscription: '/a' }]))
    await socket.next()
    const raw = (socket.ws as unknown as { _socket: net.Socket })._socket
    raw.pause()
    const filler = 'x'.repeat(20_000)
    for (let i = 0; i < 1_000; i++) {
      bayeux.publish('/a', { i, filler })
      if (i % 20 === 0) await new Promise(setImmediate)
    }
    t.ok(bayeux.stats().queued > 100, 'most of 20 MB waits in the session’s queue')
    raw.resume()
    const numbers: number[] = []
    while (numbers.length < 1_000) {
      const [message] = (await socket.next()) as { data: { i: number } }[]
      numbers.push(message!.data.i)
    }
    t.same(
      numbers,
      Array.from({ length: 1_000 }, (_, i) => i),
    )
    t.equal(bayeux.stats().queued, 0)
    socket.cut()
  },
)

t.test('closing answers held connects so that their clients come back, and closes sockets with 1001', async t => {
  const { url, app } = await startServer(t)
  const client = await join(url)
  await client.say({ channel: '/meta/connect', id: '2' })
  const held = client.say({ channel: '/meta/connect', id: '3' })
  const { socket, id } = await joinSocket(url)
  socket.send(JSON.stringify([{ channel: '/meta/connect', clientId: id, id: '2' }]))
  await socket.next()
  socket.send(JSON.stringify([{ channel: '/meta/connect', clientId: id, id: '3' }]))
  await socket.roundTrip()
  for (let tries = 0; app.bayeux.stats().held < 2 && tries < 500; tries++) await new Promise(resolve => setTimeout(resolve, 2))
  const closed = app.close()
  t.match(await held, [{ id: '3', successful: true, advice: { reconnect: 'retry' } }])
  t.match(await socket.next(), [{ id: '3', successful: true, advice: { reconnect: 'retry' } }])
  t.equal(await socket.closed, 1001)
  await closed
})

t.test('a socket that does not answer the close is cut, and does not keep the server from ending', async t => {
  const { url, app } = await startServer(t)
  const { socket } = await rawSocket(url)
  const began = Date.now()
  await app.close()
  t.ok(Date.now() - began < 5_000)
  socket.destroy()
})

t.test('a client that goes away while it is held is forgotten by the response, not by the server', async t => {
  const { url, bayeux } = await startServer(t)
  const client = await join(url)
  await client.say({ channel: '/meta/connect', id: '2' }, { channel: '/meta/subscribe', subscription: '/a', id: '3' })
  const body = JSON.stringify([{ channel: '/meta/connect', clientId: client.id, id: '4' }])
  const call = request(url, { method: 'POST', headers: { cookie: client.cookie } }, body)
  for (let tries = 0; bayeux.stats().held === 0 && tries < 500; tries++) await new Promise(resolve => setTimeout(resolve, 2))
  t.equal(bayeux.stats().held, 1)
  call.cut()
  for (let tries = 0; bayeux.stats().held === 1 && tries < 500; tries++) await new Promise(resolve => setTimeout(resolve, 2))
  t.match(bayeux.stats(), { held: 0, sessions: 1, subscriptions: 1 })
})

t.test('an application with sockets of its own keeps them', async t => {
  const { default: websocket } = await import('@fastify/websocket')
  const app = Fastify({ ...fastifyOptions, forceCloseConnections: true })
  await app.register(websocket)
  await app.register(perihelion)
  await app.register(async child => {
    child.route({
      method: 'GET',
      url: '/mine',
      handler: async () => '',
      wsHandler: socket => void socket.on('message', data => socket.send(`mine:${String(data)}`)),
    })
  })
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  const mine = await new WireSocket(`${origin}/mine`).open()
  mine.send('x')
  for (let tries = 0; mine.frames.length === 0 && tries < 500; tries++) await mine.roundTrip()
  t.same(mine.frames, ['mine:x'])
  const { socket } = await joinSocket(`${origin}/cometd`)
  mine.cut()
  socket.cut()
})

t.test('HEAD and GET without jsonp do not hang, also on a connection that is kept', async t => {
  const { url } = await startServer(t)
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  for (const method of ['HEAD', 'GET', 'HEAD', 'OPTIONS'])
    t.ok((await request(url, { method, agent }, null).answer).status < 500, method)
})
