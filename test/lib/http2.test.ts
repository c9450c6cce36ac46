// HTTP/2 of the command: every transport on one port, what a client may do to its streams, and attacks that are known.
//
// The certificates in test/support/tls are signed by themselves and good for nothing else.

import { once } from 'node:events'
import { copyFileSync, readFileSync } from 'node:fs'
import http2 from 'node:http2'
import { request } from 'node:https'
import { type AddressInfo, connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import WebSocket from 'ws'
import { Http2Sessions } from '../../lib/http2.js'
import { start } from '../../lib/serve.js'
import { TlsFiles } from '../../lib/tls.js'
import { converse, TIMES } from '../legacy/conversation.js'
import { servePages } from '../legacy/pages.js'
import { startChromium, Tab } from '../support/chromium.js'
import { bareSession, type Call, END_HEADERS, END_STREAM, FRAME, frame, requestBlock, Session } from '../support/http2.js'
import { addTestServices } from '../support/server.js'
import { certOf, HTTP2_FLAGS, keyOf, Serving } from '../support/serving.js'

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = http2.constants
const ca = [readFileSync(certOf('one')), readFileSync(certOf('two'))]
const HANDSHAKE = [{ channel: '/meta/handshake', id: '1' }]

interface Server {
  readonly app: FastifyInstance
  readonly port: number
}

async function serve(
  t: Test,
  given: Record<string, unknown> = {},
  extend?: (app: FastifyInstance) => Promise<void>,
): Promise<Server> {
  const options = { port: 0, logLevel: 'silent', http2: true, tlsCert: certOf('one'), tlsKey: keyOf('one'), ...given }
  const app = await start({ options, channels: {} }, { direct: true, ...(extend === undefined ? null : { extend }) })
  t.teardown(() => app.close())
  return { app, port: (app.server.address() as AddressInfo).port }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setImmediate(resolve))
}

/** Sends a connect that is held. */
async function hold(app: FastifyInstance, session: Session, clientId: string, id: string): Promise<Call> {
  const call = session.post([{ channel: '/meta/connect', id, clientId }])
  await until(() => app.bayeux.stats().held === 1)
  return call
}

t.test('long-polling and callback-polling over HTTP/2', async t => {
  const { app, port } = await serve(t, { browserCookieSecure: true, allowUnknownCallbackOrigin: true })
  const session = await Session.open(t, port)
  t.equal((session.session.socket as { alpnProtocol?: string }).alpnProtocol, 'h2')
  const shaken = await session.post(HANDSHAKE).answer
  t.equal(shaken.status, 200)
  t.equal(shaken.headers['content-type'], 'application/json;charset=UTF-8')
  t.match(shaken.headers['set-cookie'], [/^BAYEUX_BROWSER=.*; Secure/], 'the cookie knows that this is TLS')
  const [{ clientId }] = JSON.parse(shaken.body) as [{ clientId: string }]
  t.match(await session.say({ channel: '/meta/connect', id: '2', clientId }), [{ successful: true }])
  t.match(await session.say({ channel: '/meta/subscribe', id: '3', clientId, subscription: '/a' }), [{ successful: true }])
  const held = await hold(app, session, clientId, '4')
  app.bayeux.publish('/a', 'é😀')
  t.match(JSON.parse((await held.answer).body), [
    { channel: '/a', data: 'é😀' },
    { id: '4', successful: true },
  ])
  t.match(await session.say({ channel: '/a', id: '5', clientId, data: 1 }), [{ data: 1 }, { id: '5', successful: true }])
  t.match(await session.say({ channel: '/meta/disconnect', id: '6', clientId }), [{ successful: true }])
  t.equal(app.bayeux.stats().sessions, 0)

  const query = `jsonp=cb&message=${encodeURIComponent(JSON.stringify(HANDSHAKE))}`
  const script = await session.begin({ ':path': `/cometd?${query}` }, '').answer
  t.match(script.body, /^\/\*\*\/\s*cb\(\[.*"successful":true/)
  t.match(script.headers, { 'content-type': 'text/javascript;charset=UTF-8', 'x-content-type-options': 'nosniff' })
  const bare = await session.begin({ ':method': 'POST' }, JSON.stringify(HANDSHAKE)).answer
  t.match(bare.body, '"successful":true', 'a POST without a content type')
  const spoilt = await session.begin({ ':method': 'POST' }, '{').answer
  t.same([spoilt.status, spoilt.body], [400, ''], 'a status other than 200 has an empty body')
  t.equal((await session.begin({ ':path': '/nowhere' }, '').answer).status, 404)
  t.equal((await session.begin({ ':method': 'POST' }, 'x'.repeat(70_000)).answer).status, 413)
  t.equal((await session.begin({ ':method': 'CONNECT', ':path': undefined, ':authority': 'a:1' }, '').answer).status, 405)
})

t.test('HTTP/1.1 and WebSocket on the same port', async t => {
  const { port } = await serve(t, { allowUnknownCallbackOrigin: true })
  const ask = (method: string, path: string, body?: string): Promise<{ body: string; status: number; keepAlive: string }> =>
    new Promise((resolve, reject) => {
      const headers = { connection: 'keep-alive' }
      const sent = request({ host: '127.0.0.1', port, path, method, ca, servername: 'localhost', headers }, response => {
        let text = ''
        response.on('data', chunk => {
          text += String(chunk)
        })
        const keepAlive = String(response.headers['keep-alive'])
        response.on('end', () => resolve({ body: text, status: response.statusCode!, keepAlive }))
      })
      sent.on('error', reject)
      sent.end(body)
    })
  const polled = await ask('POST', '/cometd', JSON.stringify(HANDSHAKE))
  t.match(polled.body, '"successful":true')
  t.equal(polled.keepAlive, 'timeout=72')
  const long = [{ channel: '/meta/handshake', id: '1', ext: { filler: 'x'.repeat(20_000) } }]
  const jsonp = await ask('GET', `/cometd?jsonp=cb&message=${encodeURIComponent(JSON.stringify(long))}`)
  t.match(jsonp.body, '"successful":true', 'a URL longer than Node takes by itself')
  t.equal((await ask('GET', `/cometd?${'x'.repeat(40_000)}`)).status, 431)

  const nameless = connectTls({ port, host: '127.0.0.1', ca, servername: 'localhost' })
  nameless.write('GET /healthz HTTP/1.1\r\n\r\n')
  t.match(String((await once(nameless, 'data'))[0]), /^HTTP\/1\.1 400 /, 'without a Host header')
  nameless.destroy()

  const socket = new WebSocket(`wss://localhost:${port}/cometd`, { ca })
  t.teardown(() => socket.terminate())
  await once(socket, 'open')
  socket.send(JSON.stringify(HANDSHAKE))
  t.match(String((await once(socket, 'message'))[0]), '"successful":true')
})

t.test('without TLS the option is refused with one line', async t => {
  await t.rejects(start({ options: { port: 0, http2: true }, channels: {} }), {
    code: 'OPTION_INVALID',
    message: /^option http2 needs tlsCert and tlsKey[^\n]*$/,
  })
})

t.test('a held connect whose stream is reset is noticed, whatever the code, and its queue is kept', async t => {
  const { app, port } = await serve(t)
  const session = await Session.open(t, port)
  const clientId = await session.join()
  await session.say({ channel: '/meta/subscribe', id: '3', clientId, subscription: '/a' })
  for (let code = 0; code < 16; code++) {
    const held = await hold(app, session, clientId, 'held')
    held.stream.close(code)
    await until(() => app.bayeux.stats().held === 0)
    app.bayeux.publish('/a', code)
    const next = await session.say({ channel: '/meta/connect', id: 'next', clientId, advice: { timeout: 0 } })
    t.match(
      next,
      [
        { channel: '/a', data: code },
        { id: 'next', successful: true },
      ],
      `code ${code}`,
    )
  }
  await hold(app, session, clientId, 'held')
  session.session.destroy()
  await until(() => app.bayeux.stats().held === 0)
  t.ok(app.bayeux.session(clientId)?.alive, 'so is one whose whole HTTP/2 session goes; the Bayeux session lives on for its time')
})

t.test('http2MaxSessionsPerBrowser counts connects over HTTP/2, and only these', async t => {
  const join = async (session: Session): Promise<string> => session.join()
  for (const [limit, advice] of [
    [1, { 'multiple-clients': true }],
    [-1, undefined],
  ] as const) {
    const { app, port } = await serve(t, { http2MaxSessionsPerBrowser: limit })
    const session = await Session.open(t, port)
    const [one, two] = [await join(session), await join(session)]
    await hold(app, session, one, '3')
    const second = session.post([{ channel: '/meta/connect', id: '3', clientId: two }])
    if (advice === undefined) {
      await until(() => app.bayeux.stats().held === 2)
      t.pass('no limit: both are held')
    } else t.match(JSON.parse((await second.answer).body), [{ advice }], 'the second is told to poll')
  }
})

t.test('headers that are too many or too large cost their stream, not the session', async t => {
  const { port } = await serve(t, { allowUnknownCallbackOrigin: true })
  const session = await Session.open(t, port)
  const message = JSON.stringify([{ channel: '/meta/handshake', id: '1', ext: { filler: 'x'.repeat(20_000) } }])
  const long = await session.begin({ ':path': `/cometd?jsonp=cb&message=${encodeURIComponent(message)}` }, '').answer
  t.equal(long.status, 200, '20 KiB are within the limit, as over HTTP/1.1')
  const fields = Object.fromEntries(Array.from({ length: 140 }, (_, i) => [`x-${i}`, 'x']))
  for (const headers of [{ 'x-long': 'x'.repeat(40_000) }, fields]) {
    const answer = await session.begin({ ':method': 'POST', ...headers }, JSON.stringify(HANDSHAKE)).answer
    t.not(answer.status, 200)
    t.not(answer.code, NGHTTP2_NO_ERROR)
  }
  t.match(await session.say(...HANDSHAKE), [{ successful: true }])
})

t.test(
  'requests that do not come in full are reset, and refused where one address has more than it may have connections',
  async t => {
    const { app, port } = await serve(t, { requestTimeout: 300, timeout: 60_000, maxAddressConnections: 60 })
    const [session, other] = [await Session.open(t, port), await Session.open(t, port)]
    const clientId = await session.join()
    const held = await hold(app, session, clientId, '3')
    const half = (session: Session): Call => {
      const call = session.begin({ ':method': 'POST' }, null)
      call.stream.write('[{"channel":')
      return call
    }
    for (let round = 0; round < 2; round++) {
      const calls = [session, other].map(session => Array.from({ length: 40 }, () => half(session)))
      const codes = (await Promise.all(calls.flat().map(call => call.answer))).map(({ code }) => code)
      t.equal(codes.filter(code => code === NGHTTP2_REFUSED_STREAM).length, 20, 'in the way that may be tried again')
      t.equal(codes.filter(code => code === NGHTTP2_CANCEL).length, 60, 'after requestTimeout')
    }
    t.notOk(held.stream.closed, 'a held connect has been sent, and waits as long as it likes')
    const many = await Promise.all(Array.from({ length: 60 }, () => other.say(...HANDSHAKE)))
    t.ok(
      many.every(([reply]) => reply?.['successful'] === true),
      'so many requests that come in full are served',
    )
  },
)

t.test(
  'streams that are given up young end their session when they are many; what is held long may be given up at will',
  async t => {
    let now = 0
    const sessions = new Http2Sessions({ requestTimeout: 30_000, keepAliveTimeout: 30_000, maxAddressConnections: 0 }, () => now)
    const held = new Set<http2.ServerHttp2Stream>()
    const server = http2.createSecureServer({ ...new TlsFiles(certOf('one'), keyOf('one')).read() })
    server.on('stream', stream => {
      held.add(stream)
      stream.on('close', () => held.delete(stream))
    })
    sessions.install(server)
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    const session = await Session.open(t, (server.address() as AddressInfo).port)
    const giveUp = async (count: number, age: number): Promise<void> => {
      const calls = Array.from({ length: count }, () => session.begin({}, ''))
      await until(() => held.size === count || session.session.destroyed)
      now += age
      for (const { stream } of calls) void stream.close(NGHTTP2_CANCEL)
      await until(() => held.size === 0)
    }
    await giveUp(90, 1_000)
    await giveUp(90, 1_000)
    await giveUp(50, 0)
    t.equal(sessions.open, 1, 'so many are borne')
    now += 10_000
    await giveUp(50, 0)
    t.equal(sessions.open, 1, 'and after a while again')
    const told = once(session.session, 'goaway')
    await giveUp(1, 0)
    t.equal((await told)[0], NGHTTP2_ENHANCE_YOUR_CALM)
    await until(() => sessions.open === 0)
  },
)

t.test('requests that do not come in full over HTTP/1.1 are answered 408 there, too', async t => {
  const { port } = await serve(t, { headersTimeout: 200, requestTimeout: 400 })
  for (const half of ['', 'POST /cometd HTTP/1.1\r\nHost: ', 'POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n[']) {
    const socket = connectTls({ port, host: '127.0.0.1', ca, servername: 'localhost' })
    socket.write(half)
    t.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 408 /)
    socket.destroy()
  }
})

t.test('a session on which nothing moves ends, but not under a held connect', async t => {
  const { app, port } = await serve(t, { keepAliveTimeout: 200, timeout: 60_000 })
  const holder = await Session.open(t, port)
  const clientId = await holder.join()
  await holder.say({ channel: '/meta/subscribe', id: '3', clientId, subscription: '/a' })
  const held = await hold(app, holder, clientId, '4')
  const idle = await Session.open(t, port)
  await once(idle.session, 'close')
  const stuck = await Session.open(t, port, { settings: { initialWindowSize: 0 } })
  stuck.post(HANDSHAKE)
  await once(stuck.session, 'close')
  t.notOk(holder.session.closed, 'one that is silent has gone, and one that does not take its answer')
  app.bayeux.publish('/a', 1)
  t.match((await held.answer).body, '"data":1')
  await once(holder.session, 'close')
  t.pass('once it holds nothing it goes, too')
})

t.test('a renewed certificate leaves HTTP/2 in place', async t => {
  const folder = t.testdir({})
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  copyFileSync(certOf('one'), cert)
  copyFileSync(keyOf('one'), key)
  const files = new TlsFiles(cert, key, 20)
  const server = http2.createSecureServer({ ...files.read(), allowHTTP1: true })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const seen = async (): Promise<[string, unknown]> => {
    const { port } = server.address() as AddressInfo
    const socket = connectTls({ port, host: '127.0.0.1', ca, servername: 'localhost', ALPNProtocols: ['h2', 'http/1.1'] })
    await once(socket, 'secureConnect')
    const shown: [string, unknown] = [socket.getPeerCertificate().fingerprint256, socket.alpnProtocol]
    socket.destroy()
    return shown
  }
  const taken = new Promise<void>(resolve => {
    const end = files.follow(server, error => {
      if (error === null) resolve()
    })
    t.teardown(() => {
      end()
      server.close()
    })
  })
  const [before] = await seen()
  copyFileSync(keyOf('two'), key)
  copyFileSync(certOf('two'), cert)
  await taken
  const [after, protocol] = await seen()
  t.not(after, before)
  t.equal(protocol, 'h2')
})

t.test('SIGTERM answers what is held, says GOAWAY, and no client keeps the process', async t => {
  const serving = await Serving.start(t, ...HTTP2_FLAGS)
  const { port } = serving
  const session = await Session.open(t, port)
  const clientId = await session.join()
  const held = session.post([{ channel: '/meta/connect', id: '3', clientId }])
  const half = session.begin({ ':method': 'POST' }, null)
  half.stream.write('[')
  const idle = await Session.open(t, port)
  const bare = await bareSession(t, port) // it does not go when it is told to
  const silent = connectTcp(port, '127.0.0.1') // not even TLS
  const halfHeaders = connectTls({ port, host: '127.0.0.1', ca, servername: 'localhost' })
  halfHeaders.write('GET / HTTP/1.1\r\n')
  for (const socket of [silent, halfHeaders]) socket.on('error', () => {})
  await Promise.all([once(silent, 'connect'), once(halfHeaders, 'secureConnect')])
  while ((await serving.report()).stats.held === 0);
  const told = Promise.all([session, idle].map(({ session }) => once(session, 'goaway')))
  const ended = Promise.all([bare, silent, halfHeaders].map(socket => once(socket, 'close')))
  t.equal(await serving.end(), 0)
  t.match(JSON.parse((await held.answer).body), [{ id: '3', successful: true }])
  t.same(
    (await told).map(([code]) => code),
    [NGHTTP2_NO_ERROR, NGHTTP2_NO_ERROR],
  )
  await ended
})

/** What one client may send to wear a server out. Each gives the frames of one burst, with stream ids from `id` on. */
const FLOODS: readonly [name: string, burst: (id: number) => Buffer][] = [
  [
    'rapid reset (CVE-2023-44487)',
    id => {
      const block = requestBlock('POST')
      const streams = Array.from({ length: 1_000 }, (_, i) => [
        frame(FRAME.headers, END_HEADERS, id + 2 * i, block),
        frame(FRAME.reset, 0, id + 2 * i, Buffer.from([0, 0, 0, 8])),
      ])
      return Buffer.concat(streams.flat())
    },
  ],
  ['pings', () => Buffer.concat(Array<Buffer>(5_000).fill(frame(FRAME.ping, 0, 0, Buffer.alloc(8))))],
  ['settings', () => Buffer.concat(Array<Buffer>(5_000).fill(frame(FRAME.settings, 0, 0, Buffer.alloc(0))))],
  [
    'CONTINUATION (CVE-2024-27983)',
    id => {
      const more = frame(FRAME.continuation, 0, id, Buffer.from('\x00\x01x\x01y'))
      return Buffer.concat([frame(FRAME.headers, END_STREAM, id, requestBlock('GET')), ...Array<Buffer>(1_000).fill(more)])
    },
  ],
  [
    'resets that the server is made to send (CVE-2025-8671)',
    id => {
      const block = requestBlock('POST')
      const streams = Array.from({ length: 200 }, (_, i) => [
        frame(FRAME.headers, END_HEADERS, id + 2 * i, block),
        frame(8, 0, id + 2 * i, Buffer.alloc(4)), // WINDOW_UPDATE by nothing
      ])
      return Buffer.concat(streams.flat())
    },
  ],
  [
    'more streams than it was told',
    id => {
      const block = requestBlock('POST')
      return Buffer.concat(Array.from({ length: 1_000 }, (_, i) => frame(FRAME.headers, END_HEADERS, id + 2 * i, block)))
    },
  ],
]

/** Sends bursts on one connection until the server ends it. */
async function attack(t: Test, port: number, burst: (id: number) => Buffer): Promise<void> {
  const socket = await bareSession(t, port)
  let open = true
  let goOn = (): void => {}
  socket.on('drain', () => goOn())
  socket.on('close', () => {
    open = false
    goOn()
  })
  for (let id = 1; open; id += 2_000) {
    const next = new Promise<void>(resolve => {
      goOn = resolve
    })
    if (socket.write(burst(id))) setImmediate(goOn)
    await next
  }
}

t.test('floods end their own connection, stall nobody and leave nothing', { timeout: 100_000 }, async t => {
  const serving = await Serving.start(t, ...HTTP2_FLAGS)
  const { port } = serving
  /** One round of each flood, and how many publishes of a healthy client were answered meanwhile, by name of the flood. */
  const round = async (attackers: number): Promise<[string, number][]> => {
    const answered: [string, number][] = []
    const healthy = await Session.open(t, port)
    const clientId = await healthy.join()
    for (const [name, burst] of FLOODS) {
      let over = false
      const attacks = Promise.all(Array.from({ length: attackers }, () => attack(t, port, burst))).then(() => {
        over = true
      })
      let count = 0
      for (; !over || count < 20; count++) {
        const replies = await healthy.say({ channel: '/nobody', id: '1', clientId, data: 1 })
        if (replies[0]?.['successful'] !== true) break
      }
      answered.push([name, count])
      await attacks
    }
    await healthy.say({ channel: '/meta/disconnect', id: '1', clientId })
    healthy.session.destroy()
    return answered
  }
  await round(2) // code is compiled and pools are filled before the first look at the heap
  const before = await serving.report()
  for (const [name, count] of await round(40)) t.ok(count >= 20, `${name}: ${count} publishes are answered meanwhile`)
  const after = await serving.report()
  t.same(after.stats, before.stats)
  const bound = 1.1 * before.heap + 1_000_000 // 4 KB left of each of 240 connections would be more
  t.ok(after.heap < bound, `heap ${before.heap} before, ${after.heap} after, bound ${bound}`)
})

t.test('cometd 9 in Chromium', async t => {
  const browser = await startChromium(t)
  for (const transport of ['long-polling', 'callback-polling', 'websocket'] as const) {
    await t.test(transport, async t => {
      const { app, port } = await serve(t, TIMES, async app => {
        addTestServices(app.bayeux)
        await servePages(app)
      })
      const url = `https://127.0.0.1:${port}/cometd`
      const tab = await Tab.open(t, browser, `https://127.0.0.1:${port}/pages/cometd.html`)
      await converse(t, tab, url, app.bayeux, { transport, calls: 'result' })
      const polls = "performance.getEntriesByType('resource').filter(entry => new URL(entry.name).pathname.startsWith('/cometd'))"
      const protocols = await tab.read<string[]>(`${polls}.map(entry => entry.nextHopProtocol)`)
      t.same([...new Set(protocols)], transport === 'websocket' ? [] : ['h2'])
    })
  }
})
