// CometD's JavaScript API over the client of this package, for applications written for npm `cometd`.
//
// Knows: what of the API makes a session, listens, subscribes and sends.
// Does not know: the rest of the API (toolbox.ts), when messages leave and what becomes of them (conversation.ts).
// Source: CometD's reference manual, "JavaScript Library"; names, checks and order of calls follow npm `cometd` 9.
// What differs is in docs/client.md.

import { type Surroundings, surroundings } from '../surroundings.js'
import { binary, CHANNEL, enough, propsOf, upToCallback, usable } from './args.js'
import { Conversation } from './conversation.js'
import { AckExtension, ReloadExtension } from './extensions.js'
import { Listeners, resolve } from './listeners.js'
import { mixin, settingsOf, surround } from './settings.js'
import { Toolbox } from './toolbox.js'
import type { Advice, Callback, Configuration, Failure, Handle, Message, Props, Status } from './types.js'

const VERSION = '1.0'

/**
 * A client of one Bayeux server, with the API of CometD's JavaScript library.
 *
 * Beyond it: what is published while the connection is broken leaves when it is back, or fails after `maxNetworkDelay`; a WebSocket that
 * could not be opened is tried again later.
 */
export class CometD extends Toolbox {
  /** false: no WebSocket, from the next `handshake` on. */
  websocketEnabled?: boolean
  /** false: no acknowledged delivery, although the extension is there. */
  ackEnabled?: boolean
  /** There with the reload extension: call it when the page is about to go. */
  reload?: ((config?: { readonly name?: string }) => void) | undefined
  onListenerException?: (exception: unknown, handle: Handle, isListener: boolean, message: Message) => void
  onCallbackException?: (exception: unknown, message: Message) => void
  onTransportException?: (failure: Failure, oldTransport: string | null, newTransport: string | null) => void

  readonly #around: Surroundings
  readonly #listeners: Listeners
  readonly #talk: Conversation
  #leave: () => void = () => {}

  constructor(name = 'default', around: Surroundings = surroundings()) {
    super(name, around)
    this.#around = around
    this.#listeners = new Listeners((exception, handle, message) => {
      this._thrown('listener', exception, this.onListenerException, handle, handle.listener, message)
    })
    this.#talk = new Conversation({
      config: this._config,
      listeners: this.#listeners,
      through: (direction, message) => this._through(direction, message),
      called: (callback, message) => this.#called(callback, message),
      urlOf: () => this.getURL(),
      after: (ms, act) => around.after(ms, act),
      late: message => this._notifyLate(message),
      transportFailed: (failure, from, to) =>
        this._guard('transport exception handler', () => this.onTransportException?.(failure, from, to)),
    })
  }

  // The session

  /** `configure`, then `handshake`. */
  init(configuration: Configuration | string | Callback, handshakeProps?: Props | Callback, handshakeCallback?: Callback): void {
    if (typeof configuration === 'function') return this.handshake(configuration)
    this.configure(configuration)
    this.handshake(handshakeProps as Props, handshakeCallback)
  }

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
    this._registry.reset(true)
    const types = this._registry.findTransportTypes(VERSION, this._crossDomain(), this._config.url)
    const ack = this.ackEnabled !== false && this._extensionOf(AckExtension) !== null
    const reload = this._extensionOf(ReloadExtension)
    const around = surround(this.#around, {
      config: this._config,
      registry: this._registry,
      urlOf: type => this._urlOf(type),
      pause: () => this.#talk.pause(),
      broken: () => this.#talk.broke,
      leaving: leave => {
        this.#leave = leave
      },
      storage: storage => reload?._storage(storage) ?? null,
    })
    const settings = settingsOf(this._config, types, { ack, reload: reload !== null })
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
    this._config.backoffIncrement = period
  }

  getBackoffIncrement(): number {
    return this._config.backoffIncrement
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
    const [[data = {}, timeout = this._config.maxNetworkDelay, props], callback] = upToCallback(given)
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
    const [[data = new ArrayBuffer(0), last = true, meta, timeout = this._config.maxNetworkDelay, props], callback] =
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
  /** @internal The page is about to go. */
  _leave(): void {
    this.#leave()
  }

  protected override _type(): string | null {
    return this.#talk.type
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

  #called(callback: Callback, message: Message): void {
    try {
      callback.call(this, message)
    } catch (exception) {
      this._thrown('message callback', exception, this.onCallbackException, message)
    }
  }
}
