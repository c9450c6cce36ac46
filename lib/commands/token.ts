// The command `token`: makes a signed token for trying things out.
//
// Knows: its flags, and how a token is signed. Does not know: how a server judges it (lib/token.ts).
// Always true: the token alone goes to stdout; neither the secret nor anything of a key is ever printed.

import { createPrivateKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { SignJWT } from 'jose/jwt/sign'
import { BayeuxError } from '../../bayeux/index.js'
import { ALGORITHMS, type Algorithm, algorithmOf, secretKey } from '../keys.js'
import { type Flag, flagLines, readFlags, type Values } from './flags.js'

const SECRET_VARIABLE = 'PERIHELION_TOKEN_SECRET'
const SECONDS = { s: 1, m: 60, h: 3_600, d: 86_400 } as const

const flags = {
  secret: { value: 'text', help: `Signs with HS256; at least 32 bytes. Better in the variable ${SECRET_VARIABLE}.` },
  key: { value: 'file', help: 'Signs with this private key, PEM or JWK: RSA, EC with P-256 or Ed25519.' },
  alg: { value: ALGORITHMS.join('|'), help: 'The algorithm; by default that of the key, and no other fits it.' },
  sub: { value: 'text', help: 'The user, claim sub.' },
  role: { value: 'text', help: 'A role; may be given several times, which makes the list roles.', many: true },
  claim: {
    value: 'name=value',
    help: 'Another claim; may be given several times. The value is JSON if it can be, else text.',
    many: true,
  },
  expires: { value: 'time', help: 'When it expires: 30s, 15m, 1h, 7d from now, or never. Default: 1h' },
  issuer: { value: 'text', help: 'Claim iss.' },
  audience: { value: 'text', help: 'Claim aud.' },
  id: { value: 'text', help: 'Name of the token, claim jti.' },
  kid: { value: 'text', help: 'Name of the key, for the header.' },
} as const satisfies Record<string, Flag>

type Name = keyof typeof flags
type Given = Values<Name>

export function tokenUsage(): string {
  return `perihelion token --secret <text> | --key <file> [flags]\n\nPrints a signed token, for trying things out.\n\n${flagLines(flags)}\n`
}

/** Makes the token that the flags ask for. @throws {BayeuxError} OPTION_UNKNOWN, OPTION_INVALID, with one line that names the flag */
export async function makeToken(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  now = Date.now(),
): Promise<string> {
  const given = flagsOf(argv)
  const { algorithm, key } = signingKey(given, env)
  const asked = one(given, 'alg')
  if (asked !== undefined && asked !== algorithm)
    throw new BayeuxError('OPTION_INVALID', `flag --alg must be ${algorithm}, which is what the key is for`)
  const kid = one(given, 'kid')
  return new SignJWT(claimsOf(given, Math.floor(now / 1_000)))
    .setProtectedHeader({ alg: algorithm, typ: 'JWT', ...(kid !== undefined && { kid }) })
    .sign(key)
}

function flagsOf(argv: readonly string[]): Given {
  const { values, words } = readFlags(argv, flags)
  if (words.length > 0) throw new BayeuxError('OPTION_UNKNOWN', 'a value without a flag; see perihelion token --help') // it may be a secret
  return values
}

function one(given: Given, name: Name): string | undefined {
  return given.get(name)?.[0]
}

function signingKey(given: Given, env: Readonly<Record<string, string | undefined>>): { algorithm: Algorithm; key: KeyObject } {
  const file = one(given, 'key')
  const flag = one(given, 'secret')
  if (file !== undefined && flag !== undefined)
    throw new BayeuxError('OPTION_INVALID', 'flags --secret and --key are both given: a token has one signature')
  if (file !== undefined) return privateKey(file)
  const secret = flag ?? env[SECRET_VARIABLE]
  if (secret === undefined)
    throw new BayeuxError('OPTION_INVALID', `a token needs --secret, --key or the variable ${SECRET_VARIABLE}`)
  return { algorithm: 'HS256', key: secretKey(secret, flag === undefined ? SECRET_VARIABLE : 'flag --secret') }
}

function privateKey(file: string): { algorithm: Algorithm; key: KeyObject } {
  try {
    const key = decodedKey(readFileSync(file, 'utf8'))
    return { algorithm: algorithmOf(key), key }
  } catch (error) {
    throw new BayeuxError('OPTION_INVALID', `flag --key: ${file}: ${(error as Error).message.split('\n', 1)[0]}`)
  }
}

function decodedKey(text: string): KeyObject {
  try {
    return /^\s*\{/.test(text) ? createPrivateKey({ key: JSON.parse(text) as JsonWebKey, format: 'jwk' }) : createPrivateKey(text)
  } catch {
    throw new Error('is no private key, or an encrypted one') // what JSON.parse and Node say of it may quote it
  }
}

function claimsOf(given: Given, issuedAt: number): Record<string, unknown> {
  const claims = new Map<string, unknown>()
  const add = (name: string, value: unknown): void => {
    if (value === undefined) return
    if (claims.has(name)) throw new BayeuxError('OPTION_INVALID', `claim ${name} is given twice`)
    claims.set(name, value)
  }
  for (const claim of given.get('claim') ?? []) {
    const equals = claim.indexOf('=')
    if (equals < 1) throw new BayeuxError('OPTION_INVALID', `flag --claim must be name=value, not ${JSON.stringify(claim)}`)
    add(claim.slice(0, equals), jsonOrText(claim.slice(equals + 1)))
  }
  add('sub', one(given, 'sub'))
  add('roles', given.get('role'))
  add('iss', one(given, 'issuer'))
  add('aud', one(given, 'audience'))
  add('jti', one(given, 'id'))
  const expires = one(given, 'expires')
  if (expires !== undefined || !claims.has('exp')) add('exp', expiryOf(expires ?? '1h', issuedAt))
  if (!claims.has('iat')) add('iat', issuedAt)
  return Object.fromEntries(claims)
}

function expiryOf(text: string, issuedAt: number): number | undefined {
  if (text === 'never') return undefined
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? []
  if (count === undefined)
    throw new BayeuxError(
      'OPTION_INVALID',
      `flag --expires must be a time such as 30s, 15m, 1h or 7d, or never, not ${JSON.stringify(text)}`,
    )
  return issuedAt + Number(count) * SECONDS[unit as keyof typeof SECONDS]
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
