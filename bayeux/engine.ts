// The engine: every input of the protocol, the order in which messages are processed, and when what was queued goes out.
//
// Knows: envelopes, which session one speaks for, what waits behind a verdict.
// Does not know: sockets, timers, randomness; it is given `now` and gives effects through the sink.
// Always true: messages of one envelope, and envelopes of one connection, are processed in order; other sessions never wait for them.
// Source: protocol reference 3 (order of checks), 3.10, 4.2 to 4.6, 6.2, 6.4.

import { isIdle } from './activity.js'
import { removedMeanwhile, unknownSession } from './advice.js'
import { META_CHANNELS, parseChannel } from './channel.js'
import { bind, connect, loseConnect, releaseConnect, supersede } from './connect.js'
import { Connection, type Facts } from './connection.js'
import { Core } from './core.js'
import type { ErrorCode } from './errors.js'
import { Exchange } from './exchange.js'
import { dismiss, flush } from './flush.js'
import type { History } from './history.js'
import { tokenOf } from './identity.js'
import { isMessageId, type Message, parseEnvelope, type Refusal } from './message.js'
import { disconnect, handshake, metaReply, refuseHandshake, subscribe, subscriptionsOf, tooMany, unsubscribe } from './meta.js'
import type { Question, Verdict } from './policy.js'
import { kept, publish, TRIM_PERIOD } from './publish.js'
import { answerQuery, deniedQuery, isQuery, queryOf } from './query.js'
import { endLingering, letGo, remove, settle } from './removal.js'
import { answerRenewal, renew } from './renewal.js'
import { reading, replaySome } from './replay.js'
import { Reply } from './reply.js'
import { respond, startExpiry } from './response.js'
import { overloaded, restrain } from './restraint.js'
import { reviewed } from './review.js'
import type { ChannelRules } from './rules.js'
import { ServerSide } from './server.js'
import type { Session } from './session.js'
import type { Ending, Sink } from './sink.js'
import { hold, identityTrial, judge } from './trial.js'

const NEVER = Number.POSITIVE_INFINITY
/** The options behind refusals of whole envelopes. */
const LIMITS: Readonly<Partial<Record<Ending, string>>> = {
  too_deep: 'maxDepth',
  too_many_keys: 'maxKeys',
  too_many_messages: 'maxMessages',
}
/** Sessions that get a page of a replay in one flush. */
const REPLAYED = 4
/** Envelopes of one WebSocket behind a verdict, beyond which the host is asked to read no more. */
const MANY_WAITING = 16

/** Envelopes of one session over HTTP behind a verdict, beyond which they are refused. */
const MOST_WAITING = 64
/** A history that cannot be read is looked at again after so long, ms. */
const UNREADABLE_PERIOD = 60_000
/** Responses of one connection that wait for the history, beyond which it is read no more. */
const MOST_DETACHED = 1_024
/** What became of the message in hand: a reply, none (a held connect), not decided yet, or the end of its connection. */
type Handled = Reply | null | 'waiting' | 'ended'

export class Engine {
  readonly #core: Core
  /** Exchanges whose turn it is; more than one only while others wait behind a verdict that has come. */
  readonly #ready: Exchange[] = []
  #running = false
  /** What code in the server may do: publish, deliver, disconnect, local sessions. */
  readonly server: ServerSide

  /**
   * @param given options by CometD's names (options.ts), the missing ones at their defaults
   * @param history what keeps the messages of channels whose rules want that; null for nothing
   * @throws {BayeuxError} OPTION_UNKNOWN, OPTION_INVALID, RULE_INVALID
   */
  constructor(given: Readonly<Record<string, unknown>>, rules: ChannelRules, sink: Sink, history: History | null = null) {
    this.#core = new Core(given, rules, sink, history)
    this.server = new ServerSide(this.#core)
  }

  /** The next moment, in epoch ms, at which `tick` has something to do; Infinity for none. */
  get deadline(): number {
    const { deadlines, sweepAt, trimAt, lingering } = this.#core
    return Math.min(deadlines.next, sweepAt, trimAt, lingering[0]?.at ?? NEVER)
  }

  /** A transport can carry messages: one HTTP request has come, or one WebSocket has opened. `peer` is given back with each effect. */
  open(facts: Facts, peer: unknown): Connection {
    return new Connection(facts, peer)
  }

  /**
   * Takes one envelope from a client and does at once all that needs no answer from outside.
   *
   * Gives one reply for each message, in their order. A /meta/connect is held; with something to deliver, until the next `flush`.
   * What the peer did wrong is answered or ends the connection, never thrown.
   *
   * @param texts JSON texts, each one message or an array of messages; several only from a form
   * @param now epoch ms, never less than in the call before
   * @throws {RangeError} `connection` is closed: a fault of the caller
   */
  receive(connection: Connection, texts: readonly string[], now: number): void {
    if (!connection.open) throw new RangeError('receive on a closed connection')
    if (connection.exchange !== null || connection.detached >= MOST_DETACHED) return this.#defer(connection, texts)
    this.#accept(connection, texts, now)
    settle(this.#core, now)
  }

  /** The connection broke or was closed by its peer. What was not sent stays queued; the session lives on for its time. */
  closed(connection: Connection, now: number): void {
    if (!connection.open) return
    connection.open = false
    const { session } = connection
    connection.session = null
    if (session === null) return
    if (session.endpoint === connection) session.endpoint = null
    if (session.held?.connection === connection) loseConnect(this.#core, session)
    settle(this.#core, now)
  }

  /** The verdict on a question that the sink could not answer at once. One that nobody waits for any more is ignored. */
  answer(question: Question, verdict: Verdict, now: number): void {
    if (question.connection === null) {
      if (reviewed(this.#core, question, verdict)) settle(this.#core, now)
      return
    }
    const { exchange } = question.connection
    const trial = exchange?.trial
    if (exchange == null || trial == null || trial.questions[trial.at] !== question) return
    trial.verdict = verdict
    this.#run(exchange, now)
    settle(this.#core, now)
  }

  /** A durable history has all messages up to a place; or `error`: it could not keep those, and nobody gets them. */
  kept(through: number, error: Error | null, now: number): void {
    const connections = new Set(this.#core.unkept.map(({ waiter }) => waiter.exchange?.connection ?? null))
    kept(this.#core, through, error, now)
    for (const connection of connections) {
      if (connection?.waiting != null && connection.exchange === null && connection.detached < MOST_DETACHED)
        this.#nextOfConnection(connection, connection.waiting, now)
    }
    settle(this.#core, now)
  }

  /** The host's buffer for a WebSocket is full, or has room again. */
  congested(connection: Connection, full: boolean): void {
    connection.congested = full
    const { session } = connection
    if (!full && session !== null && session.endpoint === connection && session.urgent > 0) this.#core.markDirty(session)
  }

  /**
   * Sends what was queued since the last flush.
   *
   * @param most sessions that are written to; the host comes back for the others when it has read what came meanwhile
   * @param replays whether sessions that replay get their next pages before
   * @returns whether there are others
   */
  flush(now: number, most = NEVER, replays = true): boolean {
    this.#runDue(now) // a timer that is late delivers nothing to whom it would have ended
    const replaying = replays && this.#core.replaying.size > 0 && replaySome(this.#core, now, Math.min(most, REPLAYED))
    const behind = flush(this.#core, now, most)
    settle(this.#core, now)
    return behind || replaying
  }

  /** Puts the next pages into the queues of sessions that replay, at most so many. @returns whether there are others that can have one */
  replay(now: number, most: number): boolean {
    const more = this.#core.replaying.size > 0 && replaySome(this.#core, now, most)
    settle(this.#core, now)
    return more
  }

  /** Does what is due at `now`. @returns the next deadline */
  tick(now: number): number {
    const core = this.#core
    this.#runDue(now)
    if (now >= core.sweepAt) {
      core.tree.sweep()
      core.sweepAt = NEVER
    }
    if (now >= core.trimAt) core.trimAt = this.#trim(now)
    endLingering(core, now)
    settle(this.#core, now)
    return this.deadline
  }

  /** @returns when to do it again */
  #trim(now: number): number {
    const { history } = this.#core
    const next = reading(this.#core, () => history!.trim(now))
    if (next === 'unreadable') return now + UNREADABLE_PERIOD
    return next === now ? now + 1 : Math.max(next, now + TRIM_PERIOD)
  }

  get draining(): boolean {
    return this.#core.draining
  }

  /**
   * The server is about to stop: it takes no new sessions and holds no connects any more.
   *
   * @param pause its clients are told to come back after so many ms, and up to half as many more
   */
  drain(pause: number): void {
    this.#core.draining = true
    this.#core.pause = pause
  }

  /**
   * Lets sessions go, after `drain`: their held connects are answered with full advice, their sockets closed behind all that waits for them.
   *
   * @param most how many
   * @returns whether there are more that have something to be let go of
   */
  release(most: number, now: number): boolean {
    const { sessions, deadlines } = this.#core
    let count = 0
    // those that were removed without a word still have their connects held
    for (const session of [...sessions.values(), ...deadlines.items().filter(({ gone }) => gone)]) {
      if (session.held === null && session.endpoint === null) continue
      if (count++ === most) return true
      dismiss(this.#core, session, now)
    }
    return false
  }

  #runDue(now: number): void {
    const { deadlines } = this.#core
    for (let session = deadlines.due(now); session !== null; session = deadlines.due(now)) this.#due(session, now)
  }

  #due(session: Session, now: number): void {
    const core = this.#core
    if (session.held !== null && session.held.until <= now) releaseConnect(core, session, now)
    if (session.gone) return session.held === null ? letGo(core, session, true, now) : core.deadlines.update(session)
    if (session.lazyAt !== null && session.lazyAt <= now) {
      session.endLaziness()
      core.markDirty(session)
    }
    if (session.expiresAt < now || session.processingEndsAt() <= now) return remove(core, session, 'expired', now)
    if (session.credential !== null && session.credential.dueAt <= now) {
      if (session.credential.pass(now)) return remove(core, session, 'token_expired', now)
      if (session.held !== null) releaseConnect(core, session, now)
    }
    core.deadlines.update(session)
  }

  #defer(connection: Connection, texts: readonly string[]): void {
    connection.waiting ??= []
    connection.waiting.push(...texts)
    if (connection.paused || connection.waiting.length < MANY_WAITING) return
    connection.paused = true
    this.#core.sink.pause(connection, true)
  }

  #accept(connection: Connection, texts: readonly string[], now: number): void {
    const { maxMessages, maxDepth, maxKeys } = this.#core.options
    const messages = parseEnvelope(texts, maxMessages, maxDepth, maxKeys)
    if (typeof messages === 'string') return this.#refuse(connection, messages)
    if (messages.length > 1 && messages.some(message => message.channel === '/meta/handshake'))
      return this.#refuse(connection, 'malformed')
    // a client that finds its socket closed opens another, and that may bring a newer token
    if (connection.spent && messages[0]!.channel === '/meta/handshake' && (tokenOf(messages[0]!) ?? null) === null)
      return this.#refuse(connection, 'removed')
    const exchange = new Exchange(connection, messages)
    connection.exchange = exchange
    exchange.session = this.#sessionOf(connection, messages[0]!)
    if (exchange.session !== null) {
      for (const text of texts) exchange.bytes += text.length
      this.#arrive(exchange, exchange.session, now)
    }
    this.#enter(exchange, now)
  }

  #refuse(connection: Connection, ending: Refusal | 'failed' | 'rate_limited' | 'removed'): void {
    const { session } = connection
    const limit = LIMITS[ending]
    if (limit !== undefined) this.#core.sink.limited(limit, connection.address)
    if (session?.endpoint === connection) session.endpoint = null
    if (session?.held?.connection === connection) loseConnect(this.#core, session)
    connection.session = null
    connection.waiting = null
    if (!connection.open) return
    connection.open = false
    this.#core.sink.end(connection, ending)
  }

  /** The session that an envelope speaks for: the socket's own, or that of the first message's clientId if its browser is the same. */
  #sessionOf(connection: Connection, first: Message): Session | null {
    const core = this.#core
    if (first.channel === '/meta/handshake') return null
    if (connection.session !== null && !connection.session.gone) return connection.session
    const session = typeof first.clientId === 'string' ? core.sessions.get(first.clientId) : undefined
    if (session === undefined) return null
    if (connection.socket) {
      const foreign = connection.browser !== null && session.browser !== null && connection.browser !== session.browser
      return foreign || core.options['ws.requireHandshakePerConnection'] ? null : session
    }
    const { browser } = connection
    const mine = browser !== null && (browser === session.browser || browser === session.issued)
    return mine || core.options.trustClientSession ? session : null
  }

  /** A session speaks on this connection: what it held elsewhere, and where its deliveries go, may change (protocol reference 4.4, 4.5). */
  #arrive(exchange: Exchange, session: Session, now: number): void {
    const { connection, messages } = exchange
    session.transport = connection.transport
    session.address = connection.address
    if (connection.socket) {
      if (!connection.open || session.credential?.expiring === true) return
      bind(this.#core, connection, session)
      if (session.endpoint === connection) return
      if (session.held !== null && session.held.connection !== connection) supersede(this.#core, session, now)
      session.endpoint = connection
      if (session.urgent > 0) this.#core.markDirty(session)
    } else if (messages.some(message => message.channel === '/meta/connect')) {
      supersede(this.#core, session, now)
      session.endpoint = null
    }
  }

  /** Runs an exchange, or puts it behind the one of its session that waits for a verdict. */
  #enter(exchange: Exchange, now: number): void {
    const { session } = exchange
    if (session === null || session.exchange === null) return this.#run(exchange, now)
    session.waiting ??= []
    if (session.waiting.length < MOST_WAITING) session.waiting.push(exchange)
    else {
      exchange.connection.exchange = null
      this.#refuse(exchange.connection, 'rate_limited')
    }
  }

  /** Runs an exchange and then, one after the other, those that waited behind it. */
  #run(exchange: Exchange, now: number): void {
    this.#ready.push(exchange)
    if (this.#running) return
    this.#running = true
    try {
      for (let next = this.#ready.shift(); next !== undefined; next = this.#ready.shift()) this.#attempt(next, now)
    } finally {
      this.#running = false
    }
  }

  /** Processes an exchange. What code of the application breaks in it ends its connection, and nothing else. */
  #attempt(exchange: Exchange, now: number): void {
    try {
      this.#process(exchange, now)
    } catch (error) {
      const { connection, session } = exchange
      this.#core.sink.fault(error)
      this.#core.current = null
      connection.exchange = null
      if (session !== null && session.held === null && session.expiresAt === NEVER)
        startExpiry(this.#core, session, connection.transport, now)
      this.#refuse(connection, 'failed')
      if (session !== null) this.#nextOfSession(session, now)
    }
  }

  /** Processes an exchange from the message in hand on, until it is through or has to wait. */
  #process(exchange: Exchange, now: number): void {
    const core = this.#core
    const { connection, messages, replies } = exchange
    core.current = exchange
    while (exchange.at < messages.length) {
      const handled = this.#handle(exchange, messages[exchange.at]!, now)
      if (handled === 'waiting') return this.#park(exchange)
      if (handled === 'ended') return this.#abandon(exchange, now)
      if (handled !== null) replies.push(handled)
      if (exchange.renewal !== null) answerRenewal(exchange, handled)
      exchange.trial = null
      exchange.called = false
      exchange.at++
    }
    if (exchange.unkept > 0) {
      exchange.detached = true // what is behind it goes on
      connection.detached++
    } else if (!exchange.held || replies.length > 0) respond(core, exchange, now)
    core.current = null
    connection.exchange = null
    if (exchange.session !== null) this.#nextOfSession(exchange.session, now)
    if (connection.waiting !== null && connection.detached < MOST_DETACHED)
      this.#nextOfConnection(connection, connection.waiting, now)
  }

  /** The rest of an exchange is not looked at: its client was shown the door. */
  #abandon({ connection, session }: Exchange, now: number): void {
    this.#core.current = null
    connection.exchange = null
    this.#core.sink.limited('maxMessageRate', connection.address)
    this.#refuse(connection, 'rate_limited')
    if (session === null) return
    remove(this.#core, session, 'rate_limited', now)
    this.#nextOfSession(session, now)
  }

  /** A verdict is awaited. Meanwhile the session's time does not run: it is not its client that is slow. */
  #park(exchange: Exchange): void {
    const { session } = exchange
    this.#core.current = null
    if (session === null) return
    session.exchange = exchange
    session.expiresAt = NEVER
  }

  #nextOfSession(session: Session, now: number): void {
    const behind = session.waiting?.shift() ?? null
    session.exchange = behind // so that what comes meanwhile queues up behind it
    if (behind === null) return
    if (session.waiting?.length === 0) session.waiting = null
    this.#run(behind, now)
  }

  #nextOfConnection(connection: Connection, waiting: string[], now: number): void {
    const text = waiting.shift()!
    if (waiting.length === 0) {
      connection.waiting = null
      if (connection.paused) {
        connection.paused = false
        this.#core.sink.pause(connection, false)
      }
    }
    this.#accept(connection, [text], now)
  }

  /** One message, through all its checks, in the order of protocol reference 3. */
  #handle(exchange: Exchange, message: Message, now: number): Handled {
    const core = this.#core
    const { session } = exchange
    const resumed = exchange.trial !== null || exchange.renewal !== null
    if (!resumed) {
      const refused = restrain(core, exchange, message, now)
      if (refused !== null) return refused
      const fault = this.#fault(exchange, message)
      if (fault !== null) return new Reply(message).fail(fault)
      const written = message.channel
      if (!this.#incoming(session, message)) return new Reply(message).fail('MESSAGE_DELETED')
      const changed = message.channel === written ? null : this.#fault(exchange, message)
      if (changed !== null) return new Reply(message).fail(changed)
    }
    const channel = message.channel as string
    if (channel === '/meta/handshake') return this.#handshake(exchange, message, now)
    if (session === null || session.gone || message.clientId !== session.id) return this.#unknown(exchange, message, now)
    if (!resumed) this.#touch(session, channel, now)
    if (core.policed.renew && message.ext !== undefined) {
      const renewed = renew(core, exchange, session, message, now)
      if (renewed === 'waiting') return 'waiting'
      if (renewed === 'renewed' && exchange.connection.socket && session.endpoint === null) this.#arrive(exchange, session, now) // let go for want of it
    }
    switch (channel) {
      case '/meta/connect':
        return this.#connect(exchange, session, message, now)
      case '/meta/subscribe':
        return this.#subscribe(exchange, session, message, now)
      case '/meta/unsubscribe':
        return this.#unsubscribe(session, message, now)
      case '/meta/disconnect':
        return this.#listened(message, session)
          ? disconnect(core, session, message, now)
          : new Reply(message).fail('MESSAGE_DELETED')
      default:
        return this.#publish(exchange, session, message, now)
    }
  }

  /** What is wrong with a message whoever sent it: of its channel first, then of its id. Notes the channel. */
  #fault(exchange: Exchange, message: Message): ErrorCode | null {
    const { tree, options } = this.#core
    const { channel } = message
    if (channel === undefined || channel === null) return 'CHANNEL_MISSING'
    if (typeof channel !== 'string') return 'CHANNEL_INVALID'
    exchange.name =
      META_CHANNELS.get(channel) ??
      tree.find(channel) ??
      parseChannel(channel, options.maxChannelLength, options.validateMessageFields, options.maxChannelSegments)
    if (exchange.name === null) return 'CHANNEL_INVALID'
    return isMessageId(message.id, options.validateMessageFields) ? null : 'MESSAGE_ID_INVALID'
  }

  #incoming(session: Session | null, message: Message): boolean {
    return this.#core.extensions.incoming(session, message)
  }

  /** 402; with advice only for a connect, since other replies' advice would take effect too. */
  #unknown(exchange: Exchange, message: Message, now: number): Reply {
    const reply = metaReply(this.#core, message, now).fail('SESSION_UNKNOWN')
    if (message.channel !== '/meta/connect') {
      if (typeof message.channel === 'string' && !message.channel.startsWith('/meta/')) reply.timesync = null
      return reply
    }
    const removedHere = exchange.session?.gone === true && exchange.session.id === message.clientId
    reply.advice = removedHere ? removedMeanwhile() : unknownSession()
    return reply
  }

  /** A valid message keeps its session alive (protocol reference 4.3). */
  #touch(session: Session, channel: string, now: number): void {
    session.lastMessageAt = now
    if (channel === '/meta/connect') return
    session.lastActiveAt = now
    if (session.expiresAt === NEVER) return
    const maxInterval = session.maxInterval ?? this.#core.transports[session.transport].maxInterval
    session.expiresAt = Math.max(session.expiresAt, now + maxInterval)
  }

  #handshake(exchange: Exchange, message: Message, now: number): Handled {
    if (exchange.trial === null) {
      const refused = refuseHandshake(this.#core, exchange.connection, message, now)
      if (refused !== null) return refused
    }
    exchange.trial ??= identityTrial(exchange, 'handshake', message)
    const outcome = hold(this.#core, exchange.trial, false)
    if (outcome === 'waiting') return 'waiting'
    if (!this.#listened(message, null)) return new Reply(message).fail('MESSAGE_DELETED')
    return handshake(this.#core, exchange, message, 'verdict' in outcome ? outcome.verdict : false, now)
  }

  #connect(exchange: Exchange, session: Session, message: Message, now: number): Handled {
    const core = this.#core
    if (!this.#listened(message, session)) return new Reply(message).fail('MESSAGE_DELETED')
    if (isIdle(session, core.options, now)) remove(core, session, 'kicked', now)
    if (session.gone) return this.#unknown(exchange, message, now)
    return connect(core, exchange, session, message, now)
  }

  #subscribe(exchange: Exchange, session: Session, message: Message, now: number): Handled {
    const names = subscriptionsOf(this.#core, message)
    if (typeof names === 'string') return metaReply(this.#core, message, now).fail(names)
    if (tooMany(this.#core, session, names)) {
      this.#core.sink.limited('maxSubscriptions', session.address)
      return metaReply(this.#core, message, now).fail('TOO_MANY_SUBSCRIPTIONS')
    }
    if (exchange.trial === null) this.#core.pacer.more(session, names.length - 1)
    if (this.#core.shedding && names.some(name => this.#core.tree.find(name.name) === undefined))
      return overloaded(this.#core, exchange, session, message, now)
    const outcome = judge(this.#core, exchange, message, names, 'subscribe')
    if (outcome === 'waiting') return 'waiting'
    if ('code' in outcome) return metaReply(this.#core, message, now).fail(outcome.code, outcome.reason)
    if (!this.#listened(message, session)) return new Reply(message).fail('MESSAGE_DELETED')
    return subscribe(this.#core, session, message, names, now)
  }

  #unsubscribe(session: Session, message: Message, now: number): Handled {
    const names = subscriptionsOf(this.#core, message)
    if (typeof names === 'string') return metaReply(this.#core, message, now).fail(names)
    if (!this.#listened(message, session)) return new Reply(message).fail('MESSAGE_DELETED')
    return unsubscribe(this.#core, session, message, names, now)
  }

  #publish(exchange: Exchange, session: Session, message: Message, now: number): Handled {
    const core = this.#core
    const name = exchange.name!
    if (!exchange.called) {
      const outcome = judge(core, exchange, message, [name], 'publish')
      if (outcome === 'waiting') return 'waiting'
      if ('code' in outcome) return new Reply(message).fail(outcome.code, outcome.reason)
    }
    return isQuery(core, name)
      ? this.#query(exchange, session, message, now)
      : publish(core, exchange, session, message, name, now)
  }

  /** A call of `/service/history`: who may not subscribe to a channel may not read it. */
  #query(exchange: Exchange, session: Session, message: Message, now: number): Handled {
    const core = this.#core
    let query = queryOf(core, message)
    if ('name' in query) {
      if (!exchange.called) exchange.trial = null
      exchange.called = true
      const outcome = judge(core, exchange, message, [query.name], 'subscribe')
      if (outcome === 'waiting') return 'waiting'
      if ('code' in outcome) query = deniedQuery(outcome.code, outcome.reason)
    }
    const reply = publish(core, exchange, session, message, exchange.name!, now)
    if (reply.successful && !session.gone) answerQuery(core, session, message, query, now)
    return reply
  }

  /** Whether the listeners on a meta channel let its message pass. */
  #listened(message: Message, session: Session | null): boolean {
    if (this.#core.tree.listening === 0) return true
    const channel = META_CHANNELS.get(message.channel as string)
    return channel === undefined || this.#core.notify(channel, message, session)
  }
}
