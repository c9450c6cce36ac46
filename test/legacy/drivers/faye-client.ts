// The Faye 1.4 client in a Node process, with all that goes over its wire.
//
// Knows: Faye's public API.
// Does not know: scenarios (faye.ts; security.ts by way of guest.ts).

import { createRequire } from 'node:module'
import { quiet, touch, until } from './steps.js'

export interface Message {
  readonly id?: string
  readonly channel: string
  readonly clientId?: string
  readonly successful?: boolean
  readonly error?: string
  readonly data?: unknown
  readonly subscription?: string
  readonly supportedConnectionTypes?: string[]
  readonly connectionType?: string
  readonly version?: string
  ext?: Readonly<Record<string, unknown>>
  readonly advice?: Readonly<Record<string, unknown>>
}
interface Subscription extends PromiseLike<void> {
  cancel(): void
  withChannel(callback: (channel: string, data: unknown) => void): this
}
interface FayeClient {
  readonly _dispatcher: { readonly transports: { readonly websocket?: ReadonlyMap<string, { close(): void }> } }
  disable(feature: string): void
  setHeader(name: string, value: string): void
  addExtension(extension: object): void
  connect(callback: () => void): void
  disconnect(): PromiseLike<void> | undefined
  subscribe(channel: string, callback?: (data: unknown) => void): Subscription
  subscribe(channels: string[], callback?: (data: unknown) => void): Subscription[]
  publish(channel: string, data: unknown): PromiseLike<void>
}
/** A Faye subscription is a promise itself: bare, `await` would unwrap it. */
export interface Subscribed {
  readonly subscription: Subscription
}
type Pass = (message: Message) => void

interface Scheduler {
  /** How long an answer is waited for, s. */
  getTimeout(): number
}

const faye = createRequire(import.meta.url)('faye') as {
  readonly Client: new (url: string, options: object) => FayeClient
  readonly Scheduler: new (message: object, options: object) => Scheduler
}

/** Faye's own rules of when to try again, but for an answer that is late. @param patience s more than Faye would wait */
function schedulerOf(patience: number): typeof faye.Scheduler {
  return class extends faye.Scheduler {
    override getTimeout(): number {
      return super.getTimeout() + patience
    }
  }
}

/** A client, with all that went over its wire. Each has cookies of its own. */
export class Client {
  readonly faye: FayeClient
  readonly sent: Message[] = []
  readonly got: Message[] = []
  /** Changes what goes out. */
  dress: (message: Message) => void = () => {}

  /**
   * @param transport the one that it is to use after its handshake
   * @param retry s before it tries again what failed
   * @param patience s that it waits for an answer beyond its own 1.2 × timeout
   */
  constructor(url: string, transport: string, retry = 0.1, patience = 0) {
    this.faye = new faye.Client(url, { retry, scheduler: schedulerOf(patience) })
    if (transport === 'long-polling') this.faye.disable('websocket')
    this.faye.addExtension({
      incoming: (message: Message, pass: Pass) => {
        this.got.push(structuredClone(message))
        setImmediate(touch)
        pass(message)
      },
      outgoing: (message: Message, pass: Pass) => {
        this.dress(message)
        this.sent.push(structuredClone(message))
        setImmediate(touch)
        pass(message)
      },
    })
  }

  /** Data of the deliveries on a channel, as they came over the wire. */
  delivered(channel: string): unknown[] {
    return this.got.filter(message => message.channel === channel && message.data !== undefined).map(message => message.data)
  }

  replies(channel: string): Message[] {
    return this.got.filter(message => message.channel === channel && message.data === undefined)
  }

  /** Until the second connect after a handshake is under way: the one that the server holds. */
  async held(): Promise<void> {
    const from = this.sent.map(message => message.channel).lastIndexOf('/meta/handshake')
    await until('a held connect', () => this.sent.slice(from).filter(message => message.channel === '/meta/connect').length >= 2)
    await quiet(50) // on an HTTP connection of its own it might be overtaken by what is sent next
  }

  /** A subscription that succeeded; throws Faye's error when it did not. */
  async subscribe(channel: string, callback?: (data: unknown) => void): Promise<Subscribed> {
    const subscription = this.faye.subscribe(channel, callback)
    await settled(`the reply to subscribe ${channel}`, subscription)
    return { subscription }
  }

  publish(channel: string, data: unknown): Promise<void> {
    return settled(`the reply to publish ${channel}`, this.faye.publish(channel, data))
  }

  async disconnect(): Promise<string> {
    const from = this.got.length
    const promise = this.faye.disconnect()
    if (promise === undefined) return 'was not connected'
    await settled('the disconnect reply', promise)
    const reply = this.got.slice(from).find(message => message.channel === '/meta/disconnect')
    return reply?.successful === true ? 'successful' : 'failed'
  }

  /** Faye opens a socket before its handshake and forgets it when that is refused for good: no way of its API closes it. */
  closeSockets(): void {
    for (const socket of this.faye._dispatcher.transports.websocket?.values() ?? []) socket.close()
  }
}

/** A promise of Faye's with the guard of `until`. */
export async function settled(what: string, promise: PromiseLike<void>): Promise<void> {
  let done = false
  let failure: unknown
  promise.then(
    () => {
      done = true
      touch()
    },
    (error: unknown) => {
      done = true
      failure = error ?? new Error(`${what} failed`)
      touch()
    },
  )
  await until(what, () => done)
  if (failure !== undefined) throw failure
}
