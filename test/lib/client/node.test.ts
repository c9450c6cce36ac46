// The client in Node: cookies and headers, against a small real server; and a conversation with the real one.

import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { WebSocketServer } from 'ws'
import { Client, nodeSurroundings } from '../../../lib/client/node.js'
import { SharedClient } from '../../../lib/client/node-shared.js'
import { startServer } from '../../support/server.js'

/** A server that says what it was asked with, and sets these cookies one answer after the other. */
async function mirror(t: Test, ...answers: readonly (readonly string[])[]) {
  const asked: IncomingHttpHeaders[] = []
  const server = createServer((request, response: ServerResponse) => {
    asked.push(request.headers)
    const cookies = answers[asked.length - 1] ?? []
    response.writeHead(200, cookies.length === 0 ? {} : { 'set-cookie': [...cookies] }).end('[]')
  })
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (socket, request) => {
    asked.push(request.headers)
    socket.send('hello')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    for (const socket of sockets.clients) socket.terminate()
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  })
  return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` }
}

t.test('cookies are kept, replaced, removed, and sent with requests and sockets', async t => {
  const { asked, url } = await mirror(
    t,
    ['one=1; Path=/; HttpOnly', 'two=a=b', 'broken', '=none'],
    ['one=changed; Max-Age=60', 'three=3; Expires=Wed, 21 Oct 2099 07:28:00 GMT'],
    ['two=; Max-Age=0'],
    ['three=; expires=Thu, 01 Jan 1970 00:00:00 GMT'],
  )
  const around = nodeSurroundings()
  const post = async (headers: Record<string, string> = {}): Promise<void> => {
    const response = await around.fetch(url, { method: 'POST', headers, body: '[]' })
    await response.text()
  }
  for (let turn = 0; turn < 4; turn++) await post()
  await post({ 'X-Mine': 'yes' })
  t.strictSame(
    asked.map(({ cookie }) => cookie),
    [undefined, 'one=1; two=a=b', 'one=changed; two=a=b; three=3', 'one=changed; three=3', 'one=changed'],
  )
  t.equal(asked.at(-1)?.['x-mine'], 'yes')
  const socket = around.openSocket!(url.replace('http', 'ws'), ['bayeux'], { 'X-Mine': 'also' })
  const heard = await new Promise(resolve => {
    socket.onmessage = ({ data }) => resolve(String(data))
  })
  t.equal(heard, 'hello')
  t.match(asked.at(-1), { cookie: 'one=changed', 'x-mine': 'also', 'sec-websocket-protocol': 'bayeux' })
  socket.close(1000)
  const own = around.openSocket!(url.replace('http', 'ws'), [], { Cookie: 'session=own' })
  await new Promise(resolve => {
    own.onmessage = resolve
  })
  t.equal(asked.at(-1)?.cookie, 'one=changed; session=own', 'beside those of the application')
  own.close(1000)
  const other = nodeSurroundings()
  await (await other.fetch(url, { method: 'POST' })).text()
  t.equal(asked.at(-1)?.cookie, undefined, 'each client has its own')
})

t.test('a session that began on WebSocket goes on over HTTP with the cookie of the upgrade', async t => {
  const { url, app } = await startServer(t)
  const blocked = { now: false }
  const sockets = new Set<{ destroy(): void }>()
  app.server.prependListener('upgrade', (_request, socket) => {
    if (blocked.now) socket.destroy()
    else sockets.add(socket)
  })
  const client = new Client(url, { headers: { Origin: new URL(url).origin }, backoffBase: 1 })
  await client.connect()
  const { clientId } = client
  const heard: unknown[] = []
  const { ready } = client.subscribe('/a', ({ data }) => heard.push(data))
  await ready
  t.equal(client.transport, 'websocket')
  const over = new Promise<void>(resolve => {
    client.on('state', ({ state, transport }) => state === 'connected' && transport === 'long-polling' && resolve())
  })
  blocked.now = true
  for (const socket of sockets) socket.destroy()
  app.bayeux.publish('/a', 'between')
  await over
  t.equal(client.clientId, clientId)
  t.strictSame(heard, ['between'])
  await client.close()
})

for (const transports of [['websocket'], ['long-polling']] as const) {
  t.test(`a conversation over ${transports}`, async t => {
    const { url } = await startServer(t)
    const client = new Client<{ '/room': { text: string } }>(url, { transports })
    await client.connect()
    t.equal(client.transport, transports[0])
    const subscription = client.subscribe('/room')
    await subscription.ready
    await client.publish('/room', { text: 'hello' })
    for await (const { data } of subscription) {
      t.equal(data.text, 'hello')
      break
    }
    t.strictSame(await client.call('echo', [1]), [1])
    await t.rejects(client.call('fail'), { code: 'REFUSED' })
    await client.close()
    t.equal(client.state, 'closed')
  })
}

t.test('a socket that is given up before it opened breaks nothing', async t => {
  const { url } = await mirror(t)
  const client = new Client(url, { transports: ['websocket'] })
  const connected = client.connect()
  const closed = client.close()
  await t.rejects(connected, { code: 'DISCONNECTED' })
  await closed
})

t.test('messages of any script that waited together are small enough for the server', async t => {
  const { url } = await startServer(t)
  for (const transports of [['websocket'], ['long-polling']] as const) {
    const client = new Client(url, { transports })
    const waiting = Array.from({ length: 100 }, () => client.publish('/a', { text: '你好'.repeat(150) }))
    await client.connect()
    const fates = await Promise.allSettled(waiting)
    t.strictSame([...new Set(fates.map(({ status }) => status))], ['fulfilled'], transports[0])
    await client.close()
  }
})

t.test('what is written for tabs runs in Node too, with its cookies', async t => {
  const { url } = await startServer(t)
  const client = new SharedClient(url, { transports: ['long-polling'], worker: '/client-shared.js', token: undefined })
  t.ok(client instanceof Client)
  await client.connect()
  t.strictSame(await client.call('echo', [1]), [1])
  await client.close()
})
