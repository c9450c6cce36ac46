// The client half: Bayeux seen from the client's end, as a state machine. Two halves joined in memory test the protocol.
//
// Knows: which states follow which (TRANSITIONS), what waits to be sent, what waits for a reply and how long, the advice to obey.
// Does not know: fetch, WebSocket, timers, the time (callers pass `now`), chance (the sink's `random`), the server's half.
// Always true: a message taken settles exactly once; one handshake or connect is outstanding at most; `closed` has no deadline;
// with ack, deliveries reach the application together with the connect reply that numbers them, or not at all.
// Source: Bayeux 1.0, "Client State Tables"; delivery and time by CometD's ack and timesync extensions.

import type { Memory } from './client-memory.js'
import {
  type ClientFailure,
  type ClientOptions,
  type ClientSink,
  type ClientState,
  clientDefaults,
  type Lane,
  NEVER,
  type PeerMessage,
  type SavedSession,
  TRANSITIONS,
  type TransportKind,
} from './client-sink.js'
import { coveringNames } from './covering.js'

type Event = 'start' | 'resume' | 'welcome' | 'connect' | 'fail' | 'forget' | 'leave' | 'close'

const ADVICE = { timeout: 60_000, interval: 0, maxInterval: 0 }
const DAY = 86_400_000 // the longest advice that is believed
const SAMPLES = 10 // timesync, as CometD averages

/** One message sent or to be sent. Nobody waits for `restore` and `disconnect`, our own, and `done`, a call answered early. */
interface Entry {
  readonly id: string
  readonly channel: string
  /** Of a subscribe, to be made again in the next session. */
  readonly channels: readonly string[]
  role: 'plain' | 'call' | 'restore' | 'disconnect' | 'done'
  /** JSON without `clientId` and `ext`, which may change before it is sent. */
  readonly body: string
  readonly ext: string
  session: number
  again: boolean
  by: number
}

interface Poll {
  readonly id: string
  readonly channel: string
  readonly at: number
  readonly by: number
}

/**
 * One client of one server.
 *
 * Inputs take `now`, epoch ms that never runs backwards. After each of them call `tick`, and again at the deadline it returns.
 * What the peer does wrong becomes `failure` and a retry, never an exception.
 * `subscribe`, `unsubscribe`, `publish` and `call` return the id that `settled` will name, or null when the message is not taken:
 * the half is closed or closing, or `maxQueue` wait already. They wait for the session, and while the connection is broken.
 *
 * @throws {TypeError} by those four: not a channel, or data that JSON cannot carry
 */
export class ClientHalf {
  readonly #sink: ClientSink
  readonly #options: ClientOptions
  readonly #memory: Memory | null
  #kind: TransportKind
  #state: ClientState = 'new'
  #clientId: string | null = null
  #session = 0
  #lastId = 0
  #advice = { ...ADVICE }

  #up: boolean
  /** Of `useNext`, until nothing is in flight. */
  #next: TransportKind | null = null
  #openBy = NEVER
  #poll: Poll | null = null
  /** On another transport, until that has answered: nothing but the connect is risked. */
  #moving = false
  /** How long the next connect, which is not to be held, may take; 0: it is one as always. */
  #proof = 0
  /** When the next handshake or connect goes out; the earliest that advice allows, whatever the backoff. */
  #dueAt = NEVER
  #earliest = 0
  #tries = 0
  #connectedAt = 0
  #lostAt = 0
  #closeBy = NEVER

  #queue: Entry[] = []
  #batches = 0
  #busy = false
  #restore = false
  /** In flight, in the order of sending; then calls whose reply came and whose response did not. First in, first due. */
  readonly #sent = new Map<string, Entry>()
  readonly #calls = new Map<string, Entry>()
  /** Channel to '' once subscribed, or to the id of the last subscribe under way. */
  readonly #wanted = new Map<string, string>()

  /** null without the extension. Deliveries wait in `held` for the connect reply that numbers them. */
  #ack: number | null = null
  #held: PeerMessage[] = []
  #samples: [lag: number, offset: number][] = []
  #lag = 0
  #offset = 0

  /** @param memory of what is to outlive a session: then subscriptions go on where they were, and publishes are said again; null for none */
  constructor(sink: ClientSink, kind: TransportKind, options: Partial<ClientOptions> = {}, memory: Memory | null = null) {
    this.#sink = sink
    this.#memory = memory
    this.#kind = kind
    this.#up = kind === 'http'
    this.#options = { ...clientDefaults, ...options }
  }

  get state(): ClientState {
    return this.#state
  }

  get clientId(): string | null {
    return this.#clientId
  }

  /** What carries the session, or is to carry it next. */
  get kind(): TransportKind {
    return this.#kind
  }

  /** Messages that wait to be sent. */
  get queued(): number {
    return this.#queue.length
  }

  /** The server's clock minus ours in ms, by timesync; null until it is known. */
  get offset(): number | null {
    return this.#samples.length === 0 ? null : this.#offset
  }

  /** Begins, also again after `closed`. Without effect in every other state. */
  handshake(now: number): void {
    if (this.#state !== 'new' && this.#state !== 'closed') return
    this.#advice = { ...ADVICE }
    this.#begin('start', now)
  }

  /** What another half needs to go on with this session; null while there is none. */
  save(): SavedSession | null {
    if (!this.#clientId || this.#state === 'disconnecting') return null
    const subscriptions = [...this.#wanted].filter(([, owner]) => owner === '').map(([channel]) => channel)
    const memory = this.#memory?.save()
    return { clientId: this.#clientId, ack: this.#ack, advice: { ...this.#advice }, lastId: this.#lastId, subscriptions, memory }
  }

  /** Goes on with a saved session, without a handshake, as `handshake` begins one. Its subscriptions are the server's: who wants them made again subscribes. */
  resume({ clientId, ack, advice, lastId, memory = {} }: SavedSession, now: number): void {
    if (this.#state !== 'new' && this.#state !== 'closed') return
    Object.assign(this.#advice, advice)
    this.#clientId = clientId
    this.#ack = ack
    this.#lastId = Math.max(this.#lastId, lastId)
    this.#memory?.restore(memory)
    this.#session++
    this.#begin('resume', now)
  }

  #begin(event: Event, now: number): void {
    this.#tries = 0
    this.#earliest = this.#dueAt = now
    this.#go(event)
    this.#pump(now)
  }

  /** One message for all `channels`, done or refused as a whole; made again in every later session until `unsubscribe`. */
  subscribe(channels: string | readonly string[], now: number, extra?: object): string | null {
    return this.#take({ ...extra, channel: '/meta/subscribe', subscription: channels }, usableChannels(channels), 'plain', now)
  }

  unsubscribe(channels: string | readonly string[], now: number, extra?: object): string | null {
    return this.#take({ ...extra, channel: '/meta/unsubscribe', subscription: channels }, usableChannels(channels), 'plain', now)
  }

  /** Settles with the server's reply. `extra`: further fields of the message, such as `ext`. */
  publish(channel: string, data: unknown, now: number, extra?: object): string | null {
    usableChannels(channel)
    return this.#take({ ...extra, channel, data }, [], 'plain', now)
  }

  /** A remote call of `/service/<target>`. Settles with the response, which has `data`; `REFUSED` when it is not successful. */
  call(target: string, data: unknown, now: number, extra?: object): string | null {
    const channel = `/service/${target.replace(/^\//, '')}`
    return this.#take({ ...extra, channel, data }, [], 'call', now)
  }

  /** Until the outermost `endBatch` nothing is sent but handshake and connect; then all goes in one envelope. */
  startBatch(): void {
    this.#batches++
  }

  /** @throws {RangeError} no batch is open */
  endBatch(now: number): void {
    if (this.#batches === 0) throw new RangeError('no batch')
    this.#batches--
    this.#pump(now)
  }

  /** Sends what waits and a /meta/disconnect; `closed` follows within `replyTimeout`. Subscriptions are forgotten. */
  disconnect(now: number): void {
    if (this.#state === 'closed' || this.#state === 'disconnecting') return
    if (this.#up && this.#clientId) {
      this.#dueAt = NEVER
      this.#closeBy = now + this.#options.replyTimeout
      this.#queue.push(this.#draft({ channel: '/meta/disconnect' }, [], 'disconnect'))
      this.#go('leave')
      this.#unrestore()
      this.#pump(now)
    } else this.#close('DISCONNECTED')
  }

  /** The socket asked for by `open` is open. */
  opened(now: number): void {
    if (this.#openBy === NEVER) return
    this.#openBy = NEVER
    this.#up = true
    this.#dueAt = Math.max(now, this.#earliest)
    this.#pump(now)
  }

  /** One envelope came. On HTTP it is the whole response to the request of `lane`; on WebSocket `lane` means nothing. */
  received(text: string, now: number, lane?: Lane): void {
    if (this.#state === 'new' || this.#state === 'closed') return
    let envelope: unknown = null
    try {
      envelope = JSON.parse(text)
    } catch {
      // as every other text that is not an array
    }
    if (!Array.isArray(envelope)) this.#lose(lane, 'REPLY_INVALID', now, text.slice(0, 80))
    else {
      const poll = this.#poll
      this.#busy = true // what the application sends meanwhile leaves in one envelope afterwards
      try {
        // A connect reply comes last: some put it in front of what it numbers.
        for (const isLast of [false, true])
          for (const message of envelope)
            if (typeof message?.channel === 'string' && (message.channel === '/meta/connect') === isLast)
              this.#accept(message, now, lane)
      } finally {
        this.#busy = false
      }
      if (this.#kind === 'http' && (lane === 'other' || (lane === 'connect' && this.#poll === poll)))
        this.#lose(lane, 'REPLY_MISSING', now) // the response is over; without effect when all was answered
    }
    this.#pump(now)
  }

  /** The request of `lane` failed (network, status other than 200), or the socket did or could not open, closed, broke. */
  failed(now: number, lane?: Lane, detail = ''): void {
    this.#lose(lane, 'CONNECTION_FAILED', now, detail)
    this.#pump(now)
  }

  /** The network is back, the page visible again: tries at once what waits for its backoff. An advised interval still holds. */
  wake(now: number): void {
    if (this.#dueAt === NEVER) return
    this.#tries = 0
    this.#hurry(now)
  }

  /**
   * The machine may have slept, the network have changed: a connection is proved by a connect that must be answered within `patience` ms.
   * On HTTP only with ack: what the request given up for it may bring would be lost.
   */
  check(now: number, patience: number): void {
    const lossless = this.#kind === 'websocket' || this.#ack !== null
    const soon = this.#poll && this.#poll.by <= now + patience
    if (this.#state === 'connected' && this.#up && lossless && !soon) {
      if (this.#poll && this.#kind === 'http') this.#sink.abort('connect')
      this.#poll = null
      this.#proof = patience
      this.#dueAt = Math.max(now, this.#earliest)
    }
    this.wake(now)
  }

  /** Goes on with the same session over the other kind of transport, at once. What is in flight fails. */
  use(kind: TransportKind, now: number): void {
    this.#next = null
    if (kind === this.#kind) return
    this.#lose(undefined, 'CONNECTION_FAILED', now, `to ${kind}`)
    if (this.#tries > 0) this.#tries-- // nobody waits for its backoff
    this.#kind = kind
    this.#up = kind === 'http'
    this.#hurry(now)
  }

  /** The same, from the first moment when nothing is in flight. While the connection is broken it waits for the next try. */
  useNext(kind: TransportKind, now: number): void {
    this.#next = kind === this.#kind ? null : kind
    this.#pump(now)
  }

  /** Does what is due. @returns the next deadline in epoch ms, or Infinity */
  tick(now: number): number {
    if (this.#openBy <= now) this.#lose(undefined, 'TIMEOUT', now)
    if (this.#poll && this.#poll.by <= now) this.#lose('connect', 'TIMEOUT', now)
    if (firstBy(this.#sent) <= now) this.#lose('other', 'TIMEOUT', now)
    for (const entry of this.#calls.values()) {
      if (entry.by > now) break
      this.#calls.delete(entry.id)
      this.#settle(entry, 'TIMEOUT', null)
    }
    if (this.#closeBy <= now) this.#close('DISCONNECTED')
    this.#pump(now)
    return Math.min(this.#openBy, this.#dueAt, this.#closeBy, this.#poll?.by ?? NEVER, firstBy(this.#sent), firstBy(this.#calls))
  }

  // Sending

  #draft(message: Record<string, unknown>, channels: readonly string[], role: Entry['role']): Entry {
    const id = String(++this.#lastId)
    message.id = id
    this.#sink.outgoing?.(message)
    const { ext, ...rest } = message
    const channel = rest.channel as string
    return {
      id,
      channel,
      channels,
      role,
      body: JSON.stringify(rest),
      ext: JSON.stringify(record(ext)),
      session: 0,
      again: false,
      by: 0,
    }
  }

  /** Asks again for a subscription that there was. */
  #restoreOf(channel: string): Entry {
    return this.#draft({ channel: '/meta/subscribe', subscription: channel }, [channel], 'restore')
  }

  #text(entry: Entry): string {
    const { body, ext } = entry
    const told = this.#memory?.extended(entry) ?? ext
    return told === '{}' ? body : `${body.slice(0, -1)},"ext":${told}}`
  }

  #take(message: Record<string, unknown>, channels: readonly string[], role: Entry['role'], now: number): string | null {
    if (this.#state === 'closed' || this.#state === 'disconnecting' || this.#queue.length >= this.#options.maxQueue) return null
    const entry = this.#draft(message, channels, role)
    for (const channel of channels) {
      if (entry.channel === '/meta/unsubscribe') this.#forget(channel)
      else {
        if (this.#wanted.get(channel) !== '') this.#wanted.set(channel, entry.id)
        this.#memory?.ask(channel, entry.id)
      }
    }
    this.#queue.push(entry)
    this.#pump(now)
    return entry.id
  }

  #pump(now: number): void {
    if (this.#busy) return
    const quiet = !this.#poll && this.#sent.size === 0 && this.#openBy === NEVER && this.#state !== 'disconnecting'
    if (this.#next && quiet) this.#change(this.#next, now)
    this.#flush(now)
    if (this.#dueAt <= now) this.#beat(now)
  }

  #hurry(now: number): void {
    if (this.#dueAt !== NEVER) this.#dueAt = Math.min(this.#dueAt, Math.max(now, this.#earliest))
    this.#pump(now)
  }

  #change(kind: TransportKind, now: number): void {
    this.#next = null
    if (this.#kind === 'websocket') this.#sink.abort()
    this.#kind = kind
    this.#up = kind === 'http'
    if (this.#state !== 'connected') return
    this.#moving = true
    this.#proof = this.#options.replyTimeout
    if (!this.#up) this.#dueAt = now // to open it
  }

  #flush(now: number): void {
    const leaving = this.#state === 'disconnecting'
    if (!this.#up || (this.#batches > 0 && !leaving)) return
    if (!leaving && (this.#moving || (this.#state !== 'connecting' && this.#state !== 'connected'))) return
    if (this.#restore) {
      this.#restore = false
      // One message for each, since a server refuses several channels of one message as a whole.
      const wanted = [...this.#wanted].filter(([, owner]) => owner === '')
      this.#queue.unshift(...wanted.map(([channel]) => this.#restoreOf(channel)))
    }
    while (this.#queue.length > 0 && (this.#kind === 'websocket' || this.#sent.size === 0)) {
      const head = `{"clientId":${JSON.stringify(this.#clientId)},`
      let text = ''
      let count = 0
      for (const entry of this.#queue) {
        const next = this.#text(entry)
        const size = text.length + head.length + next.length + 1 // the brackets; the comma takes the place of a brace
        if (count > 0 && size > this.#options.maxEnvelope) break
        text += `${count++ === 0 ? '[' : ','}${head}${next.slice(1)}`
        entry.session = this.#session
        entry.by = now + this.#options.replyTimeout
        this.#sent.set(entry.id, entry)
      }
      this.#queue = this.#queue.slice(count)
      this.#sink.send(`${text}]`, 'other')
    }
  }

  /** Sends the handshake or connect that is due, once the socket is there. */
  #beat(now: number): void {
    this.#dueAt = NEVER
    if (!this.#up) {
      this.#openBy = now + this.#options.replyTimeout
      this.#sink.open()
      return
    }
    const { timeout, interval, maxInterval } = this.#advice
    if (this.#state === 'broken' && maxInterval > 0 && now - this.#lostAt > timeout + interval + maxInterval) {
      this.#tries = 0
      this.renew(now) // by now the server has expired it
      this.#pump(now)
      return
    }
    this.#held = [] // of a response whose end never came
    const ext: Record<string, unknown> = {}
    const message: Record<string, unknown> = {}
    const at = Math.round(now)
    let by = now + this.#options.replyTimeout
    if (!this.#clientId) {
      const { connectionTypes } = this.#options
      Object.assign(message, {
        channel: '/meta/handshake',
        version: '1.0',
        minimumVersion: '1.0',
        supportedConnectionTypes: connectionTypes,
      })
      if (this.#options.ack) ext.ack = true
      Object.assign(ext, this.#memory?.greeting())
    } else {
      Object.assign(message, { channel: '/meta/connect', clientId: this.#clientId, connectionType: this.#type() })
      // Told not to hold, a server is soon known to be dead. One that holds all the same is waited for now and then.
      const held = this.#state === 'connected' && this.#proof === 0
      if (!held) message.advice = { timeout: 0 }
      if (held || this.#tries % 8 === 7) by += timeout
      else if (this.#proof > 0) by = now + this.#proof
      this.#proof = 0
      if (this.#ack !== null) ext.ack = this.#ack
    }
    if (this.#options.timesync) ext.timesync = { tc: at, l: this.#lag, o: this.#offset }
    if (Object.keys(ext).length > 0) message.ext = ext
    const entry = this.#draft(message, [], 'plain')
    this.#poll = { id: entry.id, channel: entry.channel, at, by }
    this.#sink.send(`[${this.#text(entry)}]`, 'connect')
  }

  #type(): string {
    return this.#kind === 'websocket'
      ? this.#kind
      : (this.#options.connectionTypes.find(type => type !== 'websocket') ?? 'long-polling')
  }

  // Receiving

  #accept(raw: PeerMessage, now: number, lane: Lane | undefined): void {
    const { channel } = raw
    const entry = this.#sent.get(raw.id as string)
    // Some servers echo the data of a publish in its reply.
    const echoes = entry?.role === 'plain' && entry.channel === channel && typeof raw.successful === 'boolean'
    if (raw.data !== undefined && !channel.startsWith('/meta/') && !echoes) {
      if (!this.#clientId) return
      if (this.#ack === null || (this.#kind === 'http' && lane === 'other')) this.#deliver(raw)
      else this.#held.push(raw) // nobody sees it before it counts, as it may have to come again
      return
    }
    const message = this.#through(raw)
    if (message === null) return
    const { id } = message
    const poll = this.#poll
    if (channel === '/meta/handshake' || channel === '/meta/connect') {
      if (poll?.channel === channel && poll.id === id) this.#beaten(message, poll, now)
      else this.#held = [] // A connect was given up: what came with it in an ack session was not acknowledged and comes again.
    } else if (channel === '/meta/disconnect' && (id ?? null) === null) {
      if (!this.#clientId) return
      this.#release()
      this.#close('KICKED')
    } else if (entry) this.#answered(entry, message, now)
  }

  /** What the application's extensions make of a message. */
  #through(message: PeerMessage): PeerMessage | null {
    const heard = this.#sink.incoming ? this.#sink.incoming(message) : message
    return typeof heard?.channel === 'string' ? heard : null
  }

  #beaten(reply: PeerMessage, poll: Poll, now: number): void {
    this.#poll = null
    this.#moving = false
    this.#sync(record(record(reply.ext).timesync), poll.at, now)
    this.#sink.reply(reply)
    if (this.#state === 'closed') return
    if (poll.channel === '/meta/handshake') this.#welcome(reply, now)
    else this.#connected(reply, now)
  }

  #welcome(reply: PeerMessage, now: number): void {
    const { clientId, successful, supportedConnectionTypes: types } = reply
    const ok = successful === true && typeof clientId === 'string' && clientId !== ''
    if (ok) this.#advice = { ...ADVICE }
    const reconnect = this.#heed(reply)
    if (reconnect === 'none') this.#close(successful === true ? 'STOPPED' : 'REFUSED', reply)
    else if (!ok) this.#again(successful === true ? 'REPLY_INVALID' : 'REFUSED', now, errorOf(reply))
    else if (Array.isArray(types) && !types.includes(this.#type())) this.#close('TYPE_UNSUPPORTED', reply)
    if (!ok || this.#state === 'closed') return
    const { ack } = record(reply.ext)
    this.#memory?.welcomed(record(reply.ext))
    // What comes with the handshake reply under a number of its own is left to come again, under the number of a connect.
    this.#ack = this.#options.ack && (ack === true || record(ack).enabled === true) ? 0 : null
    this.#clientId = clientId
    this.#session++
    this.#restore = this.#options.restore
    if (!this.#restore) for (const [channel, owner] of this.#wanted) if (owner === '') this.#wanted.delete(channel)
    this.#earliest = this.#dueAt = now + this.#advice.interval
    this.#go('welcome')
  }

  #connected(reply: PeerMessage, now: number): void {
    const { ack } = record(reply.ext)
    const reconnect = this.#heed(reply)
    if (reply.successful === true) {
      if (this.#ack !== null && typeof ack === 'number') this.#ack = ack
      this.#release()
    }
    if (this.#state === 'closed' || this.#state === 'disconnecting') return
    if (reconnect === 'none') this.#close('STOPPED', reply)
    else if (reconnect === 'handshake' || (reconnect === undefined && unknownSession(reply))) this.renew(now, reply)
    else if (reply.successful !== true) this.#again('REFUSED', now, errorOf(reply))
    else {
      this.#earliest = this.#dueAt = now + this.#advice.interval
      if (this.#state !== 'connected') this.#connectedAt = now
      this.#go('connect')
    }
  }

  #answered(entry: Entry, reply: PeerMessage, now: number): void {
    const ok = reply.successful === true
    const lost = !ok && this.#state !== 'disconnecting' && unknownSession(reply)
    const stale = entry.session !== this.#session || !this.#clientId
    this.#sent.delete(entry.id)
    if (lost && (!entry.again || this.#lasts(entry)) && (entry.role === 'plain' || entry.role === 'call')) {
      entry.again = true // it was surely not processed: once more, in its place, in the next session
      this.#requeue(entry)
    } else if (!lost || entry.role !== 'restore') {
      if (ok && stale && entry.channels.length > 0) this.#restore = true
      this.#sink.reply(reply)
      if (ok && entry.role === 'call') {
        entry.by = now + this.#options.callTimeout
        this.#calls.set(entry.id, entry)
      } else this.#settle(entry, ok ? null : 'REFUSED', reply)
      if (ok)
        for (const name of this.#memory?.begun(entry, record(reply.ext), gone => this.#sink.gap?.(gone, 0)) ?? [])
          this.#queue.push(this.#restoreOf(name))
    }
    const reconnect = this.#heed(reply)
    if (entry.role === 'disconnect') this.#close('DISCONNECTED')
    else if (stale || !this.#clientId || this.#state === 'disconnecting') return
    else if (reconnect === 'none') this.#close('STOPPED', reply)
    else if (lost || reconnect === 'handshake') this.renew(now, reply)
  }

  #deliver(raw: PeerMessage): void {
    const { dropped } = record(raw.ext)
    if (typeof dropped === 'number') this.#sink.gap?.(raw.channel, dropped)
    const names = this.#memory?.fresh(coveringNames(raw.channel), record(raw.ext), this.#ack ?? NEVER)
    const message = names?.length === 0 ? null : this.#through(raw)
    if (message === null) return
    const { channel } = message
    const id = message.id as string
    const call = this.#calls.get(id) ?? this.#sent.get(id)
    if (call?.role === 'call' && call.channel === channel) {
      this.#calls.delete(id)
      this.#settle(call, message.successful === false ? 'REFUSED' : null, message)
    } else this.#sink.message(channel, message, names)
  }

  #release(): void {
    const held = this.#held
    this.#held = []
    for (const message of held) if (this.#clientId) this.#deliver(message)
  }

  /** Obeys the lengths of time in the advice, and returns what it says about `reconnect`. */
  #heed(reply: PeerMessage): unknown {
    const advice = record(reply.advice)
    for (const key of ['timeout', 'interval', 'maxInterval'] as const) {
      const value = advice[key]
      if (typeof value === 'number' && value >= 0) this.#advice[key] = Math.min(value, DAY)
    }
    return advice.reconnect
  }

  #sync(sync: Record<string, unknown>, at: number, now: number): void {
    const lag = (now - at - Number(sync.p)) / 2
    const offset = Number(sync.ts) - at - lag
    if (sync.tc !== at || !Number.isFinite(offset)) return
    this.#samples.push([lag, offset])
    if (this.#samples.length > SAMPLES) this.#samples.shift()
    const mean = (index: 0 | 1) =>
      Math.round(this.#samples.reduce((sum, sample) => sum + sample[index], 0) / this.#samples.length)
    this.#lag = mean(0)
    this.#offset = mean(1)
  }

  // Failing

  #settle(entry: Entry, code: ClientFailure | null, reply: PeerMessage | null): void {
    for (const channel of entry.channels) {
      if (this.#wanted.get(channel) !== (entry.role === 'restore' ? '' : entry.id)) continue // another has the say by now
      if (code === null) this.#wanted.set(channel, '')
      else this.#forget(channel)
    }
    const { role } = entry
    if (role === 'call') entry.role = 'done' // it keeps its place in flight until its reply has come too
    if (role === 'restore' && code !== null) this.#sink.unrestored?.(entry.channels[0]!, code, reply)
    if (role === 'plain' || role === 'call') this.#sink.settled(entry.id, code, reply)
  }

  #forget(channel: string): void {
    this.#wanted.delete(channel)
    this.#memory?.forget(channel)
  }

  /** Whether it is asked for until the server has answered: subscriptions do not end with a connection, nor publishes that the server knows again. */
  #lasts({ channel, channels }: Entry): boolean {
    return channels.length > 0 ? this.#options.restore : this.#memory?.knowsAgain(channel) === true
  }

  /** Back to its place in the order of ids. */
  #requeue(entry: Entry): void {
    const place = this.#queue.findIndex(({ role, id }) => role !== 'restore' && Number(id) > Number(entry.id))
    this.#queue.splice(place === -1 ? this.#queue.length : place, 0, entry)
  }

  /** What is in flight on `lane`, or on everything, is lost. Without effect when nothing is. */
  #lose(lane: Lane | undefined, code: ClientFailure, now: number, detail = ''): void {
    const socket = this.#kind === 'websocket'
    let lost = [...this.#sent.values()]
    // Only the backoff of a broken connection paces what is asked again.
    const whole = socket || lane === undefined || (lane === 'other' && lost.some(entry => this.#lasts(entry)))
    if (!whole && lane === 'connect') lost = []
    const beating = (whole || lane === 'connect') && this.#poll
    if (lost.length === 0 && !beating && !(socket && (this.#up || this.#openBy !== NEVER))) return
    if (lost.length > 0) this.#sent.clear()
    if (whole) {
      this.#moving = false
      this.#up = !socket
      this.#openBy = NEVER
    }
    const leaving = this.#state === 'disconnecting'
    const spoiler = this.#memory?.spoilerOf(lost, detail)
    const ended: Entry[] = []
    for (const entry of lost) {
      if (entry.role === 'restore') this.#restore = true
      else if (this.#lasts(entry) && !leaving && entry !== spoiler) this.#requeue(entry)
      else ended.push(entry)
    }
    if (whole || beating) {
      this.#poll = null
      this.#unrestore()
    }
    this.#sink.abort(whole ? undefined : lane)
    if (!leaving && (whole || beating)) this.#again(code, now, detail)
    else this.#sink.failure(code, detail)
    for (const entry of ended) this.#settle(entry, code, null)
    if (leaving && (socket || ended.some(entry => entry.role === 'disconnect'))) this.#close('DISCONNECTED')
  }

  /** Own subscribes that wait in the queue are forgotten; `restore` tells whether they are made anew. */
  #unrestore(): void {
    const queue = this.#queue.filter(entry => entry.role !== 'restore')
    if (queue.length < this.#queue.length) this.#restore = true
    if (this.#state === 'disconnecting') this.#restore = false
    this.#queue = queue
  }

  /** A try failed: the next handshake or connect after the advised interval and a backoff. */
  #again(code: ClientFailure, now: number, detail: string): void {
    this.#steady(now)
    const breaks = this.#state === 'connecting' || this.#state === 'connected'
    if (breaks) this.#lostAt = now
    if (breaks || this.#dueAt === NEVER) this.#plan(now) // else it is planned already
    this.#go('fail')
    this.#sink.failure(code, detail)
  }

  #plan(now: number): void {
    const { backoffBase, backoffMax } = this.#options
    this.#earliest = now + this.#advice.interval
    this.#dueAt = this.#earliest + this.#sink.random() * Math.min(backoffMax, backoffBase * 2 ** this.#tries++)
  }

  /** A connection that lasted has earned a fresh backoff; one that did not keeps the old, whatever was answered in between. */
  #steady(now: number): void {
    if (this.#state === 'connected' && now - this.#connectedAt >= this.#options.replyTimeout) this.#tries = 0
  }

  /** The session is gone, or another half has gone on with it: a new one, at once the first time, then paced. Only while there is one. */
  renew(now: number, reply?: PeerMessage): void {
    this.#steady(now)
    this.#clientId = null
    this.#unrestore()
    if (this.#kind === 'http') this.#sink.abort('connect') // over a socket its late reply is told by its id
    this.#poll = null
    // What was broken answers again: its backoff has been waited for.
    if (this.#tries > 0 && this.#state !== 'broken') this.#plan(now)
    else {
      this.#tries ||= 1
      this.#earliest = this.#dueAt = now + this.#advice.interval
    }
    const calls = [...this.#calls.values()]
    this.#calls.clear()
    this.#go('forget')
    this.#sink.failure('SESSION_LOST', errorOf(reply))
    for (const entry of calls) this.#settle(entry, 'SESSION_LOST', null)
  }

  #close(code: ClientFailure, reply?: PeerMessage): void {
    const rest = [...this.#sent.values(), ...this.#calls.values(), ...this.#queue]
    this.#sent.clear()
    this.#calls.clear()
    this.#wanted.clear()
    if (code === 'DISCONNECTED') this.#memory?.clear()
    this.#queue = []
    this.#poll = this.#clientId = null
    this.#openBy = this.#dueAt = this.#closeBy = NEVER
    this.#next = null
    this.#proof = 0
    this.#up = this.#kind === 'http'
    this.#sink.abort()
    this.#go('close', code, errorOf(reply))
    for (const entry of rest) if (entry.role !== 'restore') this.#settle(entry, code, null)
    if (code !== 'DISCONNECTED') this.#sink.failure(code, errorOf(reply))
  }

  /** Comes last in what changes the state, since the application may act out of `state`. */
  #go(event: Event, ...why: [code?: ClientFailure, detail?: string]): void {
    const next = (TRANSITIONS[this.#state] as Partial<Record<Event, ClientState>>)[event]
    if (next === undefined) return
    this.#state = next
    this.#sink.state(next, ...why)
  }
}

function firstBy(entries: ReadonlyMap<string, Entry>): number {
  for (const entry of entries.values()) return entry.by
  return NEVER
}

/** The channels as a list, checked as far as a fault of the caller goes; the grammar is the server's to judge. @throws {TypeError} */
export function usableChannels(channels: string | readonly string[]): readonly string[] {
  const all = typeof channels === 'string' ? [channels] : channels
  if (all.length === 0 || !all.every(name => typeof name === 'string' && /^\/./.test(name) && !name.startsWith('/meta/')))
    throw new TypeError(`not a channel to use: ${channels}`)
  return all
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function errorOf(reply: PeerMessage | null | undefined): string {
  return typeof reply?.error === 'string' ? reply.error : ''
}

/** 402 without arguments: CometD's unknown session. Faye's 402 names a missing field. */
function unknownSession(reply: PeerMessage): boolean {
  return /^402::/.test(errorOf(reply))
}
