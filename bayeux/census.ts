// Census: how many sessions there are, in all and of each address, browser and user, and how fast an address makes new ones.
//
// Knows: the limits on these. Does not know: what a client is told that is one too many (meta.ts).
// Always true: a count is kept only while it is not 0; the addresses whose pace is remembered are bounded.

import { LRUCache } from 'lru-cache'
import { addressKey } from './address.js'
import type { EngineOptions } from './options.js'
import { BURST } from './pace.js'
import type { Session } from './session.js'

/** So many addresses' handshakes are remembered; whoever has more addresses than that is not held by a limit for one. */
const ADDRESSES = 50_000

export type SessionLimit = 'maxSessions' | 'maxAddressSessions' | 'maxBrowserSessions' | 'maxUserSessions'

/** Handshakes of one address: as in pace.ts, but in fractions. */
interface Rate {
  spent: number
  at: number
}

export class Census {
  readonly #options: EngineOptions
  readonly #addresses = new Map<string, number>()
  readonly #browsers = new Map<string, number>()
  readonly #users = new Map<string, number>()
  readonly #rates = new LRUCache<string, Rate>({ max: ADDRESSES })
  #sessions = 0

  constructor(options: EngineOptions) {
    this.#options = options
  }

  /** Whether nobody is counted. */
  get empty(): boolean {
    return this.#sessions + this.#addresses.size + this.#browsers.size + this.#users.size === 0
  }

  /** Counts a handshake. @returns how long its address should wait, ms; 0 when it may handshake now */
  handshake(address: string, now: number): number {
    const { trusted, maxHandshakeRate: rate } = this.#options
    if (trusted || rate === 0) return 0
    const key = addressKey(address)
    const known = this.#rates.get(key)
    const spent = known === undefined ? 0 : Math.max(0, known.spent - ((now - known.at) * rate) / 1_000)
    const passes = spent + 1 <= rate * BURST
    const counted = passes ? spent + 1 : spent
    if (known === undefined) this.#rates.set(key, { spent: counted, at: now })
    else {
      known.spent = counted
      known.at = now
    }
    return passes ? 0 : Math.ceil(1_000 / rate)
  }

  /** The limit that one more session would break; null for none. */
  limit(address: string, browser: string | null, user: string | null): SessionLimit | null {
    const { trusted, maxSessions, maxAddressSessions, maxBrowserSessions, maxUserSessions } = this.#options
    if (maxSessions > 0 && this.#sessions >= maxSessions) return 'maxSessions'
    if (!trusted && isFull(this.#addresses, addressKey(address), maxAddressSessions)) return 'maxAddressSessions'
    if (browser !== null && isFull(this.#browsers, browser, maxBrowserSessions)) return 'maxBrowserSessions'
    if (user !== null && isFull(this.#users, user, maxUserSessions)) return 'maxUserSessions'
    return null
  }

  enter(session: Session): void {
    this.#sessions++
    session.addressKey = addressKey(session.address)
    this.#count(session, 1)
    this.identify(session, null)
  }

  leave(session: Session): void {
    this.#sessions--
    this.#count(session, -1)
    const user = userOf(session)
    if (user !== null) add(this.#users, user, -1)
  }

  /** A session speaks for somebody else than before. */
  identify(session: Session, before: string | null): void {
    const user = userOf(session)
    if (user === before) return
    if (before !== null) add(this.#users, before, -1)
    if (user !== null) add(this.#users, user, 1)
  }

  #count(session: Session, by: 1 | -1): void {
    if (!this.#options.trusted) add(this.#addresses, session.addressKey, by)
    if (session.browser !== null) add(this.#browsers, session.browser, by)
  }
}

export function userOf(session: Session): string | null {
  return session.credential?.identity.user ?? null
}

function isFull(counts: ReadonlyMap<string, number>, key: string, max: number): boolean {
  return max > 0 && (counts.get(key) ?? 0) >= max
}

function add(counts: Map<string, number>, key: string, by: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + by
  if (count === 0) counts.delete(key)
  else counts.set(key, count)
}
