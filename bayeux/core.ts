// What one engine holds: options, sessions, the channel tree, what is to be flushed and when to look again.
//
// Does not know: what is done with it; the five meta handlers, publishing and delivery are functions over this.
// Always true: a session is in `sessions` from its handshake to its end and nowhere after.

import { Census } from './census.js'
import type { ChannelName } from './channel.js'
import type { Connection } from './connection.js'
import { Deadlines } from './deadlines.js'
import { Keys } from './dedupe.js'
import type { Exchange } from './exchange.js'
import { Extensions } from './extension.js'
import type { History } from './history.js'
import type { FrozenMessage, Message } from './message.js'
import { type EngineOptions, engineOptions, resolve, resolveFor, type Transport } from './options.js'
import { Pacer } from './pace.js'
import type { Question } from './policy.js'
import type { Waiter } from './publish.js'
import { type ChannelRules, Rules } from './rules.js'
import type { Session } from './session.js'
import { SharedMessages } from './shared.js'
import type { Sink } from './sink.js'
import { timestampOf } from './timestamp.js'
import { type Channel, type Listener, Tree } from './tree.js'

/** A message on its way into a durable history, and who waits for that. */
export interface Unkept {
  readonly message: FrozenMessage
  readonly channel: Channel
  readonly publisher: Session | null
  readonly waiter: Waiter
}

export class Core {
  readonly options: EngineOptions
  /** The options as they hold on each transport. */
  readonly transports: Readonly<Record<Transport, EngineOptions>>
  readonly tree: Tree
  readonly extensions: Extensions
  readonly sessions = new Map<string, Session>()
  readonly local = new Set<Session>()
  readonly deadlines = new Deadlines<Session>()
  readonly census: Census
  readonly pacer: Pacer
  /** Sessions with something to send, once each, those that have waited longest first; of those before `flushed` it is sent. */
  dirty: Session[] = []
  flushed = 0
  /** Sessions whose queue overflowed during a fan-out, to be removed after it. */
  doomed: Session[] = []
  /** The place of the kept message that was fanned out last. */
  published = 0
  /** Sessions that replay and have room for more; and the messages that they get. */
  readonly replaying = new Set<Session>()
  readonly shared = new SharedMessages()
  trimAt = Number.POSITIVE_INFINITY
  /** Messages that a durable history has not kept yet, in the order of their places. */
  unkept: Unkept[] = []
  /** Keys of publishes that were said of late. */
  readonly keys = new Keys()
  /** Messages that sessions with full queues did not get. */
  readonly dropped = { oldest: 0, newest: 0, conflated: 0 }
  /** Held HTTP connects by browser cookie. */
  readonly heldByBrowser = new Map<string, number>()
  /** Sockets without a session, to be closed shortly, in the order of their time. */
  readonly lingering: { readonly connection: Connection; readonly at: number }[] = []
  /** The exchange in hand: what its session gets rides on its response. */
  current: Exchange | null = null
  /** Which questions the host's policy answers; the others are allowed without asking. */
  readonly policed: Record<Question['kind'], boolean> = {
    handshake: false,
    renew: false,
    create: false,
    subscribe: false,
    publish: false,
  }
  /** Subscriptions that are judged again, by the question that is open about each. */
  readonly reviews = new Map<Question, { readonly session: Session; readonly channel: Channel }>()
  /** Short of memory: no new sessions. */
  shedding = false
  sweepAt = Number.POSITIVE_INFINITY
  /** The server is about to stop: it takes no new sessions and holds no connect any more. */
  draining = false
  /** When its clients are to come back at the earliest, ms. */
  pause = 0

  /** @throws {BayeuxError} OPTION_UNKNOWN, OPTION_INVALID, RULE_INVALID */
  constructor(
    given: Readonly<Record<string, unknown>>,
    rules: ChannelRules,
    readonly sink: Sink,
    readonly history: History | null = null,
  ) {
    this.options = resolve(engineOptions, given)
    if (history !== null) {
      this.published = history.tip
      this.trimAt = 0 // a process before may have left what is too old by now
    }
    this.census = new Census(this.options)
    this.pacer = new Pacer(this.options)
    this.extensions = new Extensions(error => sink.fault(error))
    this.transports = {
      websocket: resolveFor(engineOptions, given, 'websocket'),
      'long-polling': resolveFor(engineOptions, given, 'long-polling'),
      'callback-polling': resolveFor(engineOptions, given, 'callback-polling'),
    }
    this.tree = new Tree(new Rules(rules), {
      channelAdded: channel => sink.channelAdded(channel.name),
      channelRemoved: channel => sink.channelRemoved(channel.name),
    })
  }

  /** Notes that a session has something to send. */
  markDirty(session: Session): void {
    if (session.dirty) return
    session.dirty = true
    if (this.dirty.push(session) === 1) this.sink.flushSoon()
  }

  /** A session that replays can have more. */
  replayable(session: Session): void {
    if (session.replays === null || session.gone) return
    this.replaying.add(session)
    this.sink.flushSoon()
  }

  /** A session lets go of its socket, which is closed at `at`, unless it finds another session until then. */
  linger(connection: Connection, session: Session, at: number): void {
    connection.session = null
    connection.spent ||= session.credential?.spent === true
    let place = this.lingering.length
    while (place > 0 && this.lingering[place - 1]!.at > at) place--
    this.lingering.splice(place, 0, { connection, at })
  }

  /** The text that the timestamp extension puts on messages; null while it is off. */
  timestamp(now: number): string | null {
    return this.options.timestamp ? timestampOf(now) : null
  }

  /** A pause of `ms` to half as much again, so that clients that were refused together do not come back together. */
  spread(ms: number): number {
    return ms + Math.floor(((Number.parseInt(this.sink.id().slice(0, 4), 36) % 1_000) * ms) / 2_000)
  }

  /** Asks the listeners of a channel and of the wildcards that cover it. @returns false when one vetoed the message */
  notify(name: ChannelName, message: Message, session: Session | null): boolean {
    if (this.tree.listening === 0) return true
    for (const channel of this.tree.coveringName(name)) {
      for (const listener of channel.listeners) if (this.call(listener, message, session) === false) return false
    }
    return true
  }

  /** JSON of a message for one session after the extensions have seen it; null when one dropped it, `plain` when one spoiled it. */
  sealed(session: Session, message: Record<string, unknown>, plain: string): string | null {
    if (!this.extensions.outgoing(session, message)) return null
    try {
      return JSON.stringify(message)
    } catch (error) {
      this.sink.fault(error)
      return plain
    }
  }

  call(listener: Listener, message: Message, session: Session | null): boolean | void {
    try {
      return listener(message, session)
    } catch (error) {
      this.sink.fault(error)
    }
  }
}
