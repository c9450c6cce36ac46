// The subscriptions of one session: on which channels it is, and where it stands in each channel's list of sessions.
//
// Always true: they are kept in the order in which they were made; a few as a list, which takes half of a map's room, more as a map.

import type { Channel } from './tree.js'

/** So many are found in a list as soon as in a map. */
const FEW = 8

export class Subscriptions {
  /** A list holds channels and indices in turn. */
  #kept: (Channel | number)[] | Map<Channel, number> = []

  get size(): number {
    return Array.isArray(this.#kept) ? this.#kept.length / 2 : this.#kept.size
  }

  /** Where the session stands in the channel's list; undefined when it is not subscribed. */
  indexIn(channel: Channel): number | undefined {
    if (!Array.isArray(this.#kept)) return this.#kept.get(channel)
    const at = this.#kept.indexOf(channel)
    return at === -1 ? undefined : (this.#kept[at + 1] as number)
  }

  set(channel: Channel, index: number): void {
    if (!Array.isArray(this.#kept)) {
      this.#kept.set(channel, index)
      return
    }
    const at = this.#kept.indexOf(channel)
    if (at !== -1) this.#kept[at + 1] = index
    else if (this.#kept.length < 2 * FEW)
      this.#kept = this.#kept.concat(channel, index) // `push` would make room for 16 more
    else this.#kept = new Map(this.channels().map(other => [other, this.indexIn(other)!])).set(channel, index)
  }

  delete(channel: Channel): void {
    if (!Array.isArray(this.#kept)) this.#kept.delete(channel)
    else if (this.#kept.includes(channel)) this.#kept.splice(this.#kept.indexOf(channel), 2)
  }

  /** The channels, in a new list. */
  channels(): Channel[] {
    return Array.isArray(this.#kept) ? this.#kept.filter(entry => typeof entry !== 'number') : [...this.#kept.keys()]
  }
}
