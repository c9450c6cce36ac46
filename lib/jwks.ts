// Keys of a JWKS address, fetched when they are needed and kept.
//
// Knows: how often the server behind it is asked, and what holds while it does not answer. Does not know: tokens beyond their header.
// Always true: whatever tokens come, it is asked at most once in COOLDOWN, or RETRY after a failure; keys once had stay in use until it gives others.
// Source: RFC 7517, 5.

import type { CryptoKey, JWSHeaderParameters } from 'jose'
import { JWKSMultipleMatchingKeys, JWKSNoMatchingKey } from 'jose/errors'
import { createRemoteJWKSet } from 'jose/jwks/remote'

/** How old the keys may be before they are fetched again, ms: a key that is withdrawn is trusted for so long. */
export const MAX_AGE = 600_000
/** Between two fetches for keys that were not in the set, ms: so long a token with a new key may have to wait. */
export const COOLDOWN = 30_000
/** After a fetch that failed, ms. */
export const RETRY = 5_000
/** How long one fetch may take, ms; less than the default of policyTimeout, so that the failure is told as what it is. */
const TIMEOUT = 5_000

export class RemoteKeys {
  /** Why the last fetch gave no keys; null when it gave some, or was not yet made. */
  failure: unknown = null
  readonly #set: ReturnType<typeof createRemoteJWKSet>
  readonly #failed: (error: unknown) => void
  #fetching: Promise<void> | null = null
  #askedAt = Number.NEGATIVE_INFINITY
  #answeredAt = Number.NEGATIVE_INFINITY

  /** @param failed told of each fetch that fails */
  constructor(url: URL, failed: (error: unknown) => void, timeout = TIMEOUT) {
    // jose's own limits are off: they drop old keys while the server is down, and then ask it for each token
    const limits = { cacheMaxAge: Number.POSITIVE_INFINITY, cooldownDuration: Number.POSITIVE_INFINITY }
    this.#set = createRemoteJWKSet(url, { ...limits, timeoutDuration: timeout })
    this.#failed = failed
  }

  /**
   * The keys that a token with this header may be signed with: one, several where it does not name its key, or none.
   *
   * Waits for the server when the keys are old, though not while it is known to be down, or when none fits.
   *
   * @param now epoch ms
   * @throws {Error} a key of the set is malformed
   */
  async keysFor(header: JWSHeaderParameters, now: number): Promise<readonly CryptoKey[]> {
    if (Math.abs(now - this.#answeredAt) >= MAX_AGE) {
      const fetched = this.#fetch(now)
      if (this.failure === null) await fetched
    }
    const keys = await this.#find(header)
    if (keys.length > 0) return keys
    await this.#fetch(now)
    return this.#find(header)
  }

  /** Asks the server unless that was done just now; never rejects. */
  #fetch(now: number): Promise<void> {
    if (this.#fetching !== null) return this.#fetching
    if (Math.abs(now - this.#askedAt) < (this.failure === null ? COOLDOWN : RETRY)) return Promise.resolve()
    this.#askedAt = now
    this.#fetching = this.#reload(now).finally(() => {
      this.#fetching = null
    })
    return this.#fetching
  }

  async #reload(now: number): Promise<void> {
    try {
      await this.#set.reload()
      this.#answeredAt = now
      this.failure = null
    } catch (error) {
      this.failure = error
      this.#failed(error)
    }
  }

  async #find(header: JWSHeaderParameters): Promise<CryptoKey[]> {
    if (!this.#set.fresh) return [] // it has no keys yet, and would fetch them
    try {
      return [await this.#set(header)]
    } catch (error) {
      if (error instanceof JWKSNoMatchingKey) return []
      if (!(error instanceof JWKSMultipleMatchingKeys)) throw error
      const keys: CryptoKey[] = []
      for await (const key of error) keys.push(key)
      return keys
    }
  }
}
