// One session: the server's half of a client, its queue and its deadlines.
//
// Knows: which states follow which (TRANSITIONS), what waits for delivery, when it expires.
// Does not know: transports, other sessions, the time (callers pass `now`).
// Always true: `gone` is final; `urgent` counts the queued messages that are not lazy; a session outlives its connections.
// Source: protocol reference 4.1, 4.3, 4.8; names follow CometD's ServerSession.

import type { AckState } from './ack.js'
import type { Connection } from './connection.js'
import type { Timed } from './deadlines.js'
import type { Exchange } from './exchange.js'
import type { Credential } from './identity.js'
import type { Form, FrozenMessage } from './message.js'
import type { Transport } from './options.js'
import type { Replay } from './replay.js'
import type { Reply } from './reply.js'
import type { Subscriptions } from './subscriptions.js'

export const TRANSITIONS = {
  new: { handshake: 'handshaken', refuse: 'gone' },
  handshaken: { connect: 'connected', remove: 'gone' },
  connected: { connect: 'connected', remove: 'gone' },
  gone: {}, // a held connect is a field of the session, not a state
} as const

export type SessionState = keyof typeof TRANSITIONS

/** Why a session ended. */
export type RemovalReason =
  | 'disconnected'
  | 'kicked'
  | 'expired'
  | 'overflow'
  | 'removed'
  | 'rate_limited'
  | 'token_expired'
  | 'revoked'

/** A /meta/connect whose reply is delayed (protocol reference 4.2). */
export interface HeldConnect {
  readonly connection: Connection
  readonly reply: Reply
  readonly until: number
  /** Whether it counts against maxSessionsPerBrowser. */
  readonly counted: boolean
}

/** Takes what is delivered to a local session, in order. */
export type Receiver = (message: FrozenMessage) => void

const NEVER = Number.POSITIVE_INFINITY
/** The queue of every session that has nothing to deliver; nobody adds to it. */
const NOTHING: FrozenMessage[] = []

/** All fields are set here, in this order: one shape. */
export class Session implements Timed {
  // What each delivery looks at stands first and together: with thousands of sessions, what is near is half of the cost.
  state: SessionState = 'new'
  /** What waits for delivery, oldest first. */
  queue: FrozenMessage[] = NOTHING
  urgent = 0
  queuedBytes = 0
  /** In the list of sessions to be flushed. */
  dirty = false
  /** How it is told the places of messages that are kept. */
  form: Form = 'plain'
  /** Subscriptions that it follows from the past on; null for none. */
  replays: Replay[] | null = null
  /** By what the keys of its publishes are told from others'; null while it has none. Secret. */
  publisher: string | null = null
  /** Asked to be told of messages that it does not get; and how many it was not told of yet. */
  tellsDropped = false
  dropped = 0
  /** The last queued message of each topic that is conflated at any time; null while there is none. */
  topics: Map<string, FrozenMessage> | null = null
  /** Removed as soon as the fan-out that overflowed its queue is over. */
  doomed = false
  /** Depth of server-side batches: no flush while above 0. */
  batchDepth = 0
  /** Subscriptions that are judged again; nothing leaves the queue while above 0. */
  reviewing = 0
  /** How often its rights were judged again. */
  reviews = 0
  /** Set for a session that lives in the server. */
  readonly receiver: Receiver | null
  metaConnectDeliverOnly: boolean
  ack: AckState | null = null
  /** The WebSocket that deliveries go to. */
  endpoint: Connection | null = null
  held: HeldConnect | null = null

  readonly id: string
  /** The browser cookie at handshake; null when there was none. */
  readonly browser: string | null
  /** The browser cookie that its WebSocket was answered with: over HTTP its client shows that one. No other WebSocket is refused for it. */
  issued: string | null = null
  /** Where its last message came from. */
  transport: Transport
  address: string
  /** The address as limits count it, at handshake. */
  addressKey = ''
  user: unknown = null
  /** Whom it speaks for; null for nobody that is known. */
  credential: Credential | null = null
  /** A place for the host's own view of the session. */
  handle: unknown = null
  /** When lazy messages stop waiting; null while none waits. */
  lazyAt: number | null = null
  subscriptions: Subscriptions | null = null
  /** The envelope in hand, while it waits for a verdict, and those behind it. */
  exchange: Exchange | null = null
  waiting: Exchange[] | null = null

  /** Of the server's code, over the options; null for none. */
  timeout: number | null = null
  interval: number | null = null
  maxInterval: number | null = null
  broadcastToPublisher: boolean

  /** Transport of the last full advice, and whether the next connect reply must carry one anyway. */
  advisedTransport: Transport
  adviceDue = false
  /** Was told of an interval that is not its own: for another session of its browser, or as it sent too fast. */
  slowed = false
  /** What the client last asked for with advice.interval, or was told to keep once, for one connect. */
  transientInterval: number | null = null

  /** When it counts as removed for want of a connect; Infinity while one is held or processed. */
  expiresAt = NEVER
  lastMessageAt = 0
  lastActiveAt = 0
  maxProcessing = -1

  /** What it sent of late (pace.ts), and when that was last looked at. */
  messagesSpent = 0
  bytesSpent = 0
  paceAt = 0

  heapIndex = -1

  constructor(
    id: string,
    browser: string | null,
    transport: Transport,
    address: string,
    receiver: Receiver | null,
    deliverOnly: boolean,
    broadcastToPublisher: boolean,
  ) {
    this.id = id
    this.browser = browser
    this.transport = transport
    this.advisedTransport = transport
    this.address = address
    this.receiver = receiver
    this.metaConnectDeliverOnly = deliverOnly
    this.broadcastToPublisher = broadcastToPublisher
  }

  get gone(): boolean {
    return this.state === 'gone'
  }

  get local(): boolean {
    return this.receiver !== null
  }

  /** Messages leave only with connect replies: asked for, or needed by the ack extension. */
  get connectOnly(): boolean {
    return this.metaConnectDeliverOnly || this.ack !== null
  }

  /** Follows TRANSITIONS. @throws {RangeError} the event does not occur in this state: a fault of the caller */
  transit(event: 'handshake' | 'refuse' | 'connect' | 'remove'): void {
    const next = (TRANSITIONS[this.state] as Partial<Record<string, SessionState>>)[event]
    if (next === undefined) throw new RangeError(`session ${this.state}: ${event} cannot happen`)
    this.state = next
  }

  /** Puts a message at the end of the queue. */
  enqueue(message: FrozenMessage): void {
    if (this.queue.length === 0) this.queue = [message]
    else this.queue.push(message)
    this.queuedBytes += message.json.length
    if (message.lazy === -1) this.urgent++
  }

  /** Empties the queue. @returns what was in it, oldest first */
  takeQueue(): FrozenMessage[] {
    const messages = this.queue
    if (messages.length === 0) return messages
    if (this.reviewing > 0) return NOTHING // it may be that not all of it may go
    this.queue = NOTHING
    this.topics = null
    this.queuedBytes = 0
    this.urgent = 0
    this.lazyAt = null
    return messages
  }

  /** Takes the message at this place out of the queue, and out of what is to be acknowledged. */
  removeQueued(at: number): FrozenMessage {
    const message = this.queue[at]!
    this.ack?.remove(this.ack.size - this.queue.length + at) // the queue is the end of what is not acknowledged
    if (at === 0) this.queue.shift()
    else this.queue.splice(at, 1)
    this.queuedBytes -= message.json.length
    if (message.lazy === -1 || this.lazyAt === null) this.urgent--
    this.urgent = Math.min(this.urgent, this.queue.length)
    return message
  }

  /** Takes messages out of the queue that are not to be delivered after all. */
  dropQueued(unwanted: (message: FrozenMessage) => boolean): void {
    const kept = this.queue.filter(message => {
      const stays = !unwanted(message)
      if (!stays && this.topics?.get(message.topic ?? '') === message) this.topics.delete(message.topic!)
      return stays
    })
    if (kept.length === this.queue.length) return
    const { lazyAt } = this
    this.queue = NOTHING
    this.queuedBytes = 0
    this.urgent = 0
    for (const message of kept) this.enqueue(message)
    if (lazyAt === null) this.endLaziness()
    else if (this.urgent === kept.length) this.lazyAt = null
  }

  /** Lazy messages have waited long enough: from now on they count as any other. */
  endLaziness(): void {
    this.lazyAt = null
    this.urgent = this.queue.length
  }

  /** The earliest of all that this session waits for. */
  deadline(): number {
    if (this.gone) return this.held === null ? NEVER : this.held.until
    let at = this.expiresAt + 1
    if (this.lazyAt !== null && this.lazyAt < at) at = this.lazyAt
    if (this.held !== null && this.held.until < at) at = this.held.until
    if (this.credential !== null && this.credential.dueAt < at) at = this.credential.dueAt
    return Math.min(at, this.processingEndsAt())
  }

  /** When a connect that is held or processed has lasted too long (`maxProcessing`). */
  processingEndsAt(): number {
    return this.maxProcessing > 0 && this.expiresAt === NEVER && this.receiver === null
      ? this.lastMessageAt + this.maxProcessing
      : NEVER
  }
}
