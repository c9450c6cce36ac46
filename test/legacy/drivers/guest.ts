// A client of any library as the scenarios of security.ts need one: it keeps its subscriptions over a new handshake, and nobody looks inside.
//
// Knows: what an application on each library writes for that.
// Does not know: tokens, scenarios.

import * as cometd from './cometd-client.js'
import * as faye from './faye-client.js'
import { until } from './steps.js'

export type Message = cometd.Message
/** Changes a message that goes out. */
export type Dress = (message: Message) => void

/** Faye tries again so long after what failed, s. */
export const FAYE_RETRY = 1
/**
 * Faye waits so much longer for an answer than it would, s. By itself it has a fifth of the timeout to spare, with the short ones of a test
 * less than what a busy machine takes at times; then it closes its socket, and what was on its way is lost, or said twice.
 */
const FAYE_PATIENCE = 10

export abstract class Guest {
  abstract readonly sent: readonly Message[]
  abstract readonly got: readonly Message[]
  abstract enter(): void
  abstract subscribe(channel: string): void
  abstract publish(channel: string, data: unknown): void
  /** Publishes all at once. */
  abstract publishAll(channel: string, list: readonly unknown[]): void
  abstract leave(): Promise<void>

  /** Closes what a client leaves open that was told to stop. */
  tidy(): void {}

  /** Data of the deliveries on a channel, as they came over the wire. */
  delivered(channel: string): unknown[] {
    return this.got.filter(message => message.channel === channel && message.data !== undefined).map(message => message.data)
  }

  replies(channel: string): Message[] {
    return this.got.filter(message => message.channel === channel && message.data === undefined)
  }

  requests(channel: string): Message[] {
    return this.sent.filter(message => message.channel === channel)
  }

  /** Waits for the nth reply on a channel. */
  async reply(channel: string, nth = 0): Promise<Message> {
    await until(`reply ${nth} on ${channel}`, () => this.replies(channel).length > nth)
    return this.replies(channel)[nth]!
  }

  /** Waits for the reply to the message with this data, which no other on the channel has: Faye sends it, and gives it an id, only later. */
  async answer(channel: string, data: unknown): Promise<Message> {
    const id = (): unknown => this.requests(channel).find(message => message.data === data)?.id
    const found = (): Message | undefined => this.replies(channel).find(reply => reply.id !== undefined && reply.id === id())
    await until(`the answer to ${String(data)} on ${channel}`, () => found() !== undefined)
    return found()!
  }

  /** Waits for the reply to a subscription. */
  async subscribed(channel: string): Promise<Message> {
    const found = (): Message | undefined => this.replies('/meta/subscribe').find(reply => reply.subscription === channel)
    await until(`the reply to subscribe ${channel}`, () => found() !== undefined)
    return found()!
  }

  /** Waits for the second connect after a handshake: the one that the server holds. */
  async held(): Promise<void> {
    const from = this.sent.map(message => message.channel).lastIndexOf('/meta/handshake')
    await until('a held connect', () => this.sent.slice(from).filter(message => message.channel === '/meta/connect').length >= 2)
  }
}

class CometdGuest extends Guest {
  readonly #client: cometd.Client
  readonly #channels = new Set<string>()

  constructor(client: cometd.Client, dress: Dress) {
    super()
    this.#client = client
    client.bayeux.registerExtension('dress', {
      outgoing: (message: Message) => {
        dress(message)
        return message
      },
    })
    client.bayeux.addListener('/meta/handshake', ({ successful }) => {
      if (successful !== true) return
      client.bayeux.batch(() => {
        for (const channel of this.#channels) this.#subscribe(channel)
      })
    })
  }

  get sent(): readonly Message[] {
    return this.#client.sent
  }

  get got(): readonly Message[] {
    return this.#client.got
  }

  enter(): void {
    this.#client.bayeux.handshake(() => {})
  }

  subscribe(channel: string): void {
    this.#channels.add(channel)
    if (this.#client.bayeux.getClientId() !== null) this.#subscribe(channel)
  }

  publish(channel: string, data: unknown): void {
    this.#client.bayeux.publish(channel, data)
  }

  publishAll(channel: string, list: readonly unknown[]): void {
    this.#client.bayeux.batch(() => {
      for (const data of list) this.publish(channel, data)
    })
  }

  async leave(): Promise<void> {
    await this.#client.disconnect()
  }

  #subscribe(channel: string): void {
    this.#client.bayeux.subscribe(channel, () => {})
  }
}

class FayeGuest extends Guest {
  readonly #client: faye.Client

  constructor(client: faye.Client, dress: Dress) {
    super()
    this.#client = client
    client.dress = dress as (message: faye.Message) => void
  }

  get sent(): readonly Message[] {
    return this.#client.sent
  }

  get got(): readonly Message[] {
    return this.#client.got
  }

  enter(): void {
    this.#client.faye.connect(() => {})
  }

  subscribe(channel: string): void {
    this.#client.faye.subscribe(channel, () => {}).then(undefined, () => {})
  }

  publish(channel: string, data: unknown): void {
    this.#client.faye.publish(channel, data).then(undefined, () => {})
  }

  /** Faye sends what is published in one tick in one request, if it is short, or in frames that follow each other. */
  publishAll(channel: string, list: readonly unknown[]): void {
    for (const data of list) this.publish(channel, data)
  }

  async leave(): Promise<void> {
    await this.#client.disconnect()
  }

  override tidy(): void {
    this.#client.closeSockets()
  }
}

export type Invite = (url: string, dress?: Dress, headers?: Readonly<Record<string, string>>) => Guest

/** @param library `faye`, or a version of the npm `cometd` client as cometd-client.ts names them */
export async function invitation(library: string, transport: string): Promise<Invite> {
  if (library === 'faye') {
    return (url, dress = () => {}, headers = {}) => {
      const client = new faye.Client(url, transport, FAYE_RETRY, FAYE_PATIENCE)
      for (const [name, value] of Object.entries(headers)) client.faye.setHeader(name, value)
      return new FayeGuest(client, dress)
    }
  }
  const loaded = await cometd.load(library)
  return (url, dress = () => {}, headers = {}) => {
    const client = new cometd.Client(loaded, url, transport, false)
    client.bayeux.configure({ url, requestHeaders: headers, logLevel: 'warn', backoffIncrement: 50 })
    return new CometdGuest(client, dress)
  }
}
