// Tokens: what is taken, what is refused and as what, with real keys made here. Time is an argument.

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { BayeuxError, type Identity, resolve } from '../../bayeux/index.js'
import { tokenOptions } from '../../lib/options.js'
import { Revocations } from '../../lib/revocations.js'
import { bearerOf, TokenError, Tokens } from '../../lib/token.js'
import { ec, ed, hs256, NOW, type Pair, rsa, SECRET, SIGN, tokenOf } from '../support/issuer.js'
import { generator } from '../support/world.js'

const SEED = Number(process.env['SEED'] ?? 1)
const SECOND = NOW / 1_000

const folder = t.testdir({})
let files = 0

function file(content: string | object): string {
  const path = join(folder, `${files++}`)
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

const pem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString()
const jwk = (key: KeyObject, members: object = {}): object => ({ ...key.export({ format: 'jwk' }), ...members })

const keys = { RS256: rsa(), ES256: ec(), EdDSA: ed() } as const
type Asymmetric = keyof typeof keys

function tokens(options: Readonly<Record<string, unknown>>, revocations?: Revocations): Tokens {
  return new Tokens(resolve(tokenOptions, options), revocations === undefined ? {} : { revocations })
}

const signed = (alg: Asymmetric, claims: object | string, header: object = {}, pair: Pair = keys[alg]): string =>
  tokenOf({ alg, ...header }, claims as Record<string, unknown>, text => SIGN[alg](text, pair.privateKey))

/** How a token is judged: `ok`, or the code of its refusal. */
async function judged(by: Tokens, token: string, now = NOW): Promise<string> {
  try {
    await by.verify(token, now)
    return 'ok'
  } catch (error) {
    if (error instanceof TokenError) return error.code
    throw error
  }
}

const bySecret = tokens({ tokenSecret: SECRET })
const byKeys = tokens({ tokenKeys: Object.values(keys).map(({ publicKey }) => file(pem(publicKey))) })
const byAll = tokens({ tokenSecret: SECRET, tokenKeys: Object.values(keys).map(({ publicKey }) => file(pem(publicKey))) })

t.test('a token of each algorithm says who its bearer is', async t => {
  const claims = { sub: 'alice', roles: ['admin', 'ops'], jti: 't1', exp: SECOND + 60, iat: SECOND, dept: 'sales' }
  const expected: Identity = {
    user: 'alice',
    roles: ['admin', 'ops'],
    claims,
    expiresAt: NOW + 65_000,
    tokenId: 't1',
  }
  t.same(await bySecret.verify(hs256(claims), NOW), expected)
  for (const alg of Object.keys(keys) as Asymmetric[]) t.same(await byKeys.verify(signed(alg, claims), NOW), expected, alg)
  t.same(
    await bySecret.verify(hs256({}), NOW),
    { user: null, roles: [], claims: {}, expiresAt: Number.POSITIVE_INFINITY, tokenId: null },
    'a token may say nothing',
  )
  const soon = { exp: Math.floor(Date.now() / 1_000) + 600 }
  t.match(await bySecret.verify(hs256(soon)), { claims: soon }, 'the time is now where it is not said')
})

t.test('a signature of another key, or of another text, is refused', async t => {
  const claims = { sub: 'alice' }
  const others = { RS256: rsa(), ES256: ec(), EdDSA: ed() } as const
  t.equal(await judged(bySecret, hs256(claims, `${SECRET}!`)), 'invalid')
  for (const alg of Object.keys(keys) as Asymmetric[]) {
    t.equal(await judged(byKeys, signed(alg, claims, {}, others[alg])), 'invalid', alg)
    const [head, body, signature] = signed(alg, claims).split('.') as [string, string, string]
    const other = Buffer.from('{"sub":"bob"}').toString('base64url')
    t.equal(await judged(byKeys, `${head}.${other}.${signature}`), 'invalid', `${alg}, other claims`)
    t.equal(await judged(byKeys, `${head}.${body}.`), 'invalid', `${alg}, no signature`)
    const bytes = Buffer.from(signature, 'base64url')
    bytes[0]! ^= 1
    t.equal(await judged(byKeys, `${head}.${body}.${bytes.toString('base64url')}`), 'invalid', `${alg}, one bit`)
  }
})

t.test('a token does not choose how it is verified', async t => {
  const claims = { sub: 'mallory' }
  const mallory = rsa()
  for (const { publicKey } of Object.values(keys)) {
    for (const secret of [pem(publicKey), pem(publicKey).trim(), JSON.stringify(jwk(publicKey))]) {
      t.equal(await judged(byKeys, hs256(claims, secret)), 'unknown_key', 'a public key is no secret')
      t.equal(await judged(byAll, hs256(claims, secret)), 'invalid')
    }
  }
  const der = keys.RS256.publicKey.export({ type: 'spki', format: 'der' })
  t.equal(
    await judged(
      byAll,
      tokenOf({ alg: 'HS256' }, claims, text => SIGN.HS256(text, der.toString('latin1'))),
    ),
    'invalid',
  )
  for (const alg of ['none', 'None', 'nOnE', 'NONE', '', null, undefined, 0, ['HS256'], '__proto__', 'constructor'])
    for (const signature of [Buffer.alloc(0), Buffer.from('x')])
      t.equal(
        await judged(
          byAll,
          tokenOf({ alg }, claims, () => signature),
        ),
        'invalid',
        `alg ${alg}`,
      )
  t.equal(
    await judged(
      byAll,
      tokenOf({ alg: 'RS256' }, claims, text => SIGN.HS256(text, SECRET)),
    ),
    'invalid',
    'the secret is no RSA key',
  )
  const zeros = tokenOf({ alg: 'ES256' }, claims, () => Buffer.alloc(64))
  t.equal(await judged(byKeys, zeros), 'invalid', 'r = s = 0')
  const rs512 = tokenOf({ alg: 'RS512' }, claims, text => sign('sha512', Buffer.from(text), keys.RS256.privateKey))
  t.equal(await judged(byKeys, rs512), 'invalid', 'a key serves one algorithm')
  const own = { jwk: jwk(mallory.publicKey), jku: 'https://mallory.example/jwks', x5u: 'https://mallory.example/x' }
  t.equal(await judged(byKeys, signed('RS256', claims, own, mallory)), 'invalid', 'a token does not bring its own key')
  t.equal(
    await judged(byKeys, signed('RS256', claims, { crit: ['exp2'], exp2: 1 })),
    'invalid',
    'an extension that must be known',
  )
  t.equal(await judged(byKeys, signed('RS256', claims, { crit: ['b64'], b64: false })), 'invalid', 'an unencoded payload')
  t.equal(await judged(bySecret, signed('RS256', claims)), 'unknown_key')
  t.equal(await judged(tokens({}), hs256(claims)), 'unknown_key', 'without a key nothing holds')
})

t.test('a token holds from nbf to exp, with the tolerance at both ends', async t => {
  const token = hs256({ nbf: SECOND, exp: SECOND + 60 })
  t.equal(await judged(bySecret, token, NOW - 5_001), 'not_yet_valid')
  t.equal(await judged(bySecret, token, NOW - 5_000), 'ok')
  const { expiresAt } = await bySecret.verify(token, NOW)
  t.equal(await judged(bySecret, token, expiresAt - 1), 'ok', 'to the last millisecond')
  t.equal(await judged(bySecret, token, expiresAt), 'expired')
  const fraction = hs256({ exp: SECOND + 0.5 })
  const { expiresAt: end } = await bySecret.verify(fraction, NOW)
  t.equal(await judged(bySecret, fraction, end - 1), 'ok')
  t.equal(await judged(bySecret, fraction, end), 'expired', 'expiresAt is the moment, also of a fraction of a second')
  const strict = tokens({ tokenSecret: SECRET, tokenClockTolerance: 0 })
  t.equal(await judged(strict, token, NOW - 1), 'not_yet_valid')
  t.equal(await judged(strict, token, NOW), 'ok')
  t.equal(await judged(strict, token, NOW + 60_000), 'expired')
  t.match(await bySecret.verify(hs256('{"exp":1e400}'), NOW), { expiresAt: Number.POSITIVE_INFINITY })
  for (const claims of ['{"exp":"2000000000"}', '{"exp":null}', '{"nbf":[]}', '{"iat":"now"}'])
    t.equal(await judged(bySecret, hs256(claims)), 'invalid', claims)
  await t.rejects(bySecret.verify(hs256({ exp: 1 }), NOW), { code: 'expired', cause: { code: 'ERR_JWT_EXPIRED' } })
})

t.test('issuer and audience are checked where the options name them', async t => {
  const strict = tokens({ tokenSecret: SECRET, tokenIssuer: 'https://id.example', tokenAudience: 'push' })
  const right = { iss: 'https://id.example', aud: 'push' }
  t.equal(await judged(strict, hs256(right)), 'ok')
  t.equal(await judged(strict, hs256({ ...right, aud: ['other', 'push'] })), 'ok')
  const wrong = [{ iss: undefined }, { iss: 'https://id.example/' }, { iss: [right.iss] }, { aud: undefined }, { aud: 'pus' }]
  for (const change of [...wrong, { aud: ['other'] }, { aud: [] }, { aud: { push: true } }]) {
    t.equal(await judged(strict, hs256({ ...right, ...change })), 'invalid', JSON.stringify(change))
    t.equal(await judged(bySecret, hs256({ ...right, ...change })), 'ok', 'and not otherwise')
  }
})

t.test('roles are found where the option says', async t => {
  const rolesOf = async (tokenRoles: string, claims: object | string): Promise<readonly string[]> =>
    (await tokens({ tokenSecret: SECRET, tokenRoles }).verify(hs256(claims as never), NOW)).roles
  t.same(await rolesOf('roles', { roles: ['a', 'b', 'a'] }), ['a', 'b'])
  t.same(await rolesOf('scope', { scope: ' read  write ' }), ['read', 'write'], 'a text is split at blanks')
  t.same(await rolesOf('realm_access.roles', { realm_access: { roles: ['ops'] } }), ['ops'])
  t.same(await rolesOf('https://app.example/roles', { 'https://app.example/roles': ['x'] }), ['x'], 'dots of a name')
  t.same(await rolesOf('a.b', { 'a.b': ['name'], a: { b: ['path'] } }), ['name'], 'the name comes first')
  t.same(await rolesOf('roles', { roles: ['a b', 1, null, ['x'], '', { a: 1 }] }), ['a b'], 'of a list, the texts as they are')
  for (const claims of [{}, { roles: null }, { roles: 5 }, { roles: { admin: true } }, { roles: '' }])
    t.same(await rolesOf('roles', claims), [], JSON.stringify(claims))
  for (const path of ['constructor.name', 'toString', '__proto__', 'a.length', 'a.0', 'a..b', '.'])
    t.same(await rolesOf(path, { a: 'admin' }), [], `${path} finds nothing that the token does not say`)
  t.same(await rolesOf('__proto__', '{"__proto__":["own"]}'), ['own'])
  t.end()
})

t.test('a user and a token have names or none', async t => {
  for (const name of ['sub', 'jti'])
    for (const value of ['5', '""', 'null', '["alice"]', '{}', 'true'])
      t.equal(await judged(bySecret, hs256(`{"${name}":${value}}`)), 'invalid', `${name} ${value}`)
  t.match(await bySecret.verify(hs256('{"sub":"__proto__"}'), NOW), { user: '__proto__' })
})

t.test('keys come as PEM, certificate, JWK and JWKS', async t => {
  const claims = { sub: 'alice' }
  const { RS256, ES256, EdDSA } = keys
  const pkcs1 = RS256.publicKey.export({ type: 'pkcs1', format: 'pem' }).toString()
  for (const content of [pkcs1, pem(RS256.publicKey), jwk(RS256.publicKey), jwk(RS256.publicKey, { use: 'sig', alg: 'RS256' })])
    t.equal(await judged(tokens({ tokenKeys: [file(content)] }), signed('RS256', claims)), 'ok')
  const certified = tokens({ tokenKeys: [join('test', 'support', 'tls', 'one.cert.pem')] })
  const key = readFileSync(join('test', 'support', 'tls', 'one.key.pem'))
  const byCertificate = tokenOf({ alg: 'ES256' }, claims, text =>
    sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }),
  )
  t.equal(await judged(certified, byCertificate), 'ok')
  const old = ec()
  const encryption = jwk(rsa().publicKey, { kid: 'enc', use: 'enc', alg: 'RSA-OAEP' })
  const p384 = jwk(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey, { kid: 'p384' })
  const set = tokens({
    tokenKeys: [
      file({
        keys: [jwk(ES256.publicKey, { kid: 'new' }), jwk(old.publicKey, { kid: 'old' }), jwk(EdDSA.publicKey), encryption, p384],
      }),
    ],
  })
  t.equal(await judged(set, signed('ES256', claims, { kid: 'new' })), 'ok')
  t.equal(await judged(set, signed('ES256', claims, { kid: 'old' }, old)), 'ok')
  t.equal(await judged(set, signed('ES256', claims, { kid: 'new' }, old)), 'invalid', 'kid names the key')
  t.equal(await judged(set, signed('ES256', claims, {}, old)), 'ok', 'without kid each is tried')
  t.equal(await judged(set, signed('ES256', claims, { kid: 'other' })), 'unknown_key')
  t.equal(await judged(set, signed('ES256', claims, { kid: 5 })), 'invalid')
  t.equal(await judged(set, signed('EdDSA', claims, { kid: 'any' })), 'ok', 'a key without a name is tried for all')
})

t.test('keys that are missing, weak, secret or of another kind are refused with one line that does not quote them', t => {
  const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey
  const marked = { kty: 'RSA', n: 'QQQQ', e: 'AQAB' }
  const cases: [content: string | object, reason: RegExp][] = [
    ['', /is neither PEM nor JSON$/],
    ['QQQQ', /is neither PEM nor JSON$/],
    ['{"QQQQ', /is not JSON$/],
    ['{}', /has no key for RS256, ES256 or EdDSA$/],
    ['[]', /has no key for RS256, ES256 or EdDSA$/],
    ['{"keys":[]}', /has no key for RS256, ES256 or EdDSA$/],
    ['{"keys":["QQQQ"]}', /is not a JWK or a JWKS$/],
    [{ ...marked, n: 5 }, /has a key that cannot be decoded$/],
    [{ kty: 'EC', crv: 'P-256', x: 'QQQQ', y: 'QQQQ' }, /has a key that cannot be decoded$/],
    [{ kty: 'oct', k: 'QQQQ' }, /holds a secret, which is for the option tokenSecret$/],
    [{ keys: [jwk(keys.ES256.publicKey), { kty: 'oct', k: 'QQQQ' }] }, /holds a secret/],
    [jwk(keys.EdDSA.privateKey), /holds a private key/],
    [{ keys: [jwk(keys.EdDSA.privateKey)] }, /holds a private key/],
    [keys.RS256.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), /holds a private key/],
    [keys.ES256.privateKey.export({ type: 'sec1', format: 'pem' }).toString(), /holds a private key/],
    [pem(keys.RS256.publicKey) + pem(keys.ES256.publicKey), /holds several keys/],
    ['-----BEGIN PUBLIC KEY-----\nQQQQ\n-----END PUBLIC KEY-----\n', /has a key that cannot be decoded$/],
    ['-----BEGIN CERTIFICATE REQUEST-----\nQQQQ\n-----END CERTIFICATE REQUEST-----\n', /is not a public key or certificate$/],
    [pem(weak), /an RSA key must have at least 2048 bits, not 1024$/],
    [jwk(weak), /an RSA key must have at least 2048 bits, not 1024$/],
    [{ keys: [jwk(weak), jwk(keys.ES256.publicKey)] }, /an RSA key must have at least 2048 bits, not 1024$/],
    [pem(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey), /a key of kind secp384r1 is not supported/],
    [pem(generateKeyPairSync('ed448').publicKey), /a key of kind ed448 is not supported/],
    [pem(generateKeyPairSync('rsa-pss', { modulusLength: 2_048 }).publicKey), /a key of kind rsa-pss is not supported/],
    [jwk(keys.RS256.publicKey, { alg: 'PS256' }), /has no key for RS256, ES256 or EdDSA$/],
    [jwk(keys.RS256.publicKey, { use: 'enc' }), /has no key for RS256, ES256 or EdDSA$/],
    [jwk(keys.RS256.publicKey, { key_ops: ['encrypt'] }), /has no key for RS256, ES256 or EdDSA$/],
  ]
  for (const [content, reason] of cases) {
    const path = file(content)
    refused(t, { tokenKeys: [path] }, new RegExp(`^option tokenKeys: ${path}: ${reason.source}`))
  }
  refused(t, { tokenKeys: [join(folder, 'missing')] }, /^option tokenKeys: .*missing: ENOENT/)
  refused(t, { tokenKeys: [folder] }, /^option tokenKeys: .*EISDIR/)
  refused(t, { tokenSecret: 'QQQQ123'.repeat(4) }, /^option tokenSecret must have at least 32 bytes$/)
  t.ok(tokens({ tokenSecret: 'ä'.repeat(16) }).enabled, 'bytes, not characters')
  refused(t, { tokenRequired: true }, /^option tokenRequired needs tokenSecret, tokenKeys or tokenJwksUrl$/)
  for (const url of ['http://id.example/jwks', 'http://localhost@id.example/', 'https://user:QQQQ@id.example/', 'file:///QQQQ'])
    refused(t, { tokenJwksUrl: url }, /^option tokenJwksUrl must be an https address/)
  for (const url of ['http://localhost.id.example/', 'http://127.0.0.1.id.example/', 'http://localhost\\@id.example/', 'jwks'])
    refused(t, { tokenJwksUrl: url }, /^option tokenJwksUrl must be an https address/)
  refused(t, { tokenJwksUrl: 'https://:99999999/' }, /^option tokenJwksUrl is not an address$/)
  for (const url of ['https://id.example/jwks?a=b', 'HTTPS://id.example', 'http://[::1]:80/', 'http://localhost:1234'])
    t.ok(tokens({ tokenJwksUrl: url }).enabled, url)
  t.notOk(tokens({}).enabled)
  t.end()
})

function refused(t: Test, options: Readonly<Record<string, unknown>>, line: RegExp): void {
  try {
    tokens(options)
    t.fail(`taken: ${line}`)
  } catch (error) {
    if (!(error instanceof BayeuxError)) throw error
    t.equal(error.code, 'OPTION_INVALID')
    t.match(error.message, line)
    t.notMatch(error.message, /\n|QQQQ/, 'one line, and nothing of the key')
  }
}

t.test('a token of more than 8 KiB is not looked at', async t => {
  const base = hs256({ fill: '' }).length
  const ofLength = (length: number): string => {
    for (let fill = Math.floor(((length - base) * 3) / 4) - 3; ; fill++) {
      const token = hs256({ fill: 'x'.repeat(fill) })
      if (token.length >= length) return token
    }
  }
  t.equal(ofLength(8_192).length, 8_192)
  t.equal(await judged(bySecret, ofLength(8_192)), 'ok')
  await t.rejects(bySecret.verify(ofLength(8_193), NOW), { code: 'invalid', message: /longer than 8192/ })
})

t.test('whatever text comes is refused as a TokenError', async t => {
  const random = generator(SEED)
  const below = (n: number): number => Math.floor(random() * n)
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!
  const sound = [hs256({ sub: 'alice', exp: SECOND + 60 }), ...(Object.keys(keys) as Asymmetric[]).map(alg => signed(alg, {}))]
  const scalars = [
    'null',
    '1',
    '"x"',
    '[]',
    '{}',
    '{"alg":"HS256"}',
    '{"alg":"ES256"}',
    '{"alg":"RS256","kid":{}}',
    '\ud800',
    'é',
  ]
  const part = (): string =>
    pick([
      () => '',
      () => Buffer.from(pick(scalars)).toString('base64url'),
      () => pick(sound).split('.')[below(3)]!,
      () => noise(),
    ])()
  const noise = (): string =>
    Array.from({ length: below(40) }, () => pick([...'aZ09-_.=+/ {}"\\', '\u0000', '\n', 'é', '\ud800', '😀'])).join('')
  const mutated = (): string => {
    const token = pick(sound)
    const at = below(token.length)
    return token.slice(0, at) + pick(['', noise(), pick([...'AQgw._'])]) + token.slice(at + below(3))
  }
  const codes = new Map<string, number>()
  for (let run = 0; run < 3_000; run++) {
    const token = pick([mutated, noise, () => Array.from({ length: below(6) }, part).join('.')])()
    const same = sound.some(other => sameToken(token, other)) // as when nothing but unused bits of the signature's last letter changed
    const code = await judged(byAll, token).catch((error: unknown) => {
      throw new Error(`seed ${SEED}: ${JSON.stringify(token)}`, { cause: error })
    })
    if (code === 'ok' && !same) t.fail(`seed ${SEED}: ${code} for ${JSON.stringify(token)}`)
    codes.set(code, (codes.get(code) ?? 0) + 1)
  }
  t.ok(codes.get('invalid')! > 1_000, JSON.stringify([...codes]))
})

function sameToken(one: string, other: string): boolean {
  const split = (token: string): [text: string, signature: string] => {
    const dot = token.lastIndexOf('.')
    return [token.slice(0, dot), Buffer.from(token.slice(dot + 1), 'base64url').toString('hex')]
  }
  return JSON.stringify(split(one)) === JSON.stringify(split(other))
}

t.test('a revoked token is refused, and forgotten once it could not hold any more', async t => {
  const revocations = new Revocations()
  const by = tokens({ tokenSecret: SECRET }, revocations)
  const token = hs256({ jti: 't1', exp: SECOND + 60 })
  const other = hs256({ jti: 't2' })
  const { expiresAt } = await by.verify(token, NOW)
  by.revokeToken('t1', expiresAt, NOW)
  by.revokeToken('t1', NOW, NOW) // said again with less knowledge
  t.equal(await judged(by, token), 'revoked')
  t.equal(await judged(by, token, expiresAt - 1), 'revoked')
  t.equal(await judged(by, token, expiresAt), 'expired')
  t.equal(await judged(by, other), 'ok')
  t.equal(await judged(by, hs256({})), 'ok', 'a token without a name is not meant')
  by.revokeToken('t2', Number.POSITIVE_INFINITY)
  t.equal(await judged(by, other, NOW * 2), 'revoked')
  t.equal(revocations.size, 2)
  for (let i = 0; i < 10_000; i++) by.revokeToken(`later ${i}`, NOW + 90_000 + i, NOW + 100_000 + i) // over, with the tolerance
  t.ok(revocations.size < 5_000, `${revocations.size} are kept`)
  t.equal(await judged(by, other, NOW + 110_000), 'revoked', 'and that which never expires is')
})

t.test('tokens of a user that were issued before a moment are refused', async t => {
  const by = tokens({ tokenSecret: SECRET })
  const issued = (iat: number | undefined, sub = 'alice'): string => hs256({ sub, iat })
  t.equal(await judged(by, issued(SECOND)), 'ok')
  by.revokeUser('alice', NOW + 500)
  t.equal(await judged(by, issued(SECOND - 1)), 'revoked')
  t.equal(await judged(by, issued(SECOND)), 'revoked', 'the second of the revocation itself')
  t.equal(await judged(by, issued(SECOND + 1)), 'ok')
  t.equal(await judged(by, issued(undefined)), 'revoked', 'one that does not say when')
  t.equal(await judged(by, issued(SECOND, 'bob')), 'ok')
  t.equal(await judged(by, hs256({ iat: 0 })), 'ok', 'nobody is not a user')
  by.revokeUser('bob', NOW)
  t.equal(await judged(by, issued(SECOND, 'bob')), 'ok', 'one that was issued at that very moment')
  by.revokeUser('alice', NOW - 5_000)
  t.equal(await judged(by, issued(SECOND)), 'revoked', 'an earlier moment takes nothing back')
})

t.test('revocations are bounded; what was neither said nor tried for longest goes first', t => {
  const revocations = new Revocations(3, 2)
  const identity = (tokenId: string | null, user: string | null): Identity => ({
    user,
    roles: [],
    claims: {},
    expiresAt: Number.POSITIVE_INFINITY,
    tokenId,
  })
  for (const id of ['a', 'b', 'c']) revocations.revokeToken(id, Number.POSITIVE_INFINITY, NOW)
  t.ok(revocations.covers(identity('a', null), NOW))
  revocations.revokeToken('d', Number.POSITIVE_INFINITY, NOW)
  t.notOk(revocations.covers(identity('b', null), NOW))
  for (const id of ['a', 'c', 'd']) t.ok(revocations.covers(identity(id, null), NOW), id)
  for (const user of ['x', 'y', 'z']) revocations.revokeUser(user, NOW)
  t.notOk(revocations.covers(identity(null, 'x'), NOW))
  t.ok(revocations.covers(identity(null, 'y'), NOW))
  t.equal(revocations.size, 5)
  revocations.revokeToken('e', NOW, NOW)
  t.ok(revocations.covers(identity('a', null), NOW), 'a token that has expired takes no place')
  revocations.revokeToken('e', NOW + 1, NOW)
  t.ok(revocations.covers(identity('e', null), NOW))
  t.notOk(revocations.covers(identity('e', null), NOW + 1))
  t.end()
})

t.test('a bearer token is what follows the scheme', t => {
  const cases: [header: string | undefined, token: string | null][] = [
    ['Bearer a.b.c', 'a.b.c'],
    ['bearer  a.b.c ', 'a.b.c'],
    ['BEARER x y', 'x y'],
    ['Bearer', ''],
    ['Bearer ', ''],
    ['Bearers x', null],
    ['Basic x', null],
    ['', null],
    [undefined, null],
  ]
  for (const [header, token] of cases) t.equal(bearerOf(header), token, String(header))
  t.end()
})
