// A connection: one HTTP request or one WebSocket that can carry messages now.
//
// Knows: what the transport told when it was opened, and what the engine remembers of it until it closes.
// Does not know: sockets and requests themselves; `peer` is the host's own object, which the engine never looks at.

import type { Exchange } from './exchange.js'
import type { Transport } from './options.js'
import type { Session } from './session.js'

/** What a transport knows when a connection opens. */
export interface Facts {
  readonly transport: Transport
  /** Value of the browser cookie; null when the request had none. */
  readonly browser: string | null
  /** The cookie that the answer to an upgrade sets, where the request had none. The client may keep it or not. */
  readonly issued?: string | null
  /** Remote address, for policies and logs. */
  readonly address: string
  readonly http2: boolean
  /** Whatever the application wants to know of the request (`context` option of the plugin). */
  readonly context: unknown
}

export class Connection {
  readonly transport: Transport
  readonly address: string
  readonly http2: boolean
  readonly context: unknown
  /** Cookie value of this connection; given by the engine at a first handshake. */
  browser: string | null
  /** Whether `browser` was given by the engine, so that the response must set the cookie. */
  browserIssued = false
  readonly issued: string | null
  open = true
  /** The session that a WebSocket is bound to, or that holds its connect on this request. */
  session: Session | null = null
  /** The envelope that is being processed, and those that came behind it. */
  exchange: Exchange | null = null
  waiting: string[] | null = null
  /** Responses that wait for the history to have what their envelopes published. */
  detached = 0
  /** The host's mark that its buffer is full: deliveries wait in the session's queue. */
  congested = false
  /** Messages without a session on this WebSocket since it was last bound to one. */
  strays = 0
  /** The token that it came with has had its end: who handshakes again on it would bring that one. */
  spent = false
  /** Told to the host, so that it reads no more while `waiting` is long. */
  paused = false

  constructor(
    facts: Facts,
    readonly peer: unknown,
  ) {
    this.transport = facts.transport
    this.address = facts.address
    this.http2 = facts.http2
    this.context = facts.context
    this.browser = facts.browser
    this.issued = facts.issued ?? null
  }

  get socket(): boolean {
    return this.transport === 'websocket'
  }
}
