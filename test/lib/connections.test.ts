// Limits at the listening socket, of the class alone and of the command: who is let in, how long who says nothing may stay, and that all can end.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { type ConnectionLimits, Connections, filesForClients } from '../../lib/connections.js'
import { start } from '../../lib/serve.js'
import { TlsFiles } from '../../lib/tls.js'
import { certOf, keyOf, Serving } from '../support/serving.js'
import { get, post } from '../support/wire.js'

const HANDSHAKE = '[{"channel":"/meta/handshake","id":"1"}]'
const HALF_HEADERS = 'POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Le'
const HALF_BODY = 'POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[{"chann'

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setImmediate(resolve))
}

function closed(socket: Socket): Promise<void> {
  return new Promise(resolve => (socket.destroyed ? resolve() : socket.once('close', () => resolve())))
}

/** A connection to a port of 127.0.0.1. It is open, or, where it was refused, ended soon. */
async function open(t: Test, port: number, text = '', localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  t.teardown(() => void socket.destroy())
  socket.on('error', () => {}) // of one that was refused
  socket.resume()
  await new Promise<void>(resolve => socket.once('connect', resolve).once('close', () => resolve()))
  if (text !== '') socket.write(text)
  return socket
}

async function guarded(t: Test, server: Server, limits: ConnectionLimits): Promise<{ connections: Connections; port: number }> {
  const connections = new Connections(limits)
  connections.install(server)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    connections.cut()
    await new Promise(resolve => server.close(resolve))
  })
  return { connections, port: (server.address() as AddressInfo).port }
}

for (const [kind, limits] of [
  ['maxAddressConnections', { maxConnections: 0, maxAddressConnections: 3 }],
  ['maxConnections', { maxConnections: 3, maxAddressConnections: 0 }],
] as const) {
  for (const tls of [false, true]) {
    t.test(`${kind}: one too many is closed unread and counted, and there is room when another goes (TLS: ${tls})`, async t => {
      const handler = (_request: unknown, response: { end(text: string): void }): void => response.end('here')
      const server = tls
        ? createTlsServer(new TlsFiles(certOf('one'), keyOf('one')).read(), handler as never)
        : createServer(handler as never)
      const { connections, port } = await guarded(t, server, limits)
      const sockets = [await open(t, port), await open(t, port), await open(t, port)]
      await until(() => connections.open === 3)
      for (let i = 1; i <= 2; i++) {
        await closed(await open(t, port))
        t.equal(connections.refused[kind], i)
      }
      t.same([connections.open, sockets.some(socket => socket.destroyed)], [3, false], 'those that were there stay')
      sockets[0]!.destroy() // with TLS, before it has come through it
      await until(() => connections.open === 2)
      await open(t, port)
      await until(() => connections.open === 3)
      connections.cut()
      await until(() => connections.open === 0)
    })
  }
}

t.test('maxAddressConnections: each address has its own', async t => {
  const { connections, port } = await guarded(t, createServer(), { maxConnections: 0, maxAddressConnections: 2 })
  await open(t, port)
  await open(t, port)
  const others = [await open(t, port, '', '127.0.0.2'), await open(t, port, '', '127.0.0.2')]
  await until(() => connections.open === 4)
  await closed(await open(t, port))
  await closed(await open(t, port, '', '127.0.0.2'))
  t.same(connections.refused, { maxConnections: 0, maxAddressConnections: 2 })
  for (const socket of others) socket.destroy()
  await until(() => connections.open === 2)
  await open(t, port, '', '127.0.0.2')
  await until(() => connections.open === 3)
})

t.test('maxConnections is by default what the process has files for', t => {
  t.equal(filesForClients(20_000), 19_800)
  t.equal(filesForClients(256), 128, 'where files are few, half of them are left')
  t.equal(filesForClients('unlimited'), Number.POSITIVE_INFINITY)
  t.equal(filesForClients(null), Number.POSITIVE_INFINITY, 'a system that does not say')
  const real = filesForClients()
  t.ok(real > 100, `here ${real}`)
  t.end()
})

t.test('behind a trusted proxy connections of one address are not counted', async t => {
  for (const trustProxy of [[], ['loopback']]) {
    const options = { port: 0, logLevel: 'silent', maxAddressConnections: 2, trustProxy }
    const app = await start({ options, channels: {} })
    t.teardown(() => app.close())
    const { port } = app.server.address() as AddressInfo
    await open(t, port)
    await open(t, port)
    const third = await open(t, port, 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
    const ended = await Promise.race([closed(third).then(() => 'refused'), once(third, 'data').then(() => 'served')])
    t.equal(ended, trustProxy.length > 0 ? 'served' : 'refused')
  }
})

t.test('one line in the log tells of many refusals', async t => {
  const cli = fileURLToPath(new URL('../../lib/cli.js', import.meta.url))
  const child = spawn(process.execPath, [cli, 'serve', '--port', '0', '--max-address-connections', '1'], {
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  t.teardown(() => void child.kill('SIGKILL'))
  let log = ''
  child.stdout.on('data', chunk => {
    log += String(chunk)
  })
  while (!log.includes('listening on')) await once(child.stdout, 'data')
  const port = Number(/listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(log)?.[1])
  const first = await open(t, port)
  for (let i = 0; i < 5; i++) await closed(await open(t, port))
  first.destroy()
  child.kill('SIGTERM')
  await once(child, 'close')
  const lines = log.split('\n').filter(line => line.includes('limit reached'))
  t.equal(lines.length, 1)
  t.match(JSON.parse(lines[0]!), { level: 40, limit: 'maxAddressConnections', times: 1, address: '127.0.0.1' })
})

t.test('times of requests and connections are those of the options', async t => {
  const options = { port: 0, logLevel: 'silent', requestTimeout: 300, headersTimeout: 10_000, keepAliveTimeout: 5_000 }
  const app = await start({ options, channels: {} })
  t.teardown(() => app.close())
  const { port } = app.server.address() as AddressInfo
  t.match((await get(`http://127.0.0.1:${port}/healthz`)).headers, { 'keep-alive': 'timeout=5' })
  for (const half of ['', HALF_HEADERS, HALF_BODY]) {
    const socket = await open(t, port, half)
    const [answer] = await once(socket, 'data')
    t.match(String(answer), /^HTTP\/1\.1 408 /, 'headersTimeout is never more than requestTimeout')
  }
})

t.test('no client keeps the server from closing, whatever it has said', async t => {
  const app = await start({ options: { port: 0, logLevel: 'silent' }, channels: {} })
  const { port } = app.server.address() as AddressInfo
  const sockets = [await open(t, port), await open(t, port, HALF_HEADERS), await open(t, port, HALF_BODY)]
  await post(`http://127.0.0.1:${port}/cometd`, HANDSHAKE) // they are read by then
  const ended = Promise.all(sockets.map(closed))
  await app.close()
  await ended
})

t.test('3,000 connections of one address, 1,000 with half a request, disturb nobody and go after their time', async t => {
  const serving = await Serving.start(t, '--request-timeout', '3000', '--headers-timeout', '3000')
  const { port } = serving
  /** A client of another address: every step of it is answered. */
  const live = async (): Promise<void> => {
    const socket = await open(t, port, '', '127.0.0.2')
    const say = async (messages: object[]): Promise<string> => {
      const text = JSON.stringify(messages)
      socket.write(`POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: ${text.length}\r\n\r\n${text}`)
      return String((await once(socket, 'data'))[0])
    }
    const clientId = /"clientId":"([^"]+)/.exec(await say([{ channel: '/meta/handshake', id: '1' }]))?.[1]
    t.match(await say([{ channel: '/meta/disconnect', id: '2', clientId }]), /"id":"2"/)
    socket.destroy()
  }
  const crowd = async (): Promise<Socket[]> => {
    const sockets: Socket[] = []
    // some at once: all of them would overflow the backlog of the listening socket
    for (let i = 0; i < 3_000; i += 100) {
      const texts = Array.from({ length: 100 }, (_, j) => [HALF_HEADERS, HALF_BODY, '', '', '', ''][(i + j) % 6]!)
      sockets.push(...(await Promise.all(texts.map(text => open(t, port, text)))))
      if (i % 500 === 0) await live()
    }
    return sockets
  }
  await Promise.all((await crowd()).map(closed)) // code is compiled and pools are filled before the first look at the heap
  const before = await serving.report()
  const sockets = await crowd()
  await live()
  await Promise.all(sockets.map(closed))
  await live()
  const after = await serving.report()
  const bound = 1.1 * before.heap + 1_000_000 // half a kilobyte left of each would be more
  t.ok(after.heap < bound, `heap ${before.heap} before, ${after.heap} after, bound ${bound}`)
  t.equal(await serving.end(), 0)
})
