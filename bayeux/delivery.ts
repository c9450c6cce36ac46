// Delivery: into a session's queue, with what bounds it and what keeps it waiting.
//
// Knows: lazy messages, full queues, what extensions make of a message for one session.
// Does not know: who is to get a message (publish.ts), when the queue is emptied (flush.ts, response.ts).
// Source: protocol reference 4.8, 7.1.

import { countsDeliveries } from './activity.js'
import type { Core } from './core.js'
import { flushSession } from './flush.js'
import { type FrozenMessage, isObject } from './message.js'
import type { Session } from './session.js'

/** Puts a message into one session's queue. It leaves with the next flush, or later as the session's mode has it. */
export function deliver(core: Core, session: Session, message: FrozenMessage, now: number): void {
  if (session.gone || session.doomed) return
  let mine = message
  if (message.position > 0 && session.form !== message.form) mine = message.inForm(session.form, core.history!.epoch, now)
  if (core.extensions.outgoingInUse && session.receiver === null) {
    const changed = extended(core, session, mine)
    if (changed === null) return
    mine = changed
  }
  if (mine.topic !== null && session.topics !== null) replaceOlder(core, session, mine.topic)
  if (isFull(core, session) && !makeRoom(core, session, mine, now)) return
  if (session.dropped > 0 && session.tellsDropped) mine = telling(session, mine)
  session.enqueue(mine)
  if (mine.topic !== null && (mine.conflated || session.topics !== null)) {
    session.topics ??= new Map()
    session.topics.set(mine.topic, mine)
  }
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
  return json === null ? null : message.changed(json)
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
  const { overflow } = message
  if (overflow === 'conflate') conflateQueue(core, session, message.topic)
  else if (overflow === 'drop-oldest') dropOldest(core, session)
  if (!isFull(core, session)) return true
  if (overflow === 'drop-newest' || overflow === 'drop-oldest') {
    core.dropped.newest++ // also where nothing older may be lost: a message that may be lost ends no session
    session.dropped++
    return false
  }
  if (core.sink.overflow(session, message) === 'remove' && !session.doomed) {
    session.doomed = true
    core.doomed.push(session)
  }
  return false
}

/** A message that waits gives way to a newer one of its topic, whose place is at the end: the order of publication stays. */
function replaceOlder(core: Core, session: Session, topic: string): void {
  const older = session.topics!.get(topic)
  if (older !== undefined) lose(core, session, session.queue.lastIndexOf(older), 'conflated')
}

/** Of each topic only the newest message stays in a queue that is full, none of `next`; from now on, until it is emptied, each is replaced at once. */
function conflateQueue(core: Core, session: Session, next: string | null): void {
  const topics = new Map<string, FrozenMessage>()
  for (const message of session.queue)
    if (message.topic !== null && (message.overflow === 'conflate' || message.conflated)) topics.set(message.topic, message)
  for (let at = session.queue.length - 1; at >= 0; at--) {
    const message = session.queue[at]!
    const newest = message.topic === null ? undefined : topics.get(message.topic)
    if (newest !== undefined && (newest !== message || message.topic === next)) lose(core, session, at, 'conflated')
  }
  if (next !== null) topics.delete(next)
  session.topics = topics
}

/** Oldest first, as many as are in the way and may be lost. What was sent and is not acknowledged may have arrived. */
function dropOldest(core: Core, session: Session): void {
  for (let at = 0; isFull(core, session) && at < session.queue.length; ) {
    if (session.queue[at]!.overflow === 'drop-oldest') lose(core, session, at, 'oldest')
    else at++
  }
}

/** A session does not get what is at this place of its queue. */
function lose(core: Core, session: Session, at: number, why: 'oldest' | 'conflated'): void {
  const message = session.removeQueued(at)
  if (session.topics?.get(message.topic ?? '') === message) session.topics.delete(message.topic!)
  core.dropped[why]++
  session.dropped += message.missing + (why === 'conflated' ? 0 : 1)
}

/** The message with the number of those before it that its session did not get. */
function telling(session: Session, message: FrozenMessage): FrozenMessage {
  const { ext, ...rest } = message.message
  const json = JSON.stringify({ ...rest, ext: { ...(isObject(ext) ? ext : null), dropped: session.dropped } })
  const told = message.changed(json, message.form, session.dropped)
  session.dropped = 0
  return told
}
