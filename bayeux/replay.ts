// Replay: sessions that begin to listen in the past.
//
// Knows: what a subscribe asks for, page by page what a session gets of it, how it joins what is published meanwhile.
// Does not know: how messages are kept (history.ts).
// Always true: while a session replays a channel it gets nothing of it otherwise, so that all comes once and in order; a page is read when
// the one before has left, so that a long replay neither fills memory nor delays others.
// Source: guarantee G4; protocol reference 7.7.

import { type ChannelName, covers, parseChannel } from './channel.js'
import type { Core } from './core.js'
import { deliver } from './delivery.js'
import type { Entry, History } from './history.js'
import { extOf, FrozenMessage, IMPATIENT, isObject, type Json, type Message } from './message.js'
import type { Reply } from './reply.js'
import type { Session } from './session.js'
import type { Channel } from './tree.js'

/** Entries of a page, and of what may wait in a queue for the next. */
const PAGE = 256
/** Retained messages that one new subscription gets. */
const MOST_RETAINED = 1_000

/** A subscription on its way from the past to the present. */
export interface Replay {
  readonly channel: Channel
  after: number
}

/** Where a subscription begins: behind a position; `whole` unless something behind it is kept no more. */
interface Start {
  readonly after: number
  readonly whole: boolean
  /** With new messages, so with what is retained. */
  readonly present?: boolean
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
 * Where the subscriptions of a message begin, by their channels; or the place that is none.
 *
 * Who says places, whatever they are, is told those of its messages: jsforce asks for them in no other way, and begins with -1.
 */
export function startsOf(
  core: Core,
  session: Session,
  message: Message,
  names: readonly ChannelName[],
): Map<string, Start> | { readonly invalid: unknown } {
  const starts = new Map<string, Start>()
  const history = historyOf(core)
  const places = extOf(message)?.['replay']
  if (history === null || !isObject(places)) return starts
  for (const name of names) {
    if (!Object.hasOwn(places, name.name)) continue
    const place = places[name.name]
    if (place === -1) continue
    const start = startOf(history, name, place, core.published)
    if (start === null) return { invalid: isObject(place) ? (place['id'] ?? place['at']) : place }
    starts.set(name.name, start)
  }
  if (session.form === 'plain') session.form = 'event'
  return starts
}

/** `-2`: all that is kept. A number: behind that position, which must be there without a gap. Ours: `{id, epoch}` or `{at}`, which may have one, and tell; or `{now: true}`, to be told the place of the present. */
function startOf(history: History, name: ChannelName, place: unknown, now: number): Start | null {
  const floor = history.floor(name)
  if (place === -2) return { after: 0, whole: true }
  if (!isObject(place)) return isPosition(place, history) && place >= floor ? { after: place, whole: true } : null
  const { id, epoch, at } = place
  if (place['now'] === true) return { after: now, whole: true, present: true }
  if (typeof at === 'number' && Number.isFinite(at)) {
    const after = history.before(at)
    return { after, whole: after >= floor }
  }
  if (typeof epoch !== 'string') return null
  if (epoch !== history.epoch) return { after: 0, whole: false } // all of this history is new to it
  return isPosition(id, history) ? { after: id, whole: id >= floor } : null
}

function isPosition(value: unknown, { tip }: History): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= tip
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
  start: Start | undefined,
  isNew: boolean,
  reply: Reply,
  now: number,
): void {
  const history = historyOf(core)
  if (history === null || channel.kind !== 'broadcast') return
  session.replays = session.replays?.filter(replay => replay.channel !== channel) ?? null // begun anew
  if (start === undefined) return giveRetained(core, session, history, channel, now, true)
  if (session.form === 'own') {
    const told = (reply.ext?.['replay'] ?? {}) as Json
    reply.ext = {
      ...reply.ext,
      replay: { ...told, [channel.name]: { recovered: start.whole, id: start.after, epoch: history.epoch } },
    }
  }
  if (isNew && start.present === true) giveRetained(core, session, history, channel, now, false)
  session.replays = [...(session.replays ?? []), { channel, after: start.after }]
  core.replayable(session)
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
  for (let [replay] = session.replays ?? []; replay !== undefined; [replay] = session.replays ?? []) {
    if (session.gone) return false
    if (history === null || session.subscriptions?.indexIn(replay.channel) === undefined) {
      finish(session, replay) // it was unsubscribed, or is no longer allowed
      continue
    }
    const room = roomOf(core, session)
    if (room <= 0) return false
    const { entries, through } = history.read(replay.channel, replay.after, core.published, room)
    replay.after = through
    for (const entry of entries) deliver(core, session, frozenEntry(entry), now, entry.at)
    if (through < core.published) return true
    finish(session, replay)
  }
  return false
}

function finish(session: Session, replay: Replay): void {
  const left = session.replays!.filter(other => other !== replay)
  session.replays = left.length === 0 ? null : left
}

/** How many entries a session can take now. Half of its queue is left to what else comes. */
function roomOf(core: Core, session: Session): number {
  const { maxQueue, maxQueueBytes } = core.options
  const waiting = session.ack === null ? session.queue.length : session.ack.size
  const bytes = session.ack === null ? session.queuedBytes : session.ack.bytes
  return bytes < maxQueueBytes / 2 ? Math.min(PAGE, Math.ceil(maxQueue / 2)) - waiting : 0
}

/** Whether a kept message of a channel comes to a session by replay, and so not otherwise. */
export function isReplaying(session: Session, channel: Channel): boolean {
  return session.replays!.some(replay => covers(replay.channel, channel))
}

/** @param placed with their places; without, they stand before the place where the subscription begins */
function giveRetained(core: Core, session: Session, history: History, channel: Channel, now: number, placed: boolean): void {
  for (const entry of history.last(channel, MOST_RETAINED)) {
    const name = parseChannel(entry.channel, Number.POSITIVE_INFINITY, false)
    if (name === null || !core.tree.rules.settingsOf(name).retain) continue
    const message = frozenEntry(entry)
    if (!placed) message.position = 0
    deliver(core, session, message, now, entry.at)
  }
}

function frozenEntry({ channel, json, position }: Entry): FrozenMessage {
  const message = new FrozenMessage(channel, json, IMPATIENT)
  message.position = position
  return message
}
