// Keys of a JWKS address: kept, exchanged, withdrawn, and what holds while the server is down, against a server here that counts. Time is an argument.

import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { resolve } from '../../bayeux/index.js'
import { COOLDOWN, MAX_AGE, RETRY, RemoteKeys } from '../../lib/jwks.js'
import { tokenOptions } from '../../lib/options.js'
import { TokenError, Tokens } from '../../lib/token.js'
import { ec, ed, hs256, NOW, type Pair, rsa, SECRET, SIGN, tokenOf } from '../support/issuer.js'

const realNow = Date.now
const CLAIMS = { sub: 'alice' }
const one = ec()
const two = ec()

type Answer = (response: ServerResponse) => void

/** A server of keys, which gives what it is told to give and counts how often. */
class KeyServer {
  requests = 0
  answer: Answer = response => response.end('{"keys":[]}')

  private constructor(readonly url: string) {}

  static async start(t: Test): Promise<KeyServer> {
    const server = createServer((_request, response) => {
      it.requests++
      it.answer(response)
    }).listen(0, '127.0.0.1')
    await new Promise(resolve => server.once('listening', resolve))
    const it = new KeyServer(`http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`)
    t.teardown(() => {
      server.close()
      server.closeAllConnections()
    })
    return it
  }

  give(...keys: object[]): void {
    this.answer = response => response.end(JSON.stringify({ keys }))
  }
}

const jwk = (pair: Pair, members: object = {}): object => ({ ...pair.publicKey.export({ format: 'jwk' }), ...members })
const es256 = (pair: Pair, header: object = {}): string =>
  tokenOf({ alg: 'ES256', ...header }, CLAIMS, text => SIGN.ES256(text, pair.privateKey))
const refuse: Answer = response => response.writeHead(503).end('down')
const cut: Answer = response => response.destroy()

function tokens(url: string, failures: unknown[] = [], options: Readonly<Record<string, unknown>> = {}): Tokens {
  const keysFailed = (error: unknown): void => void failures.push(error)
  return new Tokens(resolve(tokenOptions, { tokenJwksUrl: url, ...options }), { keysFailed })
}

async function judged(by: Tokens, token: string, now: number): Promise<string> {
  try {
    await by.verify(token, now)
    return 'ok'
  } catch (error) {
    if (error instanceof TokenError) return error.code
    throw error
  }
}

t.test('keys are fetched once, when the first token needs them', async t => {
  const server = await KeyServer.start(t)
  const [r, e] = [rsa(), ed()]
  server.give(jwk(one, { kid: '1' }), jwk(r, { kid: 'r', use: 'sig', alg: 'RS256' }), jwk(e, { kid: 'e' }))
  const by = tokens(server.url, [], { tokenSecret: SECRET })
  t.equal(await judged(by, hs256(CLAIMS), NOW), 'ok')
  t.equal(server.requests, 0, 'a secret is not looked for there')
  const first = Array.from({ length: 50 }, () => judged(by, es256(one, { kid: '1' }), NOW))
  t.same(new Set(await Promise.all(first)), new Set(['ok']))
  for (let second = 0; second < 500; second++)
    if ((await judged(by, es256(one, { kid: '1' }), NOW + second * 1_000)) !== 'ok') t.fail(`after ${second} s`)
  t.equal(
    await judged(
      by,
      tokenOf({ alg: 'RS256', kid: 'r' }, CLAIMS, text => SIGN.RS256(text, r.privateKey)),
      NOW,
    ),
    'ok',
  )
  t.equal(
    await judged(
      by,
      tokenOf({ alg: 'EdDSA', kid: 'e' }, CLAIMS, text => SIGN.EdDSA(text, e.privateKey)),
      NOW,
    ),
    'ok',
  )
  t.equal(await judged(by, es256(two, { kid: '1' }), NOW), 'invalid')
  t.equal(await judged(by, es256(one), NOW), 'ok', 'a token that does not name its key')
  t.equal(server.requests, 1)
})

t.test('a flood of tokens with unknown keys is no flood of requests', async t => {
  const server = await KeyServer.start(t)
  server.give(jwk(one, { kid: '1' }))
  const by = tokens(server.url)
  const flood = async (now: number): Promise<void> => {
    const codes = Array.from({ length: 200 }, (_, i) => judged(by, es256(two, { kid: `${now} ${i}` }), now))
    t.same(new Set(await Promise.all(codes)), new Set(['unknown_key']))
    for (let i = 0; i < 50; i++) await judged(by, es256(two, { kid: `later ${i}` }), now + i)
  }
  await flood(NOW)
  t.equal(server.requests, 1)
  await flood(NOW + COOLDOWN - 50)
  t.equal(server.requests, 1)
  await flood(NOW + COOLDOWN)
  t.equal(server.requests, 2)
})

t.test('a token with a new key is taken once the cooldown is over, and the old key goes with its set', async t => {
  const server = await KeyServer.start(t)
  server.give(jwk(one, { kid: '1' }))
  const by = tokens(server.url)
  t.equal(await judged(by, es256(one, { kid: '1' }), NOW), 'ok')
  server.give(jwk(one, { kid: '1' }), jwk(two, { kid: '2' }))
  t.equal(await judged(by, es256(two, { kid: '2' }), NOW + COOLDOWN - 1), 'unknown_key')
  t.equal(await judged(by, es256(two, { kid: '2' }), NOW + COOLDOWN), 'ok')
  t.equal(server.requests, 2)
  server.give(jwk(two, { kid: '2' }))
  t.equal(await judged(by, es256(one, { kid: '1' }), NOW + COOLDOWN + MAX_AGE - 1), 'ok', 'so long a withdrawn key is trusted')
  t.equal(await judged(by, es256(one, { kid: '1' }), NOW + COOLDOWN + MAX_AGE), 'unknown_key', 'and not for one token longer')
  t.equal(await judged(by, es256(two, { kid: '2' }), NOW + COOLDOWN + MAX_AGE), 'ok')
  t.equal(server.requests, 3)
})

t.test('while the server is down the keys that were had go on, and it is asked now and then', async t => {
  for (const down of [refuse, cut]) {
    const server = await KeyServer.start(t)
    const failures: unknown[] = []
    server.give(jwk(one, { kid: '1' }))
    const by = tokens(server.url, failures)
    t.equal(await judged(by, es256(one, { kid: '1' }), NOW), 'ok')
    server.answer = down
    const later = NOW + MAX_AGE * 10
    t.intercept(Date, 'now', { value: () => realNow() + later }) // jose's own clock is not to end it either
    for (let ms = 0; ms < RETRY; ms += 100)
      if ((await judged(by, es256(one, { kid: '1' }), later + ms)) !== 'ok') t.fail(`after ${ms} ms`)
    const flood = Array.from({ length: 100 }, (_, i) => judged(by, es256(two, { kid: `x${i}` }), later + i))
    t.same(new Set(await Promise.all(flood)), new Set(['keys_unavailable']), 'what is not known now may be known there')
    t.equal(server.requests, 2)
    t.equal(failures.length, 1, 'the failure was told, once')
    await t.rejects(by.verify(es256(two, { kid: '2' }), later + RETRY), { code: 'keys_unavailable', cause: { message: /./ } })
    t.equal(server.requests, 3)
    server.give(jwk(two, { kid: '2' }))
    t.equal(await judged(by, es256(two, { kid: '2' }), later + 2 * RETRY), 'ok', 'it is up again')
    t.equal(await judged(by, es256(one, { kid: '1' }), later + 2 * RETRY), 'unknown_key')
    t.equal(server.requests, 4)
  }
})

t.test('what is no answer leaves the keys as they were', async t => {
  const server = await KeyServer.start(t)
  const elsewhere = await KeyServer.start(t)
  elsewhere.give(jwk(two, { kid: '2' }))
  server.give(jwk(one, { kid: '1' }))
  const failures: unknown[] = []
  const by = tokens(server.url, failures)
  t.equal(await judged(by, es256(one, { kid: '1' }), NOW), 'ok')
  const answers: Answer[] = [
    response => response.end('<html>'),
    response => response.end(''),
    response => response.end('[]'),
    response => response.end('{"keys":{}}'),
    response => response.end('{"keys":[1]}'),
    response => response.writeHead(404).end(JSON.stringify({ keys: [jwk(two, { kid: '2' })] })),
    response => response.writeHead(302, { location: elsewhere.url }).end(),
  ]
  let now = NOW + MAX_AGE
  for (const answer of answers) {
    server.answer = answer
    now += RETRY
    t.equal(await judged(by, es256(two, { kid: '2' }), now), 'keys_unavailable')
    t.equal(await judged(by, es256(one, { kid: '1' }), now), 'ok')
  }
  t.equal(failures.length, answers.length)
  t.equal(elsewhere.requests, 0, 'it is not followed to another place')
})

t.test('a server that is down at the start is asked again when tokens come', async t => {
  const server = await KeyServer.start(t)
  server.answer = refuse
  const by = tokens(server.url)
  t.equal(await judged(by, es256(one, { kid: '1' }), NOW), 'keys_unavailable')
  server.give(jwk(one, { kid: '1' }))
  t.equal(await judged(by, es256(one, { kid: '1' }), NOW + RETRY - 1), 'keys_unavailable')
  t.equal(server.requests, 1)
  t.equal(await judged(by, es256(one, { kid: '1' }), NOW + RETRY), 'ok')
  t.equal(server.requests, 2)
})

t.test('a server that never answers is not waited for', async t => {
  const server = await KeyServer.start(t)
  const failures: unknown[] = []
  const remote = new RemoteKeys(new URL(server.url), error => void failures.push(error), 100)
  server.answer = () => {}
  t.same(await remote.keysFor({ alg: 'ES256', kid: '1' }, NOW), [])
  t.match(remote.failure, { code: 'ERR_JWKS_TIMEOUT' })
  server.answer = response => response.write('{"keys":[')
  t.same(await remote.keysFor({ alg: 'ES256', kid: '1' }, NOW + RETRY), [], 'nor one that never ends')
  t.match(failures, [{ code: 'ERR_JWKS_TIMEOUT' }, { code: 'ERR_JWKS_TIMEOUT' }])
  server.give(jwk(one, { kid: '1' }))
  t.equal((await remote.keysFor({ alg: 'ES256', kid: '1' }, NOW + 2 * RETRY)).length, 1)
  t.equal(remote.failure, null)
  server.answer = () => {}
  const later = NOW + 2 * RETRY + MAX_AGE
  t.equal((await remote.keysFor({ alg: 'ES256', kid: '1' }, later)).length, 1, 'the first waits, in case the key was withdrawn')
  t.equal(failures.length, 3)
  const asked = new Promise<void>(resolve => {
    server.answer = () => resolve()
  })
  t.equal((await remote.keysFor({ alg: 'ES256', kid: '1' }, later + RETRY)).length, 1, 'the next does not')
  t.equal(failures.length, 3, 'for while it is known to be down the answer is not awaited')
  await asked
})

t.test('of a set only public keys for our algorithms count', async t => {
  const server = await KeyServer.start(t)
  const r = rsa()
  const secret = { kty: 'oct', kid: 's', k: Buffer.from(SECRET).toString('base64url') }
  server.give(
    secret,
    jwk(one, { kid: 'enc', use: 'enc' }),
    jwk(r, { kid: 'ps', alg: 'PS256' }),
    { kty: 'EC', kid: 'broken' },
    [],
    {
      ...one.privateKey.export({ format: 'jwk' }),
      kid: 'private',
    },
  )
  const strange = tokens(server.url)
  t.equal(await judged(strange, hs256(CLAIMS), NOW), 'unknown_key')
  t.equal(await judged(strange, es256(one, { kid: 'enc' }), NOW), 'keys_unavailable', 'a set with an entry that is none')
  server.give(
    secret,
    jwk(one, { kid: 'enc', use: 'enc' }),
    jwk(r, { kid: 'ps', alg: 'PS256' }),
    { kty: 'EC', crv: 'P-256', kid: 'broken', x: 'AA', y: 'AA' },
    { ...one.privateKey.export({ format: 'jwk' }), kid: 'private' },
  )
  const by = tokens(server.url)
  t.equal(
    await judged(
      by,
      tokenOf({ alg: 'HS256', kid: 's' }, CLAIMS, text => SIGN.HS256(text, SECRET)),
      NOW,
    ),
    'unknown_key',
  )
  t.equal(await judged(by, es256(one, { kid: 'enc' }), NOW), 'unknown_key')
  const rs256 = tokenOf({ alg: 'RS256', kid: 'ps' }, CLAIMS, text => SIGN.RS256(text, r.privateKey))
  t.equal(await judged(by, rs256, NOW), 'unknown_key')
  for (const kid of ['broken', 'private'])
    await t.rejects(by.verify(es256(one, { kid }), NOW), { code: 'keys_unavailable', cause: { message: /./ } }, kid)
})

t.test('several keys without names are tried, and files come before the server', async t => {
  const server = await KeyServer.start(t)
  server.give(jwk(one), jwk(two))
  const by = tokens(server.url)
  t.equal(await judged(by, es256(one), NOW), 'ok')
  t.equal(await judged(by, es256(two), NOW), 'ok')
  t.equal(await judged(by, es256(ec()), NOW), 'invalid')
  const path = `${t.testdir({ 'one.pem': one.publicKey.export({ type: 'spki', format: 'pem' }).toString() })}/one.pem`
  const both = tokens(server.url, [], { tokenKeys: [path] })
  const { requests } = server
  t.equal(await judged(both, es256(one, { kid: 'any' }), NOW), 'ok')
  t.equal(server.requests, requests)
  t.equal(await judged(both, es256(two), NOW), 'ok')
  t.equal(server.requests, requests + 1)
})
