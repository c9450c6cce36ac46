// Shared messages: what is replayed to many sessions is one message in all their queues.
//
// Knows: which messages were made of a history's entries, as long as anybody has them.
// Does not know: who has them. They are held weakly: what is acknowledged by all, or was never queued, costs nothing.
// Always true: as many places are remembered at most as `MOST` says; sessions that are farther apart have their own, each within its queue's bounds.

import type { Entry } from './history.js'
import { type Form, FrozenMessage, IMPATIENT } from './message.js'

const MOST = 16_384

export class SharedMessages {
  readonly #made = new Map<string, WeakRef<FrozenMessage>>()

  /** The message of an entry, in a form, or as one that has no place. */
  of({ channel, json, position, at }: Entry, form: Form | 'unplaced', epoch: string): FrozenMessage {
    const key = `${position} ${form}`
    const known = this.#made.get(key)?.deref()
    if (known !== undefined) return known
    const plain = new FrozenMessage(channel, json, IMPATIENT)
    if (form !== 'unplaced') plain.position = position
    const made = form === 'unplaced' ? plain : plain.inForm(form, epoch, at)
    this.#made.delete(key) // its place is at the end now
    this.#made.set(key, new WeakRef(made))
    if (this.#made.size > MOST) this.#made.delete(this.#made.keys().next().value!)
    return made
  }
}
