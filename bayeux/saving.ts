// Sessions that outlive their process: written down as plain values when it stops, and made again by the next.
//
// Knows: what of a session is worth keeping: who it is, what it listens to, what waits for it.
// Does not know: where it is kept (lib/session-store.ts), connections, which are gone.
// Source: guarantee G9.

import { AckState } from './ack.js'
import { patience } from './advice.js'
import { parseChannel } from './channel.js'
import type { Core } from './core.js'
import { Credential, type Identity } from './identity.js'
import { type Form, FrozenMessage, type Overflow } from './message.js'
import type { Transport } from './options.js'
import { type Replay, replayAgain } from './replay.js'
import { Session } from './session.js'

/** JSON of a message in a queue, with what its channel's rule made of it. */
export interface SavedMessage {
  readonly channel: string
  readonly json: string
  readonly lazy: number
  readonly overflow: Overflow
  readonly conflated: boolean
  readonly topic: string | null
  readonly missing: number
  readonly position: number
}

/** A session as plain values, which JSON can carry. It has the id that its client knows it by: keep it secret. */
export interface SavedSession {
  readonly id: string
  readonly browser: string | null
  readonly transport: Transport
  readonly address: string
  readonly connected: boolean
  readonly deliverOnly: boolean
  readonly broadcastToPublisher: boolean
  readonly timeout: number | null
  readonly interval: number | null
  readonly maxInterval: number | null
  readonly told: number | null
  readonly identity: (Omit<Identity, 'expiresAt'> & { readonly expiresAt: number | null }) | null
  readonly mark: number
  readonly subscriptions: readonly string[]
  readonly queue: readonly SavedMessage[]
  /** What is not acknowledged, each with the number of its connect; the end of it is the queue. */
  readonly ack: { readonly batch: number; readonly entries: readonly (readonly [SavedMessage, number])[] } | null
  readonly form: Form
  readonly replays: readonly (Omit<Replay, 'channel'> & { readonly channel: string })[]
  /** Of the history, in which its replays are; null for none. */
  readonly epoch: string | null
  readonly publisher: string | null
  readonly tellsDropped: boolean
  readonly dropped: number
}

/** All sessions but those that end with the process: local ones, and those with something of the application's that JSON cannot carry. */
export function saveSessions(core: Core): SavedSession[] {
  return [...core.sessions.values()]
    .filter(session => session.user === null || typeof session.user === 'string')
    .map(session => save(core, session))
}

function save(core: Core, session: Session): SavedSession {
  const { credential, ack } = session
  const identity = credential?.identity ?? null
  return {
    id: session.id,
    browser: session.browser,
    transport: session.transport,
    address: session.address,
    connected: session.state === 'connected',
    deliverOnly: session.metaConnectDeliverOnly,
    broadcastToPublisher: session.broadcastToPublisher,
    timeout: session.timeout,
    interval: session.interval,
    maxInterval: session.maxInterval,
    told: session.transientInterval,
    identity: identity && { ...identity, expiresAt: Number.isFinite(identity.expiresAt) ? identity.expiresAt : null },
    mark: credential?.mark ?? 0,
    subscriptions: session.subscriptions?.channels().map(channel => channel.name) ?? [],
    queue: session.queue.map(saveMessage),
    ack: ack && { batch: ack.batch, entries: ack.entries().map(([message, batch]) => [saveMessage(message), batch] as const) },
    form: session.form,
    replays: session.replays?.map(replay => ({ ...replay, channel: replay.channel.name })) ?? [],
    epoch: session.replays === null ? null : (core.history?.epoch ?? null),
    publisher: session.publisher,
    tellsDropped: session.tellsDropped,
    dropped: session.dropped,
  }
}

function saveMessage({ channel, json, lazy, overflow, conflated, topic, missing, position }: FrozenMessage): SavedMessage {
  return { channel, json, lazy, overflow, conflated, topic, missing, position }
}

/**
 * Makes a session again. Its client has its full time from now on to come back.
 *
 * @param shared among all that are made: what many have not acknowledged was one message, and is one again
 * @returns whether it is there: not where one has its id, a limit is reached, or what it replays is of another history, so that it is to begin anew
 */
export function restoreSession(core: Core, saved: SavedSession, shared: SharedRestored, now: number): boolean {
  const { id, browser, transport, address } = saved
  const identity = saved.identity && { ...saved.identity, expiresAt: saved.identity.expiresAt ?? Number.POSITIVE_INFINITY }
  if (core.sessions.has(id) || core.census.limit(address, browser, identity?.user ?? null) !== null) return false
  if (saved.replays.length > 0 && saved.epoch !== core.history?.epoch) return false
  const session = new Session(id, browser, transport, address, null, saved.deliverOnly, saved.broadcastToPublisher)
  session.maxProcessing = core.options.maxProcessing
  session.transit('handshake')
  if (saved.connected) session.transit('connect')
  session.timeout = saved.timeout
  session.interval = saved.interval
  session.maxInterval = saved.maxInterval
  session.transientInterval = saved.told
  session.adviceDue = true
  session.form = saved.form
  session.publisher = saved.publisher
  session.tellsDropped = saved.tellsDropped
  session.dropped = saved.dropped
  session.lastMessageAt = session.lastActiveAt = now
  if (identity !== null) {
    session.user = identity.user
    session.credential = new Credential(identity, saved.mark, core.options.tokenRenewal, now)
  }
  core.sessions.set(id, session)
  core.census.enter(session)
  core.sink.sessionAdded(session)
  const restored = (message: SavedMessage): FrozenMessage => restoreMessage(message, shared)
  const queue = saved.queue.map(restored)
  for (const message of queue) session.enqueue(message)
  if (saved.ack !== null) {
    const sent = saved.ack.entries.slice(0, saved.ack.entries.length - queue.length)
    session.ack = new AckState()
    session.ack.restore(saved.ack.batch, [
      ...sent.map(([message, batch]) => [restored(message), batch] as const),
      ...queue.map((message, i) => [message, saved.ack!.entries[sent.length + i]?.[1] ?? saved.ack!.batch] as const),
    ])
  }
  for (const text of saved.subscriptions) {
    const name = parseChannel(text, Number.POSITIVE_INFINITY, false)
    if (name === null || session.gone) continue
    const channel = core.tree.create(name)
    if (core.tree.subscribe(session, channel)) core.sink.subscribed(session, channel.name)
    const replay = saved.replays.find(other => other.channel === text)
    if (replay !== undefined) replayAgain(core, session, { ...replay, channel })
  }
  session.expiresAt = now + patience(core, session, transport)
  core.deadlines.update(session)
  return true
}

/** Messages that were restored, by their JSON. */
export type SharedRestored = Map<string, FrozenMessage>

function restoreMessage(saved: SavedMessage, shared: SharedRestored): FrozenMessage {
  const { channel, json, missing, position, ...patience } = saved
  const known = shared.get(json)
  if (known !== undefined && MEMBERS.every(member => known[member] === saved[member])) return known
  const message = new FrozenMessage(channel, json, patience, missing)
  message.position = position
  shared.set(json, message)
  return message
}

const MEMBERS = [
  'channel',
  'lazy',
  'overflow',
  'conflated',
  'topic',
  'missing',
  'position',
] as const satisfies (keyof SavedMessage)[]
