// One handshake's worth of connection: a link whose events are told as CometD tells them.
//
// Knows: which reply or failure belongs to which message of ours, what a failed message looks like.
// Does not know: callbacks, listeners, extensions (cometd.ts), transports (link.ts).
// Always true: every message given to `send` comes back once, by `reply` or `response`; the numbers that the application sees as ids
// are not those of the wire.

import type { ClientState, PeerMessage } from '../../../bayeux/client-sink.js'
import type { LineFailure, Settings } from '../line.js'
import { Link } from '../link.js'
import type { Surroundings } from '../surroundings.js'
import type { Failure, Message } from './types.js'

/** None may throw. */
export interface WireEvents {
  /** A handshake, connect or disconnect is about to leave: to be given its id and changed in place. */
  outgoing(message: Message): void
  /** What came, before anything else; null for nothing. */
  incoming(message: Message): Message | null
  /** What became of a message: the server's reply, or a message with `failure`. */
  reply(message: Message): void
  /** What became of a remote call. */
  response(message: Message): void
  /** A delivery. */
  message(message: Message): void
  state(state: ClientState): void
  /** The session of the page before this one goes on. */
  resumed(): void
  /** No answer came in time. */
  late(message: Message): void
}

interface Sent {
  readonly message: Message
  readonly call: boolean
}

/** What is wrong with the connection, not with a message. */
const BREAKS: readonly LineFailure[] = ['CONNECTION_FAILED', 'TIMEOUT', 'REPLY_INVALID', 'REPLY_MISSING']

/** So long a client that was sent away waits for the reply to its connect, ms. */
const PARTING = 3_000

export class Wire {
  readonly #on: WireEvents
  readonly #around: Surroundings
  readonly #link: Link
  /** By the id on the wire. */
  readonly #sent = new Map<string, Sent>()
  /** The handshake or connect that is under way, and the disconnect. */
  #poll: readonly [id: string, message: Message] | null = null
  #leave: readonly [id: string, message: Message] | null = null
  /** What the application sees of a message that the client half has; null when an extension dropped it. */
  readonly #shown = new WeakMap<object, Message | null>()
  /** A successful handshake reply whose session does not exist yet, the reply to our disconnect, the server's own disconnect. */
  #welcome: Message | null = null
  #farewell: Message | null = null
  /** Calls off the end of the wait for it. */
  #depart: () => void = () => {}
  #trouble: readonly [code: LineFailure, detail: string] = ['DISCONNECTED', '']

  /** @throws {TypeError} none of the transports can be had here */
  constructor(settings: Settings, around: Surroundings, on: WireEvents) {
    this.#on = on
    this.#around = around
    this.#link = new Link(settings, undefined, around, {
      outgoing: message => this.#outgoing(message as Message),
      incoming: message => this.#incoming(message),
      reply: reply => this.#reply(reply),
      settled: (id, code, reply) => this.#settled(id, code, reply),
      message: message => this.#tell(message, shown => on.message(shown)),
      state: state => this.#state(state),
      failure: (code, detail) => this.#failure(code, detail),
      resumed: () => on.resumed(),
      unrestored: () => {}, // nothing is restored
    })
  }

  get state(): ClientState {
    return this.#link.state
  }

  get clientId(): string | null {
    return this.#link.clientId
  }

  get type(): string | null {
    return this.#link.transport
  }

  start(): void {
    this.#link.start()
  }

  /** Told of by `reply` in any case, also where nothing could be sent. */
  disconnect(): void {
    this.#link.disconnect()
    if (this.state !== 'closed' || this.#leave !== null) return
    const message: Message = { channel: '/meta/disconnect' }
    this.#on.outgoing(message)
    this.#leave = ['', message]
  }

  /** What `work` sends leaves in one envelope. */
  batch(work: () => void): void {
    this.#link.startBatch()
    work()
    this.#link.endBatch()
  }

  /** @param call its answer is a response with data, not the reply */
  send(message: Message, call: boolean): void {
    const { id: _id, clientId: _clientId, channel, data, subscription, ...extra } = message
    try {
      const id =
        channel === '/meta/subscribe' || channel === '/meta/unsubscribe'
          ? this.#link[channel === '/meta/subscribe' ? 'subscribe' : 'unsubscribe'](subscription ?? [], extra)
          : call
            ? this.#link.call(channel.slice('/service'.length), data, extra)
            : this.#link.publish(channel, data, extra)
      if (id === null) this.failLater(message, call, 'Not taken: too much waits to be sent')
      else this.#sent.set(id, { message, call })
    } catch (exception) {
      this.failLater(message, call, String(exception), exception)
    }
  }

  /** The message failed without having been sent. */
  failLater(message: Message, call: boolean, reason: string, exception?: unknown): void {
    this.#around.after(0, () => this.#end(call, this.failed(message, reason, exception)))
  }

  /** The failure of a message, in CometD's shape. */
  failed(message: Message, reason: string, exception?: unknown): Message {
    const [, http] = /^HTTP (\d+)/.exec(reason) ?? []
    const [, socket, text] = /^WebSocket closed: (\d+) ?(.*)$/s.exec(reason) ?? []
    const status = Number(http ?? 0)
    const failure: Failure = { message, reason: text || reason, connectionType: this.type ?? 'unknown' }
    if (socket !== undefined) failure.websocketCode = Number(socket)
    else if (this.type !== 'websocket') Object.assign(failure, { httpCode: status, transport: { status, statusText: reason } })
    if (exception !== undefined) failure.exception = exception
    const { id, channel, subscription } = message
    const reply: Message = { channel, successful: false, failure }
    if (id !== undefined) reply.id = id
    if (subscription !== undefined) reply.subscription = subscription
    return reply
  }

  // Going out

  #outgoing(message: Message): void {
    const { id = '' } = message
    const disconnects = message.channel === '/meta/disconnect'
    if (!disconnects && message.channel !== '/meta/handshake' && message.channel !== '/meta/connect') return // seen already
    if (disconnects) message.clientId = this.clientId ?? ''
    this.#on.outgoing(message)
    const own = [id, { ...message }] as const
    if (disconnects) this.#leave = own
    else this.#poll = own
    message.id = id
    if (disconnects) delete message.clientId // the half puts it
  }

  // Coming in

  #incoming(raw: PeerMessage): PeerMessage | null {
    const id = raw['id'] as string
    const sent = this.#sent.get(id)
    const own = sent?.message ?? [this.#poll, this.#leave].find(each => each?.[0] === id)?.[1]
    const message = { ...raw } as Message
    if (own?.id !== undefined) message.id = own.id
    const shown = this.#on.incoming(message)
    if (shown === null && own === undefined) return null
    const heard: Record<string, unknown> & Message = { ...(shown ?? message) }
    if (own !== undefined) heard['id'] = id
    // Only connects find out that the session is gone, and what was sent is not sent again: the application is told.
    if (sent !== undefined && heard.successful === false && /^402::/.test(String(heard.error))) heard.error = ''
    if (this.#farewell !== null && id === this.#poll?.[0]) heard.advice = { reconnect: 'none' } // whatever the reply to a gone session says
    if (shown?.channel === '/meta/disconnect' && raw['id'] === undefined) {
      this.#farewell = shown
      // The released connect is on its way, and its reply says the same: closed by then at the latest.
      if (this.#poll?.[1].channel === '/meta/connect' && this.state === 'connected') {
        this.#depart()
        this.#depart = this.#around.after(PARTING, () => this.#link.disconnect())
        return null
      }
    }
    this.#shown.set(heard, shown)
    return heard
  }

  #tell(message: PeerMessage, how: (shown: Message) => void): void {
    const shown = this.#shown.get(message)
    if (shown !== undefined && shown !== null) how(shown)
  }

  #reply(reply: PeerMessage): void {
    const { channel } = reply
    if (channel === '/meta/handshake' || channel === '/meta/connect') {
      this.#poll = null
      this.#tell(reply, shown => {
        if (channel === '/meta/handshake' && shown.successful) this.#welcome = shown
        else this.#on.reply(shown)
      })
    } else if (channel === '/meta/disconnect') this.#farewell ??= this.#shown.get(reply) ?? null
    else if (this.#sent.get(reply['id'] as string)?.call && reply['successful'] === true)
      this.#tell(reply, shown => this.#on.reply(shown)) // its response is still to come
  }

  #settled(id: string, code: LineFailure | null, reply: PeerMessage | null): void {
    const sent = this.#sent.get(id)
    if (sent === undefined) return
    this.#sent.delete(id)
    if (reply === null) return this.#end(sent.call, this.failed(sent.message, this.#reason(code)), code === 'TIMEOUT')
    this.#tell(reply, shown => {
      if (sent.call) return this.#on.response(shown)
      const { data, ...rest } = shown
      if (data !== undefined && shown.channel.startsWith('/service/')) this.#on.message(shown) // an answer that passes for the reply
      this.#on.reply(data === undefined ? shown : (rest as Message))
    })
  }

  #end(call: boolean, failed: Message, late = false): void {
    if (late) this.#on.late(failed.failure!.message)
    if (call) this.#on.response(failed)
    else this.#on.reply(failed)
  }

  #reason(code: LineFailure | null): string {
    if (code === 'DISCONNECTED') return 'Disconnected'
    const [last, detail] = this.#trouble
    return code === last && detail !== '' ? detail : String(code)
  }

  #failure(code: LineFailure, detail: string): void {
    this.#trouble = [code, detail]
    if (!BREAKS.includes(code)) return
    const { state } = this.#link
    const [, message] = this.#poll ?? []
    const late = code === 'TIMEOUT'
    if (state === 'handshaking') {
      const welcome = this.#welcome // without a clientId
      this.#welcome = this.#poll = null
      const failed = this.failed(message ?? this.#unsent(), this.#reason(code))
      this.#end(false, welcome === null ? failed : { ...welcome, ...failed }, late)
    } else if (state === 'broken' && (message !== undefined || this.type === 'websocket')) {
      this.#poll = null
      this.#end(false, this.failed(message ?? { channel: '/meta/connect' }, this.#reason(code)), late)
    }
  }

  /** The handshake that waited for a WebSocket which did not open. */
  #unsent(): Message {
    const message: Message = { channel: '/meta/handshake' }
    this.#on.outgoing(message)
    return message
  }

  #state(state: ClientState): void {
    if (state === 'broken' && this.#farewell !== null) return this.#link.disconnect() // sent away, and does not come back
    this.#on.state(state)
    if (state === 'connecting' && this.#welcome !== null) {
      const welcome = this.#welcome
      this.#welcome = null
      this.#on.reply(welcome)
    }
    if (state === 'closed') queueMicrotask(() => this.#closed()) // the reason is told after the state
  }

  #closed(): void {
    this.#depart()
    const welcome = this.#welcome
    const [, leaving] = this.#leave ?? []
    this.#welcome = this.#leave = this.#poll = null
    if (welcome !== null) {
      const [code] = this.#trouble
      this.#on.reply(
        code === 'STOPPED' ? welcome : { ...welcome, ...this.failed(welcome, `Could not negotiate transport: ${code}`) },
      )
    }
    if (this.#farewell !== null) this.#on.reply(this.#farewell)
    else if (leaving !== undefined) this.#on.reply(this.failed(leaving, this.#reason(this.#trouble[0])))
    this.#farewell = null
  }
}
