// The bundled clients as the server hands them out, and how big they are.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { runInNewContext } from 'node:vm'
import { gunzipSync, gzipSync } from 'node:zlib'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { fastifyOptions, type PerihelionOptions, perihelion } from '../../lib/index.js'

async function serve(t: Test, options: PerihelionOptions = {}, prefix = ''): Promise<FastifyInstance> {
  const app: FastifyInstance = Fastify(fastifyOptions)
  await app.register(perihelion, { ...options, ...(prefix === '' ? null : { prefix }) } as PerihelionOptions)
  await app.ready()
  t.teardown(() => app.close())
  return app
}

const GZIP = { 'accept-encoding': 'gzip, br' }

t.test('the client for pages is less than 10,000 bytes, gzipped', async t => {
  const app = await serve(t)
  for (const [name, most] of [
    ['client.js', 10_000],
    ['client.mjs', 10_000],
    ['client-shared.js', 15_000],
  ] as const) {
    const { rawPayload } = await app.inject({ url: `/cometd/${name}`, headers: GZIP })
    t.comment(`${name}: ${rawPayload.length} bytes gzipped, ${gunzipSync(rawPayload).length} plain`)
    t.ok(rawPayload.length < most, `${name} is less than ${most} bytes`)
    t.equal(rawPayload.length, gzipSync(gunzipSync(rawPayload), { level: 9 }).length, 'as small as gzip makes it')
  }
})

t.test('a bundle is given plain or compressed, under its name to be asked for anew, under its twin for ever', async t => {
  const app = await serve(t)
  const plain = await app.inject('/cometd/client.js')
  t.match(plain.headers, {
    'content-type': 'text/javascript; charset=utf-8',
    'cache-control': 'no-cache',
    vary: 'accept-encoding',
    'x-content-type-options': 'nosniff',
    'access-control-allow-origin': '*',
    'cross-origin-resource-policy': 'cross-origin',
    etag: /^"[\w-]{10}"$/,
  })
  t.notOk(plain.headers['content-encoding'])
  const zipped = await app.inject({ url: '/cometd/client.js', headers: GZIP })
  t.match(zipped.headers, { 'content-encoding': 'gzip', 'content-length': String(zipped.rawPayload.length) })
  t.not(zipped.headers.etag, plain.headers.etag, 'another form has another tag')
  t.equal(gunzipSync(zipped.rawPayload).toString(), plain.body)
  const twin = String(plain.headers['content-location'])
  t.match(twin, /^\/cometd\/client\.[\w-]{10}\.js$/)
  const kept = await app.inject(twin)
  t.equal(kept.body, plain.body)
  t.equal(kept.headers['cache-control'], 'public, max-age=31536000, immutable')
  t.notOk(kept.headers['content-location'])
  for (const [accepted, encoded] of [
    ['gzip;q=0', false],
    ['gzip; q=0.0, br', false],
    ['gzip;q=0.5', true],
    ['br', false],
    ['x-gzipped', false],
  ] as const) {
    const { headers } = await app.inject({ url: twin, headers: { 'accept-encoding': accepted } })
    t.equal(headers['content-encoding'] === 'gzip', encoded, accepted)
  }
})

t.test('who has it already is told so: 304, without the bytes', async t => {
  const app = await serve(t)
  for (const headers of [{}, GZIP]) {
    const { etag } = (await app.inject({ url: '/cometd/client.js', headers })).headers
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const answer = await app.inject({ url: '/cometd/client.js', headers: { ...headers, 'if-none-match': String(known) } })
      t.equal(answer.statusCode, 304, `${known}`)
      t.equal(answer.rawPayload.length, 0)
      t.match(answer.headers, { etag, vary: 'accept-encoding', 'cache-control': 'no-cache' })
    }
    const other = await app.inject({ url: '/cometd/client.js', headers: { ...headers, 'if-none-match': '"other"' } })
    t.equal(other.statusCode, 200)
  }
})

t.test('HEAD gives the same headers and no bytes; nothing else is there', async t => {
  const app = await serve(t)
  const get = await app.inject({ url: '/cometd/client.js', headers: GZIP })
  const head = await app.inject({ method: 'HEAD', url: '/cometd/client.js', headers: GZIP })
  t.equal(head.statusCode, 200)
  t.equal(head.rawPayload.length, 0)
  for (const name of ['etag', 'content-length', 'content-encoding', 'cache-control', 'content-location'])
    t.equal(head.headers[name], get.headers[name], name)
  for (const url of ['/cometd/client.0000000000.js', '/cometd/other.js', '/client.js'])
    t.not((await app.inject({ url, headers: {} })).statusCode, 200, url)
})

t.test('the addresses follow the path and the prefix; the application is told them, with their integrity', async t => {
  const rows: [options: PerihelionOptions, prefix: string, url: string][] = [
    [{}, '', '/cometd/client.js'],
    [{ path: '/push/here' }, '', '/push/here/client.js'],
    [{ path: '/' }, '', '/client.js'],
  ]
  for (const [options, prefix, url] of rows) {
    const app = await serve(t, options, prefix)
    const answer = await app.inject(url)
    t.equal(answer.statusCode, 200, url)
    const script = app.bayeux.script('client.js')
    t.equal(script?.url, answer.headers['content-location'])
    t.equal((await app.inject(script!.url)).body, answer.body)
    t.equal(script?.integrity, `sha384-${createHash('sha384').update(answer.rawPayload).digest('base64')}`)
    t.match(script?.url, /^\/(?!\/)/)
    t.equal(app.bayeux.script('other.js'), null)
  }
})

t.test('below a prefix the twin has it too', async t => {
  const app: FastifyInstance = Fastify(fastifyOptions)
  await app.register(
    async child => {
      await child.register(perihelion, {})
    },
    { prefix: '/api' },
  )
  await app.ready()
  t.teardown(() => app.close())
  const { headers, statusCode } = await app.inject('/api/cometd/client.js')
  t.equal(statusCode, 200)
  t.match(headers['content-location'], /^\/api\/cometd\/client\./)
  t.equal((await app.inject(String(headers['content-location']))).statusCode, 200)
})

t.test('scripts: false hands out nothing', async t => {
  const app = await serve(t, { scripts: false })
  t.not((await app.inject('/cometd/client.js')).statusCode, 200)
})

t.test('the bundles do in a page what they are for', async t => {
  const app = await serve(t)
  for (const [name, names] of [
    ['client.js', ['Client', 'ClientError']],
    ['client-shared.js', ['Client', 'ClientError', 'SharedClient']],
  ] as const) {
    const { body } = await app.inject(`/cometd/${name}`)
    const page: Record<string, unknown> = { URL, Date, performance, queueMicrotask }
    runInNewContext(body, page)
    const { Perihelion } = page as { Perihelion: Record<string, new (url: string) => { state: string }> }
    t.strictSame(Object.keys(Perihelion).toSorted(), names, name)
    t.notMatch(body, /import\s*["({]|require\(/, 'nothing else is loaded')
  }
  const { body } = await app.inject('/cometd/client.mjs')
  t.match(body, /export\s*\{[^}]*\bas Client\b/)
})

t.test('bundlers keep what a shared worker’s script is imported for', async t => {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  const { exports, sideEffects } = JSON.parse(text)
  t.ok(sideEffects.includes(exports['./client/shared'].default))
})
