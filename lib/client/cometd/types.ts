// Names of CometD's JavaScript API as types: messages, callbacks, configuration, extensions.
//
// Source: CometD's reference manual, "JavaScript Library"; names and optional members follow the declarations of npm `cometd` 9.

/** A Bayeux message as applications and extensions see it; extensions may change it. */
export interface Message {
  channel: string
  id?: string
  clientId?: string
  // biome-ignore lint/suspicious/noExplicitAny: what applications publish; so it is declared by npm cometd
  data?: any
  ext?: Record<string, unknown>
  advice?: Advice
  successful?: boolean
  error?: string
  subscription?: string | string[]
  supportedConnectionTypes?: string[]
  connectionType?: string
  version?: string
  minimumVersion?: string
  timestamp?: string
  /** Of a successful handshake: there was a session before. */
  reestablish?: boolean
  /** Of a message that failed without the server's having refused it. */
  failure?: Failure
  [field: string]: unknown
}

/** Why a message failed at this end. */
export interface Failure {
  /** What was sent, or was to be sent. */
  message: Message
  reason: string
  /** The type of the transport, `unknown` when there was none. */
  connectionType: string
  /** What carried it. On HTTP with its `status`, 0 where no answer came. */
  transport?: { readonly status: number; readonly statusText: string }
  exception?: unknown
  httpCode?: number
  websocketCode?: number
}

export interface Advice {
  interval?: number
  maxInterval?: number
  'multiple-clients'?: boolean
  reconnect?: 'retry' | 'handshake' | 'none'
  timeout?: number
  hosts?: string[]
}

export type Callback = (message: Message) => void
export type LogLevel = 'error' | 'warn' | 'info' | 'debug'
export type Status = 'disconnected' | 'handshaking' | 'connecting' | 'connected' | 'disconnecting'
/** Fields to be merged into a message; those of the protocol win. */
export type Props = Readonly<Record<string, unknown>>

/** Defaults in brackets; lengths of time are ms. What says "as it is" is taken and makes no difference here. */
export interface Configuration {
  /** Of the server; may be relative to the page. */
  url: string
  /** URLs by the type of their transport, where they differ. */
  urls?: Record<string, string>
  logLevel?: LogLevel
  /** Until a WebSocket that does not open is given up for HTTP; 0 for 4,000 [0]. */
  connectTimeout?: number
  /** Go on with WebSocket once it has worked [true]. */
  stickyReconnect?: boolean
  /** Sub-protocol of WebSocket. */
  protocol?: string | null
  /** What the pause grows by with each failure [1,000], and its limit [60,000]. A pause is between half of that and all of it. */
  backoffIncrement?: number
  maxBackoff?: number
  /** Until an answer is given up [10,000]. */
  maxNetworkDelay?: number
  /** Of every HTTP request. */
  requestHeaders?: Record<string, string>
  /** `/handshake`, `/connect`, `/disconnect` behind the URL [true]. */
  appendMessageTypeToURL?: boolean
  /** Characters of a URL of callback-polling [2,000]. */
  maxURILength?: number
  /** Characters of one message [8,192]. */
  maxSendBayeuxMessageSize?: number
  /** What goes for advice until the server has given some. */
  advice?: Advice
  /** As it is: two. */
  maxConnections?: number
  /** As it is: what waits for a connection leaves in one request. */
  autoBatch?: boolean
  /** As it is: a worker rings in hidden pages. */
  useWorkerScheduler?: boolean
}

/** Each function gives the message to go on with, null for none; nothing leaves it as it is. */
export interface ExtensionLike {
  incoming?(message: Message): Message | null | undefined | void
  outgoing?(message: Message): Message | null | undefined | void
  registered?(name: string, cometd: never): void
  unregistered?(): void
}

/** What `addListener` and `subscribe` return, to be given back to `removeListener` and `unsubscribe`. */
export interface Handle {
  readonly id: number
  readonly channel: string
  readonly scope: unknown
  readonly callback: Callback
  /** false for a subscription */
  readonly listener: boolean
}
