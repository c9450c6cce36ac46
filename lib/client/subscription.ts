// One subscription of the application: a callback, or a loop over its messages.
//
// Knows: what waits for the loop, how it ends.
// Does not know: the wire, other subscriptions (client.ts).

import { ClientError } from './error.js'

/** A delivery. `data` is a Uint8Array where the message carried bytes; then `binary` tells whether it is the last piece of them. */
export interface Message<Data = unknown> {
  readonly channel: string
  readonly data: Data
  readonly id?: string
  readonly ext?: Readonly<Record<string, unknown>>
  readonly binary?: { readonly last: boolean; readonly meta?: Readonly<Record<string, unknown>> }
  readonly [field: string]: unknown
}

/** @internal What a subscription needs of its client. */
export interface Owner {
  readonly maxBacklog: number
  left(subscription: Subscription): Promise<void>
}

/**
 * What `client.subscribe` returns. Without a callback it is to be looped over, once: `for await (const message of subscription)`.
 * Leaving the loop unsubscribes, and does not wait for the server. The loop ends when the subscription does, and throws where that was not the application's wish.
 */
export class Subscription<Data = unknown> implements AsyncIterable<Message<Data>> {
  /** Fulfilled once the server took the subscription; rejected with a `ClientError` when it refused. Needs no handler. */
  readonly ready: Promise<void>
  readonly #owner: Owner
  readonly #callback: ((message: never) => void) | null
  #backlog: Message<Data>[] = []
  /** Loops that wait for a message. */
  #waiting: (() => void)[] = []
  #end: Error | null | undefined // undefined: not over

  /** @internal */
  constructor(
    readonly channel: string,
    ready: Promise<void>,
    owner: Owner,
    callback: ((message: Message<Data>) => void) | null,
  ) {
    this.ready = ready
    this.#owner = owner
    this.#callback = callback
  }

  /** Whether messages may still come. */
  get active(): boolean {
    return this.#end === undefined
  }

  /** Fulfilled when the server knows of it, or when the connection is closed. A second call does nothing. */
  async unsubscribe(): Promise<void> {
    if (!this.active) return
    this.end(null)
    await this.#owner.left(this)
  }

  /** @internal */
  give(message: Message<Data>): void {
    if (!this.active) return
    if (this.#callback !== null) return this.#callback(message as never)
    if (this.#backlog.length < this.#owner.maxBacklog) {
      this.#backlog.push(message)
      this.#wake()
    } else {
      this.end(new ClientError('BACKLOG_FULL', this.channel))
      void this.#owner.left(this)
    }
  }

  /** @internal `why`: null when it was the application's wish. */
  end(why: Error | null): void {
    if (!this.active) return
    this.#end = why
    this.#wake()
  }

  #wake(): void {
    for (const go of this.#waiting.splice(0)) go()
  }

  [Symbol.asyncIterator](): AsyncIterator<Message<Data>, undefined> {
    if (this.#callback !== null) throw new TypeError('this subscription has a callback')
    return {
      next: () => this.#next(),
      return: async () => {
        void this.unsubscribe()
        this.#backlog = []
        return { done: true, value: undefined }
      },
    }
  }

  async #next(): Promise<IteratorResult<Message<Data>, undefined>> {
    while (this.#backlog.length === 0 && this.active) await new Promise<void>(go => this.#waiting.push(go))
    const value = this.#backlog.shift()
    if (value !== undefined) return { done: false, value }
    if (this.#end) throw this.#end
    return { done: true, value }
  }
}
