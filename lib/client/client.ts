// The client's API: promises, subscriptions and events over a line to the server.
//
// Knows: who subscribed to what, which promise waits for which message, how bytes travel, the application's extensions.
// Does not know: transports, deadlines, tries (link.ts), whether the session is shared with other tabs (shared-line.ts).
// Always true: every promise settles, at the latest with `close` or when the connection is given up; a message is given once to
// each subscription that covers its channel.

import { type BinaryData, binaryMessage, binaryOf } from '../../bayeux/binary.js'
import { usableChannels } from '../../bayeux/client.js'
import type { Place } from '../../bayeux/client-memory.js'
import { type ClientOptions, type ClientState, clientDefaults, type PeerMessage } from '../../bayeux/client-sink.js'
import { coveringNames } from '../../bayeux/covering.js'
import { ClientError } from './error.js'
import type { Extra, Line, LineEvents, LineFailure, Settings, TokenSource, TransportName } from './line.js'
import { Link } from './link.js'
import { type Message, Subscription } from './subscription.js'
import { type Surroundings, surroundings } from './surroundings.js'

/** From a channel or pattern to its data: `{ '/quotes/*': Quote, [room: `/room/${string}`]: Said }`. */
export type ChannelMap = Record<string, unknown>

type DataOf<Channels, Channel> = Channel extends keyof Channels ? Channels[Channel] : unknown
type Chosen<Data, Channels, Channel> = [Data] extends [never] ? DataOf<Channels, Channel> : Data

/** `closed` also before `connect`. `reconnecting`: it was connected, and comes back by itself. */
export type ConnectionState = 'closed' | 'connecting' | 'connected' | 'reconnecting' | 'closing'

export interface ConnectionStatus {
  readonly state: ConnectionState
  /** What carries the session, or would; null before `connect`. */
  readonly transport: TransportName | null
}

/** What the server could not give: `dropped` messages, of any channel, for which this client was too slow; or, where that is 0, what came behind the last message heard and is kept no more. */
export interface Gap {
  readonly channel: string
  readonly dropped: number
}

/** Where a subscription begins: with all that the server keeps, with what was published since a moment (epoch ms), or behind a message whose `ext.replay` this is. */
export type From = 'all' | { readonly at: number } | Place

export interface ClientEvents {
  state: ConnectionStatus
  /** Trouble of the connection, retried unless the state is `closed`; a subscription that was refused. */
  error: ClientError
  /** Something is missing before the next message of a channel or pattern; see `Gap`. */
  gap: Gap
  /** Every delivery, subscribed to or not. */
  message: Message
  /** Every reply of the server, those to handshake and connect too. */
  reply: PeerMessage
}

/** As CometD's: each function gives the message to go on with, which may be the same one changed, or null to drop an incoming one; nothing leaves it as it is. */
export interface ClientExtension {
  registered?(name: string, client: unknown): void
  unregistered?(): void
  incoming?(message: Record<string, unknown>): Record<string, unknown> | null | undefined | void
  outgoing?(message: Record<string, unknown>): Record<string, unknown> | null | undefined | void
}

/** Left out, or undefined: the default holds. */
type Maybe<T> = { readonly [Key in keyof T]?: T[Key] | undefined }

/** Defaults in brackets; lengths of time are ms. */
export interface Options extends Maybe<Omit<ClientOptions, 'connectionTypes' | 'restore'>> {
  /** In the order of preference [websocket, long-polling]. `callback-polling` where nothing else may be had. */
  readonly transports?: readonly TransportName[] | undefined
  /** Sent as `ext.token` with each handshake; a function is asked anew each time. */
  readonly token?: TokenSource | undefined
  /** Of every request; on WebSocket only from Node. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Sub-protocols of WebSocket. */
  readonly protocols?: readonly string[] | undefined
  /** Until a WebSocket that does not open or says nothing is given up for long-polling [4,000]. */
  readonly openTimeout?: number | undefined
  /** WebSocket is tried again after about base × 2ⁿ [10,000], at most max [300,000]. */
  readonly upgradeBase?: number | undefined
  readonly upgradeMax?: number | undefined
  /** With a server that keeps a history: go on behind the last message heard in later sessions too, and say again what has no answer, so that it is done once [true]. */
  readonly lasting?: boolean | undefined
  /** Keep the session over a reload of the page [true]. */
  readonly reload?: boolean | undefined
  /** Messages that may wait for the loop over a subscription [10,000]. */
  readonly maxBacklog?: number | undefined
}

/** Makes the line of a client to its session. */
export type LineMaker = (settings: Settings, token: TokenSource | undefined, around: Surroundings, on: LineEvents) => Line

const STATES: Partial<Record<ClientState, ConnectionState>> = {
  new: 'closed',
  connected: 'connected',
  disconnecting: 'closing',
  closed: 'closed',
}
const EARLY = 1_000 // deliveries that a page after its reload may get before it has subscribed again
const EARLY_FOR = 10_000

interface Waiting {
  resolve(reply: PeerMessage | null): void
  reject(error: ClientError): void
}

/** Subscriptions to one channel; the server knows of one. */
interface Subscribed {
  readonly subscriptions: Set<Subscription>
  readonly ready: Promise<void>
}

/**
 * A client of one Bayeux server: ours, CometD's or another's.
 *
 * What is published and subscribed before `connect`, or while the connection is broken, waits (at most `maxQueue` messages) and is
 * sent in order. Subscriptions are made again in each new session. Nothing here throws because of what the server sends.
 *
 * @typeParam Channels the data of each channel
 */
export class Client<Channels extends object = ChannelMap> {
  readonly #around: Surroundings
  readonly #line: Line
  readonly #maxBacklog: number
  readonly #listeners = new Set<readonly [name: string, listener: (event: never) => void]>()
  readonly #extensions = new Map<string, ClientExtension>()
  readonly #waiting = new Map<string, Waiting>()
  readonly #channels = new Map<string, Subscribed>()
  #connecting: { resolve(): void; reject(error: ClientError): void }[] = []
  #wasConnected = false
  #told = ''
  #closing: (() => void)[] = []
  #early: Message[] | null = null
  #stopEarly = (): void => {}

  /**
   * @param url of the server, such as `/cometd` (of the page's origin) or `https://host/cometd`
   * @param around where it runs; tests give their own
   * @param makeLine where the session is; by default in this context
   * @throws {TypeError} the URL is none, or no transport can be had here
   */
  constructor(
    url: string | URL,
    options: Options = {},
    around: Surroundings = surroundings(),
    makeLine: LineMaker = (...given) => new Link(...given),
  ) {
    const { token, maxBacklog = 10_000, ...rest } = options
    this.#around = around
    this.#maxBacklog = maxBacklog
    this.#line = makeLine(settingsOf(url, rest), token, around, this.#events())
  }

  get state(): ConnectionState {
    return STATES[this.#line.state] ?? (this.#wasConnected ? 'reconnecting' : 'connecting')
  }

  get transport(): TransportName | null {
    return this.#line.state === 'new' ? null : this.#line.transport
  }

  /** The session's id; null while there is none. */
  get clientId(): string | null {
    return this.#line.clientId
  }

  /** Epoch ms by the server's clock, as far as it is known (timesync). */
  serverTime(): number {
    return this.#around.now() + (this.#line.offset ?? 0)
  }

  /**
   * Connects, and stays connected until `close`.
   *
   * @returns fulfilled when the session is up; rejected with a `ClientError` when the server refuses for good, or by `close`
   */
  connect(): Promise<void> {
    if (this.#line.state === 'connected') return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#connecting.push({ resolve, reject })
      this.#line.start()
    })
  }

  /** Sends what waits and ends the session. @returns fulfilled once it is closed */
  close(): Promise<void> {
    if (this.#line.state === 'closed') return Promise.resolve()
    return new Promise(resolve => {
      this.#closing.push(resolve)
      this.#line.disconnect()
    })
  }

  /**
   * Subscribes to a channel or pattern. The same channel may be subscribed to several times over; the server delivers once.
   * On a service channel it hears what the server delivers to this session, without asking it for anything.
   *
   * Where the server keeps a history, a subscription goes on behind the last message that it has heard, whatever became of connection and session.
   *
   * @param callback gets each message; without it, loop over what is returned
   * @param extra `from`: where it begins, new messages only by default; further fields of the message, such as `ext`
   * @throws {TypeError} not a channel to subscribe to
   */
  subscribe<Data = never, Channel extends string = string>(
    channel: Channel | (keyof Channels & string),
    callback?: (message: Message<Chosen<Data, Channels, Channel>>) => void,
    { from, ...extra }: Extra & { readonly from?: From | undefined } = {},
  ): Subscription<Chosen<Data, Channels, Channel>> {
    usableChannels(channel)
    if (from) Object.assign(extra, { ext: { ...(extra['ext'] as object), replay: { [channel]: from === 'all' ? -2 : from } } })
    let known = this.#channels.get(channel)
    if (!known) {
      const ready = channel.startsWith('/service/') ? Promise.resolve() : this.#ask(() => this.#line.subscribe(channel, extra))
      known = { subscriptions: new Set(), ready: ready as Promise<void> }
      this.#channels.set(channel, known)
      known.ready.catch((error: Error) => this.#lose(channel, error, known!))
    }
    const owner = { maxBacklog: this.#maxBacklog, left: (subscription: Subscription) => this.#left(subscription) }
    const subscription = new Subscription<Chosen<Data, Channels, Channel>>(channel, known.ready, owner, callback ?? null)
    known.subscriptions.add(subscription)
    queueMicrotask(() => this.#giveEarly())
    return subscription
  }

  /**
   * Publishes, also bytes: a `Uint8Array` as `data` travels as text and is a `Uint8Array` again where it is received.
   *
   * @param extra further fields of the message, such as `ext`
   * @returns the server's reply; rejected with a `ClientError`: refused, not sent, or its fate unknown (`TIMEOUT`, `CONNECTION_FAILED`).
   *   A server with the dedupe extension knows again what is said again: there it is, until it is answered.
   */
  async publish<Channel extends string>(
    channel: Channel | (keyof Channels & string),
    data: DataOf<Channels, Channel> | Uint8Array,
    extra?: Extra,
  ): Promise<PeerMessage> {
    const [content, fields] = bytesOf(data, extra)
    return (await this.#ask(() => this.#line.publish(channel, content, fields))) as PeerMessage
  }

  /** Calls the service `/service/<target>`. @returns the data of its answer; rejected as `publish`, `REFUSED` with the answer in `reply` */
  async call<Result = unknown>(target: string, data: unknown = {}, extra?: Extra): Promise<Result> {
    const [content, fields] = bytesOf(data, extra)
    const reply = (await this.#ask(() => this.#line.call(target, content, fields)))!
    return this.#opened(reply).data as Result
  }

  /** What `work` sends leaves in one envelope. */
  batch<T>(work: () => T): T {
    this.#line.startBatch()
    try {
      return work()
    } finally {
      this.#line.endBatch()
    }
  }

  /** @returns the way to hear no more */
  on<Name extends keyof ClientEvents>(name: Name, listener: (event: ClientEvents[Name]) => void): () => void {
    const entry = [name, listener] as const
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }

  /**
   * Extensions see outgoing messages in the order of their registration, incoming ones in the reverse.
   * One that throws is reported as what the page itself throws, and the message goes on as it was. With `SharedClient` they see what this tab sends and gets, not handshakes and connects.
   *
   * @throws {TypeError} the name is taken
   */
  registerExtension(name: string, extension: ClientExtension): void {
    if (this.#extensions.has(name)) throw new TypeError(`${name} is taken`)
    this.#extensions.set(name, extension)
    extension.registered?.(name, this)
  }

  /** @returns whether there was one */
  unregisterExtension(name: string): boolean {
    const extension = this.#extensions.get(name)
    extension?.unregistered?.()
    return this.#extensions.delete(name)
  }

  // What the line tells

  #events(): LineEvents {
    return {
      message: (message, names) => this.#deliver(message, names),
      reply: reply => this.#emit('reply', reply),
      settled: (id, code, reply) => this.#settled(id, code, reply),
      unrestored: (channel, code, reply) =>
        this.#lose(channel, new ClientError(code, channel, reply), this.#channels.get(channel)),
      failure: (code, detail) => this.#emit('error', new ClientError(code, detail)),
      state: (state, why, detail) => this.#changed(state, why, detail),
      gap: (channel, dropped) => this.#emit('gap', { channel, dropped }),
      resumed: subscriptions => this.#resumed(subscriptions),
      outgoing: message => this.#outgoing(message),
      incoming: message => this.#through('incoming', message) as PeerMessage | null,
    }
  }

  #changed(state: ClientState, why: LineFailure = 'DISCONNECTED', detail?: string): void {
    if (state === 'connected') {
      this.#wasConnected = true
      for (const { resolve } of this.#connecting.splice(0)) resolve()
    }
    if (state === 'closed') {
      this.#wasConnected = false
      this.#over(new ClientError(why, detail))
    }
    const told = `${this.state} ${this.transport}`
    if (told === this.#told) return
    this.#told = told
    this.#emit('state', { state: this.state, transport: this.transport })
  }

  /** Closed: whoever still waits is told why, before the application hears of it and may begin again. */
  #over(error: ClientError): void {
    for (const { reject } of this.#connecting.splice(0)) reject(error)
    for (const waiting of this.#waiting.values()) waiting.reject(error)
    this.#waiting.clear()
    const ended = [...this.#channels.values()]
    this.#channels.clear()
    for (const { subscriptions } of ended)
      for (const subscription of subscriptions) subscription.end(error.code === 'DISCONNECTED' ? null : error)
    this.#early = null
    this.#stopEarly()
    for (const resolve of this.#closing.splice(0)) resolve()
  }

  #settled(id: string, code: LineFailure | null, reply: PeerMessage | null): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (code === null) waiting?.resolve(reply)
    else waiting?.reject(new ClientError(code, '', reply))
  }

  /** Sends a message and waits for what becomes of it. */
  #ask(send: () => string | null): Promise<PeerMessage | null> {
    return new Promise((resolve, reject) => {
      const id = send()
      if (id === null) {
        const over = this.#line.state === 'closed' || this.#line.state === 'disconnecting'
        reject(new ClientError(over ? 'CLOSED' : 'OUTBOX_FULL'))
      } else this.#waiting.set(id, { resolve, reject })
    })
  }

  // Subscriptions

  async #left(subscription: Subscription): Promise<void> {
    const { channel } = subscription
    const known = this.#channels.get(channel)
    if (!known?.subscriptions.delete(subscription) || known.subscriptions.size > 0) return
    this.#channels.delete(channel)
    if (channel.startsWith('/service/')) return
    await this.#ask(() => this.#line.unsubscribe(channel)).catch(() => {}) // then there is nothing to unsubscribe from
  }

  /** The server refused, or what is wanted cannot be said. */
  #lose(channel: string, error: Error, known: Subscribed | undefined): void {
    if (!known || this.#channels.get(channel) !== known) return
    this.#channels.delete(channel)
    for (const subscription of known.subscriptions) subscription.end(error)
    if (error instanceof ClientError && error.code === 'REFUSED') this.#emit('error', error)
  }

  #deliver(raw: PeerMessage, names?: readonly string[] | null): void {
    this.#giveEarly()
    const message = this.#opened(raw)
    this.#emit('message', message)
    this.#give(message, names)
  }

  #give(message: Message, names?: readonly string[] | null): void {
    let heard = false
    for (const name of names ?? coveringNames(message.channel)) {
      const known = this.#channels.get(name)
      if (!known) continue
      heard = true
      for (const subscription of [...known.subscriptions]) this.#guard(() => subscription.give(message))
    }
    if (!heard && this.#early !== null && this.#early.length < EARLY) this.#early.push(message)
  }

  /** The bytes of a binary message in the place of their text. */
  #opened(message: PeerMessage): Message {
    try {
      const content = binaryOf(message as never)
      if (content === null) return message as unknown as Message
      const { bytes, ...binary } = content
      return { ...message, data: bytes, binary }
    } catch (error) {
      this.#emit('error', new ClientError('BINARY_INVALID', String(error)))
      return message as unknown as Message
    }
  }

  /** The page was loaded again: what comes for it before it has subscribed again is kept for a while, and what it does not subscribe to again is left. */
  #resumed(subscriptions: readonly string[]): void {
    this.#early = []
    this.#stopEarly = this.#around.after(EARLY_FOR, () => {
      this.#early = null
      for (const channel of subscriptions) if (!this.#channels.has(channel)) this.#line.unsubscribe(channel)
    })
  }

  #giveEarly(): void {
    for (const message of this.#early?.splice(0) ?? []) this.#give(message)
  }

  // The application's code

  #emit<Name extends keyof ClientEvents>(name: Name, event: ClientEvents[Name]): void {
    for (const [heard, listener] of [...this.#listeners]) if (heard === name) this.#guard(() => listener(event as never))
  }

  /** What the application throws out of a callback is its own, and stops nothing here. */
  #guard(act: () => void): void {
    try {
      act()
    } catch (error) {
      const report = globalThis.reportError ?? console.error
      report(error)
    }
  }

  /** Changes the message in place: what a reply will name is in the half already, so none can be dropped. */
  #outgoing(message: Record<string, unknown>): void {
    if (this.#extensions.size === 0) return
    this.#guard(() => {
      const changed = this.#through('outgoing', { ...message })
      if (changed === null) return
      JSON.stringify(changed) // throws here what would stop the connection there
      for (const field of Object.keys(message)) delete message[field]
      Object.assign(message, changed)
    })
  }

  #through(direction: 'incoming' | 'outgoing', message: Record<string, unknown>): Record<string, unknown> | null {
    const extensions = [...this.#extensions.values()]
    if (direction === 'incoming') extensions.reverse()
    let now: Record<string, unknown> | null = message
    for (const extension of extensions) {
      this.#guard(() => {
        const next = extension[direction]?.(now!)
        if (typeof next === 'object') now = next
      })
      if (now === null) break
    }
    return now
  }
}

function settingsOf(url: string | URL, options: Omit<Options, 'token' | 'maxBacklog'>): Settings {
  const base = globalThis.location?.href
  const absolute = new URL(url, base === 'about:blank' ? undefined : base)
  if (!/^https?:$/.test(absolute.protocol)) throw new TypeError(`not an http URL: ${url}`)
  absolute.hash = ''
  const { transports = ['websocket', 'long-polling'] } = options
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  return {
    ...clientDefaults,
    protocols: [],
    headers: {},
    openTimeout: 4_000,
    upgradeBase: 10_000,
    upgradeMax: 300_000,
    lasting: true,
    reload: true,
    ...(transports.includes('callback-polling') ? { maxEnvelope: 1_500 } : null),
    ...given,
    url: absolute.href.replace(/\/$/, ''),
    transports,
    connectionTypes: transports,
  }
}

function bytesOf(data: unknown, extra: Extra | undefined): [data: unknown, extra: Extra | undefined] {
  if (!(data instanceof Uint8Array)) return [data, extra]
  const { last = true, meta, ...rest } = (extra ?? {}) as Extra & Partial<BinaryData>
  const { data: text, ext } = binaryMessage({ bytes: data, last, meta } as BinaryData)
  return [text, { ...rest, ext: { ...(rest['ext'] as object | undefined), ...ext } }]
}
