// Sessions as an application sees them: of remote clients, and local ones in this process.
//
// Knows: what an application may do with one session. Does not know: how it is done; the engine's server side does it.

import {
  BayeuxError,
  covers,
  type Extra,
  type FrozenMessage,
  type Identity,
  type Message,
  parseChannel,
  type Session,
  type Transport,
  wholeIdentity,
} from '../bayeux/index.js'
import { type Host, isThenable } from './host.js'

/** The session of one client. It may be kept; once the client is gone its methods do nothing, but for `subscribe`, which throws. */
export class BayeuxSession {
  readonly #host: Host
  readonly #session: Session
  #attributes: Map<string, unknown> | null = null

  /** @internal made by the server */
  constructor(host: Host, session: Session) {
    this.#host = host
    this.#session = session
  }

  /** The clientId. It is a secret of its client: do not show it to others or log it. */
  get id(): string {
    return this.#session.id
  }

  /** What the policy put there at handshake; null for nobody. */
  get user(): unknown {
    return this.#session.user
  }

  set user(user: unknown) {
    this.#session.user = user
  }

  /** A place for the application's own data; it lives as long as the session. */
  get attributes(): Map<string, unknown> {
    this.#attributes ??= new Map()
    return this.#attributes
  }

  /** Who it speaks for: of its token, its policy or `identify`; null for nobody that is known. */
  get identity(): Identity | null {
    const identity = this.#session.credential?.identity ?? null
    return identity === null ? null : { ...identity, expiresAt: this.#host.toWall(identity.expiresAt) }
  }

  /**
   * Says who it speaks for from now on; null for nobody. Its subscriptions are judged by it at once. What is left out is nothing: pass the
   * `identity` that it has with what changes.
   */
  identify(identity: Partial<Identity> | null): void {
    const whole = identity === null ? null : wholeIdentity(identity)
    const own = whole === null ? null : { ...whole, expiresAt: this.#host.fromWall(whole.expiresAt) }
    this.#host.engine.server.identify(this.#session, own, this.#host.now())
    this.#host.arm()
  }

  /** Judges its subscriptions again, because something that the policy looks at has changed; those that are refused end. */
  review(): void {
    this.#host.engine.server.review(this.#session, this.#host.now())
    this.#host.arm()
  }

  get transport(): Transport {
    return this.#session.transport
  }

  /** Remote address of its last message. */
  get address(): string {
    return this.#session.address
  }

  /** False once the session has ended. */
  get alive(): boolean {
    return !this.#session.gone
  }

  /** Names of the channels that it is subscribed to. */
  get subscriptions(): readonly string[] {
    return (this.#session.subscriptions?.channels() ?? []).map(channel => channel.name)
  }

  /** Delivers to this session alone; it need not be subscribed. @throws {BayeuxError} CHANNEL_NAME_INVALID, DATA_INVALID */
  deliver(channel: string, data: unknown, extra: Extra = {}): void {
    this.#host.engine.server.deliver(this.#session, channel, data, extra, this.#host.now())
    this.#host.arm()
  }

  /** Ends the session and tells the client not to come back. */
  disconnect(): void {
    this.#host.engine.server.disconnect(this.#session, this.#host.now())
    this.#host.arm()
  }

  /** Ends the session without a word, as CometD does: a held connect runs to its timeout and is then told to stop. */
  remove(): void {
    this.#host.engine.server.remove(this.#session, this.#host.now())
    this.#host.arm()
  }

  /** Ends the session as if its time were up: its connections are closed and its client handshakes again. */
  expire(): void {
    this.#host.engine.server.expire(this.#session, this.#host.now())
    this.#host.arm()
  }

  /** Holds deliveries back until `work` is done; they then leave together. Batches nest. */
  batch<T>(work: () => T): T {
    this.#host.engine.server.startBatch(this.#session)
    try {
      return work()
    } finally {
      this.#host.engine.server.endBatch(this.#session)
    }
  }

  /** Subscribes the client from the server. @throws {BayeuxError} CHANNEL_NAME_INVALID, SESSION_GONE */
  subscribe(channel: string): void {
    this.#host.engine.server.subscribe(this.#session, channel)
  }

  unsubscribe(channel: string): void {
    this.#host.engine.server.unsubscribe(this.#session, channel, this.#host.now())
    this.#host.arm()
  }

  /** Changes its times, in ms; null goes back to the server's options. @throws {RangeError} one is negative or no number */
  times(times: {
    readonly timeout?: number | null
    readonly interval?: number | null
    readonly maxInterval?: number | null
  }): void {
    this.#host.engine.server.setTimes(this.#session, times)
  }

  /** Whether it gets messages only with replies to /meta/connect. */
  set metaConnectDeliverOnly(only: boolean) {
    this.#session.metaConnectDeliverOnly = only
  }

  /** Whether it gets the messages that it publishes itself. */
  set broadcastToPublisher(own: boolean) {
    this.#session.broadcastToPublisher = own
  }
}

/** A session that lives in this process. It passes no policy and never expires. */
export class LocalSession {
  readonly #host: Host
  readonly #session: Session
  readonly #receivers = new Map<string, Set<(message: Message) => void>>()

  /** @internal made by `Bayeux.local` */
  constructor(host: Host, id: string, fault: (error: unknown) => void) {
    this.#host = host
    this.#session = host.engine.server.addLocal(id, message => this.#receive(message, fault))
  }

  get id(): string {
    return this.#session.id
  }

  /** Calls `receiver` with each message on a channel or pattern. @throws {BayeuxError} CHANNEL_NAME_INVALID, SESSION_GONE */
  subscribe(channel: string, receiver: (message: Message) => void): () => void {
    this.#host.engine.server.subscribe(this.#session, channel)
    const { name } = parseChannel(channel)!
    const receivers = this.#receivers.get(name) ?? new Set()
    receivers.add(receiver)
    this.#receivers.set(name, receivers)
    return () => {
      receivers.delete(receiver)
      if (receivers.size > 0 || this.#receivers.get(name) !== receivers) return
      this.#receivers.delete(name)
      this.#host.engine.server.unsubscribe(this.#session, channel, this.#host.now())
      this.#host.arm()
    }
  }

  /** Publishes as this session. @throws {BayeuxError} CHANNEL_NAME_INVALID, DATA_INVALID, SESSION_GONE */
  publish(channel: string, data: unknown, extra: Extra = {}): void {
    if (this.#session.gone) throw new BayeuxError('SESSION_GONE')
    this.#host.engine.server.publish(channel, data, extra, this.#session, this.#host.now())
    this.#host.arm()
  }

  disconnect(): void {
    this.#receivers.clear()
    this.#host.engine.server.remove(this.#session, this.#host.now())
    this.#host.arm()
  }

  #receive(frozen: FrozenMessage, fault: (error: unknown) => void): void {
    const channel = parseChannel(frozen.channel, Number.POSITIVE_INFINITY, false)!
    for (const [pattern, receivers] of this.#receivers) {
      if (!covers(parseChannel(pattern)!, channel)) continue
      for (const receiver of receivers) {
        try {
          const answer: unknown = receiver(frozen.message)
          if (isThenable(answer)) answer.then(undefined, fault)
        } catch (error) {
          fault(error)
        }
      }
    }
  }
}
