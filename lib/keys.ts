// Keys that tokens are signed with: a secret, and public keys in files.
//
// Knows: which key goes with which algorithm, and what is too weak. Does not know: tokens, keys that come over the network (jwks.ts).
// Always true: a key serves one algorithm only, which is told from the key and never from a token; no error says anything of what a file holds.
// Source: RFC 7518, 3.1 to 3.4; RFC 7517; RFC 8037.

import { createPublicKey, createSecretKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { BayeuxError, type Json } from '../bayeux/index.js'

export const ALGORITHMS = ['HS256', 'RS256', 'ES256', 'EdDSA'] as const
export type Algorithm = (typeof ALGORITHMS)[number]

/** A key of HS256 is at least as long as what the hash gives (RFC 7518, 3.2). */
const SECRET_BYTES = 32
/** RFC 7518, 3.3. */
const RSA_BITS = 2_048

export interface VerifyingKey {
  readonly algorithm: Algorithm
  /** The name by which tokens ask for it; null for a key that has none and is tried for all. */
  readonly id: string | null
  readonly key: KeyObject
}

/** @param where what to call it in the error: `option tokenSecret`. @throws {BayeuxError} OPTION_INVALID it is too short */
export function secretKey(secret: string, where: string): KeyObject {
  const bytes = Buffer.from(secret)
  if (bytes.length < SECRET_BYTES) throw new BayeuxError('OPTION_INVALID', `${where} must have at least ${SECRET_BYTES} bytes`)
  return createSecretKey(bytes)
}

/**
 * Reads the public keys of one file: a PEM public key or certificate (of which only the key is looked at), a JWK, or a JWKS, of which what is not for
 * signatures by our algorithms is passed over.
 *
 * @throws {BayeuxError} OPTION_INVALID with the file's name: it cannot be read, or has no key, a weak one, a private one, or one of another kind
 */
export function readKeys(file: string): VerifyingKey[] {
  try {
    const text = readFileSync(file, 'utf8')
    return /^\s*[[{]/.test(text) ? jsonKeys(text) : [pemKey(text)]
  } catch (error) {
    throw new BayeuxError('OPTION_INVALID', `option tokenKeys: ${file}: ${(error as Error).message.split('\n', 1)[0]}`)
  }
}

/** The one algorithm of ours that a public or private key is for. @throws {Error} none is, or the key is too weak for it */
export function algorithmOf(key: KeyObject): Algorithm {
  const { asymmetricKeyType: kind, asymmetricKeyDetails: details } = key
  if (kind === 'ed25519') return 'EdDSA'
  if (kind === 'ec' && details?.namedCurve === 'prime256v1') return 'ES256'
  if (kind !== 'rsa')
    throw new Error(`a key of kind ${details?.namedCurve ?? kind} is not supported: RSA, EC with P-256 and Ed25519 are`)
  const bits = details?.modulusLength ?? 0
  if (bits < RSA_BITS) throw new Error(`an RSA key must have at least ${RSA_BITS} bits, not ${bits}`)
  return 'RS256'
}

function pemKey(text: string): VerifyingKey {
  const labels = [...text.matchAll(/^-----BEGIN ([A-Z0-9 ]+)-----/gm)].map(([, label]) => label!)
  if (labels.some(label => label.endsWith('PRIVATE KEY')))
    throw new Error('holds a private key, which a server that only verifies should not have: give its public half')
  if (labels.length === 0) throw new Error('is neither PEM nor JSON')
  if (labels.length > 1) throw new Error('holds several keys or certificates: one in a PEM file')
  if (!/^(?:(?:RSA )?PUBLIC KEY|CERTIFICATE)$/.test(labels[0]!)) throw new Error('is not a public key or certificate')
  const key = decodedKey(text)
  return { algorithm: algorithmOf(key), id: null, key }
}

function jsonKeys(text: string): VerifyingKey[] {
  const json = parsed(text)
  if (!Array.isArray(json['keys'])) return [jsonKey(json)]
  for (const jwk of json['keys']) refuseSecrets(jwk)
  const keys = (json['keys'] as JsonWebKey[]).filter(isForUs).map(jsonKey)
  if (keys.length === 0) throw new Error('has no key for RS256, ES256 or EdDSA')
  return keys
}

function parsed(text: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch {
    throw new Error('is not JSON') // what JSON.parse says quotes the text
  }
}

/** Whether a member of a set is for signatures by one of our algorithms, as far as its members say. */
function isForUs(jwk: JsonWebKey): boolean {
  const { kty, crv, alg, use, key_ops: uses } = jwk as Json
  if ((use ?? 'sig') !== 'sig' || (Array.isArray(uses) && !uses.includes('verify'))) return false
  if (kty === 'RSA') return (alg ?? 'RS256') === 'RS256'
  if (kty === 'EC') return (alg ?? 'ES256') === 'ES256' && crv === 'P-256'
  return kty === 'OKP' && (alg ?? 'EdDSA') === 'EdDSA' && crv === 'Ed25519'
}

function jsonKey(jwk: JsonWebKey): VerifyingKey {
  refuseSecrets(jwk)
  if (!isForUs(jwk)) throw new Error('has no key for RS256, ES256 or EdDSA')
  const key = decodedKey({ key: jwk, format: 'jwk' })
  const { kid } = jwk as Json
  return { algorithm: algorithmOf(key), id: typeof kid === 'string' ? kid : null, key }
}

function decodedKey(input: Parameters<typeof createPublicKey>[0]): KeyObject {
  try {
    return createPublicKey(input)
  } catch {
    throw new Error('has a key that cannot be decoded')
  }
}

function refuseSecrets(jwk: unknown): void {
  if (typeof jwk !== 'object' || jwk === null) throw new Error('is not a JWK or a JWKS')
  if ('k' in jwk) throw new Error('holds a secret, which is for the option tokenSecret')
  if ('d' in jwk) throw new Error('holds a private key, which a server that only verifies should not have: give its public half')
}
