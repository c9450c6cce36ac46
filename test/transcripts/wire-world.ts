// A transcript's world with sockets: a listening server, node:http and ws as clients. Only the clock of its host is moved by hand.

import Fastify, { type FastifyInstance } from 'fastify'
import { Host } from '../../lib/host.js'
import { type Bayeux, type Extra, fastifyOptions, type PerihelionOptions, perihelion, type Stats } from '../../lib/index.js'
import type { BayeuxSession } from '../../lib/session.js'
import { get, type HttpCall, request, WireSocket } from '../support/wire.js'
import type { Json } from './pattern.js'
import type { Endpoint, Item, Setup, World } from './world.js'

/** Time as the hosts of this process see it. */
const clock = { now: 1_700_000_000_000, host: null as Host | null }

Host.prototype.now = function (this: Host): number {
  clock.host = this
  return clock.now
}

/** Moves the clock of the server that was used last. */
export function advanceClock(ms: number): void {
  const { host } = clock
  const until = clock.now + ms
  while (host !== null && host.engine.deadline <= until) {
    clock.now = Math.max(clock.now, host.engine.deadline)
    host.engine.tick(clock.now)
    host.engine.flush(clock.now)
  }
  clock.now = until
}

export const makeWireWorld: MakeWireWorld = (...args) => wireWorld(false, ...args)

/** The same on the direct road of long-polling, whose plain twin is the road through Fastify. */
export const makeDirectWorld: MakeWireWorld = (...args) => wireWorld(true, ...args)

export type MakeWireWorld = (options: Json, setups: readonly Setup[], browser: readonly string[]) => Promise<WireWorld>

async function wireWorld(
  direct: boolean,
  options: Json,
  setups: readonly Setup[],
  browser: readonly string[],
): Promise<WireWorld> {
  const app: FastifyInstance = Fastify({ ...fastifyOptions, forceCloseConnections: true })
  await app.register(perihelion, { allowUnknownCallbackOrigin: true, ...(options as PerihelionOptions), direct })
  app.get('/barrier', async () => '')
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return new WireWorld(app, url, setups, browser)
}

export class WireWorld implements World {
  readonly #bayeux: Bayeux
  readonly #inboxes = new Map<string, { at: Endpoint; items: Item[] }>()
  readonly #sockets = new Map<string, WireSocket>()
  readonly #read = new Map<WireSocket, { at: Endpoint; cut: boolean; ended: boolean }>()
  readonly #requests = new Map<HttpCall, Endpoint>()
  readonly #cookies = new Map<string, string>()
  #sent = 0
  #arrived = 0
  #callbacks = 0

  constructor(
    private readonly app: FastifyInstance,
    readonly origin: string,
    setups: readonly Setup[],
    private readonly shared: readonly string[],
  ) {
    this.#bayeux = app.bayeux
    app.server.on('request', () => {
      this.#arrived++
    })
    for (const setup of setups) this.#setUp(setup)
  }

  #setUp({ policy, incoming, listeners, authorizers, overflow }: Setup): void {
    const { handshake, create, subscribe, publish } = policy ?? {}
    this.#bayeux.policy({
      ...(handshake === undefined ? null : { canHandshake: () => handshake() as boolean }),
      ...(create === undefined ? null : { canCreate: (_session, channel) => create(channel) as boolean }),
      ...(subscribe === undefined ? null : { canSubscribe: (_session, channel) => subscribe(channel) as boolean }),
      ...(publish === undefined ? null : { canPublish: (_session, channel) => publish(channel) as boolean }),
    })
    if (incoming !== undefined) this.#bayeux.use({ incoming: (_session, message) => incoming(message) })
    for (const [channel, listener] of Object.entries(listeners ?? {}))
      this.#bayeux.on(channel as '/', (message, session) => listener(message, session?.id ?? null, this))
    for (const [pattern, authorizer] of Object.entries(authorizers ?? {})) this.#bayeux.authorize(pattern as '/', authorizer)
    if (overflow !== undefined) this.#bayeux.on('queueMaxed', () => (overflow() === 'drop' ? 'drop' : undefined))
  }

  async send(from: Endpoint, text: string, cookie: string | null): Promise<void> {
    if (from.via === 'ws') {
      await this.openSocket(from, cookie)
      this.#sockets.get(keyOf(from))!.send(text)
    } else this.#request(from, text, cookie)
    await this.settle()
  }

  #request(from: Endpoint, text: string, cookie: string | null): void {
    const headers = cookie === null ? {} : { cookie: `other=1; BAYEUX_BROWSER=${cookie}` }
    const callback = `cb${this.#callbacks++}`
    const call =
      from.via === 'cb'
        ? request(`${this.origin}/cometd/?jsonp=${callback}&message=${encodeURIComponent(text)}`, { headers }, null)
        : request(
            `${this.origin}/cometd`,
            { method: 'POST', headers: { ...headers, 'content-type': 'application/json;charset=UTF-8' } },
            text,
          )
    this.#sent++
    this.#requests.set(call, from)
    call.answer.then(
      ({ status, headers, body }) => {
        this.#requests.delete(call)
        const [set] = headers['set-cookie'] ?? []
        if (set !== undefined) this.#cookies.set(this.#browserOf(from.client), /^BAYEUX_BROWSER=(\w+)/.exec(set)![1]!)
        if (status !== 200) this.inbox(from).push({ kind: 'status', status: body === '' ? status : -status })
        else {
          const json = from.via === 'cb' ? scriptArgument(body, callback) : body
          this.inbox(from).push({ kind: 'messages', messages: JSON.parse(json) as Json[] })
        }
      },
      () => this.#requests.delete(call),
    )
  }

  inbox(at: Endpoint): Item[] {
    const key = keyOf(at)
    const box = this.#inboxes.get(key) ?? { at, items: [] }
    this.#inboxes.set(key, box)
    return box.items
  }

  endpoints(): Endpoint[] {
    return [...this.#inboxes.values()].map(({ at }) => at)
  }

  cookieOf(client: string): string | null {
    return this.#cookies.get(this.#browserOf(client)) ?? null
  }

  async cut(client: string): Promise<void> {
    for (const [call, at] of this.#requests) if (at.client === client) call.cut()
    for (const [socket, entry] of this.#read) {
      if (entry.at.client !== client || socket.code !== null) continue
      entry.cut = true
      socket.cut()
    }
    await this.settle()
    await this.settle()
  }

  async openSocket(at: Endpoint, cookie: string | null, protocols: string[] = []): Promise<string> {
    const existing = this.#sockets.get(keyOf(at))
    if (existing !== undefined && existing.ws.readyState <= 1) return existing.ws.protocol || 'none'
    const headers = cookie === null ? {} : { cookie: `BAYEUX_BROWSER=${cookie}` }
    const socket = new WireSocket(`${this.origin}/cometd`, headers, protocols)
    try {
      await socket.open()
    } catch {
      return 'refused'
    }
    this.#sockets.set(keyOf(at), socket)
    this.#read.set(socket, { at, cut: false, ended: false })
    return socket.ws.protocol || 'none'
  }

  isOpen(at: Endpoint): boolean {
    return this.#sockets.get(keyOf(at))?.code === null
  }

  /** Every request has come to the server, and what it then wrote has come back: two trips by the same way take longer than one. */
  async settle(): Promise<void> {
    for (let tries = 0; this.#arrived < this.#sent && tries < 500; tries++) await new Promise(setImmediate)
    for (let trip = 0; trip < 2; trip++) {
      this.#sent++
      await get(`${this.origin}/barrier`)
      for (const socket of this.#sockets.values()) await socket.roundTrip()
    }
    for (const [socket, entry] of this.#read) {
      for (const frame of socket.frames.splice(0))
        this.inbox(entry.at).push({ kind: 'messages', messages: JSON.parse(frame) as Json[] })
      if (socket.code === null || entry.ended) continue
      entry.ended = true
      if (!entry.cut) this.inbox(entry.at).push({ kind: 'close', code: socket.code })
    }
  }

  async advance(ms: number): Promise<void> {
    advanceClock(ms)
    await this.settle()
  }

  now(): number {
    return clock.now
  }

  stats(): Stats {
    return this.#bayeux.stats()
  }

  publish(channel: string, data: unknown, extra: Extra): void {
    this.#bayeux.publish(channel, data, extra)
  }

  deliver(clientId: string, channel: string, data: unknown, extra: Extra): void {
    this.#session(clientId).deliver(channel, data, extra)
  }

  kick(clientId: string): void {
    this.#session(clientId).disconnect()
  }

  remove(clientId: string): void {
    this.#session(clientId).remove()
  }

  async close(): Promise<void> {
    for (const call of this.#requests.keys()) call.cut()
    for (const socket of this.#sockets.values()) socket.cut()
    await this.app.close()
  }

  #session(clientId: string): BayeuxSession {
    const session = this.#bayeux.session(clientId)
    if (session === undefined) throw new RangeError(`no session ${clientId}`)
    return session
  }

  #browserOf(client: string): string {
    return this.shared.includes(client) ? this.shared.join() : client
  }
}

function keyOf({ client, via, socket }: Endpoint): string {
  return `${client}:${via}#${socket}`
}

/** What the script hands to the function of that name. @throws {Error} it does anything else */
export function scriptArgument(script: string, callback: string): string {
  let argument: unknown
  new Function(callback, script)((value: unknown) => {
    argument = value
  })
  if (argument === undefined) throw new Error(`not a call of ${callback}: ${script}`)
  return JSON.stringify(argument)
}
