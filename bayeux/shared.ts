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
  of({ channel, json, position, at }: Entry, form: Form | 'unplaced', epoch: string): FrozenMessage {
    const key = `${position} ${form}`
    const known = (this.#made.get(key) ?? this.#before.get(key))?.deref()
    if (known !== undefined) return known
    const plain = new FrozenMessage(channel, json, IMPATIENT)
    if (form !== 'unplaced') plain.position = position
    const made = form === 'unplaced' ? plain : plain.inForm(form, epoch, at)
    if (this.#made.size >= MOST / 2) {
      this.#before = this.#made
      this.#made = new Map()
    }
    this.#made.set(key, new WeakRef(made))
    return made
  }
}
