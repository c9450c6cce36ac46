// The command `perihelion token`: what it prints is what the server's own verifier takes, and wrong flags say so without a secret.

import { spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { BayeuxError, type Identity, resolve } from '../../bayeux/index.js'
import { makeToken } from '../../lib/commands/token.js'
import { tokenOptions } from '../../lib/options.js'
import { Tokens } from '../../lib/token.js'
import { ec, ed, NOW, rsa, SECRET } from '../support/issuer.js'

const folder = t.testdir({})
let files = 0

function file(content: string): string {
  const path = join(folder, `${files++}.pem`)
  writeFileSync(path, content)
  return path
}

const cli = fileURLToPath(new URL('../../lib/cli.js', import.meta.url))

function run(
  argv: readonly string[],
  env: Record<string, string> = {},
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [cli, ...argv], { encoding: 'utf8', timeout: 20_000, env: { ...process.env, ...env } })
}

const verified = (options: Readonly<Record<string, unknown>>, token: string, now = NOW): Promise<Identity> =>
  new Tokens(resolve(tokenOptions, options)).verify(token, now)

t.test('it prints a token that the server takes, and nothing else', async t => {
  const asked = ['token', '--sub', 'alice', '--role', 'admin', '--role', 'ops', '--claim', 'dept=sales', '--expires', '1h']
  const before = Date.now()
  const byVariable = run(asked, { PERIHELION_TOKEN_SECRET: SECRET })
  t.match(byVariable, { status: 0, stderr: '', stdout: /^[\w-]+\.[\w-]+\.[\w-]+\n$/ })
  const identity = await verified({ tokenSecret: SECRET }, byVariable.stdout.trim(), before)
  t.match(identity, { user: 'alice', roles: ['admin', 'ops'], claims: { dept: 'sales' }, tokenId: null })
  t.ok(identity.expiresAt >= before + 3_600_000, 'in an hour')
  t.ok(identity.expiresAt <= Date.now() + 3_606_000)
  const byFlag = run([...asked, '--secret', SECRET])
  t.match(byFlag, { status: 0, stderr: '' })
  t.match(await verified({ tokenSecret: SECRET }, byFlag.stdout.trim(), Date.now()), { user: 'alice' })
})

t.test('it signs with a key of each kind, PEM or JWK', async t => {
  for (const [alg, { publicKey, privateKey }] of [
    ['RS256', rsa()],
    ['ES256', ec()],
    ['EdDSA', ed()],
  ] as const) {
    const tokenKeys = [file(publicKey.export({ type: 'spki', format: 'pem' }).toString())]
    const pem = file(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
    const jwk = file(JSON.stringify(privateKey.export({ format: 'jwk' })))
    for (const key of [pem, jwk]) {
      const token = await makeToken(['--key', key, '--alg', alg, '--sub', 'alice', '--kid', 'k1'], {}, NOW)
      t.match(await verified({ tokenKeys }, token), { user: 'alice' }, alg)
      t.same(JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()), { alg, typ: 'JWT', kid: 'k1' })
    }
  }
})

t.test('claims are what the flags say', async t => {
  const claimsOf = async (...argv: string[]): Promise<unknown> =>
    (await verified({ tokenSecret: SECRET }, await makeToken(['--secret', SECRET, ...argv], {}, NOW))).claims
  const iat = NOW / 1_000
  const hour = { iat, exp: iat + 3_600 }
  t.same(await claimsOf(), hour)
  t.same(await claimsOf('--issuer', 'i', '--audience=a', '--id', 't1'), { ...hour, iss: 'i', aud: 'a', jti: 't1' })
  for (const [expires, seconds] of [
    ['30s', 30],
    ['15m', 900],
    ['2h', 7_200],
    ['7d', 604_800],
  ] as const)
    t.same(await claimsOf('--expires', expires), { iat, exp: iat + seconds }, expires)
  t.same(await claimsOf('--expires', 'never'), { iat })
  const values = [
    'n=5',
    'l=["a",1]',
    'o={"a":{"b":null}}',
    'b=true',
    't=plain text',
    'q="quoted"',
    'e=',
    's=a=b',
    'd=1.',
    '__proto__=1',
  ]
  const given = values.flatMap(value => ['--claim', value])
  const expected: unknown = JSON.parse(
    '{"n":5,"l":["a",1],"o":{"a":{"b":null}},"b":true,"t":"plain text","q":"quoted","e":"","s":"a=b","d":"1.","__proto__":1}',
  )
  t.same(await claimsOf(...given), { ...(expected as object), ...hour })
  t.same(await claimsOf('--claim', `exp=${iat + 5}`, '--claim', 'iat=5'), { exp: iat + 5, iat: 5 }, 'times can be claims as well')
})

t.test('wrong flags end it with code 2 and one line, which never has a secret', t => {
  const short = 'QQQQ'.repeat(7)
  for (const [argv, line] of [
    [['--secret', short], 'flag --secret must have at least 32 bytes'],
    [['--subject', 'alice'], 'unknown flag --subject'],
    [['--secret', 'QQQQ', 'QQQQ'], 'a value without a flag; see perihelion token --help'],
  ] as const) {
    const { status, stdout, stderr } = run(['token', ...argv])
    t.equal(status, 2)
    t.equal(stdout, '')
    t.equal(stderr, `perihelion: ${line}\n`)
  }
  t.match(run(['token', '--help']), { status: 0, stdout: /--claim <name=value>/, stderr: '' })
  t.match(run(['help']), { status: 0, stdout: /perihelion token --secret/ })
  t.end()
})

t.test('what is wrong is said in one line that names the flag', async t => {
  const { publicKey, privateKey } = ed()
  const key = file(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
  const encrypted = privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'QQQQ' }).toString()
  const noKey = / is no private key, or an encrypted one$/
  const pem = (kind: 'ed448' | 'x25519'): string =>
    generateKeyPairSync(kind as 'ed448')
      .privateKey.export({ type: 'pkcs8', format: 'pem' })
      .toString()
  const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const cases: [argv: string[], line: RegExp, env?: Record<string, string>][] = [
    [[], /^a token needs --secret, --key or the variable PERIHELION_TOKEN_SECRET$/],
    [[], /^PERIHELION_TOKEN_SECRET must have at least 32 bytes$/, { PERIHELION_TOKEN_SECRET: 'QQQQ' }],
    [['--secret', SECRET, '--key', key], /^flags --secret and --key are both given/],
    [['--secret', SECRET, '--secret', SECRET], /^flag --secret is given twice$/],
    [['--secret'], /^flag --secret needs a value$/],
    [['--secret='], /^flag --secret needs a value$/],
    [['--__proto__', 'x'], /^unknown flag --__proto__$/],
    [['--toString=x'], /^unknown flag --toString$/],
    [['-s', SECRET], /^a value without a flag/],
    [['--'], /^a value without a flag/],
    [['--key', key, '--alg', 'ES256'], /^flag --alg must be EdDSA, which is what the key is for$/],
    [['--secret', SECRET, '--alg', 'none'], /^flag --alg must be HS256, which is what the key is for$/],
    [['--key', join(folder, 'missing')], /^flag --key: .*missing: ENOENT/],
    [['--key', file('QQQQ')], noKey],
    [['--key', file('{"QQQQ')], noKey],
    [['--key', file('{"kty":"RSA","n":"QQQQ","d":5}')], noKey],
    [['--key', file(publicKey.export({ type: 'spki', format: 'pem' }).toString())], noKey],
    [['--key', file(encrypted)], noKey],
    [['--key', file(pem('ed448'))], /a key of kind ed448 is not supported/],
    [['--key', file(pem('x25519'))], /a key of kind x25519 is not supported/],
    [['--key', file(weak)], /an RSA key must have at least 2048 bits, not 1024$/],
    [['--secret', SECRET, '--claim', 'dept'], /^flag --claim must be name=value, not "dept"$/],
    [['--secret', SECRET, '--claim', '=sales'], /^flag --claim must be name=value, not "=sales"$/],
    [['--secret', SECRET, '--claim', 'a=1', '--claim', 'a=2'], /^claim a is given twice$/],
    [['--secret', SECRET, '--claim', 'sub=bob', '--sub', 'alice'], /^claim sub is given twice$/],
    [['--secret', SECRET, '--claim', 'exp=5', '--expires', '1h'], /^claim exp is given twice$/],
    [
      ['--secret', SECRET, '--expires', '1 hour'],
      /^flag --expires must be a time such as 30s, 15m, 1h or 7d, or never, not "1 hour"$/,
    ],
  ]
  for (const [argv, line, env = {}] of cases) {
    const error = await makeToken(argv, env, NOW).then(
      () => null,
      (error: unknown) => error,
    )
    if (!(error instanceof BayeuxError)) throw error ?? new Error(`taken: ${argv.join(' ')}`)
    t.match(error.message, line)
    t.notMatch(error.message, /\n|QQQQ|a secret of/, 'one line, and nothing of the secret')
  }
})
