// What goes on between a CometD object and its server: the status, what waits to be sent, who waits for which reply.
//
// Knows: when messages leave and when they wait, what each outcome means to callbacks, subscriptions and the status.
// Does not know: the forms of the API's arguments (cometd.ts), the wire's ids (wire.ts).
// Always true: every callback is called once, but for those of messages that an extension dropped.
// Source: CometD's reference manual, "JavaScript Library"; the order of calls follows npm `cometd` 9.

import { type ClientState, clientDefaults } from '../../../bayeux/client-sink.js'
import type { Settings } from '../line.js'
import type { Surroundings } from '../surroundings.js'
import type { Listeners } from './listeners.js'
import { type Configured, mixin } from './settings.js'
import type { Advice, Callback, Failure, Message, Props, Status } from './types.js'
import { Wire } from './wire.js'

/** What the conversation needs of its owner. None may throw. */
export interface Owner {
  readonly config: Configured
  readonly listeners: Listeners
  through(direction: 'incoming' | 'outgoing', message: Message): Message | null
  called(callback: Callback, message: Message): void
  urlOf(): string
  after(ms: number, act: () => void): () => void
  /** No answer came in time. */
  late(message: Message): void
  /** A handshake failed: which transport comes next, null for none. */
  transportFailed(failure: Failure, from: string | null, to: string | null): void
}

interface Waiting {
  readonly message: Message
  readonly call: boolean
  /** Calls off its end in the queue. */
  off: (() => void) | null
}

interface Call {
  readonly callback: Callback | undefined
  readonly off: () => void
}

export class Conversation {
  readonly #owner: Owner
  readonly #callbacks = new Map<string, Callback>()
  readonly #calls = new Map<string, Call>()
  #status: Status = 'disconnected'
  #wire: Wire | null = null
  /** A session is there, and its handshake has been told. */
  #open = false
  #queue: Waiting[] = []
  #batches = 0
  #lastId = 0
  #backoff = 0
  #advice: Advice
  #reestablish = false
  /** The session broke on a WebSocket. */
  #broke = false
  #greeting: { readonly props: Props | undefined; readonly callback: Callback | undefined } | null = null
  #parting: { readonly props: Props | undefined; readonly callback: Callback | undefined } | null = null

  constructor(owner: Owner) {
    this.#owner = owner
    this.#advice = { ...owner.config.advice }
  }

  get status(): Status {
    return this.#status
  }

  get disconnected(): boolean {
    return this.#status === 'disconnected' || this.#status === 'disconnecting'
  }

  get clientId(): string | null {
    return this.#wire?.clientId ?? null
  }

  /** The type of the transport in use. */
  get type(): string | null {
    return this.#wire?.type ?? null
  }

  get advice(): Advice {
    return this.#advice
  }

  get broke(): boolean {
    return this.#broke
  }

  nextId(): string {
    return String(++this.#lastId)
  }

  // Backoff, as CometD counts it

  get backoff(): number {
    return this.#backoff
  }

  increaseBackoff(): number {
    const { backoffIncrement, maxBackoff } = this.#owner.config
    if (this.#backoff < maxBackoff) this.#backoff += backoffIncrement
    return this.#backoff
  }

  resetBackoff(): void {
    this.#backoff = 0
  }

  /** ms until the next try: a first handshake is made again at once; a connect, and a session lost soon after it began, after an increment. */
  pause(): number {
    return this.#wire?.state === 'handshaking' ? this.#backoff : this.#backoff + this.#owner.config.backoffIncrement
  }

  // The application's side

  /**
   * @param replay gives the handshake reply of the session that a page before this one kept
   * @throws {Error} none of the transports can be had here
   */
  start(
    settings: Settings,
    around: Surroundings,
    replay: () => Message,
    props: Props | undefined,
    callback: Callback | undefined,
  ): void {
    this.#greeting = { props, callback }
    this.#parting = null
    this.#batches = 0
    this.#advice = { ...this.#owner.config.advice }
    this.#owner.listeners.unsubscribe()
    const wire = new Wire(settings, around, {
      outgoing: message => this.#outgoing(message),
      incoming: message => this.#incoming(message),
      reply: message => this.#replied(message),
      response: message => this.#responded(message),
      message: message => this.#owner.listeners.notify(message.channel, message),
      state: state => this.#state(wire, state),
      late: message => this.#owner.late(message),
      resumed: () => {
        // `handshake` returns before its reply comes, also where there is none to wait for.
        this.#owner.after(0, () => {
          const message = replay()
          const { id = '' } = this.#greet({ ...message })
          const shown = this.#incoming({ ...message, id, ext: { ...message.ext, reload: true } })
          if (this.#wire !== wire || this.disconnected) return
          this.#status = 'connected'
          if (shown !== null) this.#replied(shown)
        })
      },
    })
    this.#wire = wire
    this.#status = 'handshaking'
    wire.start()
    this.#status = 'handshaking' // a session that goes on is told of later
  }

  disconnect(props: Props | undefined, callback: Callback | undefined): void {
    if (this.disconnected) return
    this.#parting = { props, callback }
    this.#status = 'disconnecting'
    this.#wire?.disconnect()
  }

  startBatch(): void {
    this.#batches++
  }

  /** @throws {Error} no batch is open */
  endBatch(): void {
    if (this.#batches === 0 && this.#status === 'disconnected') return // it came to its end within the batch
    if (this.#batches === 0) throw new Error('Calls to startBatch() and endBatch() are not paired')
    this.#batches--
    this.#flush()
  }

  send(message: Message, callback?: Callback): void {
    if (callback !== undefined && message.id !== undefined) this.#callbacks.set(message.id, callback)
    this.#take(message, false)
  }

  /** @param timeout ms; 0 for none */
  call(message: Message, timeout: number, callback: Callback | undefined): void {
    const { id = '', channel } = message
    const end = (): void => {
      const failure: Failure = { message, reason: 'Remote Call Timeout', connectionType: this.type ?? 'unknown' }
      this.#responded({ id, channel, successful: false, error: '406::timeout', failure })
    }
    this.#calls.set(id, { callback, off: timeout > 0 ? this.#owner.after(timeout, end) : () => {} })
    this.#take(message, true)
  }

  /** As if it had come from the server. */
  receive(message: Message): void {
    const shown = this.#incoming(message)
    if (shown === null) return
    if (shown.channel.startsWith('/meta/') || shown.data === undefined) this.#replied(shown)
    else this.#responded(shown)
  }

  // What leaves

  #take(message: Message, call: boolean): void {
    if (this.#queue.length >= clientDefaults.maxQueue) this.#wire?.failLater(message, call, 'Too much waits to be sent')
    else this.#queue.push({ message, call, off: null })
    this.#flush()
  }

  /** Sends what waits, if anything may leave. While the connection is broken a message waits as long as it would for its reply, and fails. */
  #flush(): void {
    const wire = this.#wire
    if (wire === null || !this.#open || this.#batches > 0 || this.disconnected) return
    if (wire.state === 'broken') {
      for (const waiting of this.#queue)
        waiting.off ??= this.#owner.after(this.#owner.config.maxNetworkDelay, () => this.#expire(waiting))
      return
    }
    const queue = this.#queue
    this.#queue = []
    if (queue.length === 0) return
    wire.batch(() => {
      for (const { message, call, off } of queue) {
        off?.()
        this.#give(wire, message, call)
      }
    })
  }

  #expire(waiting: Waiting): void {
    this.#queue = this.#queue.filter(each => each !== waiting)
    this.#wire?.failLater(waiting.message, waiting.call, 'The connection is broken')
  }

  /** Extensions see a message when it is sent, not before. */
  #give(wire: Wire, message: Message, call: boolean): void {
    const { id } = message
    message.clientId = wire.clientId ?? ''
    const changed = this.#owner.through('outgoing', message)
    if (changed === null) {
      this.#callbacks.delete(id ?? '')
      this.#calls.get(id ?? '')?.off()
      this.#calls.delete(id ?? '')
      return
    }
    if (id !== undefined) changed.id = id
    try {
      this.#measure(wire, changed)
      wire.send(changed, call)
    } catch (exception) {
      wire.failLater(changed, call, String(exception), exception)
    }
  }

  /** @throws {Error} the message is too long */
  #measure(wire: Wire, message: Message): void {
    const { maxSendBayeuxMessageSize, maxURILength } = this.#owner.config
    const json = JSON.stringify(message)
    if (json.length > maxSendBayeuxMessageSize) throw new Error(`maxSendBayeuxMessageSize ${maxSendBayeuxMessageSize} exceeded`)
    if (wire.type !== 'callback-polling') return
    const length = this.#owner.urlOf().length + encodeURI(`[${json}]`).length
    if (length > maxURILength)
      throw new Error(`Bayeux message too big (${length} bytes, max is ${maxURILength}) for transport ${wire.type}`)
  }

  /** A handshake, connect or disconnect: cannot be dropped, since the client half waits for its reply. */
  #outgoing(message: Message): void {
    const { channel } = message
    if (channel === '/meta/connect') this.#status = 'connected'
    const { id = '' } = channel === '/meta/connect' ? Object.assign(message, { id: this.nextId() }) : this.#greet(message)
    const changed = this.#owner.through('outgoing', message)
    if (changed !== null && changed !== message) {
      for (const field of Object.keys(message)) delete message[field]
      Object.assign(message, changed)
    }
    message.id = id
  }

  /** Gives a handshake or disconnect its id, the application's fields, and its callback. */
  #greet(message: Message): Message {
    const handshakes = message.channel === '/meta/handshake'
    const { props, callback } = (handshakes ? this.#greeting : this.#parting) ?? {}
    const ext = { ...(props?.['ext'] as object | undefined), ...message.ext }
    Object.assign(message, { ...props, ...message, id: this.nextId() })
    if (Object.keys(ext).length > 0) message.ext = ext
    const { timeout = 0, interval = 0 } = this.#owner.config.advice
    if (handshakes) message.advice = { timeout, interval }
    if (callback !== undefined) this.#callbacks.set(message.id!, callback)
    return message
  }

  // What comes

  #incoming(message: Message): Message | null {
    const shown = this.#owner.through('incoming', message)
    if (shown?.advice !== undefined) this.#advice = mixin(false, {}, this.#owner.config.advice, shown.advice) as Advice
    return shown
  }

  #replied(message: Message): void {
    const { channel, successful } = message
    if (channel === '/meta/handshake' && successful) this.#begun(message)
    if (channel === '/meta/connect' && successful) this.#backoff = 0
    if (channel === '/meta/subscribe' && !successful)
      for (const name of [message.subscription ?? []].flat()) this.#owner.listeners.unsubscribe(name)
    this.#called(message)
    const { listeners } = this.#owner
    listeners.notify(/^\/meta\//.test(channel) ? channel : '/meta/publish', message)
    if (successful) return
    listeners.notify('/meta/unsuccessful', message)
    if (channel === '/meta/handshake' || channel === '/meta/connect') this.#failed(message)
  }

  #called(message: Message): void {
    const callback = this.#callbacks.get(message.id ?? '')
    this.#callbacks.delete(message.id ?? '')
    if (callback !== undefined) this.#owner.called(callback, message)
  }

  /** A session: what waited for it leaves before anything that its listeners send. */
  #begun(message: Message): void {
    this.#open = true
    this.#backoff = 0
    message.reestablish = this.#reestablish
    this.#reestablish = true
    this.#flush()
  }

  /** By the time that this goes on, the next try is planned, and its transport chosen. */
  #failed({ channel, failure }: Message): void {
    const wire = this.#wire
    const from = failure?.connectionType ?? null
    queueMicrotask(() => {
      if (wire === this.#wire && wire !== null) this.increaseBackoff()
      if (channel === '/meta/handshake' && failure !== undefined) this.#owner.transportFailed(failure, from, this.type)
    })
  }

  #responded(message: Message): void {
    const { id = '', channel, data } = message
    const call = this.#calls.get(id)
    this.#calls.delete(id)
    call?.off()
    if (call?.callback !== undefined) this.#owner.called(call.callback, message)
    else if (data !== undefined) this.#owner.listeners.notify(channel, message)
    else this.#replied(message)
  }

  #state(wire: Wire, state: ClientState): void {
    if (wire !== this.#wire) return
    if (state === 'closed') return this.#closed(wire)
    if (state === 'handshaking') {
      this.#open = false
      this.#status = 'handshaking'
      this.#owner.listeners.unsubscribe() // they are no more at the server: the application subscribes again
    } else if (state === 'connecting' || state === 'broken') {
      if (!this.disconnected) this.#status = 'connecting'
      this.#broke = state === 'broken' && wire.type === 'websocket'
    } else if (state === 'connected') this.#flush()
  }

  #closed(wire: Wire): void {
    this.#status = 'disconnected'
    this.#open = this.#reestablish = this.#broke = false
    this.#batches = this.#backoff = 0
    const queue = this.#queue
    this.#queue = []
    for (const { message, call, off } of queue) {
      off?.()
      const failed = wire.failed(message, 'Disconnected')
      if (call) this.#responded(failed)
      else this.#replied(failed)
    }
    this.#wire = null
  }
}
