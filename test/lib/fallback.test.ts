// A browser that comes by WebSocket first may go on over HTTP, with the same session.

import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import t from 'tap'
import { WebSocket } from 'ws'
import { startServer } from '../support/server.js'

const HANDSHAKE = { channel: '/meta/handshake', id: '1', version: '1.0', supportedConnectionTypes: ['websocket', 'long-polling'] }

t.test('the answer to an upgrade gives a browser its cookie, and the session goes on over HTTP with it', async t => {
  const { url } = await startServer(t)
  const open = async (headers: Record<string, string>): Promise<{ socket: WebSocket; cookie: string | null }> => {
    const socket = new WebSocket(url.replace('http', 'ws'), { headers })
    t.teardown(() => socket.terminate())
    const [[answer]] = (await Promise.all([once(socket, 'upgrade'), once(socket, 'open')])) as [[IncomingMessage], unknown]
    return { socket, cookie: answer.headers['set-cookie']?.[0] ?? null }
  }
  const say = async (socket: WebSocket, message: object): Promise<Record<string, unknown>> => {
    socket.send(JSON.stringify([message]))
    const [data] = await once(socket, 'message')
    return JSON.parse(String(data))[0]
  }
  const connect = (clientId: unknown): object => ({
    ...{ channel: '/meta/connect', id: '2', clientId, connectionType: 'long-polling' },
    advice: { timeout: 0 },
  })
  const post = async (message: object, headers: Record<string, string>): Promise<unknown> => {
    const response = await fetch(url, { method: 'POST', body: JSON.stringify([message]), headers })
    return ((await response.json()) as { successful: boolean }[])[0]!.successful
  }

  const { origin } = new URL(url)
  const { socket, cookie } = await open({ origin })
  t.match(cookie, /^BAYEUX_BROWSER=[0-9a-z]{16}; Path=\/; HttpOnly/)
  const { clientId } = await say(socket, HANDSHAKE)
  t.equal(await post(connect(clientId), {}), false, 'not without it')
  t.equal(await post(connect(clientId), { cookie: 'BAYEUX_BROWSER=another' }), false, 'nor with another')
  t.equal(await post(connect(clientId), { cookie: cookie!.split(';')[0]! }), true, 'with it')

  const again = await open({ origin, cookie: 'BAYEUX_BROWSER=another' })
  t.equal(again.cookie, null, 'who has a cookie keeps it')
  t.equal(
    (await say(again.socket, connect(clientId)))['successful'],
    true,
    'the session asks no WebSocket for a cookie that came late',
  )
  t.equal((await open({})).cookie, null, 'who is no browser gets none')
})
