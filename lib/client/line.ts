// Between the client's API and its session: what goes in and what comes out. The session is in this context (link.ts) or shared (shared.ts).
//
// Knows: the inputs and events of a line, the settings of a connection.
// Does not know: how promises, iterators and patterns are made of them (client.ts).

import type { ClientFailure, ClientOptions, ClientState, PeerMessage } from '../../bayeux/client-sink.js'

export type TransportName = 'websocket' | 'long-polling' | 'callback-polling'

/** A token, or what gives one anew for each handshake; null for none. */
export type TokenSource = string | (() => string | null | Promise<string | null>)

/** Plain values, so that they can be sent to a worker; `token` is asked for from there. */
export interface Settings extends ClientOptions {
  /** Absolute, http or https. */
  readonly url: string
  /** In the order of preference. */
  readonly transports: readonly TransportName[]
  /** Sub-protocols of WebSocket. */
  readonly protocols: readonly string[]
  /** Of every request. On WebSocket from Node alone. */
  readonly headers: Readonly<Record<string, string>>
  /** ms until a WebSocket that does not open, or opened and says nothing, is given up for long-polling. */
  readonly openTimeout: number
  /** ms: a better transport is tried again after about base × 2ⁿ, at most max. */
  readonly upgradeBase: number
  readonly upgradeMax: number
  /** Go on behind the last message heard in later sessions too, and say again, with a key, what has no answer. */
  readonly lasting: boolean
  /** Keep the session over a reload of the page. */
  readonly reload: boolean
}

/** Extra fields of a message, such as `ext`. */
export type Extra = Readonly<Record<string, unknown>>

/** Why a message failed: as the client half tells, or it was not taken at all. */
export type LineFailure = ClientFailure | 'CLOSED' | 'OUTBOX_FULL'

/** None may throw. */
export interface LineEvents {
  /** `names`: the channels and patterns that it is new to; without them all that cover its channel. */
  message(message: PeerMessage, names?: readonly string[] | null): void
  reply(reply: PeerMessage): void
  settled(id: string, code: LineFailure | null, reply: PeerMessage | null): void
  unrestored(channel: string, code: LineFailure, reply: PeerMessage | null): void
  failure(code: LineFailure, detail: string): void
  /** `closed` comes with why: DISCONNECTED where it was the application's wish. */
  state(state: ClientState, why?: LineFailure, detail?: string): void
  /** As the client half tells. */
  gap?(channel: string, dropped: number): void
  /** The session of the page before this one goes on, with these subscriptions. */
  resumed(subscriptions: readonly string[]): void
  outgoing(message: Record<string, unknown>): void
  incoming(message: PeerMessage): PeerMessage | null
}

/** Inputs that take a message return the id that `settled` will name, or null when it is not taken (client half, `subscribe`). */
export interface Line {
  readonly state: ClientState
  readonly clientId: string | null
  readonly transport: TransportName | null
  /** The server's clock minus ours in ms; null until it is known. */
  readonly offset: number | null
  start(): void
  subscribe(channel: string, extra?: Extra): string | null
  unsubscribe(channel: string, extra?: Extra): string | null
  publish(channel: string, data: unknown, extra?: Extra): string | null
  call(target: string, data: unknown, extra?: Extra): string | null
  startBatch(): void
  endBatch(): void
  disconnect(): void
}
