// The server's own side: what code in the server may do with channels and sessions.
//
// Knows: publishing, delivering to one session, ending a session, sessions that live in the server, listeners, authorizers.
// Does not know: the API that applications see (lib/); it is built on this.
// Source: protocol reference 3.6, 4.8, 4.9, 8 (per session at run time).

import { type ChannelName, parseChannel } from './channel.js'
import type { Core } from './core.js'
import { deliver } from './delivery.js'
import { BayeuxError } from './errors.js'
import type { Extension } from './extension.js'
import type { Page } from './history.js'
import type { Identity } from './identity.js'
import { freeze, IMPATIENT, type Message, type Patience } from './message.js'
import { identify } from './meta.js'
import type { Authorizer, Question } from './policy.js'
import { filtered, patienceOf, spread } from './publish.js'
import { remove, settle } from './removal.js'
import { reading } from './replay.js'
import { review } from './review.js'
import { type ChannelRules, Rules } from './rules.js'
import { restoreSession, type SavedSession, type SharedRestored, saveSessions } from './saving.js'
import { type Receiver, Session } from './session.js'
import type { Listener } from './tree.js'

/** Members of a message beside channel and data, and how it is to travel. */
export interface Extra {
  readonly id?: string | number
  readonly successful?: boolean
  readonly ext?: Readonly<Record<string, unknown>>
  /** May wait for company: as long as the channel's rule says, else maxLazyTimeout. */
  readonly lazy?: boolean
}

export interface Stats {
  readonly sessions: number
  readonly local: number
  readonly channels: number
  readonly subscriptions: number
  /** Messages in all queues. */
  readonly queued: number
  /** Held /meta/connects. */
  readonly held: number
}

/** Messages that sessions did not get as they could not keep up, since the start. */
export interface Dropped {
  /** In a full queue the oldest, or the new one. */
  readonly oldest: number
  readonly newest: number
  /** A newer one stood for them. */
  readonly conflated: number
}

/** A queue that is longer is dropped with its session when memory is critical, in characters of JSON. */
const LONG_QUEUE = 65_536

export class ServerSide {
  constructor(private readonly core: Core) {}

  /** Which questions the sink's policy answers from now on. */
  police(kinds: Partial<Record<Question['kind'], boolean>>): void {
    Object.assign(this.core.policed, kinds)
  }

  extend(extension: Extension): () => void {
    return this.core.extensions.add(extension)
  }

  /** @throws {BayeuxError} CHANNEL_NAME_INVALID */
  listen(pattern: string, listener: Listener): (now: number) => void {
    return this.#settled(this.core.tree.listen(channelName(pattern), listener))
  }

  /** @throws {BayeuxError} CHANNEL_NAME_INVALID */
  authorize(pattern: string, authorizer: Authorizer): (now: number) => void {
    return this.#settled(this.core.tree.authorize(channelName(pattern), authorizer))
  }

  /**
   * Publishes to all subscribers of a broadcast channel.
   *
   * @param told called once it is in every queue, and in a durable history where its channel has one; or with why that could not keep it
   * @throws {BayeuxError} CHANNEL_NAME_INVALID not a broadcast channel; DATA_INVALID not JSON
   */
  publish(
    channel: string,
    data: unknown,
    extra: Extra,
    publisher: Session | null,
    now: number,
    told: ((error: Error | null) => void) | null = null,
  ): void {
    const name = channelName(channel)
    if (name.kind !== 'broadcast') throw new BayeuxError('CHANNEL_NAME_INVALID', `${channel} is not a broadcast channel`)
    const node = this.core.tree.create(name)
    const patience = patienceOf(this.core, node, data, extra.lazy === true)
    const frozen = freezeOwn(channel, data, extra, patience, this.core.timestamp(now))
    const clean = filtered(this.core, node, frozen.message)
    const message = clean === frozen.message ? frozen : freeze({ ...clean, channel }, patience)
    if (this.core.tree.listening > 0 && !this.core.notify(name, message.message, publisher)) return void told?.(null)
    spread(this.core, node, message, publisher, now, { exchange: null, reply: null, key: null, told })
    settle(this.core, now)
  }

  /** What is kept of a channel or pattern behind a position, oldest first. @throws {BayeuxError} CHANNEL_NAME_INVALID, HISTORY_UNREADABLE */
  history(pattern: string, after: number, most: number): Page & { readonly epoch: string; readonly floor: number } {
    const name = channelName(pattern)
    const { history } = this.core
    if (history === null) return { entries: [], through: 0, epoch: '', floor: 0 }
    const page = reading(this.core, () => history.read(name, after, this.core.published, most, Number.POSITIVE_INFINITY))
    if (page === 'unreadable') throw new BayeuxError('HISTORY_UNREADABLE')
    return { ...page, epoch: history.epoch, floor: history.floor(name) }
  }

  /** Delivers to one session, subscribed or not. @throws {BayeuxError} CHANNEL_NAME_INVALID, DATA_INVALID */
  deliver(session: Session, channel: string, data: unknown, extra: Extra, now: number): void {
    if (parseChannel(channel, Number.POSITIVE_INFINITY, false) === null)
      throw new BayeuxError('CHANNEL_NAME_INVALID', `${JSON.stringify(channel)} is not a channel name`)
    const { maxLazyTimeout } = this.core.options
    const patience = extra.lazy === true && maxLazyTimeout > 0 ? { ...IMPATIENT, lazy: maxLazyTimeout } : IMPATIENT
    deliver(this.core, session, freezeOwn(channel, data, extra, patience, this.core.timestamp(now)), now)
    settle(this.core, now)
  }

  /** Puts other channel rules in place of those that were, and judges all subscriptions by them. @throws {BayeuxError} RULE_INVALID */
  setRules(rules: ChannelRules, now: number): void {
    this.core.tree.setRules(new Rules(rules))
    for (const session of this.core.sessions.values()) review(this.core, session)
    settle(this.core, now)
  }

  /** Says who a session speaks for from now on, null for nobody, and judges its subscriptions by it. */
  identify(session: Session, identity: Identity | null, now: number): void {
    if (!this.core.sessions.has(session.id)) return // it has gone, or is about to
    identify(this.core, session, identity, session.credential?.mark ?? 0, now)
    settle(this.core, now)
  }

  /** Judges the subscriptions of a session again: something that its policy looks at has changed. */
  review(session: Session, now: number): void {
    review(this.core, session)
    settle(this.core, now)
  }

  /** Ends a session whose right is withdrawn: its client is told not to come back, and gets nothing of what waits for it. */
  revoke(session: Session, now: number): void {
    remove(this.core, session, 'revoked', now)
    settle(this.core, now)
  }

  /** How short of memory the process is: from `high` on no new sessions are taken, and when it is `critical` the long queues go. */
  shed(level: 'ok' | 'high' | 'critical', now: number): void {
    this.core.shedding = level !== 'ok'
    if (level !== 'critical') return
    for (const session of this.core.sessions.values())
      if (session.queuedBytes + (session.ack?.bytes ?? 0) > LONG_QUEUE) remove(this.core, session, 'overflow', now)
    settle(this.core, now)
  }

  get shedding(): boolean {
    return this.core.shedding
  }

  get sessionCount(): number {
    return this.core.sessions.size
  }

  session(id: string): Session | undefined {
    return this.core.sessions.get(id)
  }

  sessions(): IterableIterator<Session> {
    return this.core.sessions.values()
  }

  /** Disconnects a client with the notice that tells it not to come back. */
  disconnect(session: Session, now: number): void {
    remove(this.core, session, 'kicked', now)
    settle(this.core, now)
  }

  /** Removes a session without a word: a held connect runs to its timeout and is told to stop then, as in CometD. */
  remove(session: Session, now: number): void {
    remove(this.core, session, 'removed', now)
    settle(this.core, now)
  }

  /** Ends a session as if its time were up: its client will handshake again. */
  expire(session: Session, now: number): void {
    remove(this.core, session, 'expired', now)
    settle(this.core, now)
  }

  /** @throws {BayeuxError} CHANNEL_NAME_INVALID not a broadcast channel; SESSION_GONE */
  subscribe(session: Session, channel: string): void {
    const name = channelName(channel)
    if (name.kind !== 'broadcast') throw new BayeuxError('CHANNEL_NAME_INVALID', `${channel} is not a broadcast channel`)
    if (session.gone) throw new BayeuxError('SESSION_GONE')
    if (this.core.tree.subscribe(session, this.core.tree.create(name))) this.core.sink.subscribed(session, name.name)
  }

  unsubscribe(session: Session, channel: string, now: number): void {
    const node = this.core.tree.find(channelName(channel).name)
    if (node !== undefined && this.core.tree.unsubscribe(session, node)) this.core.sink.unsubscribed(session, node.name)
    settle(this.core, now)
  }

  /** Makes a session that lives in the server: it needs no connect, never expires, and gets messages through `receiver`. */
  addLocal(id: string, receiver: Receiver): Session {
    const session = new Session(id, null, 'websocket', 'local', receiver, false, this.core.options.broadcastToPublisher)
    session.transit('handshake')
    this.core.local.add(session)
    return session
  }

  /** Holds back deliveries to a session until `endBatch`. Batches nest. */
  startBatch(session: Session): void {
    session.batchDepth++
  }

  endBatch(session: Session): void {
    if (--session.batchDepth === 0 && session.urgent > 0) this.core.markDirty(session)
  }

  /** Changes a session's times, in ms; null goes back to the options. The client is told with its next connect reply. @throws {RangeError} */
  setTimes(
    session: Session,
    times: { readonly timeout?: number | null; readonly interval?: number | null; readonly maxInterval?: number | null },
  ): void {
    for (const [name, ms] of Object.entries(times)) {
      if (ms !== null && ms !== undefined && !(Number.isFinite(ms) && ms >= 0))
        throw new RangeError(`${name} must be 0 ms or more`)
    }
    if (times.timeout !== undefined) session.timeout = times.timeout
    if (times.interval !== undefined) session.interval = times.interval
    if (times.maxInterval !== undefined) session.maxInterval = times.maxInterval
    session.adviceDue = true
  }

  stats(): Stats {
    let queued = 0
    let held = 0
    for (const session of this.core.sessions.values()) {
      queued += session.queue.length
      if (session.held !== null) held++
    }
    const { tree, sessions, local } = this.core
    return { sessions: sessions.size, local: local.size, channels: tree.size, subscriptions: tree.subscriptions, queued, held }
  }

  /** All sessions as plain values, when the server has stopped. */
  save(): SavedSession[] {
    return saveSessions(this.core)
  }

  /** Makes sessions again that another process saved. @returns how many are there */
  restore(sessions: readonly SavedSession[], now: number): number {
    const shared: SharedRestored = new Map()
    const count = sessions.filter(saved => restoreSession(this.core, saved, shared, now)).length
    settle(this.core, now)
    return count
  }

  dropped(): Dropped {
    return { ...this.core.dropped }
  }

  #settled(off: () => void): (now: number) => void {
    return now => {
      off()
      settle(this.core, now)
    }
  }
}

function channelName(text: string): ChannelName {
  const name = parseChannel(text)
  if (name === null) throw new BayeuxError('CHANNEL_NAME_INVALID', `${JSON.stringify(text)} is not a channel name`)
  return name
}

function freezeOwn(channel: string, data: unknown, extra: Extra, patience: Patience, timestamp: string | null) {
  const { id, successful, ext } = extra
  const message: Message & { channel: string } = {
    channel,
    ...(id === undefined ? null : { id }),
    data,
    ...(successful === undefined ? null : { successful }),
    ...(ext === undefined ? null : { ext }),
    ...(timestamp === null ? null : { timestamp }),
  }
  try {
    return freeze(message, patience)
  } catch (cause) {
    throw new BayeuxError('DATA_INVALID', 'data cannot be written as JSON', { cause })
  }
}
