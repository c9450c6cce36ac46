// dedupe extension: a publish that is said again, since its fate was not known, is not done again.
//
// Knows: which keys were seen of whom, and what came of them; what of `ext` is between one client and the server.
// Does not know: the time but as an argument, how publishing is done (publish.ts), what a durable history remembers (history.ts).
// Always true: a key belongs to one user, or to whoever knows the publisher's id; what was refused may be tried again.
// Source: guarantee G5.

import type { Core } from './core.js'
import type { Exchange } from './exchange.js'
import { extOf, isObject, type Message } from './message.js'
import type { Reply } from './reply.js'
import type { Session } from './session.js'

const PUBLISHER = /^[A-Za-z0-9_-]{22,64}$/ // at least 128 bits
const LONGEST_KEY = 128
const LONGEST_USER = 512

/** What came of a key: null while a durable history does not have it yet. */
interface Outcome {
  readonly at: number
  /** Who said it again meanwhile. */
  waiting: { readonly exchange: Exchange; readonly reply: Reply }[] | null
}

export class Keys {
  readonly #seen = new Map<string, Outcome>()

  get size(): number {
    return this.#seen.size
  }

  /** What came of a key, if that is not longer ago than `window`. */
  find(key: string, window: number, now: number): Outcome | undefined {
    const outcome = this.#seen.get(key)
    return outcome === undefined || outcome.at + window < now ? undefined : outcome
  }

  /** @param most keys in all; the oldest go */
  begin(key: string, window: number, most: number, now: number): void {
    for (const [old, { at }] of this.#seen) {
      if (at + window >= now && this.#seen.size < most) break
      this.#seen.delete(old)
    }
    this.#seen.delete(key) // its place is at the end now
    this.#seen.set(key, { at: now, waiting: [] })
  }

  /** @returns those who wait for it too */
  end(key: string, ok: boolean): readonly { readonly exchange: Exchange; readonly reply: Reply }[] {
    const outcome = this.#seen.get(key)
    const waiting = outcome?.waiting ?? []
    if (!ok) this.#seen.delete(key)
    else if (outcome !== undefined) outcome.waiting = null
    return waiting
  }
}

/** Notes by what a session's keys are told from others': its user, or an id that its client made and nobody else knows. */
export function negotiateDedupe(core: Core, session: Session, message: Message, reply: Reply): void {
  const asked = extOf(message)?.['dedupe']
  if (core.options.dedupeWindow === 0 || !isObject(asked)) return
  const { publisher } = asked
  if (typeof publisher !== 'string' || !PUBLISHER.test(publisher)) return
  session.publisher = publisher
  reply.ext = { ...reply.ext, dedupe: true }
}

/** The key of a publish, made one of its publisher's; null for none, false for one that is none. */
export function keyOf(session: Session, message: Message): string | false | null {
  const dedupe = message.ext === undefined ? undefined : extOf(message)?.['dedupe']
  if (dedupe === undefined || session.publisher === null) return null
  const key = isObject(dedupe) ? dedupe['key'] : undefined
  if (typeof key !== 'string' || key === '' || key.length > LONGEST_KEY) return false
  const user = session.credential?.identity.user ?? null
  if (user !== null && user.length > LONGEST_USER) return false
  return user === null ? `p ${session.publisher} ${key}` : `u ${user} ${key}`
}

/** What is said in `ext` between the server and one client: who could say it to others would be taken for the server. */
const PRIVATE = ['dedupe', 'replay', 'dropped']

/** The message as its subscribers get it: without key, and without what only the server says, such as where it is in a history. */
export function withoutPrivate(message: Message): Message {
  const ext = extOf(message)
  if (ext === null || !PRIVATE.some(name => Object.hasOwn(ext, name))) return message
  const left = Object.fromEntries(Object.entries(ext).filter(([name]) => !PRIVATE.includes(name)))
  const { ext: _ext, ...rest } = message
  return Object.keys(left).length === 0 ? rest : { ...rest, ext: left }
}
