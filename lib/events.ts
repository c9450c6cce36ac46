// Events of the server, for applications.
//
// Always true: listeners are called in the order in which they came, at once; one that throws does not stop the others.

import type { Message, RemovalReason } from '../bayeux/index.js'
import { isThenable } from './host.js'
import type { BayeuxSession } from './session.js'

/** What happens, and what its listeners are given. */
export interface Events {
  /** A client has handshaken. */
  session: (session: BayeuxSession) => void
  /** A client's session ended. */
  removed: (session: BayeuxSession, reason: RemovalReason) => void
  /** A client subscribed to a channel, or no longer is. */
  subscribed: (session: BayeuxSession, channel: string) => void
  unsubscribed: (session: BayeuxSession, channel: string) => void
  /** A channel came to be, or was removed because nobody used it. */
  channel: (channel: string) => void
  channelRemoved: (channel: string) => void
  /** The queue of a session is full. Return 'drop' to lose this message and keep the session; otherwise the session is removed. */
  queueMaxed: (session: BayeuxSession, message: Message) => 'drop' | void
}

type AnyListener = (...args: never[]) => unknown

export class Emitter {
  readonly #listeners = new Map<keyof Events, readonly AnyListener[]>()

  has(event: keyof Events): boolean {
    return this.#listeners.has(event)
  }

  on<E extends keyof Events>(event: E, listener: Events[E]): () => void {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener])
    return () => {
      const left = this.#listeners.get(event)?.filter(other => other !== listener) ?? []
      if (left.length === 0) this.#listeners.delete(event)
      else this.#listeners.set(event, left)
    }
  }

  /** @returns what the listeners answered */
  emit<E extends keyof Events>(event: E, fault: (error: unknown) => void, ...args: Parameters<Events[E]>): unknown[] {
    const answers: unknown[] = []
    for (const listener of this.#listeners.get(event) ?? []) {
      try {
        const answer = (listener as (...args: Parameters<Events[E]>) => unknown)(...args)
        if (isThenable(answer)) answer.then(undefined, fault)
        answers.push(answer)
      } catch (error) {
        fault(error)
      }
    }
    return answers
  }
}
