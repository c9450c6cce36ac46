// Keys of publishes over the wire: what is too long is refused where it is first seen, by its size or as a key, and nothing is published.

import { once } from 'node:events'
import t from 'tap'
import { WebSocket } from 'ws'
import { startServer } from '../support/server.js'

const PUBLISHER = 'abcdefghijklmnopqrstuv'
const LARGE = 10_000_000

const publish = (clientId: string, key: string) =>
  JSON.stringify([{ channel: '/a', clientId, data: 1, id: '1', ext: { dedupe: { key } } }])
const HANDSHAKE = JSON.stringify([
  {
    channel: '/meta/handshake',
    version: '1.0',
    supportedConnectionTypes: ['websocket', 'long-polling'],
    ext: { dedupe: { publisher: PUBLISHER } },
  },
])

t.test('a key of ten megabytes, and one just under what a message may be', async t => {
  const cases: [options: object, length: number, http: number, close: number | null][] = [
    [{}, LARGE, 413, 1_009],
    [{}, 65_000, 200, null],
    [{ maxMessageSize: LARGE + 1_000 }, LARGE, 200, null],
  ]
  for (const [options, length, status, closed] of cases) {
    const { url, bayeux } = await startServer(t, { ...options, trusted: true })
    const heard: unknown[] = []
    bayeux.on('/a', ({ data }) => void heard.push(data))
    const key = 'k'.repeat(length)

    const greeted = await fetch(url, { method: 'POST', body: HANDSHAKE })
    const [cookie] = greeted.headers.getSetCookie()[0]!.split(';')
    const [{ clientId, ext }] = (await greeted.json()) as [{ clientId: string; ext: unknown }]
    t.match(ext, { dedupe: true })
    const post = (body: string) => fetch(url, { method: 'POST', headers: { cookie: cookie! }, body })
    const answer = await post(publish(clientId, key)).catch(() => null) // a refused body is not read to its end
    if (status === 200) t.match(await answer!.json(), [{ successful: false, error: '400::dedupe_key_invalid' }], `${length}`)
    else t.ok(answer === null || answer.status === status)
    t.match(await (await post(publish(clientId, 'k'))).json(), [{ successful: true }], 'its session goes on')

    const socket = new WebSocket(url.replace('http', 'ws'))
    await once(socket, 'open')
    const say = async (text: string): Promise<unknown> => {
      socket.send(text)
      const [received] = (await Promise.race([once(socket, 'message'), once(socket, 'close')])) as [Buffer | number]
      return typeof received === 'number' ? received : JSON.parse(received.toString())
    }
    const [{ clientId: id }] = (await say(HANDSHAKE)) as [{ clientId: string }]
    const reply = await say(publish(id, key))
    if (closed === null) t.match(reply, [{ successful: false, error: '400::dedupe_key_invalid' }])
    else t.equal(reply, closed)
    socket.terminate()
    t.same(heard, [1])
  }
})
