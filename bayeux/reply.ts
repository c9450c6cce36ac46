// Replies: the answer to one message, with the same id.
//
// Knows: which members a reply may have and in which order they are written.
// Does not know: when a reply leaves (response.ts, connect.ts).
// Always true: a reply has `successful`; it has no `data`, and no `clientId` but in a successful handshake.
// Source: protocol reference 2, 3.

import { type ErrorCode, wireError } from './errors.js'
import type { Json, Message } from './message.js'
import { answerTimesync, type Timesync } from './timesync.js'

export interface Advice {
  reconnect?: 'retry' | 'handshake' | 'none'
  interval?: number
  timeout?: number
  maxInterval?: number
  'multiple-clients'?: true
}

const CONNECT = '/meta/connect'

/** All fields are set here, in this order: one shape. */
export class Reply {
  readonly id: string | number | undefined
  readonly channel: string | undefined
  /** Only replies to subscribe and unsubscribe have it: the request's value, verbatim. */
  readonly subscription: unknown
  successful = true
  error: string | null = null
  advice: Advice | null = null
  /** Members that only the handshake reply has. */
  extra: Json | null = null
  ext: Record<string, unknown> | null = null
  timesync: Timesync | null = null

  constructor(request: Message) {
    const { id, channel, subscription } = request
    this.id = typeof id === 'string' || typeof id === 'number' ? id : undefined
    // every held connect would keep a text of its own
    this.channel = channel === CONNECT ? CONNECT : typeof channel === 'string' ? channel : undefined
    this.subscription = channel === '/meta/subscribe' || channel === '/meta/unsubscribe' ? (subscription ?? undefined) : undefined
  }

  fail(code: ErrorCode, reason = ''): this {
    this.successful = false
    this.error = wireError(code, reason)
    return this
  }

  /** The reply as an object, in the order in which it is written. */
  toMessage(now: number, timestamp: string | null): Record<string, unknown> {
    const message: Record<string, unknown> = {}
    if (this.id !== undefined) message['id'] = this.id
    if (this.channel !== undefined) message['channel'] = this.channel
    message['successful'] = this.successful
    if (this.error !== null) message['error'] = this.error
    if (this.subscription !== undefined) message['subscription'] = this.subscription
    if (this.extra !== null) Object.assign(message, this.extra)
    if (this.advice !== null) message['advice'] = this.advice
    const ext = this.timesync === null ? this.ext : answerTimesync(this.ext, this.timesync, now)
    if (ext !== null) message['ext'] = ext
    if (timestamp !== null) message['timestamp'] = timestamp
    return message
  }

  /** The reply as JSON. The usual small reply is written by hand; the test holds it against `toMessage`. */
  toJson(now: number, timestamp: string | null): string {
    if (
      this.extra !== null ||
      this.ext !== null ||
      this.timesync !== null ||
      this.subscription !== undefined ||
      timestamp !== null
    ) {
      return JSON.stringify(this.toMessage(now, timestamp))
    }
    let json = this.id === undefined ? '{' : `{"id":${JSON.stringify(this.id)},`
    if (this.channel !== undefined) json += `"channel":${JSON.stringify(this.channel)},`
    json += this.successful ? '"successful":true' : '"successful":false'
    if (this.error !== null) json += `,"error":${JSON.stringify(this.error)}`
    if (this.advice !== null) json += `,"advice":${JSON.stringify(this.advice)}`
    return `${json}}`
  }
}
