// Delivery: into a session's queue, with what bounds it and what keeps it waiting.
//
// Knows: lazy messages, full queues, what extensions make of a message for one session.
// Does not know: who is to get a message (publish.ts), when the queue is emptied (flush.ts, response.ts).
// Source: protocol reference 4.8, 7.1.

import { countsDeliveries } from './activity.js'
import type { Core } from './core.js'
import { flushSession } from './flush.js'
import { FrozenMessage } from './message.js'
import type { Session } from './session.js'

/** Puts a message into one session's queue. It leaves with the next flush, or later as the session's mode has it. */
export function deliver(core: Core, session: Session, message: FrozenMessage, now: number): void {
  if (session.gone || session.doomed) return
  let mine = message
  if (core.extensions.outgoingInUse && session.receiver === null) {
    const changed = extended(core, session, message)
    if (changed === null) return
    mine = changed
  }
  if (isFull(core, session) && !makeRoom(core, session, mine, now)) return
  session.enqueue(mine)
  if (session.ack !== null) session.ack.add(mine)
  if (countsDeliveries(core.options)) session.lastActiveAt = now
  if (mine.lazy === -1) core.markDirty(session)
  else if (session.lazyAt === null || now + mine.lazy < session.lazyAt) {
    session.lazyAt = now + mine.lazy
    core.deadlines.update(session)
  }
}

function extended(core: Core, session: Session, message: FrozenMessage): FrozenMessage | null {
  const json = core.sealed(session, JSON.parse(message.json) as Record<string, unknown>, message.json)
  return json === null ? null : new FrozenMessage(message.channel, json, message.lazy)
}

function isFull(core: Core, session: Session): boolean {
  const { maxQueue, maxQueueBytes } = core.options
  if (session.queue.length >= maxQueue || session.queuedBytes > maxQueueBytes) return true
  return session.ack !== null && (session.ack.size >= maxQueue || session.ack.bytes > maxQueueBytes)
}

/** @returns whether the message may be queued after all. A session that is to be removed is so after the fan-out. */
function makeRoom(core: Core, session: Session, message: FrozenMessage, now: number): boolean {
  if (session.batchDepth === 0 && session.reviewing === 0) flushSession(core, session, now) // one that can keep up is not slow because a turn is long
  if (!isFull(core, session)) return true
  core.sink.limited('maxQueue', session.address)
  if (core.sink.overflow(session, message) === 'remove' && !session.doomed) {
    session.doomed = true
    core.doomed.push(session)
  }
  return false
}
