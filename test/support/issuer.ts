// An issuer of tokens for tests: keys, and tokens of any header and claims, right and wrong.
//
// Signs with node:crypto alone, so that what verifies has no part in what is verified.

import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

type Members = Readonly<Record<string, unknown>>

/** When tests of tokens take place, epoch ms. */
export const NOW = 1_800_000_000_000
export const SECRET = 'a secret of more than thirty-two bytes'

export interface Pair {
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

export const rsa = (): Pair => generateKeyPairSync('rsa', { modulusLength: 2_048 })
export const ec = (): Pair => generateKeyPairSync('ec', { namedCurve: 'P-256' })
export const ed = (): Pair => generateKeyPairSync('ed25519')

export const SIGN = {
  HS256: (text: string, key: string | KeyObject): Buffer => createHmac('sha256', key).update(text).digest(),
  RS256: (text: string, key: KeyObject): Buffer => sign('sha256', Buffer.from(text), key),
  ES256: (text: string, key: KeyObject): Buffer => sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }),
  EdDSA: (text: string, key: KeyObject): Buffer => sign(null, Buffer.from(text), key),
} as const

/** A token whose signature is what `signed` makes of its two other parts. Claims may be the JSON text itself. */
export function tokenOf(header: Members, claims: Members | string, signed: (text: string) => Buffer): string {
  const text = `${encoded(header)}.${encoded(claims)}`
  return `${text}.${signed(text).toString('base64url')}`
}

/** A token of HS256 with the secret. */
export function hs256(claims: Members | string, secret = SECRET): string {
  return tokenOf({ alg: 'HS256' }, claims, text => SIGN.HS256(text, secret))
}

function encoded(part: Members | string): string {
  return Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')
}
