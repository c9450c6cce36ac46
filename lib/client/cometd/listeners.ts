// Listeners and subscriptions of the application, and who of them hears a message.
//
// Knows: the forms in which callbacks are given (function, scope and function, scope and name), wildcards, the order of calls.
// Does not know: the server, what is subscribed there.
// Always true: what a callback throws stops nobody else.

import { coveringNames } from '../../../bayeux/covering.js'
import type { Callback, Handle, Message } from './types.js'

export type Thrown = (exception: unknown, handle: Handle, message: Message) => void

export class Listeners {
  readonly #byChannel = new Map<string, Set<Handle>>()
  readonly #thrown: Thrown
  #lastId = 0

  constructor(thrown: Thrown) {
    this.#thrown = thrown
  }

  /** @throws {Error} no function is meant by `scope` and `callback` */
  add(channel: string, scope: unknown, callback: unknown, listener: boolean): Handle {
    const [self, method] = resolve(scope, callback)
    const handle: Handle = { id: ++this.#lastId, channel, scope: self, callback: method as Callback, listener }
    const handles = this.#byChannel.get(channel)
    if (handles === undefined) this.#byChannel.set(channel, new Set([handle]))
    else handles.add(handle)
    return handle
  }

  /** A handle is known by its number: some applications keep copies. */
  remove({ channel, id }: Handle): void {
    const handles = this.#byChannel.get(channel)
    for (const handle of handles ?? []) if (handle.id === id) handles!.delete(handle)
    if (handles?.size === 0) this.#byChannel.delete(channel)
  }

  clear(): void {
    this.#byChannel.clear()
  }

  /** Removes the subscriptions, to one channel or all; listeners stay. */
  unsubscribe(only?: string): void {
    for (const [channel, handles] of [...this.#byChannel]) {
      if (only !== undefined && channel !== only) continue
      for (const handle of handles) if (!handle.listener) this.remove(handle)
    }
  }

  /** Whether there is a subscription, not merely a listener. */
  subscribed(channel: string): boolean {
    return [...(this.#byChannel.get(channel) ?? [])].some(handle => !handle.listener)
  }

  /** Calls those for the channel itself, then those for the wildcards that cover it, the longest first. */
  notify(channel: string, message: Message): void {
    for (const name of coveringNames(channel)) {
      for (const handle of [...(this.#byChannel.get(name) ?? [])]) {
        if (!this.#byChannel.get(name)?.has(handle)) continue // removed by one called before it
        try {
          handle.callback.call(handle.scope, message)
        } catch (exception) {
          this.#thrown(exception, handle, message)
        }
      }
    }
  }
}

/** The forms of CometD: `(callback)`, `(scope, callback)`, `(scope, 'name of a method')`. @throws {Error} */
export function resolve(scope: unknown, callback: unknown): [scope: unknown, method: (...given: never[]) => unknown] {
  if (typeof scope === 'function') return [undefined, scope as never]
  if (typeof callback === 'function') return [scope, callback as never]
  if (typeof callback !== 'string') throw new Error(`Invalid callback ${callback}`)
  if (!scope) throw new Error(`Invalid scope ${scope}`)
  const method = (scope as Record<string, unknown>)[callback]
  if (typeof method !== 'function') throw new Error(`Invalid callback ${callback} for scope ${scope}`)
  return [scope, method as never]
}
