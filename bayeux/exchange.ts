// An exchange: one envelope on its way through the engine, message by message, until its replies leave.
//
// Always true: messages are processed in order; while one waits for a verdict, none behind it is looked at.
// Source: protocol reference 3, 3.10.

import type { ChannelName } from './channel.js'
import type { Connection } from './connection.js'
import type { Json, Message } from './message.js'
import type { Trial } from './policy.js'
import type { Reply } from './reply.js'
import type { Session } from './session.js'

export class Exchange {
  /** Index of the message in hand. */
  at = 0
  readonly replies: Reply[] = []
  /** The channel of the message in hand. */
  name: ChannelName | null = null
  /** The session that the envelope speaks for: found once, from its first message; or made by its handshake. */
  session: Session | null = null
  /** The questions about the message in hand that are not answered yet. */
  trial: Trial | null = null
  /** Whether the call in hand is allowed, so that what it asks for is judged next (query.ts). */
  called = false
  /** What the reply to the message in hand says of the new token in it; null for none, or while it is not judged. */
  renewal: Json | null = null
  /** Its size, as long as it is not counted; and whether its session was told to pause in it, and not before. */
  bytes = 0
  slowing = false
  /** Whether a /meta/connect is answered with it: then its response carries messages also in connect-only delivery. */
  connects = false
  /** Its messages that a durable history has not kept yet; and whether only its response still waits for that. */
  unkept = 0
  detached = false
  /** Whether a held connect took the place of the response. */
  held = false

  constructor(
    readonly connection: Connection,
    readonly messages: readonly Message[],
  ) {}
}
