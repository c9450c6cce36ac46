// A listening server to shoot at, TCP connections on which anything may be said to it, and what of it must be as before when all is over.
//
// Knows: how the server is started, here and nowhere else. Does not know: what is said, and what is a good answer.

import assert from 'node:assert/strict'
import http from 'node:http'
import net from 'node:net'
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import Fastify, { type FastifyInstance } from 'fastify'
import { fastifyOptions, type PerihelionOptions, perihelion } from '../../lib/index.js'
import { emptyError } from '../../lib/plugin.js'
import { refuse } from '../../lib/polling.js'
import { request, WireSocket } from '../support/wire.js'
import { brief, type Cast, type Talk } from './case.js'
import { TIMEOUT } from './envelope.js'
import { prototypes } from './envelopes.js'
import { Healthy } from './healthy.js'

/** Longer than any right answer, or any end, takes, ms. */
const LIMIT = 15_000
const PATH = '/cometd'
const COOKIE = 'BAYEUX_BROWSER=hostile'
const HANDSHAKE = { channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['long-polling', 'websocket'] }
/** Sessions of cases before that are kept for others to try. */
const OTHERS = 3
/** Short times, so that held requests end by themselves; a status of its own for superseded ones, so that no 5xx is right. */
const OPTIONS: PerihelionOptions = {
  trusted: true, // all cases come from one address, as fast as they can
  maxBrowserSessions: 0,
  maxChannelSegments: 512,
  timeout: TIMEOUT,
  maxTimeout: 300,
  maxInterval: 5_000,
  maxLazyTimeout: 50,
  sweepPeriod: 50,
  allowUnknownCallbackOrigin: true,
  maxSessionsPerBrowser: -1,
  duplicateMetaConnectHttpResponseCode: 409,
}

type Stats = ReturnType<FastifyInstance['bayeux']['stats']>

export class Target {
  readonly healthy: Healthy
  readonly url: string
  readonly #agent = new http.Agent({ keepAlive: true })
  /** The server's side of all connections. */
  readonly #sockets = new Set<net.Socket>()
  /** The server as it was before anybody came, and with the healthy clients. */
  readonly #empty: Stats
  #joined!: Stats
  readonly #before = [prototypes(), listening()]
  readonly #others = Array<string>(OTHERS).fill('nobody')
  readonly #note = (reason: unknown): void =>
    void this.faults.push(reason instanceof Error ? (reason.stack ?? reason.message) : String(reason))

  private constructor(
    readonly app: FastifyInstance,
    origin: string,
    /** What the server said of itself in its log, and what Node says of a program: rejections that nobody handles, warnings. */
    readonly faults: string[],
  ) {
    this.url = origin + PATH
    this.healthy = new Healthy(this.url)
    this.#empty = app.bayeux.stats()
    app.server.on('connection', (socket: net.Socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
    process.on('unhandledRejection', this.#note).on('warning', this.#note)
  }

  /** A server, and clients of it that mean well. `direct`: whether its long-polling goes past Fastify. */
  static async start(direct: boolean): Promise<Target> {
    const faults: string[] = []
    const app: FastifyInstance = Fastify({
      ...fastifyOptions,
      forceCloseConnections: true,
      logger: { level: 'error', stream: { write: (line: string) => void faults.push(line) } },
    })
    await app.register(perihelion, { ...OPTIONS, path: PATH, direct })
    app.setErrorHandler(emptyError)
    app.setNotFoundHandler((_request, reply) => refuse(reply, 404))
    app.bayeux.service('/service/echo', data => data)
    app.bayeux.service('/service/kick', (_data, session) => session.disconnect())
    app.bayeux.service('/service/forget', (_data, session) => session.expire())
    const target = new Target(app, await app.listen({ port: 0, host: '127.0.0.1' }), faults)
    await target.healthy.join()
    await target.healthy.check()
    target.#joined = app.bayeux.stats()
    return target
  }

  /** Sessions for the next case. */
  async cast(): Promise<Cast> {
    const own = await this.#handshake(COOKIE)
    const cast = { own, others: [...this.#others], healthy: this.healthy.clientIds[own.charCodeAt(0) % 3]! }
    this.#others.shift()
    this.#others.push(own)
    return cast
  }

  /** Says all of a talk on a connection of its own. @returns all that the server said. @throws {AssertionError} it does not end the connection */
  async say({ pieces, after }: Talk): Promise<Buffer> {
    const chunks: Buffer[] = []
    const socket = net.connect({ port: Number(new URL(this.url).port), host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    const ended = new Promise<boolean>(resolve => {
      const limit = setTimeout(() => resolve(false), LIMIT)
      const end = (): void => {
        clearTimeout(limit)
        resolve(true)
      }
      socket.on('error', () => {}) // 'close' follows
      socket.on('data', chunk => chunks.push(chunk))
      socket.on('end', end)
      socket.on('close', end)
    })
    for (const piece of pieces) {
      socket.write(piece)
      if (pieces.length > 1) await turn()
    }
    if (after === 'half') socket.end()
    else if (after === 'reset') setTimeout(() => socket.resetAndDestroy(), 5)
    const inTime = await ended
    socket.destroy()
    const said = Buffer.concat(chunks)
    assert(inTime, `the server does not end the connection; it said ${brief(said.toString('latin1'), 1_000)}`)
    return said
  }

  /**
   * Holds that nothing is left but the healthy clients once the sessions of the others have expired, that new clients are served, and that nothing at
   * all is left when the healthy clients are gone; then ends the server.
   */
  async settle(): Promise<void> {
    const { app, healthy } = this
    const kept = ({ sessions, channels, subscriptions, queued }: Stats): number[] => [sessions, channels, subscriptions, queued]
    await until(() => String(kept(app.bayeux.stats())) === String(kept(this.#joined)))
    assert.deepEqual(kept(app.bayeux.stats()), kept(this.#joined), 'sessions, channels, subscriptions and queues are gone')
    await this.#fresh()
    await healthy.check()
    await healthy.leave()
    this.#agent.destroy()
    await until(() => this.#sockets.size === 0 && JSON.stringify(app.bayeux.stats()) === JSON.stringify(this.#empty))
    assert.deepEqual(app.bayeux.stats(), this.#empty, 'nothing is left of anybody')
    assert.equal(this.#sockets.size, 0, 'connections are left')
    assert.equal(app.websocketServer.clients.size, 0, 'WebSockets are left')
    await this.close()
    assert.deepEqual([prototypes(), listening()], this.#before, 'a prototype was touched, or a listener is left')
    assert.deepEqual(this.faults, [], 'faults of the server')
  }

  /** Ends the server, whatever is left on it. */
  async close(): Promise<void> {
    process.off('unhandledRejection', this.#note).off('warning', this.#note)
    for (const socket of this.#sockets) socket.destroy()
    await this.app.close()
  }

  async #handshake(cookie: string): Promise<string> {
    const [{ clientId }] = (await this.#post([HANDSHAKE], cookie)) as [{ clientId: string }]
    return clientId
  }

  async #post(messages: readonly object[], cookie: string): Promise<unknown> {
    const headers = { cookie, 'content-type': 'application/json' }
    const { body } = await request(this.url, { method: 'POST', agent: this.#agent, headers }, JSON.stringify(messages)).answer
    return JSON.parse(body)
  }

  /** A fresh client on each way is served as ever. */
  async #fresh(): Promise<void> {
    const cookie = 'BAYEUX_BROWSER=fresh'
    const socket = await new WireSocket(this.url).open()
    socket.send(JSON.stringify([HANDSHAKE]))
    const [{ clientId }] = (await socket.next()) as [{ clientId: string }]
    socket.send(JSON.stringify([{ channel: '/meta/subscribe', clientId, subscription: '/fresh' }]))
    await socket.next()
    const publisher = await this.#handshake(cookie)
    const leaves = (id: string): object => ({ channel: '/meta/disconnect', clientId: id })
    const published = await this.#post([{ channel: '/fresh', clientId: publisher, data: 'hello' }], cookie)
    assert.deepEqual(published, [{ channel: '/fresh', successful: true }], 'a fresh client publishes over HTTP')
    assert.deepEqual(await socket.next(), [{ channel: '/fresh', data: 'hello' }], 'and one on a WebSocket gets it')
    await this.#post([leaves(publisher)], cookie)
    socket.send(JSON.stringify([leaves(clientId)]))
    await socket.next()
    socket.cut()
  }
}

/** Listeners on what all of a process shares. */
function listening(): unknown[] {
  return process.eventNames().map(name => [name, process.listenerCount(name)])
}

/** Waits for a condition, in vain up to LIMIT. */
async function until(condition: () => boolean): Promise<void> {
  for (const end = Date.now() + LIMIT; Date.now() < end && !condition(); ) await delay(20)
}

/** Bytes of the heap after a full collection. */
export async function heap(): Promise<number> {
  collect()
  await delay(20) // what finalizers and closed handles still hold goes with the second
  collect()
  return process.memoryUsage().heapUsed
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
