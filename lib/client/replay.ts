// Replay: subscriptions that go on where they were, over lost sessions, restarts of the server and reloads of the page.
//
// Knows: the last position of each subscription, how it is asked for and kept, when something is missing.
// Does not know: sessions and transports; it is an extension of a client as any other.
// Always true: a position is that of a message that was given to the application, or is about to be.
// Source: guarantee G4; docs/delivery.md.

import { coveringNames } from './channels.js'
import type { ClientExtension } from './client.js'
import type { Storage } from './surroundings.js'

/** Where a subscription begins that has no position yet: with new messages, with all that is kept, or with those since a moment, epoch ms. */
export type ReplayFrom = 'new' | 'all' | { readonly at: number }

export interface ReplayOptions {
  /** For channels or patterns without a position yet; by default new messages only. */
  readonly from?: (channel: string) => ReplayFrom
  /** Keeps the positions beyond this page, such as `localStorage`; by default they go with it. */
  readonly storage?: Storage | null
  /** Under which key. */
  readonly key?: string
  /** What the server keeps does not reach back to the last position of this subscription: something is missing before the next message. */
  readonly gap?: (channel: string) => void
}

interface Place {
  readonly id: number
  readonly epoch: string
}

/**
 * `client.registerExtension('replay', new Replay())`, before `connect`. With a server that has no history it does nothing.
 */
export class Replay implements ClientExtension {
  readonly #options: Required<Omit<ReplayOptions, 'storage'>> & { readonly storage: Storage | null }
  /** By channel or pattern as it was subscribed to. */
  readonly #places = new Map<string, Place>()
  readonly #wanted = new Set<string>()

  constructor({ from = () => 'new', storage = null, key = 'perihelion.replay', gap = () => {} }: ReplayOptions = {}) {
    this.#options = { from, storage, key, gap }
    try {
      for (const [channel, place] of Object.entries(JSON.parse(storage?.getItem(key) ?? '{}')))
        if (isPlace(place)) this.#places.set(channel, place)
    } catch {
      // of another program, or forbidden: it begins anew
    }
  }

  outgoing(message: Record<string, unknown>): void {
    const { channel, subscription } = message
    if (channel === '/meta/handshake') withReplay(message, {})
    if (channel !== '/meta/subscribe' && channel !== '/meta/unsubscribe') return
    const channels = (Array.isArray(subscription) ? subscription : [subscription]) as string[]
    for (const name of channels) {
      if (channel === '/meta/subscribe') this.#wanted.add(name)
      else {
        this.#wanted.delete(name)
        this.#places.delete(name)
      }
    }
    if (channel === '/meta/subscribe') withReplay(message, Object.fromEntries(channels.map(name => [name, this.#start(name)])))
    this.#keep()
  }

  incoming(message: Record<string, unknown>): Record<string, unknown> | null {
    const { channel, ext } = message
    const replay = (ext as { replay?: unknown } | undefined)?.replay
    if (channel === '/meta/subscribe') this.#subscribed(message, replay)
    else if (isPlace(replay) && typeof channel === 'string') return this.#delivered(channel, replay) ? message : null
    return message
  }

  /** Whether a message is new to some subscription that it is for. */
  #delivered(channel: string, place: Place): boolean {
    let isNew = false
    for (const name of coveringNames(channel)) {
      if (!this.#wanted.has(name)) continue
      const before = this.#places.get(name)
      if (before !== undefined && before.epoch === place.epoch && before.id >= place.id) continue
      this.#places.set(name, place)
      isNew = true
    }
    if (isNew) this.#keep()
    return isNew
  }

  /** The reply says where the stream begins, so that a position is there before the first message; and whether something is missing. */
  #subscribed({ successful, subscription }: Record<string, unknown>, replay: unknown): void {
    if (successful !== true || typeof replay !== 'object' || replay === null) return
    for (const name of Array.isArray(subscription) ? subscription : [subscription]) {
      const told = (replay as Record<string, { recovered?: boolean; id?: number; epoch?: string } | undefined>)[name]
      if (told === undefined) continue
      if (told.recovered === false && this.#places.has(name)) this.#options.gap(name)
      if (told.recovered === false) this.#places.delete(name)
      if (!this.#places.has(name) && isPlace(told)) this.#places.set(name, told)
    }
    this.#keep()
  }

  #start(channel: string): unknown {
    const place = this.#places.get(channel)
    if (place !== undefined) return place
    const from = this.#options.from(channel)
    return from === 'new' ? { now: true } : from === 'all' ? -2 : from
  }

  #keep(): void {
    try {
      this.#options.storage?.setItem(this.#options.key, JSON.stringify(Object.fromEntries(this.#places)))
    } catch {
      // full or forbidden
    }
  }
}

function isPlace(value: unknown): value is Place {
  const { id, epoch } = (value ?? {}) as Partial<Place>
  return typeof id === 'number' && typeof epoch === 'string'
}

function withReplay(message: Record<string, unknown>, replay: unknown): void {
  message['ext'] = { ...(message['ext'] as object | undefined), replay }
}
