// Shared messages: what is replayed to many sessions is one message in all their queues.
//
// Knows: which messages were made of a history's entries, as long as anybody has them.
// Does not know: who has them. They are held weakly: what is acknowledged by all, or was never queued, costs nothing.
// Always true: as many places are remembered at most as `MOST` says; sessions that are farther apart have their own, each within its queue's bounds.

import type { Entry } from './history.js'
import { type Form, FrozenMessage, IMPATIENT } from './message.js'

const MOST = 16_384

export class SharedMessages {
  /** Of late, and before: half of MOST each. To look for the oldest of one map, each time, would pass over all that was taken out of its front. */
  #made = new Map<string, WeakRef<FrozenMessage>>()
  #before = this.#made

  /** The message of an entry, in a form, or as one that has no place. */
  of(entry: Entry, form: Form | 'unplaced', epoch: string): FrozenMessage {
    const key = `${entry.position} ${form}`
    const known = (this.#made.get(key) ?? this.#before.get(key))?.deref()
    if (known !== undefined) return known
    const made = messageOf(entry, form, epoch)
    if (this.#made.size >= MOST / 2) {
      this.#before = this.#made
      this.#made = new Map()
    }
    this.#made.set(key, new WeakRef(made))
    return made
  }
}

/** The same, not to be shared: what is held weakly is old before it dies, and costs those who wait for the collector. */
export function messageOf({ channel, json, position, at }: Entry, form: Form | 'unplaced', epoch: string): FrozenMessage {
  const plain = new FrozenMessage(channel, json, IMPATIENT)
  if (form === 'unplaced') return plain
  plain.position = position
  return plain.inForm(form, epoch, at)
}
