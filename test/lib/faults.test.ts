// Faults of the application and of slow peers: what code behind the server gets wrong costs one request, never the server.

import { connect } from 'node:net'
import Fastify from 'fastify'
import t from 'tap'
import WebSocket from 'ws'
import type { Ending } from '../../bayeux/index.js'
import { Host, type Peer } from '../../lib/host.js'
import { type Bayeux, fastifyOptions, type PerihelionOptions, perihelion, ServiceError } from '../../lib/index.js'
import { post } from '../support/wire.js'

interface Reply {
  readonly channel?: string
  readonly successful?: boolean
  readonly error?: string
  readonly clientId?: string
  readonly data?: unknown
  readonly advice?: Readonly<Record<string, unknown>>
}

/** A server behind `inject`, and one long-polling client of it. */
async function serve(options: PerihelionOptions = {}) {
  const faults: string[] = []
  const stream = {
    write: (line: string) => void faults.push((JSON.parse(line) as { err?: { message: string } }).err?.message ?? ''),
  }
  const app = Fastify({ ...fastifyOptions, logger: { level: 'error', stream } })
  await app.register(perihelion, { trustClientSession: true, ...options })
  await app.ready()
  t.teardown(() => app.close())
  const post = async (messages: readonly object[]): Promise<{ status: number; replies: Reply[] }> => {
    const { statusCode, body } = await app.inject({ method: 'POST', url: '/cometd', payload: JSON.stringify(messages) })
    return { status: statusCode, replies: body === '' ? [] : (JSON.parse(body) as Reply[]) }
  }
  const join = async (): Promise<(message: object) => Promise<{ status: number; replies: Reply[] }>> => {
    const { replies } = await post([{ channel: '/meta/handshake', id: '1' }])
    const { clientId } = replies[0]!
    return message => post([{ clientId, id: '2', ...message }])
  }
  return { app, bayeux: app.bayeux as Bayeux, faults, post, join }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(resolve => setImmediate(resolve))
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turns(1)
}

const cyclic: Record<string, unknown> = {}
cyclic['self'] = cyclic

t.test('a policy that answers nonsense refuses, at once or later, and is logged', async t => {
  const { bayeux, faults, join } = await serve()
  const say = await join()
  for (const nonsense of [undefined, null, 'yes', 1, {}, { deny: 5 }] as never[]) {
    for (const canPublish of [() => nonsense, async () => nonsense]) {
      bayeux.policy({ canPublish })
      const { replies } = await say({ channel: '/a', data: 1 })
      t.equal(replies[0]?.error, '403:denied_by_security_policy:publish_denied', String(nonsense))
    }
  }
  t.equal(faults.length, 12)
  bayeux.policy({})
  bayeux.authorize('/b', () => undefined as never)
  t.equal((await say({ channel: '/b', data: 1 })).replies[0]?.error, '403:internal:publish_denied', 'an authorizer too')
})

t.test('a policy that does not answer refuses after policyTimeout, and the session outlives the wait', async t => {
  const { bayeux, faults, join } = await serve({ policyTimeout: 300, maxInterval: 50 })
  const say = await join()
  bayeux.policy({ canPublish: () => new Promise(() => {}) })
  const [published, behind] = await Promise.all([
    say({ channel: '/a', data: 1 }),
    say({ channel: '/meta/subscribe', subscription: '/b' }),
  ])
  t.equal(published.replies[0]?.error, '403:denied_by_security_policy:publish_denied')
  t.equal(behind.replies[0]?.successful, true, 'what waited behind it goes on in the same session')
  t.match(faults[0], /did not answer/)
})

t.test('closing answers what waits for a policy, and holds nothing that comes after', async t => {
  const { app, bayeux, join } = await serve({ policyTimeout: 60_000 })
  const say = await join()
  await say({ channel: '/meta/connect' })
  let asked = 0
  let seen = 0
  bayeux.use({ incoming: () => void seen++ })
  bayeux.policy({
    canPublish: () => {
      asked++
      return new Promise(() => {})
    },
  })
  const published = say({ channel: '/a', data: 1 })
  await until(() => asked === 1)
  const behind = say({ channel: '/meta/connect' })
  await turns(50)
  t.equal(seen, 1, 'the connect waits behind the publish')
  await app.close()
  t.equal((await published).replies[0]?.successful, false)
  t.equal((await behind).replies[0]?.successful, true, 'the connect behind it is not held')
})

t.test('closing answers the held connect of a session that was removed', async t => {
  const { app, bayeux, join } = await serve()
  const say = await join()
  await say({ channel: '/meta/connect' })
  const held = say({ channel: '/meta/connect' })
  await until(() => bayeux.stats().held === 1)
  for (const session of bayeux.sessions()) session.remove()
  await app.close()
  t.equal((await held).replies[0]?.advice?.['reconnect'], 'none')
})

t.test('a listener that spoils a message costs its publisher a 500, and nobody else anything', async t => {
  const { bayeux, faults, join } = await serve()
  const say = await join()
  bayeux.on('/spoiled', message => {
    ;(message as Record<string, unknown>)['data'] = cyclic
  })
  t.same(await say({ channel: '/spoiled', data: 1 }), { status: 500, replies: [] })
  t.equal((await say({ channel: '/sound', data: 1 })).replies[0]?.successful, true, 'the session goes on')
  t.match(faults[0], /circular/)
})

t.test('an extension that throws or spoils a message changes nothing, and those behind it still see all', async t => {
  const { bayeux, join } = await serve()
  const say = await join()
  bayeux.use({
    incoming: () => {
      throw new Error('incoming')
    },
    outgoing: (_session, message) => {
      message['data'] = cyclic
      if (message['channel'] !== '/a') throw new Error('outgoing')
    },
  })
  bayeux.use({ incoming: (_session, message) => message['channel'] !== '/secret' })
  t.equal((await say({ channel: '/secret', data: 1 })).replies[0]?.error, '404::message_deleted')
  await say({ channel: '/meta/subscribe', subscription: '/a' })
  const { replies } = await say({ channel: '/a', data: 1 })
  t.same(
    replies.map(reply => reply.data ?? reply.successful),
    [1, true],
    'delivered and answered as it was',
  )
})

t.test('a service that fails in any way is answered, and a rejected listener is only logged', async t => {
  const { bayeux, faults, join } = await serve()
  const say = await join()
  bayeux.service('/service/spoiled', () => {
    throw new ServiceError(cyclic)
  })
  // biome-ignore lint/suspicious/noThenProperty: a thenable that is no promise is what is tested
  bayeux.service('/service/query', () => ({ then: (done: (rows: unknown) => void) => done(['row']) }))
  bayeux.on('/late', (async () => {
    throw new Error('late')
  }) as never)
  t.match((await say({ channel: '/service/spoiled' })).replies[0], { successful: false, data: { error: 'internal' } })
  t.equal((await say({ channel: '/late', data: 1 })).replies[0]?.successful, true)
  await say({ channel: '/service/query' })
  await new Promise(resolve => setImmediate(resolve))
  t.match((await say({ channel: '/x', data: 1 })).replies[0]?.data, ['row'], 'any thenable is awaited')
  t.match(faults, [/circular/, 'late'])
})

t.test('a service answers on a channel that is longer than the default allows', async t => {
  const { bayeux, join } = await serve({ maxChannelLength: 4_096 })
  bayeux.service('/service/**', data => data)
  const say = await join()
  t.equal((await say({ channel: `/service/${'a'.repeat(2_000)}`, data: 7 })).replies[0]?.data, 7)
})

t.test('a listener of the end of a session may end it again', async t => {
  const { bayeux, join } = await serve()
  const say = await join()
  let ends = 0
  bayeux.on('removed', session => {
    ends++
    session.disconnect()
  })
  t.equal((await say({ channel: '/meta/disconnect' })).replies[0]?.successful, true)
  t.equal(ends, 1)
})

t.test('a subscriber on a sound socket is not slow because a turn is long', async t => {
  const app = Fastify({ ...fastifyOptions })
  await app.register(perihelion, { maxQueue: 100 })
  t.teardown(() => app.close())
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = new WebSocket(`${origin.replace('http', 'ws')}/cometd`)
  t.teardown(() => socket.terminate())
  await new Promise(resolve => socket.once('open', resolve))
  const next = (): Promise<Reply[]> => new Promise(resolve => socket.once('message', data => resolve(JSON.parse(String(data)))))
  const ask = (message: object): Promise<Reply[]> => {
    socket.send(JSON.stringify([message]))
    return next()
  }
  const [{ clientId }] = (await ask({ channel: '/meta/handshake', id: '1' })) as [Reply]
  await ask({ channel: '/meta/subscribe', clientId, id: '2', subscription: '/a' })
  const got: unknown[] = []
  const all = new Promise<void>(resolve => {
    socket.on('message', data => {
      got.push((JSON.parse(String(data)) as Reply[])[0]?.data)
      if (got.length === 1_000) resolve()
    })
  })
  for (let i = 0; i < 1_000; i++) app.bayeux.publish('/a', i)
  await all
  t.same(
    got,
    Array.from({ length: 1_000 }, (_, i) => i),
  )
})

t.test('a peer that sends and does not read is not read either', async t => {
  const app = Fastify({ ...fastifyOptions })
  await app.register(perihelion, { trusted: true })
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => void socket.destroy())
  socket.on('error', () => {})
  socket.write(
    'GET /cometd HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  )
  await new Promise(resolve => socket.once('data', resolve))
  socket.pause()
  const text = `[${'{},'.repeat(999)}{}]`
  const frame = Buffer.alloc(8 + text.length)
  frame.set([0x81, 0xfe, text.length >> 8, text.length & 255, 0, 0, 0, 0])
  frame.write(text, 8)
  let sent = 0
  await new Promise<void>(resolve => {
    const more = (): void => {
      while (sent < 50_000_000) {
        sent += frame.length
        if (!socket.write(frame)) return
      }
      resolve()
    }
    socket.on('drain', more)
    more()
    setTimeout(resolve, 2_000)
  })
  t.ok(sent < 50_000_000, 'its socket stalls')
  t.ok(process.memoryUsage().external < 100_000_000, 'what waits for it is bounded')
})

/** A bare WebSocket on its server, without a client that would do anything by itself. */
async function bareSocket(port: number) {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => void socket.destroy())
  socket.on('error', () => {})
  let got = Buffer.alloc(0)
  socket.on('data', chunk => {
    got = Buffer.concat([got, chunk])
  })
  const closed = new Promise<void>(resolve => socket.on('close', () => resolve()))
  socket.write(
    'GET /cometd HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  )
  await until(() => got.includes('\r\n\r\n'))
  return { socket, closed, got: () => got }
}

const masked = (opcode: number, text: string): Buffer =>
  Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)])

t.test('a socket with much to say lets others speak in between', async t => {
  const app = Fastify({ ...fastifyOptions })
  await app.register(perihelion, { trusted: true })
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const { socket, got } = await bareSocket(port)
  let now = 0
  let most = 0
  let all = 0
  app.bayeux.on('/meta/handshake', () => {
    most = Math.max(most, ++now)
    all++
    return false
  })
  const turn = (): void => {
    now = 0
    if (all < 40_000) setImmediate(turn)
  }
  turn()
  const frame = masked(1, '{"channel":"/meta/handshake"}')
  socket.write(Buffer.concat(Array<Buffer>(40_000).fill(frame)))
  await until(() => all === 40_000)
  t.ok(most <= (2 * 65_536) / frame.length, `at most ${most} messages in a turn`)
  await until(() => got().length > 40_000)
})

t.test('a socket that says nothing very often is closed, and cut when it goes on', async t => {
  const app = Fastify({ ...fastifyOptions })
  await app.register(perihelion)
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  const nothings = { pings: masked(9, ''), pongs: masked(10, ''), 'keep-alives': masked(1, '[]'), binary: masked(2, 'x') }
  for (const [what, frame] of Object.entries(nothings)) {
    const { socket, closed, got } = await bareSocket(port)
    const end = (): number => got().indexOf(Buffer.from([0x88, 0x0e, 1008 >> 8, 1008 & 255]))
    for (let i = 0; i < 250; i++) {
      socket.write(Buffer.concat(Array<Buffer>(20).fill(frame)))
      await turns(2)
    }
    socket.write(masked(1, '[{"channel":"/meta/handshake"}]'))
    await until(() => got().includes('clientId'))
    t.equal(end(), -1, `five thousand ${what} are none too many`)
    socket.write(frame)
    await until(() => end() !== -1)
    const { length } = frame
    socket.write(Buffer.concat(Array<Buffer>(Math.ceil(200_000 / length)).fill(frame)))
    await closed
  }
  t.equal(app.bayeux.limits()['maxMessageRate'], 4)
})

t.test('a large answer that nobody reads is not kept for ever', async t => {
  const app = Fastify({ ...fastifyOptions, requestTimeout: 500 })
  await app.register(perihelion, { trustClientSession: true, maxInterval: 400, maxQueueBytes: 20_000_000 })
  t.teardown(() => app.close())
  const url = `${await app.listen({ port: 0, host: '127.0.0.1' })}/cometd`
  const [{ clientId }] = JSON.parse((await post(url, '[{"channel":"/meta/handshake"}]')).body) as [Reply]
  const session = app.bayeux.session(clientId!)!
  const text = 'x'.repeat(1_000_000)
  for (let i = 0; i < 15; i++) session.deliver('/private', text)
  const socket = connect(Number(new URL(url).port), '127.0.0.1').pause()
  t.teardown(() => void socket.destroy())
  socket.on('error', () => {})
  const open = (): Promise<number> => new Promise(resolve => app.server.getConnections((_error, count) => resolve(count)))
  const message = JSON.stringify([{ channel: '/meta/connect', clientId }])
  const { arrayBuffers } = process.memoryUsage()
  socket.write(`POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: ${message.length}\r\n\r\n${message}`)
  await until(() => app.bayeux.stats().queued === 0)
  t.equal(await open(), 2, 'it is on its way')
  const more = process.memoryUsage().arrayBuffers - arrayBuffers
  t.ok(more < 1.2 * 15_000_000, `and takes no more than its bytes: ${more}`)
  while ((await open()) > 1) await new Promise(resolve => setTimeout(resolve, 20))
  t.equal(app.bayeux.stats().sessions, 0, 'as is its session')
})

t.test('injectWS reaches the server without a port', async t => {
  const { app } = await serve()
  const socket = await app.injectWS('/cometd')
  t.teardown(() => socket.terminate())
  const answer = new Promise(resolve => socket.once('message', data => resolve(JSON.parse(String(data)))))
  socket.send('[{"channel":"/meta/handshake","id":"1"}]')
  t.match(await answer, [{ id: '1', successful: true }])
})

t.test('a WebSocket that goes away, with a close or without, is reported: its connect is held no longer', async t => {
  const app = Fastify({ ...fastifyOptions })
  await app.register(perihelion)
  t.teardown(() => app.close())
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  for (const leave of ['close', 'terminate'] as const) {
    const socket = new WebSocket(`${origin.replace('http', 'ws')}/cometd`)
    await new Promise(resolve => socket.once('open', resolve))
    const ask = (message: object): Promise<Reply[]> => {
      socket.send(JSON.stringify([message]))
      return new Promise(resolve => socket.once('message', data => resolve(JSON.parse(String(data)))))
    }
    const [{ clientId }] = (await ask({ channel: '/meta/handshake', id: '1' })) as [Reply]
    await ask({ channel: '/meta/connect', clientId, id: '2' })
    socket.send(JSON.stringify([{ channel: '/meta/connect', clientId, id: '3' }]))
    await until(() => app.bayeux.stats().held === 1)
    socket[leave]()
    await until(() => app.bayeux.stats().held === 0)
    t.ok(app.bayeux.session(clientId!)?.alive, `${leave}: the session lives on for its time`)
    app.bayeux.session(clientId!)?.expire()
  }
})

t.test('a write that throws costs its own connection, and nobody else anything', t => {
  const turns: (() => void)[] = []
  const { setImmediate: ordinary } = globalThis
  globalThis.setImmediate = ((turn: () => void) => turns.push(turn)) as never
  try {
    const host = new Host({}, {}, 1_000)
    const told: unknown[] = []
    host.observer = new Proxy({}, { get: (_, name) => (name === 'fault' ? told.push.bind(told) : () => true) }) as never
    const got: string[] = []
    const ended: Ending[] = []
    const join = (write: Peer['write']): void => {
      let reply = ''
      const peer: Peer = {
        writable: true,
        token: null,
        end: ending => ended.push(ending),
        pause: () => undefined,
        write: (_connection, head, _messages, tail) => {
          reply = head + tail
        },
      }
      const connection = host.open({ transport: 'websocket', browser: null, address: '', http2: false, context: null }, peer)
      host.receive(connection, ['[{"channel":"/meta/handshake"}]'])
      const { clientId } = JSON.parse(reply) as Reply
      host.receive(connection, [JSON.stringify([{ channel: '/meta/subscribe', clientId, subscription: '/a' }])])
      peer.write = write
    }
    const broken = new Error('broken')
    join(() => {
      throw broken
    })
    join((_connection, _head, messages) => {
      got.push(...messages.map(message => message.json))
    })
    host.engine.server.publish('/a', 1, {}, null, host.now())
    turns.shift()!()
    t.same(told, [broken])
    t.same(ended, ['failed'])
    t.same(got, ['{"channel":"/a","data":1}'])
    host.engine.server.publish('/a', 2, {}, null, host.now())
    t.equal(turns.length, 1, 'and what comes later is flushed as ever')
  } finally {
    globalThis.setImmediate = ordinary
  }
  t.end()
})

t.test('a header that a hook has spoiled costs its request: 500, at once and for a held connect', async t => {
  const app = Fastify({ ...fastifyOptions, forceCloseConnections: true })
  await app.register(perihelion, { trustClientSession: true })
  let spoiled = false
  app.addHook('onRequest', async (_request, reply) => {
    if (spoiled) reply.header('x-spoiled', 'a\nb')
  })
  t.teardown(() => app.close())
  const url = `${await app.listen({ port: 0, host: '127.0.0.1' })}/cometd`
  const [{ clientId }] = JSON.parse((await post(url, '[{"channel":"/meta/handshake"}]')).body) as [Reply]
  const connectMessage = JSON.stringify([{ channel: '/meta/connect', clientId }])
  await post(url, connectMessage)
  spoiled = true
  t.match(await post(url, '[{"channel":"/meta/handshake"}]'), { status: 500, body: '' })
  const held = post(url, connectMessage)
  await until(() => app.bayeux.stats().held === 1)
  app.bayeux.session(clientId!)!.deliver('/private', 1)
  t.match(await held, { status: 500, body: '' })
  spoiled = false
  const again = JSON.stringify([{ channel: '/meta/connect', clientId, advice: { timeout: 0 } }])
  t.match(JSON.parse((await post(url, again)).body), [{ successful: true }], 'the session and the server live on')
})
