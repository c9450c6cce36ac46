// ack extension: what was delivered stays until the client says that it has it.
//
// Knows: the numbers of connect replies and the messages that no later connect has acknowledged.
// Does not know: when a reply leaves (connect.ts), the session's queue.
// Always true: entries are in the order of their batches; a number is never 0 and never used twice.
// Source: protocol reference 7.1.

import { extOf, type FrozenMessage, type Message } from './message.js'

export class AckState {
  #batch = 1
  #messages: FrozenMessage[] = []
  #batches: number[] = []
  #bytes = 0

  /** Messages delivered or queued, not yet acknowledged. */
  get size(): number {
    return this.#messages.length
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The number that the next connect reply will have. */
  get batch(): number {
    return this.#batch
  }

  add(message: FrozenMessage): void {
    this.#messages.push(message)
    this.#batches.push(this.#batch)
    this.#bytes += message.json.length
  }

  /** Forgets what the client has: all entries of `batch` and before. */
  acknowledge(batch: number): void {
    let count = 0
    while (count < this.#batches.length && this.#batches[count]! <= batch) this.#bytes -= this.#messages[count++]!.json.length
    if (count === 0) return
    this.#messages = this.#messages.slice(count)
    this.#batches = this.#batches.slice(count)
  }

  /** Forgets messages that are not to be delivered after all. */
  drop(unwanted: (message: FrozenMessage) => boolean): void {
    const kept = this.#messages.map(message => !unwanted(message))
    this.#batches = this.#batches.filter((_, i) => kept[i])
    this.#messages = this.#messages.filter((_, i) => kept[i])
    this.#bytes = this.#messages.reduce((bytes, message) => bytes + message.json.length, 0)
  }

  /** Takes back the entry at this place. */
  remove(at: number): void {
    this.#bytes -= this.#messages[at]!.json.length
    if (at === 0) {
      this.#messages.shift()
      this.#batches.shift()
    } else {
      this.#messages.splice(at, 1)
      this.#batches.splice(at, 1)
    }
  }

  /** All that is unacknowledged, with the number of the reply that it came or will come with. */
  entries(): (readonly [message: FrozenMessage, batch: number])[] {
    return this.#messages.map((message, i) => [message, this.#batches[i]!] as const)
  }

  /** Takes over what another had. */
  restore(batch: number, entries: readonly (readonly [message: FrozenMessage, batch: number])[]): void {
    this.#batch = batch
    this.#messages = entries.map(([message]) => message)
    this.#batches = entries.map(([, batch]) => batch)
    this.#bytes = this.#messages.reduce((bytes, message) => bytes + message.json.length, 0)
  }

  /** All that is unacknowledged, to be sent with the connect reply whose number is given. */
  take(): { readonly number: number; readonly messages: readonly FrozenMessage[] } {
    return { number: this.#batch++, messages: this.#messages.slice() }
  }
}

/** Whether a handshake asks for the extension: exactly `true`. */
export function wantsAck(message: Message): boolean {
  return extOf(message)?.['ack'] === true
}

/** The number that a connect acknowledges; null when it says none. */
export function ackOf(message: Message): number | null {
  const batch = extOf(message)?.['ack']
  return typeof batch === 'number' ? batch : null
}
