// What of CometD's API is there without a session: configuration, extensions, transports, timers, the log.
//
// Knows: their names, checks and texts; whom to tell of what the application's code throws.
// Does not know: messages, sessions (cometd.ts).
// Source: CometD's reference manual, "JavaScript Library" and "Extensions"; names and checks follow npm `cometd` 9.

import type { Surroundings } from '../surroundings.js'
import { enough } from './args.js'
import { type Configured, canAppend, defaults, mixin } from './settings.js'
import {
  CallbackPollingTransport,
  LongPollingTransport,
  type Transport,
  TransportRegistry,
  WebSocketTransport,
} from './transports.js'
import type { Configuration, ExtensionLike, LogLevel, Message } from './types.js'

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']

export abstract class Toolbox {
  /** With `this` the client, as the other handlers. Without a handler it goes to the log. */
  onExtensionException?: (exception: unknown, extensionName: string, outgoing: boolean, message: Message) => void

  protected readonly _config: Configured = defaults()
  protected readonly _registry = new TransportRegistry()
  readonly #name: string
  readonly #around: Surroundings
  readonly #extensions: [name: string, extension: ExtensionLike][] = []
  readonly #late: ((messages: Message[]) => unknown)[] = []
  readonly #timers = new Map<number, () => void>()
  #lastTimer = 0

  constructor(name: string, around: Surroundings) {
    this.#name = name
    this.#around = around
    if (around.openSocket !== null) this.registerTransport('websocket', new WebSocketTransport())
    this.registerTransport('long-polling', new LongPollingTransport())
    this.registerTransport('callback-polling', new CallbackPollingTransport())
  }

  /** The type of the transport in use; null while disconnected. */
  protected abstract _type(): string | null

  // Configuration

  /** @throws {Error} there is no URL, here or from before */
  configure(configuration: Configuration | string): void {
    mixin(false, this._config, typeof configuration === 'string' ? { url: configuration } : configuration)
    const { url, appendMessageTypeToURL } = this._config
    if (!url) throw new Error("Missing required configuration parameter 'url' specifying the Bayeux server URL")
    if (appendMessageTypeToURL && !canAppend(url)) {
      this._info('Appending message type to', url, "is not supported, disabling 'appendMessageTypeToURL' configuration")
      this._config.appendMessageTypeToURL = false
    }
  }

  getConfiguration(): Configuration {
    return mixin(true, {}, this._config) as unknown as Configuration
  }

  getName(): string {
    return this.#name
  }

  /** Of the server, as the transport in use has it. */
  getURL(): string {
    return this._urlOf(this._type())
  }

  setLogLevel(level: LogLevel): void {
    this._config.logLevel = level
  }

  getLogLevel(): LogLevel {
    return this._config.logLevel
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
    const known = this._registry.find(type)
    // jQuery's binding for versions before 3.1 registers its own, which then nobody had registered before.
    if (known !== null && isDerived(transport) && !isDerived(known)) this._registry.replace(type, transport)
    else if (!this._registry.add(type, transport, index)) return false
    transport.registered?.(type, this)
    return true
  }

  unregisterTransport(type: string): Transport | null {
    const transport = this._registry.remove(type)
    transport?.unregistered?.()
    return transport
  }

  unregisterTransports(): void {
    this._registry.clear()
  }

  getTransportTypes(): string[] {
    return this._registry.getTransportTypes()
  }

  findTransport(type: string): Transport | null {
    return this._registry.find(type)
  }

  getTransportRegistry(): TransportRegistry {
    return this._registry
  }

  /** The one in use; null while disconnected. */
  getTransport(): Transport | null {
    const type = this._type()
    return type === null ? null : this._registry.find(type)
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
      this._guard('timed function', act)
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

  #log(level: LogLevel, words: readonly unknown[]): void {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(this._config.logLevel)) return
    const [, time] = /T(.*)Z/.exec(new Date().toISOString())!
    console[level](time, ...words)
  }

  // For the session

  protected _urlOf(type: string | null): string {
    const own = type === null ? undefined : this._registry.find(type)?.url
    return own || this._config.urls[type ?? ''] || this._config.url
  }

  protected _crossDomain(): boolean {
    const own = globalThis.location?.host
    const [, host] = /^https?:\/\/([^/?#]+)/.exec(this._config.url) ?? []
    return Boolean(own && host && own !== host)
  }

  /** The first extension of a class. */
  protected _extensionOf<T extends ExtensionLike>(kind: new (...given: never[]) => T): T | null {
    const found = this.#extensions.find(([, extension]) => extension instanceof kind)
    return (found?.[1] ?? null) as T | null
  }

  /** Incoming messages pass the extensions in the order of their registration, outgoing ones in the reverse. */
  protected _through(direction: 'incoming' | 'outgoing', message: Message): Message | null {
    const outgoing = direction === 'outgoing'
    const extensions = outgoing ? [...this.#extensions].reverse() : [...this.#extensions]
    let now = message
    for (const [name, extension] of extensions) {
      try {
        const next = extension[direction]?.(now)
        if (next === null) return null
        now = next ?? now
      } catch (exception) {
        this._thrown('extension', exception, this.onExtensionException, name, outgoing, now)
      }
    }
    return now
  }

  protected _notifyLate(message: Message): void {
    for (const callback of [...this.#late]) this._guard('transport listener', () => callback([message]))
  }

  /** The application's code threw: its own handler is told, or the log. */
  protected _thrown<Rest extends unknown[]>(
    whose: string,
    exception: unknown,
    handler: ((exception: unknown, ...rest: Rest) => void) | undefined,
    ...rest: Rest
  ): void {
    if (typeof handler !== 'function') this._info(`Exception during execution of ${whose}`, exception, ...rest)
    else this._guard(`${whose} exception handler`, () => handler.call(this, exception, ...rest))
  }

  protected _guard(whose: string, act: () => void): void {
    try {
      act()
    } catch (exception) {
      this._info(`Exception during execution of ${whose}`, exception)
    }
  }
}

/** Made by `Transport.derive`, as older bindings do. */
function isDerived(transport: Transport): boolean {
  return Object.hasOwn(Object.getPrototypeOf(transport) ?? {}, 'cometd')
}
