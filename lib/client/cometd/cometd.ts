// CometD's JavaScript API over the client of this package, for applications written for npm `cometd`.
//
// Knows: the forms of the API's arguments, its checks and their texts, listeners, extensions, transports, timers, the log.
// Does not know: when messages leave and what becomes of them (conversation.ts).
// Source: CometD's reference manual, "JavaScript Library"; names, checks and order of calls follow npm `cometd` 9.
// What differs is in docs/client.md.

import { type Surroundings, surroundings } from '../surroundings.js'
import { Conversation } from './conversation.js'
import { AckExtension, ReloadExtension } from './extensions.js'
import { Listeners, resolve } from './listeners.js'
import { canAppend, defaults, mixin, settingsOf, surround } from './settings.js'
import {
  CallbackPollingTransport,
  LongPollingTransport,
  type Transport,
  TransportRegistry,
  WebSocketTransport,
} from './transports.js'
import type {
  Advice,
  Callback,
  Configuration,
  ExtensionLike,
  Failure,
  Handle,
  LogLevel,
  Message,
  Props,
  Status,
} from './types.js'

/** What of a channel's name is checked here; the grammar is the server's to judge. */
const CHANNEL = /^\/[A-Za-z0-9 !#$()*+\-./@_{~}]+$/
const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']
const VERSION = '1.0'

/**
 * A client of one Bayeux server, with the API of CometD's JavaScript library.
 *
 * Beyond it: what is published while the connection is broken leaves when it is back, or fails after `maxNetworkDelay`; a WebSocket that
 * could not be opened is tried again later.
 */
export class CometD {
  /** false: no WebSocket, from the next `handshake` on. */
  websocketEnabled?: boolean
  /** false: no acknowledged delivery, although the extension is there. */
  ackEnabled?: boolean
  /** There with the reload extension: call it when the page is about to go. */
  reload?: ((config?: { readonly name?: string }) => void) | undefined
  onListenerException?: (exception: unknown, handle: Handle, isListener: boolean, message: Message) => void
  onExtensionException?: (exception: unknown, extensionName: string, outgoing: boolean, message: Message) => void
  onCallbackException?: (exception: unknown, message: Message) => void
  onTransportException?: (failure: Failure, oldTransport: string | null, newTransport: string | null) => void

  readonly #name: string
  readonly #around: Surroundings
  readonly #config = defaults()
  readonly #listeners: Listeners
  readonly #registry = new TransportRegistry()
  readonly #extensions: [name: string, extension: ExtensionLike][] = []
  readonly #late: ((messages: Message[]) => unknown)[] = []
  readonly #timers = new Map<number, () => void>()
  readonly #talk: Conversation
  #lastTimer = 0
  #leave: () => void = () => {}

  constructor(name = 'default', around: Surroundings = surroundings()) {
    this.#name = name
    this.#around = around
    this.#listeners = new Listeners((exception, handle, message) => {
      this.#thrown('listener', exception, this.onListenerException, handle, handle.listener, message)
    })
    this.#talk = new Conversation({
      config: this.#config,
      listeners: this.#listeners,
      through: (direction, message) => this.#through(direction, message),
      called: (callback, message) => this.#called(callback, message),
      urlOf: () => this.getURL(),
      after: (ms, act) => around.after(ms, act),
      late: message => this.#notifyLate(message),
      transportFailed: (failure, from, to) =>
        this.#guard('transport exception handler', () => this.onTransportException?.(failure, from, to)),
    })
    if (around.openSocket !== null) this.registerTransport('websocket', new WebSocketTransport())
    this.registerTransport('long-polling', new LongPollingTransport())
    this.registerTransport('callback-polling', new CallbackPollingTransport())
  }

  // Configuration

  /** @throws {Error} there is no URL, here or from before */
  configure(configuration: Configuration | string): void {
    mixin(false, this.#config, typeof configuration === 'string' ? { url: configuration } : configuration)
    const { url, appendMessageTypeToURL } = this.#config
    if (!url) throw new Error("Missing required configuration parameter 'url' specifying the Bayeux server URL")
    if (appendMessageTypeToURL && !canAppend(url)) {
      this._info('Appending message type to', url, "is not supported, disabling 'appendMessageTypeToURL' configuration")
      this.#config.appendMessageTypeToURL = false
    }
  }

  /** `configure`, then `handshake`. */
  init(configuration: Configuration | string | Callback, handshakeProps?: Props | Callback, handshakeCallback?: Callback): void {
    if (typeof configuration === 'function') return this.handshake(configuration)
    this.configure(configuration)
    this.handshake(handshakeProps as Props, handshakeCallback)
  }

  getConfiguration(): Configuration {
    return mixin(true, {}, this.#config) as unknown as Configuration
  }

  getName(): string {
    return this.#name
  }

  /** Of the server, as the transport in use has it. */
  getURL(): string {
    return this.#urlOf(this.#talk?.type ?? null)
  }

  setLogLevel(level: LogLevel): void {
    this.#config.logLevel = level
  }

  getLogLevel(): LogLevel {
    return this.#config.logLevel
  }

  // The session

  /**
   * Connects, and stays connected until `disconnect`. Subscriptions end; the callback is called for every handshake reply of the life
   * that begins here.
   *
   * @param handshakeProps merged into the handshake message
   * @throws {Error} it is connected already, is not configured, or has no transport
   */
  handshake(handshakeCallback?: Callback): void
  handshake(handshakeProps: Props | undefined, handshakeCallback?: Callback): void
  handshake(...given: unknown[]): void {
    const status = this.getStatus()
    if (status !== 'disconnected') throw new Error(`Illegal state: ${status}`)
    this.configure({} as Configuration)
    const [props, callback] = propsOf(given)
    this.#registry.reset(true)
    const types = this.#registry.findTransportTypes(VERSION, this.#crossDomain(), this.#config.url)
    const ack = this.ackEnabled !== false && this.#extensions.some(([, each]) => each instanceof AckExtension)
    const reload = this.#extensions.map(([, each]) => each).find(each => each instanceof ReloadExtension)
    const around = surround(this.#around, {
      config: this.#config,
      registry: this.#registry,
      urlOf: type => this.#urlOf(type),
      pause: () => this.#talk.pause(),
      broken: () => this.#talk.broke,
      leaving: leave => {
        this.#leave = leave
      },
      storage: storage => reload?._storage(storage) ?? null,
    })
    const settings = settingsOf(this.#config, types, { ack, reload: reload !== undefined })
    if (settings.transports.length === 0) {
      const text = `Could not find initial transport among: ${this.getTransportTypes()}`
      this._warn(text)
      throw new Error(text)
    }
    const replay = (): Message => ({
      ...(reload?.response ?? { channel: '/meta/handshake', successful: true, version: VERSION }),
      clientId: this.getClientId() ?? '',
    })
    this.#talk.start(settings, around, replay, props, callback)
  }

  /** @param sync of versions before 4; without effect */
  disconnect(disconnectCallback?: Callback): void
  disconnect(disconnectProps: Props | undefined, disconnectCallback?: Callback): void
  disconnect(sync: boolean, disconnectProps?: Props | Callback, disconnectCallback?: Callback): void
  disconnect(...given: unknown[]): void {
    this.#talk.disconnect(...propsOf(typeof given[0] === 'boolean' ? given.slice(1) : given))
  }

  getStatus(): Status {
    return this.#talk.status
  }

  isDisconnected(): boolean {
    return this.#talk.disconnected
  }

  getClientId(): string | null {
    return this.#talk.clientId
  }

  getAdvice(): Advice {
    return mixin(true, {}, this.#talk.advice)
  }

  setBackoffIncrement(period: number): void {
    this.#config.backoffIncrement = period
  }

  getBackoffIncrement(): number {
    return this.#config.backoffIncrement
  }

  getBackoffPeriod(): number {
    return this.#talk.backoff
  }

  increaseBackoffPeriod(): number {
    return this.#talk.increaseBackoff()
  }

  resetBackoffPeriod(): void {
    this.#talk.resetBackoff()
  }

  // Listeners and subscriptions

  /** Hears what comes on a channel, the `/meta/*` of this library too, without the server's knowing. @throws {Error} */
  addListener(channel: string, callback: Callback): Handle
  addListener(channel: string, scope: unknown, callback: Callback | string): Handle
  addListener(channel: string, ...given: unknown[]): Handle {
    enough(given.length + 1, 2)
    if (typeof channel !== 'string') throw new Error('Illegal argument type: channel must be a string')
    return this.#listeners.add(channel, given[0], given[1], true)
  }

  /** @throws {Error} not a handle */
  removeListener(handle: Handle): void {
    if (!handle?.channel || !('id' in handle)) throw new Error(`Invalid argument: expected subscription, not ${handle}`)
    this.#listeners.remove(handle)
  }

  /** Removes listeners and subscriptions; the server is not told. */
  clearListeners(): void {
    this.#listeners.clear()
  }

  /** Removes the subscriptions; the server is not told. */
  clearSubscriptions(): void {
    this.#listeners.unsubscribe()
  }

  /**
   * Subscribes to a channel or pattern until the session ends; the server is asked for the first subscription to each.
   *
   * @throws {Error} not a channel, no callback, or disconnected
   */
  subscribe(channel: string, callback: Callback, subscribeCallback?: Callback): Handle
  subscribe(channel: string, callback: Callback, subscribeProps: Props | undefined, subscribeCallback?: Callback): Handle
  subscribe(
    channel: string,
    scope: unknown,
    callback: Callback | string,
    subscribeProps?: Props | Callback,
    subscribeCallback?: Callback,
  ): Handle
  subscribe(channel: string, ...given: unknown[]): Handle {
    enough(given.length + 1, 2)
    usable(channel)
    this.#connected()
    const [scope, method, ...rest] = typeof given[0] === 'function' ? [undefined, ...given] : given
    const [props, callback] = propsOf(rest)
    const known = this.#listeners.subscribed(channel)
    const handle = this.#listeners.add(channel, scope, method, false)
    this.#ask('/meta/subscribe', channel, !known, props, callback)
    return handle
  }

  /** The server is asked after the last subscription to a channel. @throws {Error} not a handle, or disconnected */
  unsubscribe(handle: Handle, unsubscribeCallback?: Callback): void
  unsubscribe(handle: Handle, unsubscribeProps: Props | undefined, unsubscribeCallback?: Callback): void
  unsubscribe(handle: Handle, ...given: unknown[]): void {
    this.#connected()
    this.removeListener(handle)
    this.#ask('/meta/unsubscribe', handle.channel, !this.#listeners.subscribed(handle.channel), ...propsOf(given))
  }

  /** In a new session: makes a subscription of the old one again. */
  resubscribe(handle: Handle | undefined, subscribeProps?: Props): Handle | undefined {
    if (!handle) return undefined
    if (!handle.listener) this.#listeners.remove(handle)
    return this.subscribe(handle.channel, handle.scope, handle.callback, subscribeProps)
  }

  // Messages

  /** @throws {Error} not a channel to publish to, or disconnected */
  publish(channel: string, content: unknown, publishCallback?: Callback): void
  publish(channel: string, content: unknown, publishProps: Props | undefined, publishCallback?: Callback): void
  publish(channel: string, ...given: unknown[]): void {
    usable(channel)
    if (/^\/meta\//.test(channel)) throw new Error('Illegal argument: cannot publish to meta channels')
    this.#connected()
    const [[data, props], callback] = upToCallback(given)
    this.#talk.send(this.#message(props, { channel, data: data === undefined && callback ? {} : data }), callback)
  }

  /** For the binary extension. `data`: an array of numbers, an `ArrayBuffer` or a view of one. */
  publishBinary(
    channel: string,
    data: unknown,
    last?: boolean | Callback,
    meta?: object | Callback,
    publishProps?: Props | Callback,
    publishCallback?: Callback,
  ): void
  publishBinary(channel: string, ...given: unknown[]): void {
    const [[data = new ArrayBuffer(0), last = true, meta, props], callback] = upToCallback(given)
    this.publish(channel, { meta, data, last }, binary(props), callback)
  }

  /**
   * Calls the service `/service/<target>`. Its answer, failed or not, or a failure, reaches the callback.
   *
   * @param timeout ms until it fails with `406::timeout`; 0 for never [maxNetworkDelay]
   * @throws {Error} not a target, or disconnected
   */
  remoteCall(target: string, content: unknown, callback?: Callback): void
  remoteCall(target: string, content: unknown, timeout: number, callback?: Callback): void
  remoteCall(target: string, content: unknown, timeout: number, callProps: Props | undefined, callback?: Callback): void
  remoteCall(target: string, ...given: unknown[]): void {
    if (typeof target !== 'string') throw new Error('Illegal argument type: target must be a string')
    this.#connected()
    const [[data = {}, timeout = this.#config.maxNetworkDelay, props], callback] = upToCallback(given)
    if (typeof timeout !== 'number') throw new Error('Illegal argument type: timeout must be a number')
    const channel = `/service/${target.replace(/^\//, '')}`
    if (!CHANNEL.test(channel)) throw new Error(`Illegal argument: invalid target ${target}`)
    this.#talk.call(this.#message(props, { channel, data }), timeout, callback)
  }

  /** For the binary extension. */
  remoteCallBinary(
    target: string,
    data: unknown,
    last?: boolean | Callback,
    meta?: object | Callback,
    timeout?: number | Callback,
    callProps?: Props | Callback,
    callback?: Callback,
  ): void
  remoteCallBinary(target: string, ...given: unknown[]): void {
    const [[data = new ArrayBuffer(0), last = true, meta, timeout = this.#config.maxNetworkDelay, props], callback] =
      upToCallback(given)
    this.remoteCall(target, { meta, data, last }, timeout as number, binary(props), callback)
  }

  /** Sends a message as it is, but for its `clientId`. For extensions; meta messages other than (un)subscribe cannot be sent. */
  send(message: Message): void {
    this.#talk.send(message)
  }

  /** Takes a message as if it had come from the server. For extensions; replies to the library's own messages change nothing but what is heard. */
  receive(message: Message): void {
    this.#talk.receive(message)
  }

  startBatch(): void {
    this.#talk.startBatch()
  }

  /** @throws {Error} no batch is open */
  endBatch(): void {
    this.#talk.endBatch()
  }

  /** What is sent in it leaves in one request. @throws what the callback throws */
  batch(group: () => void): void
  batch(scope: unknown, group: (() => void) | string): void
  batch(...given: unknown[]): void {
    const [scope, group] = resolve(given[0], given[1])
    this.startBatch()
    try {
      group.call(scope)
    } catch (exception) {
      this._info('Exception during execution of batch', exception)
      throw exception
    } finally {
      this.endBatch()
    }
  }

  // Extensions

  /** @returns false when the name is taken @throws {Error} */
  registerExtension(name: string, extension: ExtensionLike): boolean {
    enough(extension === undefined ? 1 : 2, 2)
    if (typeof name !== 'string') throw new Error('Illegal argument type: extension name must be a string')
    if (this.getExtension(name) !== null) {
      this._info('Could not register extension with name', name, 'since another extension with the same name already exists')
      return false
    }
    this.#extensions.push([name, extension])
    extension.registered?.(name, this as never)
    return true
  }

  /** @returns whether there was one */
  unregisterExtension(name: string): boolean {
    const index = this.#extensions.findIndex(([own]) => own === name)
    if (index < 0) return false
    const [removed] = this.#extensions.splice(index, 1)
    removed![1].unregistered?.()
    return true
  }

  getExtension(name: string): ExtensionLike | null {
    return this.#extensions.find(([own]) => own === name)?.[1] ?? null
  }

  // Transports

  /** From the next `handshake` on. @returns false when there is one of this type */
  registerTransport(type: string, transport: Transport, index?: number): boolean {
    const known = this.#registry.find(type)
    // jQuery's binding for versions before 3.1 registers its own, which then nobody had registered before.
    if (known !== null && isDerived(transport) && !isDerived(known)) this.#registry.replace(type, transport)
    else if (!this.#registry.add(type, transport, index)) return false
    transport.registered?.(type, this)
    return true
  }

  unregisterTransport(type: string): Transport | null {
    const transport = this.#registry.remove(type)
    transport?.unregistered?.()
    return transport
  }

  unregisterTransports(): void {
    this.#registry.clear()
  }

  getTransportTypes(): string[] {
    return this.#registry.getTransportTypes()
  }

  findTransport(type: string): Transport | null {
    return this.#registry.find(type)
  }

  getTransportRegistry(): TransportRegistry {
    return this.#registry
  }

  /** The one in use; null while disconnected. */
  getTransport(): Transport | null {
    const { type } = this.#talk
    return type === null ? null : this.#registry.find(type)
  }

  /** Hears of messages whose answers did not come in time. What it returns has no effect. @throws {Error} another event */
  addTransportListener(event: 'timeout', callback: (messages: Message[]) => unknown): void {
    if (event !== 'timeout') throw new Error(`Unsupported event ${event}`)
    this.#late.push(callback)
  }

  /** @returns whether there was one */
  removeTransportListener(event: 'timeout', callback: (messages: Message[]) => unknown): boolean {
    const index = event === 'timeout' ? this.#late.indexOf(callback) : -1
    if (index >= 0) this.#late.splice(index, 1)
    return index >= 0
  }

  // Timers that ring in hidden pages too

  setTimeout(act: () => void, delay: number): number {
    const timer = ++this.#lastTimer
    const ring = (): void => {
      this.#timers.delete(timer)
      this.#guard('timed function', act)
    }
    this.#timers.set(timer, this.#around.after(delay, ring))
    return timer
  }

  clearTimeout(timer: unknown): void {
    this.#timers.get(timer as number)?.()
    this.#timers.delete(timer as number)
  }

  // The log, for extensions too

  _warn(...words: unknown[]): void {
    this.#log('warn', words)
  }

  _info(...words: unknown[]): void {
    this.#log('info', words)
  }

  _debug(...words: unknown[]): void {
    this.#log('debug', words)
  }

  _mixin(deep: boolean, target: object | undefined, ...objects: unknown[]): Record<string, unknown> {
    return mixin(deep, target ?? {}, ...objects)
  }

  /** @internal The page is about to go. */
  _leave(): void {
    this.#leave()
  }

  #log(level: LogLevel, words: readonly unknown[]): void {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(this.#config.logLevel)) return
    const [, time] = /T(.*)Z/.exec(new Date().toISOString())!
    console[level](time, ...words)
  }

  // What is behind them

  #urlOf(type: string | null): string {
    const own = type === null ? undefined : this.#registry.find(type)?.url
    return own || this.#config.urls[type ?? ''] || this.#config.url
  }

  #crossDomain(): boolean {
    const own = globalThis.location?.host
    const [, host] = /^https?:\/\/([^/?#]+)/.exec(this.#config.url) ?? []
    return Boolean(own && host && own !== host)
  }

  /** @throws {Error} */
  #connected(): void {
    if (this.isDisconnected()) throw new Error('Illegal state: disconnected')
  }

  #message(props: unknown, fields: Omit<Message, 'id'> & { channel: string }): Message {
    return { ...(props as object | undefined), id: this.#talk.nextId(), ...fields } as Message
  }

  /** Asks the server to (un)subscribe, or where there is no need answers for it. */
  #ask(channel: string, subscription: string, send: boolean, props: Props | undefined, callback: Callback | undefined): void {
    const message = this.#message(send ? props : undefined, { channel, subscription })
    if (send) this.#talk.send(message, callback)
    else if (callback !== undefined) this.setTimeout(() => this.#called(callback, { ...message, successful: true }), 0)
  }

  /** Incoming messages pass the extensions in the order of their registration, outgoing ones in the reverse. */
  #through(direction: 'incoming' | 'outgoing', message: Message): Message | null {
    const outgoing = direction === 'outgoing'
    const extensions = outgoing ? [...this.#extensions].reverse() : [...this.#extensions]
    let now = message
    for (const [name, extension] of extensions) {
      try {
        const next = extension[direction]?.(now)
        if (next === null) return null
        now = next ?? now
      } catch (exception) {
        this.#thrown('extension', exception, this.onExtensionException, name, outgoing, now)
      }
    }
    return now
  }

  #called(callback: Callback, message: Message): void {
    try {
      callback.call(this, message)
    } catch (exception) {
      this.#thrown('message callback', exception, this.onCallbackException, message)
    }
  }

  #notifyLate(message: Message): void {
    for (const callback of [...this.#late]) this.#guard('transport listener', () => callback([message]))
  }

  /** The application's code threw: its own handler is told, or the log. */
  #thrown<Rest extends unknown[]>(
    whose: string,
    exception: unknown,
    handler: ((exception: unknown, ...rest: Rest) => void) | undefined,
    ...rest: Rest
  ): void {
    if (typeof handler !== 'function') this._info(`Exception during execution of ${whose}`, exception, ...rest)
    else this.#guard(`${whose} exception handler`, () => handler.call(this, exception, ...rest))
  }

  #guard(whose: string, act: () => void): void {
    try {
      act()
    } catch (exception) {
      this._info(`Exception during execution of ${whose}`, exception)
    }
  }
}

/** @throws {Error} as the library's callers know it */
function enough(given: number, required: number): void {
  if (given < required) throw new Error(`Illegal arguments number: required ${required}, got ${given}`)
}

/** @throws {Error} */
function usable(channel: unknown): void {
  if (typeof channel !== 'string' || !CHANNEL.test(channel)) throw new Error(`Illegal argument: invalid channel ${channel}`)
}

/** `(props, callback)` or `(callback)`. */
function propsOf([first, second]: readonly unknown[]): [Props | undefined, Callback | undefined] {
  if (typeof first === 'function') return [undefined, first as Callback]
  return [first as Props | undefined, typeof second === 'function' ? (second as Callback) : undefined]
}

/** The arguments up to the callback, wherever that comes. */
function upToCallback(given: readonly unknown[]): [rest: readonly unknown[], callback: Callback | undefined] {
  const at = given.findIndex(each => typeof each === 'function')
  return at < 0 ? [given, undefined] : [given.slice(0, at), given[at] as Callback]
}

function binary(props: unknown): Props {
  const { ext, ...rest } = (props ?? {}) as { readonly ext?: object }
  return { ...rest, ext: { ...ext, binary: {} } }
}

/** Made by `Transport.derive`, as older bindings do. */
function isDerived(transport: Transport): boolean {
  return Object.hasOwn(Object.getPrototypeOf(transport) ?? {}, 'cometd')
}
