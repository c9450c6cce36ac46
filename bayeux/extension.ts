// Extensions of users: code that sees messages in and out, and may change, add to or drop them.
//
// Always true: where no extension looks at outgoing messages, the fan-out pays nothing for those that could.
// Source: protocol reference 3 (a veto is `404::message_deleted`), 7.

import type { Message } from './message.js'
import type { Session } from './session.js'

export interface Extension {
  /** Sees each message of a client before its session is checked; `session` is null where it is unknown. Return false to drop it. */
  readonly incoming?: (session: Session | null, message: Record<string, unknown>) => boolean | void
  /** Sees each reply and each delivery of a session, as a copy of its own. Return false to drop it. */
  readonly outgoing?: (session: Session, message: Record<string, unknown>) => boolean | void
}

export class Extensions {
  #all: readonly Extension[] = []

  /** @param fault is told when an extension throws; those behind it go on */
  constructor(private readonly fault: (error: unknown) => void) {}

  /** Whether any extension looks at outgoing messages. */
  outgoingInUse = false

  /** Adds an extension behind those that are there; the answer takes it out again. */
  add(extension: Extension): () => void {
    this.#set([...this.#all, extension])
    return () => this.#set(this.#all.filter(other => other !== extension))
  }

  /** @returns false when an extension dropped the message */
  incoming(session: Session | null, message: Message): boolean {
    if (this.#all.length === 0) return true
    return this.#all.every(extension => this.#passes(() => extension.incoming?.(session, message as Record<string, unknown>)))
  }

  /** In the opposite order of `incoming`. @returns false when an extension dropped the message */
  outgoing(session: Session, message: Record<string, unknown>): boolean {
    return [...this.#all].reverse().every(extension => this.#passes(() => extension.outgoing?.(session, message)))
  }

  #passes(look: () => boolean | void): boolean {
    try {
      return look() !== false
    } catch (error) {
      this.fault(error)
      return true
    }
  }

  #set(all: readonly Extension[]): void {
    this.#all = all
    this.outgoingInUse = all.some(extension => extension.outgoing !== undefined)
  }
}
