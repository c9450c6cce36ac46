// Restraint: what is said to a client that is too fast, or when the server is short of memory.
//
// Knows: when a session is told to pause and when it is shown the door, and what else its advice then changes.
// Does not know: how its pace is measured (pace.ts), how its connection ends (engine.ts).
// Source: protocol reference DEV-17.

import { fullAdvice } from './advice.js'
import type { Core } from './core.js'
import type { Exchange } from './exchange.js'
import type { Message } from './message.js'
import { metaReply, PAUSE } from './meta.js'
import { Reply } from './reply.js'
import type { Session } from './session.js'

/** Messages without a session on one WebSocket, beyond which it is closed; a client that lost its session sends a few. */
const MANY_STRAYS = 1_000

/**
 * Counts a message, well or ill formed. A session that sends too fast is told to pause, and one that does not heed it is ended. Nobody is kept
 * from leaving.
 *
 * @returns the refusal, 'ended' for the end of session and connection, null when the message may be looked at
 */
export function restrain(core: Core, exchange: Exchange, message: Message, now: number): Reply | 'ended' | null {
  const { connection, session } = exchange
  if (session === null || session.gone)
    return connection.socket && !core.options.trusted && ++connection.strays > MANY_STRAYS ? 'ended' : null
  const pace = message.channel === '/meta/disconnect' ? 'well' : core.pacer.message(session, now)
  core.pacer.envelope(session, exchange.bytes, now) // judged by what was sent before: one that is large may pass
  exchange.bytes = 0
  if (pace === 'well') return null
  if (pace === 'out' && session.slowed && !exchange.slowing) return 'ended'
  exchange.slowing ||= !session.slowed // nobody can heed what he has not heard
  core.sink.limited('maxMessageRate', session.address)
  if (message.channel === '/meta/connect') {
    exchange.connects = true
    session.expiresAt = Number.POSITIVE_INFINITY // until the reply has left
  }
  return slowed(core, exchange, session, new Reply(message).fail('RATE_LIMITED'), core.pacer.pause(session))
}

/** Short of memory, no new channels are made for anybody. */
export function overloaded(core: Core, exchange: Exchange, session: Session, message: Message, now: number): Reply {
  core.sink.limited('maxMemory', session.address)
  return slowed(core, exchange, session, metaReply(core, message, now).fail('OVERLOADED'), core.spread(PAUSE))
}

/** A reply that asks for a pause, once: the next connect reply says so, or clients would keep it for ever (as with DEV-9). */
function slowed(core: Core, { connection }: Exchange, session: Session, reply: Reply, pause: number): Reply {
  session.transientInterval = pause
  session.slowed = true
  reply.advice = fullAdvice(core, session, connection.transport)
  return reply
}
