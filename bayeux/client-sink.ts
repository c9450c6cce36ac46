// What surrounds the client half: the effects that it asks for, its failures, its options, its states.
//
// Does not know: what the half does with them (client.ts).

export const TRANSITIONS = {
  new: { start: 'handshaking', resume: 'connecting', close: 'closed' },
  handshaking: { welcome: 'connecting', close: 'closed' }, // failed tries stay here
  connecting: { connect: 'connected', fail: 'broken', forget: 'handshaking', leave: 'disconnecting', close: 'closed' },
  connected: { fail: 'broken', forget: 'handshaking', leave: 'disconnecting', close: 'closed' },
  broken: { connect: 'connected', forget: 'handshaking', leave: 'disconnecting', close: 'closed' }, // nothing but connect is sent
  disconnecting: { close: 'closed' },
  closed: { start: 'handshaking', resume: 'connecting' },
} as const

export type ClientState = keyof typeof TRANSITIONS

/** The deadline of what is not to happen. */
export const NEVER = Number.POSITIVE_INFINITY

/** Why a message, or the connection, failed. Match on these; the texts are for people. */
export const clientFailures = {
  REFUSED: 'The server answered successful: false; its reply has the Bayeux error.',
  TIMEOUT: 'No reply came in time. The server may have processed the message.',
  CONNECTION_FAILED: 'The transport failed before the reply came. The server may have processed the message.',
  REPLY_INVALID: 'What came is not a JSON array of messages, or the reply to a handshake lacks its clientId.',
  REPLY_MISSING: 'The HTTP response has ended without the reply to this message.',
  SESSION_LOST: 'The server no longer knows the session (402, or advice to handshake); a new handshake follows by itself.',
  TYPE_UNSUPPORTED: 'The server does not list the connection type in use.',
  STOPPED: 'The server advised reconnect: none.',
  KICKED: 'The server disconnected this session.',
  DISCONNECTED: 'The application disconnected before the reply came.',
} as const

export type ClientFailure = keyof typeof clientFailures

/** `http`: a request a send, one in flight on each lane. `websocket`: every send is a frame of the one socket. */
export type TransportKind = 'http' | 'websocket'
/** `connect` carries the handshake and /meta/connect, one at a time; `other` all else. */
export type Lane = 'connect' | 'other'

/** A message as the peer sent it: nothing but `channel` is checked. */
export interface PeerMessage {
  readonly channel: string
  readonly [field: string]: unknown
}

/** A session to go on with: JSON of plain values, from `save` to `resume`. */
export interface SavedSession {
  readonly clientId: string
  /** The last ack id; null without the extension. */
  readonly ack: number | null
  readonly advice: { readonly timeout: number; readonly interval: number; readonly maxInterval: number }
  readonly lastId: number
  /** The channels that the server delivers to it. */
  readonly subscriptions: readonly string[]
  /** Of `Memory`. */
  readonly memory?: Readonly<Record<string, unknown>> | undefined
}

/** The effects. None may throw. `opened` may be called out of `open`, the application's inputs out of `message`, `reply`,
 * `settled`, `state` and `failure`; all else only after the input that caused the effect has returned. */
export interface ClientSink {
  /** Open the socket (`websocket` only) and report `opened` or `failed`. */
  open(): void
  /** Send one envelope. On HTTP report the end of that request by `received` or `failed` with the same lane. */
  send(text: string, lane: Lane): void
  /** Drop the request in flight on this lane, or everything, the socket too. Nothing of it may be reported afterwards. */
  abort(lane?: Lane): void
  /**
   * A delivery: a message of the server, never the same twice in an ack session or where the server tells places.
   * `names`: the channels and patterns that it is new to; without them all that cover its channel.
   */
  message(channel: string, message: PeerMessage, names?: readonly string[] | null): void
  /** A reply that matched something sent, handshake and connect included, before its effect. */
  reply(reply: PeerMessage): void
  /** The end of a message, once for each id returned: `code` null and the reply (of a `call`: the response), or why not. */
  settled(id: string, code: ClientFailure | null, reply: PeerMessage | null): void
  /** Trouble of the connection or session, retried unless `closed`. `detail`: the peer's error, or the start of its text. */
  failure(code: ClientFailure, detail: string): void
  /** `closed` comes with why: DISCONNECTED where it was the application's wish; all else is told by `failure` once more. */
  state(state: ClientState, why?: ClientFailure, detail?: string): void
  /** 0 ≤ n < 1, for jitter. */
  random(): number
  /** May add to a message (`ext`, application fields) before it is made into JSON; sees handshake and connect too. */
  outgoing?(message: Record<string, unknown>): void
  /** Sees each message first, a delivery when it is given, and gives what is to be heard in its place; null for nothing. */
  incoming?(message: PeerMessage): PeerMessage | null
  /** A subscription that could not be made again in a new session is no more. */
  unrestored?(channel: string, code: ClientFailure, reply: PeerMessage | null): void
  /** Something is missing before the next message of a channel or pattern: `dropped` messages that this client was too slow for, or, where that is 0, what the server keeps no more. */
  gap?(channel: string, dropped: number): void
}

export const clientDefaults = {
  /** Offered in the handshake. The first that is not `websocket` is the type of `http`. */
  connectionTypes: ['websocket', 'long-polling'] as readonly string[],
  /** Ask for the ack extension, the timesync extension. */
  ack: true,
  timesync: true,
  /** ms until a reply is given up; a /meta/connect has `advice.timeout` more. Also the opening of a socket. */
  replyTimeout: 10_000,
  /** ms from the reply of a `call` until its response is given up. */
  callTimeout: 10_000,
  /** ms: the nth try waits between 0 and base × 2ⁿ, at most max (full jitter), beyond the advised interval. */
  backoffBase: 1_000,
  backoffMax: 10_000,
  /** Make subscriptions again in each new session, and ask again for what was lost on the way; without, they end with the old session, or fail. */
  restore: true,
  /** Messages that may wait to be sent. */
  maxQueue: 10_000,
  /** Characters of one envelope, of three bytes at most: servers take 64 KiB. More messages go in further ones; one message alone may be longer. */
  maxEnvelope: 20_000,
}
export type ClientOptions = typeof clientDefaults
