// Revocations: tokens that are refused though their time has not come.
//
// Knows: which token ids and which users, since when. Does not know: sessions, keys, where a revocation was made; other nodes' come in by the same methods.
// Always true: it is bounded; what is forgotten first when it is full is what was neither revoked nor tried for longest.

import { LRUCache } from 'lru-cache'
import type { Identity } from '../bayeux/index.js'

/** Most token ids and most users that are kept. An entry costs some 200 bytes with an id of common length, so 20 MB each when full. */
const MAX_TOKENS = 100_000
const MAX_USERS = 100_000
/** The fewest revocations of tokens between two looks at which have expired by themselves. */
const SWEEP = 1_000

export class Revocations {
  /** Token id to when the token expires, epoch ms: then the entry goes. */
  readonly #tokens: LRUCache<string, number>
  /** User to since when, epoch ms. It is not known how long older tokens would hold, so these stay. */
  readonly #users: LRUCache<string, number>
  #sinceSweep = 0

  constructor(maxTokens = MAX_TOKENS, maxUsers = MAX_USERS) {
    this.#tokens = new LRUCache({ max: maxTokens })
    this.#users = new LRUCache({ max: maxUsers })
  }

  /** How many are kept. */
  get size(): number {
    return this.#tokens.size + this.#users.size
  }

  /** @param until when the token expires, epoch ms (`expiresAt` of its identity); Infinity when that is not known */
  revokeToken(tokenId: string, until: number, now: number): void {
    if (until <= now) return
    if (++this.#sinceSweep > SWEEP + this.#tokens.size / 2) this.#sweep(now)
    this.#tokens.set(tokenId, Math.max(until, this.#tokens.get(tokenId) ?? until))
  }

  /**
   * Revokes the tokens of a user that were issued before `now`, and those that do not say when.
   *
   * Tokens say it in whole seconds, rounded down, so that one issued later in the same second is refused as well.
   */
  revokeUser(user: string, now: number): void {
    this.#users.set(user, Math.max(now, this.#users.get(user) ?? now))
  }

  /** Whether what a token says was revoked. */
  covers(identity: Identity, now: number): boolean {
    const { tokenId, user, claims } = identity
    if (tokenId !== null) {
      const until = this.#tokens.get(tokenId)
      if (until !== undefined && until > now) return true
    }
    const since = user === null ? undefined : this.#users.get(user)
    if (since === undefined) return false
    const { iat } = claims
    return typeof iat !== 'number' || iat * 1_000 < since
  }

  #sweep(now: number): void {
    this.#sinceSweep = 0
    for (const [tokenId, until] of this.#tokens) if (until <= now) this.#tokens.delete(tokenId)
  }
}
