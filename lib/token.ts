// Tokens: whether a JWT holds, and who it says that its bearer is.
//
// Knows: signatures, times, issuer, audience, roles, revocations. Does not know: sessions, and what becomes of them when a token ends; how tokens are
// made (commands/token.ts).
// Always true: the algorithm is that of the key, never one that the token chooses; whatever text comes is an identity or a TokenError.
// Source: RFC 7519; RFC 8725; RFC 6750, 2.1.

import type { KeyObject } from 'node:crypto'
import type { CryptoKey, JWTPayload, JWTVerifyOptions, ProtectedHeaderParameters } from 'jose'
import { decodeProtectedHeader } from 'jose/decode/protected_header'
import { JWSSignatureVerificationFailed, JWTClaimValidationFailed, JWTExpired } from 'jose/errors'
import { jwtVerify } from 'jose/jwt/verify'
import { BayeuxError, claimOf, type Identity, type Json } from '../bayeux/index.js'
import { RemoteKeys } from './jwks.js'
import { ALGORITHMS, type Algorithm, readKeys, secretKey, type VerifyingKey } from './keys.js'
import type { TokenOptions } from './options.js'
import { Revocations } from './revocations.js'

/** Longest token that is looked at, characters. */
export const MAX_LENGTH = 8_192

/** Why a token is refused; `keys_unavailable` is no fault of the token: the JWKS server does not answer. */
export type TokenErrorCode = 'invalid' | 'expired' | 'not_yet_valid' | 'unknown_key' | 'revoked' | 'keys_unavailable'

/** Match on `code`; `cause` is for logs in which the claims of a token may stand. */
export class TokenError extends Error {
  override readonly name = 'TokenError'
  constructor(
    readonly code: TokenErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

interface Header extends ProtectedHeaderParameters {
  readonly alg: Algorithm
}

export interface TokenParts {
  readonly revocations?: Revocations
  /** Told of each time that the keys of tokenJwksUrl could not be fetched, at most once in five seconds. */
  readonly keysFailed?: (error: unknown) => void
}

export class Tokens {
  readonly revocations: Revocations
  readonly #keys: readonly VerifyingKey[]
  readonly #remote: RemoteKeys | null
  readonly #rolesClaim: string
  readonly #tolerance: number
  readonly #expected: JWTVerifyOptions

  /** @throws {BayeuxError} OPTION_INVALID a key is missing, unreadable, too weak or of a kind that we do not have */
  constructor(options: TokenOptions, { revocations = new Revocations(), keysFailed = () => {} }: TokenParts = {}) {
    const { tokenSecret, tokenKeys, tokenJwksUrl, tokenIssuer, tokenAudience } = options
    this.revocations = revocations
    const own: VerifyingKey[] =
      tokenSecret === '' ? [] : [{ algorithm: 'HS256', id: null, key: secretKey(tokenSecret, 'option tokenSecret') }]
    this.#keys = [...own, ...tokenKeys.flatMap(readKeys)]
    this.#remote = tokenJwksUrl === '' ? null : new RemoteKeys(urlOf(tokenJwksUrl), keysFailed)
    if (options.tokenRequired && !this.enabled)
      throw new BayeuxError('OPTION_INVALID', 'option tokenRequired needs tokenSecret, tokenKeys or tokenJwksUrl')
    this.#rolesClaim = options.tokenRoles
    this.#tolerance = options.tokenClockTolerance
    this.#expected = {
      clockTolerance: this.#tolerance,
      ...(tokenIssuer !== '' && { issuer: tokenIssuer }),
      ...(tokenAudience !== '' && { audience: tokenAudience }),
    }
  }

  /** Whether there is any key to verify with. */
  get enabled(): boolean {
    return this.#keys.length > 0 || this.#remote !== null
  }

  /**
   * Says who the bearer of a token is.
   *
   * @param token as it came: a text of any kind
   * @param now epoch ms
   * @throws {TokenError} it does not hold
   */
  async verify(token: string, now = Date.now()): Promise<Identity> {
    if (token.length > MAX_LENGTH) throw new TokenError('invalid', `the token is longer than ${MAX_LENGTH} characters`)
    const claims = await this.#claimsOf(token, headerOf(token), now)
    const identity = this.identityOf(claims)
    if (this.revocations.covers(identity, now)) throw new TokenError('revoked', 'the token was revoked')
    return identity
  }

  /** Who verified claims say that somebody is. @throws {TokenError} a name in them is no text */
  identityOf(claims: JWTPayload & Json): Identity {
    const { exp } = claims
    return {
      user: textClaim(claims, 'sub'),
      roles: rolesOf(claims, this.#rolesClaim),
      claims,
      // jose compares whole seconds; so the moment is the very one from which on it refuses
      expiresAt: exp === undefined ? Number.POSITIVE_INFINITY : (Math.ceil(exp) + this.#tolerance) * 1_000,
      tokenId: textClaim(claims, 'jti'),
    }
  }

  /** Refuses a token from now on. @param until when it expires, epoch ms (`expiresAt` of its identity): so long it is remembered */
  revokeToken(tokenId: string, until: number, now = Date.now()): void {
    this.revocations.revokeToken(tokenId, until + this.#tolerance * 1_000, now)
  }

  /** Refuses the tokens of a user that were issued before `now`, epoch ms, by their `iat`; those without one, too. */
  revokeUser(user: string, now: number): void {
    this.revocations.revokeUser(user, now)
  }

  /** The claims of a token that is signed by a key of ours, and in its time. */
  async #claimsOf(token: string, header: Header, now: number): Promise<JWTPayload> {
    const { alg, kid } = header
    const own = this.#keys.filter(({ algorithm, id }) => algorithm === alg && (id === null || kid === undefined || id === kid))
    for (const { key } of own) {
      const claims = await this.#checked(token, alg, key, now)
      if (claims !== null) return claims
    }
    const remote = alg === 'HS256' ? [] : await this.#remoteKeys(header, now)
    for (const key of remote) {
      const claims = await this.#checked(token, alg, key, now)
      if (claims !== null) return claims
    }
    if (own.length + remote.length > 0) throw new TokenError('invalid', 'the signature of the token is wrong')
    const failure = this.#remote?.failure ?? null
    if (failure !== null && alg !== 'HS256') throw unavailable(failure)
    throw new TokenError('unknown_key', 'the token is signed with a key that is not known')
  }

  async #remoteKeys(header: Header, now: number): Promise<readonly CryptoKey[]> {
    try {
      return (await this.#remote?.keysFor(header, now)) ?? []
    } catch (cause) {
      throw unavailable(cause)
    }
  }

  /** @returns null when another key made the signature. @throws {TokenError} it is the key's, but the token does not hold */
  async #checked(token: string, algorithm: Algorithm, key: KeyObject | CryptoKey, now: number): Promise<JWTPayload | null> {
    try {
      const options = { ...this.#expected, algorithms: [algorithm], currentDate: new Date(now) }
      return (await jwtVerify(token, key, options)).payload
    } catch (error) {
      if (error instanceof JWSSignatureVerificationFailed) return null
      throw refusalOf(error)
    }
  }
}

/** The token in an Authorization header of the scheme Bearer (or OAuth, as Salesforce's clients call it), as it stands there, also when it is empty; null for another scheme or none. */
export function bearerOf(authorization: string | undefined): string | null {
  const found = /^(?:Bearer|OAuth)(?: (.*))?$/i.exec(authorization ?? '')
  return found === null ? null : (found[1] ?? '').trim()
}

function urlOf(text: string): URL {
  if (!URL.canParse(text)) throw new BayeuxError('OPTION_INVALID', 'option tokenJwksUrl is not an address')
  return new URL(text)
}

function headerOf(token: string): Header {
  try {
    const { alg, kid, ...others } = decodeProtectedHeader(token)
    if (ALGORITHMS.includes(alg as Algorithm) && (kid === undefined || typeof kid === 'string'))
      return { ...others, alg: alg as Algorithm, ...(kid !== undefined && { kid }) }
  } catch (cause) {
    throw new TokenError('invalid', 'the token is not a JWT', { cause })
  }
  throw new TokenError('invalid', `the token is not signed with ${ALGORITHMS.join(', ')}`)
}

function refusalOf(cause: unknown): TokenError {
  if (cause instanceof JWTExpired) return new TokenError('expired', 'the token has expired', { cause })
  if (cause instanceof JWTClaimValidationFailed && cause.claim === 'nbf' && cause.reason === 'check_failed')
    return new TokenError('not_yet_valid', 'the token does not hold yet', { cause })
  return new TokenError('invalid', cause instanceof Error ? cause.message : String(cause), { cause })
}

function unavailable(cause: unknown): TokenError {
  return new TokenError('keys_unavailable', 'the keys of tokenJwksUrl could not be had', { cause })
}

/** A name, where there is one: an empty one or a number would be mistaken for none, or for another's. */
function textClaim(claims: Json, name: string): string | null {
  const value = claims[name]
  if (value === undefined) return null
  if (typeof value === 'string' && value !== '') return value
  throw new TokenError('invalid', `the claim ${name} of the token is not a text`)
}

/** @param path name of a claim, dots and all (`https://app.example/roles`); else the way to it through objects */
function rolesOf(claims: Json, path: string): readonly string[] {
  const value = claimOf(claims, path)
  const roles: readonly unknown[] = typeof value === 'string' ? value.split(/\s+/) : Array.isArray(value) ? value : []
  return [...new Set(roles.filter(role => typeof role === 'string' && role !== '') as string[])]
}
