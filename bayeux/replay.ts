// Replay: sessions that begin to listen in the past.
//
// Knows: what a subscribe asks for, page by page what a session gets of it, how it joins what is published meanwhile.
// Does not know: how messages are kept (history.ts).
// Always true: while a session replays a channel it gets nothing of it otherwise, so that all comes once and in order; a subscription that meets one
// that replays does so too; a page is read when the one before has left, so that a long replay neither fills memory nor delays others.
// Source: guarantee G4; protocol reference 7.7.

import { type ChannelName, covers, parseChannel } from './channel.js'
import type { Core } from './core.js'
import { deliver } from './delivery.js'
import { BayeuxError } from './errors.js'
import type { History } from './history.js'
import { extOf, type FrozenMessage, isObject, type Json, type Message } from './message.js'
import type { Reply } from './reply.js'
import type { Session } from './session.js'
import { messageOf } from './shared.js'
import type { Channel } from './tree.js'

/** Entries of a page, and of what may wait in a queue for the next. */
const PAGE = 256
/** Retained messages that one new subscription gets. */
const MOST_RETAINED = 1_000

/** A subscription on its way from the past to the present. */
export interface Replay {
  readonly channel: Channel
  after: number
  /** Up to here its client does not expect to get all: some was kept no more when it began, or also meanwhile while it is `starting`. */
  floor: number
  starting: boolean
}

/** Where a subscription begins: behind a position; `whole` unless something behind it is kept no more. */
export interface Start {
  readonly after: number
  readonly whole: boolean
  /** With new messages, so with what is retained. */
  readonly present?: boolean
  /** What is retained is wanted also where it was heard before, as by a page that is loaded anew. */
  readonly retained?: boolean
}

/** A start, and the channel as the client wrote it beside its place. */
interface NamedStart extends Start {
  readonly written: string
}

/** The history, where the rules keep anything. */
export function historyOf(core: Core): History | null {
  return core.tree.rules.keeping ? core.history : null
}

/** Notes in which form a session wants the places of messages, and tells it that it may have them. jsforce turns replay on by the reply alone. */
export function negotiateReplay(core: Core, session: Session, message: Message, reply: Reply): void {
  const history = historyOf(core)
  if (history === null) return
  const asked = extOf(message)?.['replay']
  session.form = isObject(asked) ? 'own' : asked === true ? 'event' : 'plain'
  reply.ext = { ...reply.ext, replay: session.form === 'own' ? { epoch: history.epoch } : true }
}

/**
 * Where the subscriptions of a message begin, by their channels; or the place that is none; null where the history cannot be read.
 *
 * Who says places, whatever they are, is told those of its messages: jsforce asks for them in no other way, and begins with -1.
 */
export function startsOf(
  core: Core,
  session: Session,
  message: Message,
  names: readonly ChannelName[],
): Map<string, NamedStart> | { readonly invalid: unknown } | null {
  const starts = new Map<string, NamedStart>()
  const history = historyOf(core)
  const places = extOf(message)?.['replay']
  if (history === null || !isObject(places)) return starts
  const written = writtenNames(places, names)
  for (const name of names) {
    const key = written.get(name.name)
    if (key === undefined) continue
    const place = places[key]
    if (place === -1) continue
    const start = reading(core, () => {
      const found = startOf(core, history, name, place)
      if (found !== null) history.read(name, found.after, core.published, 1, 0)
      return found
    })
    if (start === 'unreadable') return null
    const told = isObject(place) || place === -2
    if (start === null || !(told || start.whole)) return { invalid: isObject(place) ? (place['id'] ?? place['at']) : place }
    starts.set(name.name, { ...start, written: key })
  }
  if (session.form === 'plain') session.form = 'event'
  return starts
}

/** The keys of a map by the names of channels that they stand for: some clients write a slash at the end. */
function writtenNames(places: Json, names: readonly ChannelName[]): Map<string, string> {
  const written = new Map<string, string>()
  if (!names.every(({ name }) => Object.hasOwn(places, name)))
    for (const key of Object.keys(places)) written.set(parseChannel(key, Number.POSITIVE_INFINITY, false)?.name ?? key, key)
  for (const { name } of names) if (Object.hasOwn(places, name)) written.set(name, name)
  return written
}

/**
 * `-2`: behind all that is kept no more. A number: behind that position. Ours: `{id, epoch}` or `{at}`; or `{now: true}`, to be told the place of the present.
 *
 * @returns null for what is none
 */
export function startOf(core: Core, history: History, name: ChannelName, place: unknown): Start | null {
  const floor = history.floor(name)
  const least = name.wild === 0 ? floor : 0 // through a wildcard older messages of other channels may be there
  const behind = (after: number): Start => ({ after: Math.max(after, least), whole: after >= floor })
  if (place === -2) return { after: least, whole: true }
  if (!isObject(place)) return isPosition(place, core) ? behind(place) : null
  const { id, epoch, at } = place
  if (place['now'] === true) return { ...behind(core.published), present: true }
  if (typeof at === 'number' && Number.isFinite(at)) return behind(history.before(at))
  if (typeof epoch !== 'string') return null
  if (epoch !== history.epoch) return { after: least, whole: false } // all of this history is new to it
  return isPosition(id, core) ? { ...behind(id), retained: place['retained'] === true } : null
}

function isPosition(value: unknown, { published }: Core): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= published
}

/** What clients look for is its beginning (protocol reference 7.7). */
export function failReplay(reply: Reply, place: unknown): Reply {
  reply.successful = false
  reply.error = `400::The replayId {${typeof place === 'number' ? place : String(JSON.stringify(place) ?? '').slice(0, 40)}} you provided was invalid. Please provide a valid ID, -2 to replay all events, or -1 to replay only new events.`
  return reply
}

/** Begins a subscription that was made, or one that is there anew: in the past, or, where it is new, with what is retained. */
export function beginReplay(
  core: Core,
  session: Session,
  channel: Channel,
  start: NamedStart | undefined,
  isNew: boolean,
  reply: Reply,
  now: number,
): void {
  const history = historyOf(core)
  if (history === null || channel.kind !== 'broadcast') return
  const before = session.replays?.find(replay => replay.channel === channel)
  if (before !== undefined) finish(session, before) // begun anew
  if (start === undefined || (isNew && start.present === true) || start.retained === true)
    giveRetained(core, session, history, channel, now, start)
  if (start !== undefined && session.form === 'own') {
    const told = (reply.ext?.['replay'] ?? {}) as Json
    const { after: id, whole: recovered, written } = start
    const ack = session.ack === null ? null : { ack: session.ack.batch } // over HTTP an older connect reply may come behind this one
    reply.ext = { ...reply.ext, replay: { ...told, [written]: { recovered, id, epoch: history.epoch, ...ack } } }
  }
  if (start === undefined && session.replays?.some(replay => meet(replay.channel, channel)) !== true) return
  const after = start?.after ?? core.published
  const floor = Math.max(after, history.floor(channel))
  join(core, session, history, { channel, after, floor, starting: after < floor })
  core.replayable(session)
}

/**
 * Adds a replay, and with it the session's subscriptions that meet it, from the present on: what is held back for the sake of one of them comes to
 * all of them in order, and if one ends, the others still get it. What waits in the queue and will be replayed is taken out of it.
 */
function join(core: Core, session: Session, history: History, first: Replay): void {
  const before = session.replays ?? []
  const joined = new Map([[first.channel, first]])
  for (const { channel } of joined.values()) {
    for (const other of meeting(core, session, channel)) {
      if (joined.has(other)) continue
      const { published } = core
      const replay = before.find(each => each.channel === other)
      joined.set(other, replay ?? { channel: other, after: published, floor: published, starting: false })
    }
  }
  takeBack(session, history, first, [...joined.values()])
  for (const replay of joined.values())
    if (replay !== first && !before.includes(replay)) replay.floor = Math.max(replay.after, history.floor(replay.channel))
  session.replays = [...before.filter(({ channel }) => !joined.has(channel)), ...joined.values()]
}

/** A session's other subscriptions that have messages in common with a channel or pattern. */
function meeting({ tree }: Core, { subscriptions }: Session, channel: Channel): Channel[] {
  const wider = tree.covering(channel).filter(other => other !== channel && subscriptions!.indexIn(other) !== undefined)
  if (channel.wild === 0) return wider
  const prefix = channel.name.slice(0, -channel.wild) // a look at it is cheaper than at segments
  const narrower = subscriptions!
    .channels()
    .filter(other => other !== channel && other.name.startsWith(prefix) && covers(channel, other))
  return [...wider, ...narrower]
}

/** Takes out of a queue what will be replayed; but nothing before what is kept no more, so that the order stays. */
function takeBack(session: Session, history: History, first: Replay, replays: readonly Replay[]): void {
  const taken = new Set<FrozenMessage>()
  const waiting = session.ack === null ? session.queue : session.ack.entries().map(([message]) => message)
  for (const message of waiting.toReversed()) {
    const name = nameOf(message.channel)
    const covering = message.position === 0 ? [] : replays.filter(replay => covers(replay.channel, name))
    if (covering.length === 0 || message.position <= first.after) continue
    if (message.position <= history.floor(name)) break
    taken.add(message)
    for (const replay of covering) replay.after = Math.min(replay.after, message.position - 1)
  }
  if (taken.size === 0) return
  session.dropQueued(message => taken.has(message))
  session.ack?.drop(message => taken.has(message))
}

/** Whether two channels or patterns have messages in common. Of two patterns that do, one covers the other. */
function meet(one: ChannelName, other: ChannelName): boolean {
  return covers(one, other) || covers(other, one)
}

/** Goes on with a replay that another process began. */
export function replayAgain(core: Core, session: Session, replay: Replay): void {
  if (historyOf(core) === null) return
  session.replays = [...(session.replays ?? []), replay]
  core.replayable(session)
}

/** Gives a few sessions their next page. @returns whether there are more that can have one */
export function replaySome(core: Core, now: number, most: number): boolean {
  for (const session of [...core.replaying].slice(0, most)) {
    core.replaying.delete(session) // at the end of the line, if at all
    if (nextPage(core, session, now)) core.replaying.add(session)
  }
  return core.replaying.size > 0
}

/** @returns whether it can have another */
function nextPage(core: Core, session: Session, now: number): boolean {
  const history = historyOf(core)
  for (let replay = farthest(session); replay !== null; replay = farthest(session)) {
    const { channel, after } = replay
    if (session.gone || session.doomed) return false
    if (history === null || session.subscriptions?.indexIn(channel) === undefined || after >= core.published) {
      finish(session, replay) // or it was unsubscribed, or is no longer allowed
      continue
    }
    const [room, bytes] = roomOf(core, session)
    if (room <= 0 || bytes <= 0) return false
    const through = meetingPlace(session, replay, core.published)
    const along = session.replays!.filter(other => covers(channel, other.channel))
    const isGone = along.some(other => misses(history, other))
    const page = isGone ? 'gone' : reading(core, () => history.read(channel, after, through, room, bytes))
    if (typeof page === 'string') {
      // what is to come is kept no more, or cannot be read: its client begins anew, and is told then
      session.doomed = true
      core.doomed.push(session)
      return false
    }
    for (const other of session.replays!) if (covers(channel, other.channel)) other.after = Math.max(other.after, page.through)
    const alone = session.ack === null && core.replaying.size === 0
    for (const entry of page.entries) {
      const message = alone ? messageOf(entry, session.form, history.epoch) : core.shared.of(entry, session.form, history.epoch)
      deliver(core, session, message, now)
    }
    if (page.through < through) return true
  }
  return false
}

/** Whether something is kept no more that its client expects. */
function misses(history: History, replay: Replay): boolean {
  const floor = history.floor(replay.channel)
  replay.starting &&= replay.after < replay.floor
  if (replay.starting) replay.floor = Math.max(replay.floor, floor)
  return floor > Math.max(replay.after, replay.floor)
}

/** The replay that is farthest behind; of several the widest. */
function farthest({ replays }: Session): Replay | null {
  let found: Replay | null = null
  for (const replay of replays ?? []) {
    if (found === null || replay.after < found.after) found = replay
    else if (replay.after === found.after && covers(replay.channel, found.channel)) found = replay
  }
  return found
}

/** How far a replay may read: where a wider one waits for it, both go on as one. */
function meetingPlace({ replays }: Session, { channel, after }: Replay, present: number): number {
  let place = present
  for (const other of replays!)
    if (other.after > after && other.after < place && covers(other.channel, channel)) place = other.after
  return place
}

function finish(session: Session, replay: Replay): void {
  const left = session.replays!.filter(other => other !== replay)
  session.replays = left.length === 0 ? null : left
}

/** How many entries a session can take now, and of how many bytes. Half of its queue is left to what else comes. */
function roomOf(core: Core, session: Session): readonly [entries: number, bytes: number] {
  const { maxQueue, maxQueueBytes } = core.options
  const waiting = session.ack === null ? session.queue.length : session.ack.size
  const bytes = session.ack === null ? session.queuedBytes : session.ack.bytes
  return [Math.min(PAGE, Math.ceil(maxQueue / 2)) - waiting, maxQueueBytes / 2 - bytes]
}

/** What a damaged history throws costs nobody but who reads it. */
export function reading<T>(core: Core, work: () => T): T | 'unreadable' {
  try {
    return work()
  } catch (cause) {
    core.sink.fault(new BayeuxError('HISTORY_UNREADABLE', '', { cause }))
    return 'unreadable'
  }
}

/** Whether a kept message of a channel comes to a session by replay, and so not otherwise. */
export function isReplaying(session: Session, channel: Channel): boolean {
  return session.replays!.some(replay => covers(replay.channel, channel))
}

/**
 * The newest go into what room there is.
 *
 * @param start where the subscription begins: what is retained stands before it, and comes without its place
 */
function giveRetained(
  core: Core,
  session: Session,
  history: History,
  channel: Channel,
  now: number,
  start: NamedStart | undefined,
): void {
  const [, room] = roomOf(core, session)
  const most = Math.min(MOST_RETAINED, Math.ceil(core.options.maxQueue / 2))
  const isRetained = (name: ChannelName): boolean => core.tree.rules.settingsOf(name).retain
  const entries = reading(core, () => history.last(channel, most, isRetained))
  if (entries === 'unreadable') return
  let from = entries.length
  for (let bytes = 0; from > 0; from--) {
    bytes += entries[from - 1]!.json.length
    if (bytes > room) break
  }
  for (const entry of entries.slice(from)) {
    const name = nameOf(entry.channel)
    if (start !== undefined && entry.position > start.after) continue // it comes to it by replay
    if (session.replays?.some(replay => replay.after < entry.position && covers(replay.channel, name)) === true) continue // so here
    deliver(core, session, core.shared.of(entry, start === undefined ? session.form : 'unplaced', history.epoch), now)
  }
}

function nameOf(channel: string): ChannelName {
  return parseChannel(channel, Number.POSITIVE_INFINITY, false)!
}
