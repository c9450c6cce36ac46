// A transcript's world without sockets: the bare engine, its sink, and a clock that stands still until it is moved.

import {
  type ChannelRules,
  type Connection,
  type Ending,
  Engine,
  type Extra,
  engineOptions,
  type FrozenMessage,
  isOption,
  type Question,
  type Session,
  type Sink,
  type Stats,
  type Verdict,
} from '../../bayeux/index.js'
import type { Json } from './pattern.js'
import { TRANSPORTS } from './play.js'
import type { Endpoint, Item, Setup, World } from './world.js'

const CLOSINGS: Readonly<Record<Ending, number>> = {
  malformed: 1011,
  too_deep: 1011,
  too_many_keys: 1011,
  too_many_messages: 1009,
  failed: 500,
  superseded: 1000,
  destroyed: 1000,
  removed: 1000,
  going_away: 1001,
  rate_limited: 1008,
}

/** The other end of a connection. */
interface Peer {
  readonly at: Endpoint
  open: boolean
}

export async function makeEngineWorld(options: Json, setups: readonly Setup[], browser: readonly string[]): Promise<World> {
  return new EngineWorld(options, setups, browser)
}

class EngineWorld implements World, Sink {
  readonly #engine: Engine
  readonly #inboxes = new Map<string, { at: Endpoint; items: Item[] }>()
  readonly #sockets = new Map<string, Connection>()
  /** Requests without an answer yet. */
  readonly #requests = new Set<Connection>()
  readonly #cookies = new Map<string, string>()
  readonly #duplicateStatus: number
  #now = 1_700_000_000_000
  #ids = 0
  #flushDue = false

  constructor(
    options: Json,
    private readonly setups: readonly Setup[],
    private readonly shared: readonly string[],
  ) {
    const { channels = {}, duplicateMetaConnectHttpResponseCode = 500, ...given } = options
    const own = Object.fromEntries(Object.entries(given).filter(([name]) => isOption(engineOptions, name)))
    this.#duplicateStatus = Number(duplicateMetaConnectHttpResponseCode)
    this.#engine = new Engine(own, channels as ChannelRules, this)
    const { server } = this.#engine
    for (const { policy, incoming, listeners, authorizers } of setups) {
      server.police({
        handshake: policy?.handshake !== undefined,
        create: policy?.create !== undefined,
        subscribe: policy?.subscribe !== undefined,
        publish: policy?.publish !== undefined,
      })
      if (incoming !== undefined) server.extend({ incoming: (_session, message) => incoming(message) })
      for (const [channel, listener] of Object.entries(listeners ?? {}))
        server.listen(channel, (message, session) => listener(message, session?.id ?? null, this))
      for (const [pattern, authorizer] of Object.entries(authorizers ?? {})) server.authorize(pattern, authorizer)
    }
  }

  async send(from: Endpoint, text: string, cookie: string | null): Promise<void> {
    const connection = from.via === 'ws' ? this.#socket(from, cookie) : this.#open(from, cookie)
    if (from.via !== 'ws') this.#requests.add(connection)
    if (connection.open) this.#engine.receive(connection, [text], this.#now)
    this.#flush()
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
    for (const connection of [...this.#requests, ...this.#sockets.values()]) {
      const peer = connection.peer as Peer
      if (peer.at.client !== client) continue
      peer.open = false
      this.#requests.delete(connection)
      this.#engine.closed(connection, this.#now)
    }
    this.#flush()
  }

  async openSocket(at: Endpoint, cookie: string | null): Promise<string> {
    this.#socket(at, cookie)
    return 'none'
  }

  isOpen(at: Endpoint): boolean {
    return this.#sockets.get(keyOf(at))?.open === true
  }

  async settle(): Promise<void> {
    this.#flush()
  }

  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    while (this.#engine.deadline <= until) {
      this.#now = Math.max(this.#now, this.#engine.deadline)
      this.#engine.tick(this.#now)
      this.#flush()
    }
    this.#now = until
  }

  now(): number {
    return this.#now
  }

  stats(): Stats {
    return this.#engine.server.stats()
  }

  publish(channel: string, data: unknown, extra: Extra): void {
    this.#engine.server.publish(channel, data, extra, null, this.#now)
  }

  deliver(clientId: string, channel: string, data: unknown, extra: Extra): void {
    this.#engine.server.deliver(this.#session(clientId), channel, data, extra, this.#now)
  }

  kick(clientId: string): void {
    this.#engine.server.disconnect(this.#session(clientId), this.#now)
  }

  remove(clientId: string): void {
    this.#engine.server.remove(this.#session(clientId), this.#now)
  }

  async close(): Promise<void> {
    // nothing is open
  }

  // the sink

  id(): string {
    return `engine0id0${String(this.#ids++)
      .padStart(16, '0')
      .split('')
      .reverse()
      .join('')}`
  }

  writable(connection: Connection): boolean {
    return (connection.peer as Peer).open
  }

  write(connection: Connection, head: string, messages: readonly FrozenMessage[], tail: string, together: boolean): void {
    const { at } = connection.peer as Peer
    const texts = messages.map(message => message.json)
    if (connection.browserIssued) this.#cookies.set(this.#browserOf(at.client), connection.browser!)
    if (at.via === 'ws') {
      for (const text of [head, ...(together ? [[...texts, tail].filter(Boolean).join()] : [...texts, tail])])
        if (text !== '') this.#arrive(at, text)
    } else {
      if (!this.#requests.delete(connection)) throw new Error('a request was answered twice')
      this.#arrive(at, [head, ...texts, tail].filter(Boolean).join())
    }
  }

  end(connection: Connection, ending: Ending): void {
    const peer = connection.peer as Peer
    if (peer.at.via === 'ws') {
      peer.open = false
      this.inbox(peer.at).push({ kind: 'close', code: CLOSINGS[ending] })
      return
    }
    if (!this.#requests.delete(connection)) throw new Error('a request was answered twice')
    const status =
      CLOSINGS[ending] === 1011 ? 400 : CLOSINGS[ending] === 1009 ? 413 : CLOSINGS[ending] === 1008 ? 429 : this.#duplicateStatus
    this.inbox(peer.at).push({ kind: 'status', status })
  }

  pause(): void {
    // nothing is read here that could wait
  }

  ask({ kind, channel }: Question): Verdict {
    for (const { policy } of this.setups) {
      if (kind === 'handshake' && policy?.handshake !== undefined) return policy.handshake()
      if (kind !== 'handshake' && kind !== 'renew' && policy?.[kind] !== undefined) return policy[kind](channel!)
    }
    return true
  }

  limited(): void {
    // counted by the host
  }

  filter(_kind: string, data: unknown): unknown {
    return data
  }

  flushSoon(): void {
    this.#flushDue = true
  }

  published(): void {
    // there is no other node
  }

  overflow(): 'drop' | 'remove' {
    return this.setups.find(setup => setup.overflow !== undefined)?.overflow?.() ?? 'remove'
  }

  sessionAdded(): void {}
  sessionRemoved(): void {}
  subscribed(): void {}
  unsubscribed(): void {}
  channelAdded(): void {}
  channelRemoved(): void {}

  fault(error: unknown): void {
    throw error
  }

  #arrive(at: Endpoint, text: string): void {
    this.inbox(at).push({ kind: 'messages', messages: JSON.parse(`[${text}]`) as Json[] })
  }

  #open(at: Endpoint, browser: string | null): Connection {
    const transport = TRANSPORTS[at.via] as 'long-polling' | 'callback-polling' | 'websocket'
    return this.#engine.open({ transport, browser, address: '127.0.0.1', http2: false, context: null }, { at, open: true })
  }

  #socket(at: Endpoint, cookie: string | null): Connection {
    const key = keyOf(at)
    const existing = this.#sockets.get(key)
    if (existing?.open === true) return existing
    const socket = this.#open(at, cookie)
    this.#sockets.set(key, socket)
    return socket
  }

  #flush(): void {
    while (this.#flushDue) {
      this.#flushDue = false
      this.#engine.flush(this.#now)
    }
  }

  #session(clientId: string): Session {
    const session = this.#engine.server.session(clientId)
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
