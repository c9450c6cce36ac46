// The sink: every effect that the engine has on the world, called back while an input is processed.
//
// Does not know: how an effect is carried out; the host writes, tests record.

import type { Connection } from './connection.js'
import type { FrozenMessage } from './message.js'
import type { Question, Verdict } from './policy.js'
import type { RemovalReason, Session } from './session.js'

/**
 * Why the engine ends a connection without an answer.
 *
 * `malformed`, `too_deep`, `too_many_keys`, `too_many_messages`: the envelope was refused as a whole (HTTP 400; WebSocket 1011).
 * `superseded`: a newer connect of the session came (HTTP `duplicateMetaConnectHttpResponseCode`).
 * `destroyed`: the session was removed while its connect was held (HTTP as above; WebSocket 1000 "Destroy").
 * `failed`: code of the application broke while the envelope was processed (HTTP 500; WebSocket 1011).
 * `removed`: the session has ended and said all it had to say (WebSocket 1000).
 * `going_away`: the server is about to stop, and has sent what waited (WebSocket 1001).
 * `rate_limited`: its client sends too much and does not heed advice (HTTP 429; WebSocket 1008).
 */
export type Ending =
  | 'malformed'
  | 'too_deep'
  | 'too_many_keys'
  | 'too_many_messages'
  | 'failed'
  | 'superseded'
  | 'destroyed'
  | 'removed'
  | 'rate_limited'
  | 'going_away'

export interface Sink {
  /** A new unguessable id, `[A-Za-z0-9]`, at least 128 random bits: the one value that is fetched at once. */
  id(): string
  /** Whether what is written now can still reach the peer: asked before anything is taken out of a queue (DEV-6). */
  writable(connection: Connection): boolean
  /**
   * Sends JSON to a connection; an HTTP response is complete with it.
   *
   * @param head a handshake reply, which goes before all else; '' for none
   * @param messages deliveries, in order
   * @param tail replies, comma-separated; '' for none
   * @param together whether a WebSocket must carry messages and tail in one frame (DEV-15)
   */
  write(connection: Connection, head: string, messages: readonly FrozenMessage[], tail: string, together: boolean): void
  end(connection: Connection, ending: Ending): void
  /** Asks the host to read no more of a WebSocket (true), or to go on (false): its messages pile up behind a verdict. */
  pause(connection: Connection, paused: boolean): void
  /** Asks for a verdict. @returns it, or null when it will come with `Engine.answer` */
  ask(question: Question): Verdict | null
  /** The first delivery since the last flush was queued: the host calls `Engine.flush` when its turn is over. */
  flushSoon(): void
  /** A message was published here: other nodes are to have it. */
  published(message: FrozenMessage): void
  /** A queue is full. @returns 'drop' to lose the message, 'remove' to end the session */
  overflow(session: Session, message: FrozenMessage): 'drop' | 'remove'
  sessionAdded(session: Session): void
  sessionRemoved(session: Session, reason: RemovalReason): void
  subscribed(session: Session, channel: string): void
  unsubscribed(session: Session, channel: string): void
  channelAdded(channel: string): void
  channelRemoved(channel: string): void
  /** A limit held: its option's name, and the address of whom it met. */
  limited(limit: string, address: string): void
  /** What a channel's filter leaves of `data`. */
  filter(kind: string, data: unknown): unknown
  /** Code of the application threw where the engine called it. */
  fault(error: unknown): void
}
