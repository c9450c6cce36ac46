// `app.bayeux`: what an application can do with the server.
//
// Knows: policy, listeners, services, sessions as an application sees them, events.
// Does not know: transports, the protocol; it calls the engine's server side.
// Source: design of the API; services answer as CometD's remote calls do (protocol reference 3.6).

import { createHash } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import {
  type Admission,
  BayeuxError,
  type ChannelRules,
  type Dropped,
  type Authorizer as EngineAuthorizer,
  type Extension as EngineExtension,
  type Extra,
  errors,
  type Identity,
  type Message,
  type Operation,
  type Opinion,
  type Question,
  Rules,
  type Session,
  type Stats,
  type Transport,
  type Verdict,
} from '../bayeux/index.js'
import { Emitter, type Events } from './events.js'
import type { MarkupFilters } from './filters.js'
import type { Gate, Welcome } from './gate.js'
import { type Host, isThenable, type Observer, type Peer } from './host.js'
import { randomId } from './id.js'
import { Limits, Seldom } from './limits.js'
import type { Script } from './scripts.js'
import { BayeuxSession, LocalSession } from './session.js'

/** What is known of the client that asks for a handshake. */
export interface ClientFacts {
  readonly transport: Transport
  readonly address: string
  /** Who its token says that it is; null for a client without one. */
  readonly identity: Identity | null
  /** What the plugin option `context` made of the request. */
  readonly context: unknown
}

type Judged = boolean | { readonly deny: string }
type Answer<T> = T | PromiseLike<T>

/**
 * Who may do what. A missing member allows; each may answer at once or later. A throw or a rejection denies and is logged.
 *
 * `canHandshake` is asked about each handshake, and about each newer token of a session that is there: of that answer only `identity` counts.
 */
export interface Policy {
  readonly canHandshake?: (session: null, message: Message, facts: ClientFacts) => Answer<Judged | Admission>
  readonly canCreate?: (session: BayeuxSession, channel: string, message: Message) => Answer<Judged>
  readonly canSubscribe?: (session: BayeuxSession, channel: string, message: Message) => Answer<Judged>
  readonly canPublish?: (session: BayeuxSession, channel: string, message: Message) => Answer<Judged>
}

/** Sees all messages in and out. Return false to drop one; change the message to change what travels. */
export interface Extension {
  readonly incoming?: (session: BayeuxSession | null, message: Record<string, unknown>) => boolean | void
  readonly outgoing?: (session: BayeuxSession, message: Record<string, unknown>) => boolean | void
}

export type MessageListener = (message: Message, session: BayeuxSession | null) => boolean | void
export type Authorizer = (operation: Operation, channel: string, session: BayeuxSession, message: Message) => Opinion
export type ServiceHandler = (data: unknown, session: BayeuxSession, message: Message) => unknown

/** Thrown by a service: the caller gets `data` as the failure of its remote call. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError'
  constructor(readonly data: unknown) {
    super('the service refused')
  }
}

/** Whose right is withdrawn. `until`: when the token expires, epoch ms; by default for as long as there is room to remember it. */
export type Revocation =
  | { readonly user: string }
  | { readonly tokenId: string; readonly until?: number }
  | { readonly session: string }

const QUESTIONS = { create: 'canCreate', subscribe: 'canSubscribe', publish: 'canPublish' } as const

/** A part of a history. `at`: when a message was published, epoch ms. */
export interface Kept {
  readonly messages: readonly (Message & { readonly channel: string; readonly position: number; readonly at: number })[]
  readonly through: number
  readonly floor: number
  readonly epoch: string
}

export class Bayeux {
  readonly #host: Host
  readonly #log: FastifyBaseLogger
  readonly #events = new Emitter()
  readonly #gate: Gate
  readonly #filters: MarkupFilters
  readonly #limits: Limits
  readonly #faults = new Seldom()
  #policy: Policy = {}
  /** Ends when the rules that were given last are in force. */
  #changing: Promise<unknown> = Promise.resolve()

  /**
   * @internal made by the plugin
   * @param path where the server is mounted
   * @param script the address and the hash of a bundled client, by its name such as `client.js`, for pages that are made here; null for an unknown name
   */
  constructor(
    host: Host,
    log: FastifyBaseLogger,
    readonly path: string,
    gate: Gate,
    filters: MarkupFilters,
    readonly script: (name: string) => Script | null,
  ) {
    this.#host = host
    this.#log = log
    this.#gate = gate
    this.#filters = filters
    this.#limits = new Limits(log)
    host.observer = this.#observer()
    this.policy({})
  }

  /** Sets who may do what, in place of the policy before. */
  policy(policy: Policy): void {
    this.#policy = policy
    const { canHandshake, canCreate, canSubscribe, canPublish } = policy
    this.#host.engine.server.police({
      handshake: canHandshake !== undefined || this.#gate.tokens !== null,
      renew: this.#gate.tokens !== null,
      create: canCreate !== undefined,
      subscribe: canSubscribe !== undefined,
      publish: canPublish !== undefined,
    })
  }

  /**
   * Puts other channel rules in place of those that were. All subscriptions are judged by them, and those that are not allowed any more end,
   * with what is queued for them.
   *
   * @throws {BayeuxError} RULE_INVALID (as a rejection); the rules before stay
   */
  async channels(rules: ChannelRules): Promise<void> {
    const before = this.#changing
    const loaded = this.#filters.load(new Rules(rules))
    this.#changing = Promise.allSettled([before, loaded])
    await before // in the order in which they were given
    await loaded
    this.#host.engine.server.setRules(rules, this.#host.now())
    this.#host.arm()
  }

  /**
   * Withdraws the right of a user, a token or a session: the sessions concerned end at once, their clients are told not to come back, and get
   * nothing of what waits for them. The token, or those that the user got before now, are refused from now on, by this process.
   *
   * @returns how many sessions ended
   */
  revoke(whose: Revocation): number {
    const now = this.#host.now()
    const { tokens } = this.#gate
    if ('user' in whose) tokens?.revokeUser(whose.user, Date.now())
    if ('tokenId' in whose) tokens?.revokeToken(whose.tokenId, whose.until ?? Number.POSITIVE_INFINITY)
    const ended = [...this.#host.engine.server.sessions()].filter(({ id, credential }) => {
      if ('session' in whose) return id === whose.session
      const identity = credential?.identity
      return 'user' in whose ? identity?.user === whose.user : identity?.tokenId === whose.tokenId
    })
    for (const session of ended) this.#host.engine.server.revoke(session, now)
    this.#host.arm()
    return ended.length
  }

  /** Adds an extension behind those that are there. @returns a function that takes it out again */
  use(extension: Extension): () => void {
    const { incoming, outgoing } = extension
    const inner: EngineExtension = {
      ...(incoming === undefined
        ? null
        : { incoming: (session, message) => incoming(session === null ? null : this.#remote(session), message) }),
      ...(outgoing === undefined ? null : { outgoing: (session, message) => outgoing(this.#remote(session), message) }),
    }
    return this.#host.engine.server.extend(inner)
  }

  /**
   * Listens to a channel or pattern (broadcast, service or meta), or to an event of the server.
   *
   * A channel's listener sees each message before its subscribers and may veto it by returning false (`404::message_deleted`); its session is
   * null for what the server itself publishes.
   *
   * @returns a function that stops listening
   * @throws {BayeuxError} CHANNEL_NAME_INVALID
   */
  on(channel: `/${string}`, listener: MessageListener): () => void
  on<E extends keyof Events>(event: E, listener: Events[E]): () => void
  on(what: string, listener: unknown): () => void {
    if (!what.startsWith('/')) return this.#events.on(what as keyof Events, listener as Events[keyof Events])
    const off = this.#host.engine.server.listen(what, (message, session) => {
      const answer = (listener as MessageListener)(message, session === null || session.local ? null : this.#remote(session))
      if (isThenable(answer)) answer.then(undefined, error => this.#fault(error))
      return answer
    })
    return this.#armed(off)
  }

  /**
   * Answers the messages on a service channel: remote calls of CometD clients, or any publish to it.
   *
   * What the handler returns or resolves to goes to the caller on the same channel, with the id of its request and `successful: true`;
   * undefined sends nothing. A `ServiceError` goes with `successful: false` and its data, any other failure as `{error: 'internal'}`.
   *
   * @throws {BayeuxError} CHANNEL_NAME_INVALID not a service channel
   */
  service(channel: `/service/${string}`, handler: ServiceHandler): () => void {
    if (!channel.startsWith('/service/')) throw new BayeuxError('CHANNEL_NAME_INVALID', `${channel} is not a service channel`)
    return this.on(channel, (message, session) => {
      if (session !== null) void this.#serve(handler, message, session)
    })
  }

  /** Adds an authorizer on a channel or pattern. Where any stands on a channel, one grant is needed and any denial refuses. */
  authorize(pattern: `/${string}`, authorizer: Authorizer): () => void {
    const inner: EngineAuthorizer = (operation, channel, session, message) => {
      try {
        const opinion: unknown = authorizer(operation, channel, this.#remote(session), message)
        if (opinion === 'grant' || opinion === 'ignore') return opinion
        if (typeof opinion === 'object' && opinion !== null && 'deny' in opinion) return { deny: String(opinion.deny) }
        throw new TypeError("an authorizer must answer 'grant', 'ignore' or { deny }")
      } catch (error) {
        this.#fault(error)
        return { deny: 'internal' }
      }
    }
    return this.#armed(this.#host.engine.server.authorize(pattern, inner))
  }

  /**
   * Publishes to all subscribers of a broadcast channel.
   *
   * @throws {BayeuxError} CHANNEL_NAME_INVALID, DATA_INVALID
   */
  publish(channel: string, data: unknown, extra: Extra = {}): void {
    this.#host.engine.server.publish(channel, data, extra, null, this.#host.now(), error => error !== null && this.#fault(error))
    this.#host.arm()
  }

  /**
   * The same, and tells when the message is in every queue, and in a durable history where its channel has one.
   *
   * @throws {BayeuxError} CHANNEL_NAME_INVALID, DATA_INVALID; HISTORY_FAILED: it could not be kept, and nobody got it (all as rejections)
   */
  publishSafely(channel: string, data: unknown, extra: Extra = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#host.engine.server.publish(channel, data, extra, null, this.#host.now(), cause =>
        cause === null ? resolve() : reject(new BayeuxError('HISTORY_FAILED', errors.HISTORY_FAILED.help, { cause })),
      )
      this.#host.arm()
    })
  }

  /** The session of a client, while it lives. */
  session(clientId: string): BayeuxSession | undefined {
    const session = this.#host.engine.server.session(clientId)
    return session === undefined ? undefined : this.#remote(session)
  }

  *sessions(): Generator<BayeuxSession> {
    for (const session of this.#host.engine.server.sessions()) yield this.#remote(session)
  }

  /** Makes a session that lives in this process: it subscribes and publishes like a client, without a connection. */
  local(name = 'local'): LocalSession {
    return new LocalSession(this.#host, `${name}_${randomId()}`, error => this.#fault(error))
  }

  /** What there is now. */
  stats(): Stats {
    return this.#host.engine.server.stats()
  }

  /** @internal counts a limit that held outside of the engine */
  limited(limit: string, address: string): void {
    this.#limits.hit(limit, address)
  }

  /** How many clients there are; unlike `stats` it costs nothing. */
  get sessionCount(): number {
    return this.#host.engine.server.sessionCount
  }

  /** Whether the process is short of memory, and takes no new sessions. */
  get overloaded(): boolean {
    return this.#host.engine.server.shedding
  }

  /**
   * What is kept of a channel or pattern whose rule has `history` or `retain`, oldest first.
   *
   * @param after position behind which to begin; 0 for all that is kept
   * @param limit messages at most; there may be fewer, and more behind `through`
   * @returns `floor`: the last position of these channels that is kept no more; `epoch`: positions of another mean nothing here
   * @throws {BayeuxError} CHANNEL_NAME_INVALID, HISTORY_UNREADABLE
   */
  history(channel: string, { after = 0, limit = 100 }: { readonly after?: number; readonly limit?: number } = {}): Kept {
    const { entries, ...page } = this.#host.engine.server.history(channel, after, limit)
    const messages = entries.map(({ position, at, json }) => ({
      ...(JSON.parse(json) as Message & { channel: string }),
      position,
      at,
    }))
    return { ...page, messages }
  }

  /** How many messages sessions did not get since the start as they could not keep up, by what their channels' rules say of that. */
  dropped(): Dropped {
    return this.#host.engine.server.dropped()
  }

  /** Whether the history on disk could not keep what was published last, or something of it could not be read: the disk is full or broken. Channels without history go on. */
  get historyFailed(): boolean {
    return this.#host.historyFailed
  }

  /** Whether the server is about to stop: it takes no new sessions, and lets those go that are there. */
  get draining(): boolean {
    return this.#host.draining
  }

  /** How often each limit has held since the start, by its option's name; those that never did are left out. */
  limits(): Record<string, number> {
    return this.#limits.counts()
  }

  /** What the host is to tell this application. */
  #observer(): Observer {
    return {
      ask: question => this.#ask(question),
      confirmed: (_question, verdict) => this.#gate.confirmed(verdict),
      overflow: (session, message) => {
        const answers = this.#events.emit('queueMaxed', error => this.#fault(error), this.#remote(session), message.message)
        return answers.includes('drop') ? 'drop' : 'remove'
      },
      sessionAdded: session => {
        this.#note(session, { transport: session.transport }, 'session added')
        if (this.#events.has('session')) this.#emit('session', this.#remote(session))
      },
      sessionRemoved: (session, reason) => {
        this.#note(session, { reason }, 'session removed')
        if (this.#events.has('removed') && !session.local) this.#emit('removed', this.#remote(session), reason)
      },
      subscribed: (session, channel) => {
        if (!session.local && this.#events.has('subscribed')) this.#emit('subscribed', this.#remote(session), channel)
      },
      unsubscribed: (session, channel) => {
        if (!session.local && this.#events.has('unsubscribed')) this.#emit('unsubscribed', this.#remote(session), channel)
      },
      channelAdded: channel => {
        if (this.#events.has('channel')) this.#emit('channel', channel)
      },
      channelRemoved: channel => {
        if (this.#events.has('channelRemoved')) this.#emit('channelRemoved', channel)
      },
      limited: (limit, address) => this.#limits.hit(limit, address),
      filter: (kind, data) => this.#filters.apply(kind, data),
      fault: error => this.#fault(error),
    }
  }

  #ask(question: Question): Verdict | PromiseLike<Verdict> {
    const { kind, session, connection, channel, message } = question
    if (kind === 'handshake' || kind === 'renew') {
      const { transport, address, context, peer } = connection!
      const { canHandshake } = this.#policy
      const welcome: Welcome = identity => canHandshake?.(null, message, { transport, address, identity, context }) ?? true
      return kind === 'renew' ? this.#gate.renew(message, welcome) : this.#gate.handshake(message, (peer as Peer).token, welcome)
    }
    return this.#policy[QUESTIONS[kind]]!(this.#remote(session!), channel!, message)
  }

  #fault(error: unknown): void {
    const unreadable = error instanceof BayeuxError && error.code === 'HISTORY_UNREADABLE'
    const text = unreadable ? 'the history cannot be read' : 'code of the application threw'
    this.#faults.say(left => this.#log.error({ err: error, ...left }, text))
  }

  /** A line about a session, under a name from which its id cannot be told. */
  #note(session: Session, fields: object, text: string): void {
    if (this.#log.level !== 'debug' && this.#log.level !== 'trace') return
    const name = createHash('sha256').update(session.id).digest('base64url').slice(0, 8)
    this.#log.debug({ session: name, ...fields }, text)
  }

  #emit<E extends keyof Events>(event: E, ...args: Parameters<Events[E]>): void {
    this.#events.emit(event, error => this.#fault(error), ...args)
  }

  async #serve(handler: ServiceHandler, message: Message, session: BayeuxSession): Promise<void> {
    const id = typeof message.id === 'string' || typeof message.id === 'number' ? { id: message.id } : null
    const answer = (data: unknown, successful: boolean) => session.deliver(message.channel as string, data, { ...id, successful })
    try {
      const result = handler(message.data, session, message)
      const data = isThenable(result) ? await result : result // what is there at once rides on the response at hand
      if (data !== undefined) answer(data, true)
    } catch (error) {
      try {
        if (!(error instanceof ServiceError)) throw error
        answer(error.data, false)
      } catch (fault) {
        this.#fault(fault)
        answer({ error: 'internal' }, false)
      }
    }
  }

  #remote(session: Session): BayeuxSession {
    session.handle ??= new BayeuxSession(this.#host, session)
    return session.handle as BayeuxSession
  }

  #armed(off: (now: number) => void): () => void {
    this.#host.arm()
    return () => {
      off(this.#host.now())
      this.#host.arm()
    }
  }
}
