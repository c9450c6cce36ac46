// Identity: who a session speaks for, and until when that holds.
//
// Knows: what of a token or of a policy's answer the engine keeps, how a claim is compared.
// Does not know: tokens and how they are verified (lib/token.ts), what an identity may do (grant.ts).

import { extOf, isObject, type Json, type Message } from './message.js'
import type { Admission } from './policy.js'

/** Who somebody is, as far as the server was shown. Never changed: a new one takes its place. */
export interface Identity {
  /** The user's name, `sub` of a token; null for one that has none. */
  readonly user: string | null
  readonly roles: readonly string[]
  /** All that the token says, for rules and applications. */
  readonly claims: Json
  /** When it stops to hold, epoch ms; Infinity for never. */
  readonly expiresAt: number
  /** `jti` of the token, by which it can be revoked; null for none. */
  readonly tokenId: string | null
}

/** An identity as one session has it. All fields are set here, in this order: one shape. */
export class Credential {
  /** When there is something to do about it, epoch ms: tell the client to handshake again, then end the session. */
  dueAt: number
  /** The client is told with its next connect reply that it must handshake again; or it is too late for that. */
  expiring = false

  /**
   * @param mark of the token's text in the last message that had one, so that the same one is not verified again; 0 when it came another way
   * @param renewal ms before its end at which the client is told; one that had no longer to live from the start is not told
   */
  constructor(
    readonly identity: Identity,
    public mark: number,
    renewal: number,
    now: number,
  ) {
    const { expiresAt } = identity
    this.dueAt = expiresAt - renewal > now ? expiresAt - renewal : expiresAt
  }

  /** Its time has come. @returns whether it is over, and not only close to its end */
  pass(now: number): boolean {
    this.expiring = true
    this.dueAt = this.identity.expiresAt
    return now >= this.dueAt
  }

  /** It is at its end, and did not come in a message: perhaps with a socket's upgrade, and that socket brings no other. */
  get spent(): boolean {
    return this.expiring && this.mark === 0
  }
}

/** The identity in the answer of a policy; null where it names nobody. */
export function identityOf({ user, identity }: Admission): Identity | null {
  return identity === undefined && user == null
    ? null
    : wholeIdentity({ user: typeof user === 'string' ? user : null, ...identity })
}

/** An identity of which what is not said is nothing. */
export function wholeIdentity({ user, roles, claims, expiresAt, tokenId }: Partial<Identity>): Identity {
  return {
    user: user ?? null,
    roles: Array.isArray(roles) ? roles : typeof roles === 'string' ? [roles] : [],
    claims: claims ?? {},
    expiresAt: expiresAt ?? Number.POSITIVE_INFINITY,
    tokenId: tokenId ?? null,
  }
}

/**
 * Whether the token behind an identity was made after that behind another: by `iat`, then by `exp`, and where one has neither by its end.
 *
 * A token that was taken once is not taken again: policies and the server may have said otherwise of its bearer since.
 */
export function isNewer(identity: Identity, than: Identity): boolean {
  for (const name of ['iat', 'exp']) {
    const [now, before] = [identity.claims[name], than.claims[name]]
    if (typeof now === 'number' && typeof before === 'number' && now !== before) return now > before
  }
  return identity.claims['exp'] === undefined && identity.expiresAt > than.expiresAt
}

/** Whether a claim has a value, or has it in its list. `sub` is the user; a dotted name walks into objects where no claim has it as its own. */
export function claims(identity: Identity, name: string, value: string): boolean {
  if (name === 'sub' && identity.user !== null) return identity.user === value
  const found = claimOf(identity.claims, name)
  return Array.isArray(found) ? found.some(entry => is(entry, value)) : is(found, value)
}

/** The value of a claim by its name or dotted path; undefined for none. */
export function claimOf(claims: Json, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name]
  const dot = name.indexOf('.')
  if (dot === -1) return undefined
  const inner = Object.hasOwn(claims, name.slice(0, dot)) ? claims[name.slice(0, dot)] : undefined
  return isObject(inner) ? claimOf(inner, name.slice(dot + 1)) : undefined
}

function is(found: unknown, value: string): boolean {
  return typeof found === 'string'
    ? found === value
    : (typeof found === 'number' || typeof found === 'boolean') && String(found) === value
}

/** What `ext.token` of a message says; undefined where it has none. */
export function tokenOf(message: Message): unknown {
  return extOf(message)?.['token']
}

/** A number for the token in a message, well enough to see that it is not a new one; 0 for none. */
export function markOfToken(message: Message): number {
  const token = tokenOf(message)
  if (typeof token !== 'string') return 0
  let mark = 0x811c9dc5
  for (let i = 0; i < token.length; i++) mark = Math.imul(mark ^ token.charCodeAt(i), 0x01000193)
  return mark | 0
}
