// The channel tree: which channels exist, who subscribes to what, who is to get a message.
//
// Knows: segments as nodes, wildcards as children apart, subscriptions, listeners and authorizers of each channel.
// Does not know: messages, policies, the time; `sweep` is called when it is time.
// Always true: `resolve` names a session once; a node that nothing holds goes away; the index of a subscription is its place in the list.
// Source: protocol reference 1.2, 1.5, 3.3.

import { LRUCache } from 'lru-cache'
import { type ChannelKind, type ChannelName, kindOf, type Wild } from './channel.js'
import type { Message } from './message.js'
import { type Guard, OPEN } from './permission.js'
import type { Authorizer } from './policy.js'
import type { ChannelSettings, Rules } from './rules.js'
import type { Session } from './session.js'
import { Subscriptions } from './subscriptions.js'

/** Server code on a channel: sees each message that a client or the server sends to it, before it is fanned out. Return false to veto it. */
export type Listener = (message: Message, session: Session | null) => boolean | void

const NOBODY: Session[] = []
const NONE: readonly never[] = []

/** A node of the tree. Not every node is a channel that exists: some only lead to one, and cost as little as they can. */
export class Channel implements ChannelName {
  exists = false
  settings: ChannelSettings | null = null
  guard: Guard = OPEN
  /** The nodes below, by their segments; a single one stands alone, since a map takes more than the node. */
  children: Channel | Map<string, Channel> | null = null
  star: Channel | null = null
  deep: Channel | null = null
  /** Whoever has subscribed; shared while it is nobody. */
  sessions: Session[] = NOBODY
  listeners: readonly Listener[] = NONE
  authorizers: readonly Authorizer[] = NONE
  /** Sweeps that found it unused, in a row. */
  idleSweeps = 0
  /** Value of the tree's counter at the last change of subscriptions here, or of the children. */
  stamp = 0

  constructor(
    readonly name: string,
    readonly segment: string,
    readonly parent: Channel | null,
    readonly kind: ChannelKind,
    readonly wild: Wild,
  ) {}

  get segments(): readonly string[] {
    return this.name.slice(1).split('/')
  }

  child(segment: string): Channel | undefined {
    const { children } = this
    if (children instanceof Map) return children.get(segment)
    return children?.segment === segment ? children : undefined
  }

  addChild(child: Channel): void {
    const { children } = this
    if (children === null) this.children = child
    else if (children instanceof Map) children.set(child.segment, child)
    else this.children = new Map([children, child].map(each => [each.segment, each]))
    if (child.wild === 1) this.star = child
    else if (child.wild === 2) this.deep = child
  }

  removeChild(child: Channel): void {
    if (this.children instanceof Map) {
      this.children.delete(child.segment)
      if (this.children.size === 0) this.children = null
    } else this.children = null
    if (this.star === child) this.star = null
    if (this.deep === child) this.deep = null
  }

  get used(): boolean {
    return (
      this.sessions.length > 0 || this.listeners.length > 0 || this.authorizers.length > 0 || this.settings?.persistent === true
    )
  }
}

interface Resolved {
  readonly stamp: number
  readonly sessions: readonly Session[]
}

const UNUSED_SWEEPS = 3
/** Unused channels that are kept for the sweeps; beyond these the oldest goes at once, or a client could name what it likes. */
const MOST_IDLE = 10_000
/** Places in all merged lists together; the least used lists are made again when they do not fit. */
const MERGED_PLACES = 1_000_000

export interface TreeEvents {
  channelAdded(channel: Channel): void
  channelRemoved(channel: Channel): void
}

export class Tree {
  readonly #root = new Channel('', '', null, 'broadcast', 0)
  /** Channels that exist, by name: one look-up for the usual publish. */
  readonly #channels = new Map<string, Channel>()
  readonly #idle = new Set<Channel>()
  readonly #merged = new LRUCache<Channel, Resolved>({
    maxSize: MERGED_PLACES,
    sizeCalculation: resolved => resolved.sessions.length + 1,
  })
  #stamp = 0
  #subscriptions = 0
  /** Above 0 while a list that `resolve` gave is walked: lists are then copied before they change. */
  walking = 0
  /** How many listeners and authorizers there are; where there is none, nobody looks for them. */
  listening = 0
  authorizing = 0

  constructor(
    public rules: Rules,
    private readonly events: TreeEvents,
  ) {}

  /** Whether any rule says who may do what. */
  get guarding(): boolean {
    return this.rules.guarding
  }

  get size(): number {
    return this.#channels.size
  }

  get subscriptions(): number {
    return this.#subscriptions
  }

  /** How often anything has changed that `resolve` looks at. */
  get changes(): number {
    return this.#stamp
  }

  /** Whether a sweep would find something to look at. */
  get sweepable(): boolean {
    return this.#idle.size > 0
  }

  /** The channel of exactly this name, if it exists. */
  find(name: string): Channel | undefined {
    return this.#channels.get(name)
  }

  channels(): IterableIterator<Channel> {
    return this.#channels.values()
  }

  /** The channel of that name, made when there is none. */
  create(name: ChannelName): Channel {
    const existing = this.#channels.get(name.name)
    if (existing !== undefined) return existing
    const channel = this.#node(name)
    channel.exists = true
    channel.settings = this.rules.settingsOf(name)
    channel.guard = this.rules.guardOf(name)
    channel.idleSweeps = 0
    this.#channels.set(channel.name, channel)
    if (!channel.used) this.#rest(channel)
    this.events.channelAdded(channel)
    return channel
  }

  /** What the rules say of who may do what on a channel, whether it exists or not. */
  guardOf(name: ChannelName): Guard {
    return (name instanceof Channel && name.exists ? name : this.#channels.get(name.name))?.guard ?? this.rules.guardOf(name)
  }

  /** Puts other rules in place of those that were, also for the channels that exist. */
  setRules(rules: Rules): void {
    this.rules = rules
    for (const channel of this.#channels.values()) {
      channel.settings = rules.settingsOf(channel)
      channel.guard = rules.guardOf(channel)
      this.#changed(channel)
    }
  }

  /** @returns false when the session was subscribed already */
  subscribe(session: Session, channel: Channel): boolean {
    session.subscriptions ??= new Subscriptions()
    if (session.subscriptions.indexIn(channel) !== undefined) return false
    if (this.walking > 0 || channel.sessions === NOBODY) channel.sessions = channel.sessions.slice()
    session.subscriptions.set(channel, channel.sessions.push(session) - 1)
    this.#subscriptions++
    this.#changed(channel)
    return true
  }

  /** @returns false when the session was not subscribed */
  unsubscribe(session: Session, channel: Channel): boolean {
    const index = session.subscriptions?.indexIn(channel)
    if (index === undefined) return false
    session.subscriptions!.delete(channel)
    if (this.walking > 0) channel.sessions = channel.sessions.slice()
    const last = channel.sessions.pop()!
    if (last !== session) {
      channel.sessions[index] = last
      last.subscriptions!.set(channel, index)
    }
    this.#subscriptions--
    this.#changed(channel)
    return true
  }

  /** Puts a listener on a channel or pattern; the answer takes it away again. */
  listen(name: ChannelName, listener: Listener): () => void {
    const channel = this.create(name)
    channel.listeners = [...channel.listeners, listener]
    this.listening++
    this.#changed(channel)
    return () => {
      if (!channel.listeners.includes(listener)) return
      channel.listeners = channel.listeners.filter(other => other !== listener)
      this.listening--
      this.#changed(channel)
    }
  }

  /** Puts an authorizer on a channel or pattern; the answer takes it away again. */
  authorize(name: ChannelName, authorizer: Authorizer): () => void {
    const channel = this.create(name)
    channel.authorizers = [...channel.authorizers, authorizer]
    this.authorizing++
    this.#changed(channel)
    return () => {
      if (!channel.authorizers.includes(authorizer)) return
      channel.authorizers = channel.authorizers.filter(other => other !== authorizer)
      this.authorizing--
      this.#changed(channel)
    }
  }

  /**
   * The sessions that a message to `channel` is for, each once.
   *
   * Where only one list has anybody in it, as is usual, that list itself is given; `walking` keeps it as it is.
   */
  resolve(channel: Channel): readonly Session[] {
    let only: readonly Session[] = channel.sessions
    let lists = only.length === 0 ? 0 : 1
    let stamp = channel.stamp
    const star = channel.wild === 0 ? (channel.parent?.star ?? null) : null
    if (star !== null && star.sessions.length > 0) {
      only = star.sessions
      lists++
    }
    for (let node = channel.parent; node !== null; node = node.parent) {
      if (node.stamp > stamp) stamp = node.stamp
      const deep = node.deep
      if (deep === null || deep === channel || deep.sessions.length === 0) continue
      only = deep.sessions
      lists++
    }
    if (lists <= 1) return lists === 0 ? NOBODY : only
    const cached = this.#merged.get(channel)
    if (cached !== undefined && cached.stamp === stamp) return cached.sessions
    const sessions = new Set<Session>()
    for (const covering of this.covering(channel)) for (const session of covering.sessions) sessions.add(session)
    const resolved = { stamp, sessions: [...sessions] }
    this.#merged.set(channel, resolved)
    return resolved.sessions
  }

  /** The wildcard channels that cover `channel`, `/**` first, then itself. */
  covering(channel: Channel): Channel[] {
    const covering = [channel]
    const star = channel.wild === 0 ? (channel.parent?.star ?? null) : null
    if (star !== null) covering.push(star)
    for (let node = channel.parent; node !== null; node = node.parent)
      if (node.deep !== null && node.deep !== channel) covering.push(node.deep)
    return covering.reverse()
  }

  /** The same for a channel that need not exist. */
  coveringName(name: ChannelName): Channel[] {
    const existing = this.#channels.get(name.name)
    if (existing !== undefined) return this.covering(existing)
    const covering: Channel[] = []
    const { segments } = name
    let node: Channel | undefined = this.#root
    for (let i = 0; node !== undefined && i < segments.length; i++) {
      if (node.deep !== null) covering.push(node.deep)
      if (i === segments.length - 1 && name.wild === 0 && node.star !== null) covering.push(node.star)
      node = node.child(segments[i]!)
    }
    return covering
  }

  /** Looks at the channels that nobody uses; one that is found so three times running is removed. */
  sweep(): void {
    for (const channel of this.#idle) {
      if (++channel.idleSweeps < UNUSED_SWEEPS) continue
      this.#idle.delete(channel)
      this.#remove(channel)
    }
  }

  /** The node that leads to `name`, made with all above it. */
  #node(name: ChannelName): Channel {
    let node = this.#root
    const { segments } = name
    for (let i = 0; i < segments.length; i++) {
      const segment = segments[i]!
      let child = node.child(segment)
      if (child === undefined) {
        const last = i === segments.length - 1
        const path = last ? name.name : `${node.name}/${segment}`
        child = new Channel(path, segment, node, last ? name.kind : kindOf(path), last ? name.wild : 0)
        node.addChild(child)
      }
      node = child
    }
    return node
  }

  #remove(channel: Channel): void {
    channel.exists = false
    this.#channels.delete(channel.name)
    this.#merged.delete(channel)
    this.events.channelRemoved(channel)
    let node = channel
    while (node.parent !== null && !node.exists && node.children === null) {
      const parent: Channel = node.parent
      parent.removeChild(node)
      parent.stamp = ++this.#stamp
      node = parent
    }
  }

  /** Notes a change on a channel: what was resolved through it is stale, and it may have come into use or out of it. */
  #changed(channel: Channel): void {
    channel.stamp = ++this.#stamp
    if (channel.wild !== 0) channel.parent!.stamp = this.#stamp
    channel.idleSweeps = 0
    if (channel.used) this.#idle.delete(channel)
    else if (channel.exists) this.#rest(channel)
  }

  #rest(channel: Channel): void {
    this.#idle.add(channel)
    if (this.#idle.size <= MOST_IDLE) return
    const [oldest] = this.#idle
    this.#idle.delete(oldest!)
    this.#remove(oldest!)
  }
}

/** Whether a session is subscribed to one of these channels. */
export function isSubscribed({ subscriptions }: Session, channels: readonly Channel[]): boolean {
  return subscriptions !== null && channels.some(channel => subscriptions.indexIn(channel) !== undefined)
}
