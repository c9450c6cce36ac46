// What befalls single connections on their way: each fate comes once so many bytes have passed, and only to the connection that has it.

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type Server, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { type FateName, TroubledProxy } from '../../bench/proxy.js'

interface Stage {
  readonly way: TroubledProxy
  /** Bytes that came, as text, and how it ended: 'open', 'end', or the code of the error. */
  readonly client: End
  readonly server: End
}

interface End {
  readonly socket: Socket
  text: string
  state: string
}

function watch(socket: Socket): End {
  const end: End = { socket, text: '', state: 'open' }
  socket.setNoDelay(true)
  socket.on('data', bytes => {
    end.text += bytes
  })
  socket.on('end', () => {
    end.state = 'end'
  })
  socket.on('error', ({ code }: NodeJS.ErrnoException) => {
    end.state = code!
  })
  return end
}

/** A client and a server with this fate between them, after 10 bytes of the server. */
async function stage(t: Test, name: FateName, ms = 0): Promise<Stage> {
  const listener: Server = createServer({ noDelay: true }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const way = await TroubledProxy.open(`http://127.0.0.1:${(listener.address() as AddressInfo).port}`)
  let first = true
  way.doom(() => {
    const bytes = first ? 10 : Number.POSITIVE_INFINITY
    first = false
    return { name, from: 'server', bytes, ms }
  })
  const client = watch(connect(Number(new URL(way.url).port), '127.0.0.1'))
  const [accepted] = (await once(listener, 'connection')) as [Socket]
  t.teardown(async () => {
    client.socket.destroy()
    accepted.destroy()
    await way.close()
    listener.close()
  })
  return { way, client, server: watch(accepted) }
}

/** `once` of Node rejects when an error comes before the event. */
function happens(end: End, event: 'data' | 'close'): Promise<void> {
  return new Promise(resolve => end.socket.once(event, () => resolve()))
}

/** Says it, and waits until something came of it at the other end. */
async function say(from: End, to: End, text: string, event: 'data' | 'close' = 'data'): Promise<void> {
  const came = happens(to, event)
  from.socket.write(text)
  await came
}

t.test('cut: what passed before arrives whole, then both ends see the end', async t => {
  const { way, client, server } = await stage(t, 'cut')
  await say(server, client, '12345')
  t.equal(client.state, 'open')
  await say(server, client, '67890abc', 'close')
  t.match(client, { text: '1234567890abc', state: 'end' })
  t.equal(way.befallen.cut, 1)
})

t.test('truncate: the same, but in the midst of a chunk', async t => {
  const { way, client, server } = await stage(t, 'truncate')
  await say(server, client, '1234567890abc', 'close')
  t.match(client, { text: '1234567890', state: 'end' })
  t.equal(way.befallen.truncate, 1)
})

t.test('reset: both ends get a reset', async t => {
  const { way, client, server } = await stage(t, 'reset')
  await say(server, client, '12345')
  const gone = happens(server, 'close')
  await say(server, client, '67890', 'close')
  await gone
  t.match(client, { text: '12345', state: 'ECONNRESET' })
  t.equal(server.state, 'ECONNRESET')
  t.equal(way.befallen.reset, 1)
})

t.test('stall: nothing passes for a while, then all of it in its order', async t => {
  const { way, client, server } = await stage(t, 'stall', 50)
  const began = performance.now()
  await say(server, client, '1234567890')
  t.ok(performance.now() - began >= 49)
  await say(server, client, 'abc')
  t.match(client, { text: '1234567890abc', state: 'open' })
  t.equal(way.befallen.stall, 1)
})

t.test('delay: all comes later, the end of the connection too', async t => {
  const { way, client, server } = await stage(t, 'delay', 50)
  const began = performance.now()
  server.socket.write('1234567890')
  server.socket.end('abc')
  await once(client.socket, 'end')
  t.ok(performance.now() - began >= 49)
  t.match(client, { text: '1234567890abc', state: 'end' })
  t.equal(way.befallen.delay, 1)
})

t.test('only the bytes of that end are counted, and there is no fate any more once it is called off', async t => {
  const { way, client, server } = await stage(t, 'reset')
  await say(client, server, 'more than ten bytes')
  t.equal(client.state, 'open')
  way.doom(null)
  await say(server, client, 'more than ten bytes')
  t.match(client, { text: 'more than ten bytes', state: 'open' })
  t.equal(way.befallen.reset, 0)
})
