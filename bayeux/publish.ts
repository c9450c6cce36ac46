// Publishing: from one message to the queues of all who are to get it.
//
// Knows: broadcast and service messages, what the publisher gets of its own, which messages are lazy.
// Does not know: whether it is allowed (trial.ts), when the queues are emptied (flush.ts).
// Always true: a message is serialized once, however many get it.
// Source: protocol reference 3.5, 3.6, 4.8.

import type { ChannelName } from './channel.js'
import type { Core } from './core.js'
import { keyOf, withoutPrivate } from './dedupe.js'
import { deliver } from './delivery.js'
import type { Exchange } from './exchange.js'
import type { Retention } from './history.js'
import { tokenOf } from './identity.js'
import {
  type FrozenMessage,
  freezePublished,
  IMPATIENT,
  isObject,
  type Json,
  type Message,
  type Overflow,
  type Patience,
} from './message.js'
import { isReplaying } from './replay.js'
import { Reply } from './reply.js'
import { respond } from './response.js'
import type { Session } from './session.js'
import { Channel, isSubscribed } from './tree.js'

/** What has markup in it costs its publisher so many times its size: reading markup is slow, and done where all others wait. */
const MARKUP_COST = 400

/** Publishes what a client sent and was allowed to. A service message ends at the listeners. */
export function publish(
  core: Core,
  exchange: Exchange,
  session: Session,
  message: Message,
  name: ChannelName,
  now: number,
): Reply {
  const text = message.channel as string
  const channel = name instanceof Channel && name.exists ? name : core.tree.create(name) // it may have been swept while a verdict was awaited
  const reply = new Reply(message)
  const key = name.kind === 'service' ? null : keyOf(session, message)
  if (key === false) return reply.fail('DEDUPE_KEY_INVALID')
  if (key !== null) {
    if (wasSaid(core, key, exchange, reply, now)) return reply
    core.keys.begin(key, core.options.dedupeWindow, core.options.maxDedupe, now)
  }
  const own = name.kind === 'service' ? message : withoutPrivate(message)
  const clean = filtered(core, channel, own)
  if (clean !== own && clean.data !== message.data)
    core.pacer.labour(session, MARKUP_COST * JSON.stringify(message.data).length, now)
  if (!notify(core, channel, clean, session)) {
    if (key !== null) core.keys.end(key, false)
    return reply.fail('MESSAGE_DELETED')
  }
  if (name.kind === 'service') return reply
  const frozen = freezePublished(
    withoutToken(core, clean),
    text,
    patienceOf(core, channel, clean.data, false),
    core.timestamp(now),
  )
  spread(core, channel, frozen, session, now, { exchange, reply, key, told: null })
  return reply
}

/** Whether a publish was said before: then its reply is as the first one, now or when that is known. */
function wasSaid(core: Core, key: string, exchange: Exchange, reply: Reply, now: number): boolean {
  const outcome = core.keys.find(key, core.options.dedupeWindow, now)
  if (outcome === undefined) return core.history?.has(key) ?? false
  if (outcome.waiting === null) return true
  outcome.waiting.push({ exchange, reply })
  exchange.unkept++
  return true
}

/** Who waits until a message is kept: a response and the reply in it, a key that was said once, the server's own code. */
export interface Waiter {
  readonly exchange: Exchange | null
  readonly reply: Reply | null
  readonly key: string | null
  readonly told: ((error: Error | null) => void) | null
}

/**
 * Keeps a message where its channel's rule wants that, and gives it to all who are to have it: at once, or when a durable history has it.
 */
export function spread(
  core: Core,
  channel: Channel,
  message: FrozenMessage,
  publisher: Session | null,
  now: number,
  waiter: Waiter,
): void {
  const retention = retentionOf(channel)
  const { history } = core
  if (retention === null || history === null) {
    fanOut(core, channel, message, publisher, now)
    core.sink.published(message)
    tell(core, waiter, null, now)
    return
  }
  message.position = history.append(channel.name, message.json, retention, now, waiter.key)
  core.trimAt = Math.min(core.trimAt, now + Math.max(retention.age, TRIM_PERIOD))
  core.unkept.push({ message, channel, publisher, waiter })
  if (waiter.exchange !== null) waiter.exchange.unkept++
  if (!history.durable) kept(core, message.position, null, now)
}

/** The history has all messages up to a place, or could not keep them: they are given to all who are to have them, or to nobody. */
export function kept(core: Core, through: number, error: Error | null, now: number): void {
  let count = 0
  while (count < core.unkept.length && core.unkept[count]!.message.position <= through) count++
  for (const { message, channel, publisher, waiter } of core.unkept.splice(0, count)) {
    if (error === null) {
      core.published = message.position
      const node = channel.exists ? channel : (core.tree.create(channel) as Channel) // it may have been swept meanwhile
      fanOut(core, node, message, publisher, now)
      core.sink.published(message)
    }
    tell(core, waiter, error, now)
    settleReply(core, waiter, error, now)
  }
}

/** The fate of a message is known. */
function tell(core: Core, { key, told }: Waiter, error: Error | null, now: number): void {
  told?.(error)
  if (key !== null) for (const waiting of core.keys.end(key, error === null)) settleReply(core, waiting, error, now)
}

/** A reply that waited may leave, with the last of its response. */
function settleReply(
  core: Core,
  { exchange, reply }: Pick<Waiter, 'exchange' | 'reply'>,
  error: Error | null,
  now: number,
): void {
  if (error !== null) reply?.fail('HISTORY_FAILED')
  if (exchange === null || --exchange.unkept > 0 || !exchange.detached) return
  exchange.connection.detached--
  if (!exchange.held || exchange.replies.length > 0) respond(core, exchange, now)
}

/** A retained message is kept as long as no newer one comes. */
const FOR_EVER = Number.POSITIVE_INFINITY
/** How often old messages are looked for at most, ms. */
export const TRIM_PERIOD = 1_000

function retentionOf({ settings }: Channel): Retention | null {
  if (settings === null || (settings.history === false && !settings.retain)) return null
  const { messages, age } = settings.history || { messages: 1, age: FOR_EVER }
  return { messages, age, last: settings.retain }
}

/** Puts a message into the queue of each session that is subscribed, its publisher's own where that is wanted. */
export function fanOut(core: Core, channel: Channel, message: FrozenMessage, publisher: Session | null, now: number): void {
  const sessions = core.tree.resolve(channel)
  const { changes } = core.tree
  core.tree.walking++
  try {
    for (let i = 0; i < sessions.length; i++) {
      const session = sessions[i]!
      if (core.tree.changes !== changes && !isSubscribed(session, core.tree.covering(channel))) continue // an extension has seen to that
      if (session === publisher && !wantsOwn(core, session, channel)) continue
      if (session.replays !== null && message.position > 0 && isReplaying(session, channel)) continue // it comes to it that way
      deliver(core, session, message, now)
    }
  } finally {
    core.tree.walking--
  }
}

/** A token is not for the subscribers, though some clients put it into every message. */
function withoutToken(core: Core, message: Message): Message {
  if (!core.policed.renew || message.ext === undefined || tokenOf(message) === undefined) return message
  const { token: _token, ...ext } = message.ext as Json
  return { ...message, ext }
}

/** The message as its channel's filter leaves it. */
export function filtered<M extends Message>(core: Core, channel: Channel, message: M): M {
  const filter = channel.settings?.filter ?? 'none'
  if (filter === 'none' || message.data === undefined) return message
  return { ...message, data: core.sink.filter(filter, message.data) }
}

/** What the rule of its channel makes of a message; `marked` as lazy by whoever publishes it. */
export function patienceOf(core: Core, channel: Channel, data: unknown, marked: boolean): Patience {
  const { settings } = channel
  if (settings === null || (settings.lazy === false && settings.overflow === 'disconnect' && settings.conflate === '')) {
    return marked && core.options.maxLazyTimeout > 0 ? { ...IMPATIENT, lazy: core.options.maxLazyTimeout } : IMPATIENT
  }
  const { lazy, overflow, conflate } = settings
  const wait = lazy === true || (lazy === false && marked) ? core.options.maxLazyTimeout : Number(lazy)
  const always = conflate !== '' && overflow !== 'conflate'
  return { lazy: wait > 0 ? wait : -1, overflow, conflated: always, topic: topicOf(channel, conflate, overflow, data) }
}

/** Messages of a channel stand for each other where they have the same value of the field, or where their rule names none. */
function topicOf(channel: Channel, field: string, overflow: Overflow, data: unknown): string | null {
  if (field === '') return overflow === 'conflate' ? channel.name : null
  const value = isObject(data) && Object.hasOwn(data, field) ? data[field] : undefined
  return value === undefined ? null : `${channel.name} ${JSON.stringify(value)}`
}

function notify(core: Core, channel: Channel, message: Message, session: Session): boolean {
  if (core.tree.listening === 0) return true
  for (const covering of core.tree.covering(channel)) {
    for (const listener of covering.listeners) if (core.call(listener, message, session) === false) return false
  }
  return true
}

/** Whether a publisher gets its own message: its session's flag, and that of a channel by which it is subscribed. */
function wantsOwn(core: Core, session: Session, channel: Channel): boolean {
  if (!session.broadcastToPublisher) return false
  return core.tree
    .covering(channel)
    .some(covering => session.subscriptions?.indexIn(covering) !== undefined && covering.settings?.broadcastToPublisher !== false)
}
