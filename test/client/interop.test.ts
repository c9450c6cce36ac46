// Our client against our server and others': CometD's for Node and for Java, and Faye's; in Node and in Chromium, on every transport.
//
// Knows: what must be seen at each step, and how a page of another origin is given the client.
// Does not know: how the conversation goes (interop/conversation.ts), how servers are started (interop/servers.ts).
// Source: protocol reference 3, 4.5, 6, 7.1, 7.5 and 9.

import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser } from 'playwright-core'
import t, { type Test } from 'tap'
import { type Cut, type Trouble, TroubledProxy } from '../../bench/proxy.js'
import { Client as PlainClient } from '../../lib/client/index.js'
import { Client, nodeSurroundings, type Options, type TransportName } from '../../lib/client/node.js'
import { surroundings } from '../../lib/client/surroundings.js'
import { startChromium, within } from '../support/chromium.js'
import { converse, numbers, type Report, type Traits } from './interop/conversation.js'
import { type Running, type ServerKind, servers } from './interop/servers.js'

t.setTimeout(300_000)

const HOUR = 3_600_000
const clockOf = (): (() => number) => {
  const { now } = surroundings()
  return () => now() - HOUR
}

/** What a conversation must have seen. */
function expected({ timesync, refusals, copies }: ServerKind, traits: Traits, transport: TransportName): Report {
  const [subscribe, publish] = refusals.map(([status, text]) => ({ code: 'REFUSED', status, text }))
  const once = { back: true }
  return {
    connect: { state: 'connected', transport, ack: traits.ack || null, twoSessions: true },
    'subscribe and publish': {
      successful: true,
      sameChannel: true,
      delivered: [{ text: 'grüße 😀 \u2028' }, { text: 'grüße 😀 \u2028' }],
    },
    wildcards: copies
      ? [
          ['one', 'one', 'one'],
          ['one', 'one', 'one', 'end', 'end'],
          ['one', 'one', 'one', 'one/more', 'end', 'end'],
        ]
      : [['one'], ['one', 'end'], ['one', 'one/more', 'end']],
    order: { accepted: 200, heard: numbers(200) },
    batch: { heard: ['one', 'two'], replies: [true, true] },
    bytes: [true, true],
    ...(traits.calls ? { calls: { echo: { q: [1, 'two', true] }, failure: ['REFUSED', { error: 'refused' }] } } : null),
    ...(traits.answers ? { service: ['to me alone'] } : null),
    'said by the server': ['hear, hear'],
    refusals: { subscribe, publish, stillHere: true },
    'server time': timesync,
    ...(traits.ack ? { 'under fire': { inOrder: true, count: 120, sameSession: true } } : null),
    outbox: { heard: ['one', 'two', 'three'], replies: [true, true, true], ...once },
    'lost session': { ...once, transport },
    ...(traits.fallback === null
      ? null
      : { 'blocked sockets': { sameSession: traits.fallback === 'same', ...once }, 'open sockets': once }),
    unsubscribe: { left: ['before'], kept: true },
    ...(traits.kicks ? { kick: { code: 'KICKED', again: true } } : null),
    close: ['closed', 'closed'],
  }
}

const browser = await startChromium(t)
const pages = await startPages(t)

t.jobs = 2
for (const server of servers) {
  t.test(server.title, { buffered: true }, async t => {
    const running = await server.start(t)
    let refused = 0
    for (const transport of ['callback-polling', 'long-polling', 'websocket'] as const) {
      if (transport === 'callback-polling' && !server.callbacks) continue
      const general: Traits = {
        ...server.traits,
        ...(transport === 'websocket' ? null : { transports: [transport], fallback: null }),
      }
      // Where there is no WebSocket, the client comes to long-polling by itself.
      const used = transport === 'websocket' && !server.websocket ? 'long-polling' : transport
      const places = {
        Node: (_t: Test, way: TroubledProxy, traits: Traits) => inNode(running, way, traits, `/node/${transport}`),
        'a page of another origin': (t: Test, way: TroubledProxy, traits: Traits) =>
          inPage(t, running, way, traits, `/page/${transport}`),
      }
      for (const [place, talk] of Object.entries(places)) {
        if (transport === 'callback-polling' && place === 'Node') continue
        const kept = server.bakes && place !== 'Node' && general.fallback === 'anew'
        const traits: Traits = kept ? { ...general, fallback: 'same' } : general
        await t.test(`from ${place}, ${transport}`, async t => {
          const way = await TroubledProxy.open(urlOf(running.port))
          t.teardown(() => way.close())
          judge(t, await talk(t, way, traits), expected(server, traits, used))
          const cuts = way.cuts.map(({ cut }) => cut)
          if (traits.ack) t.same(cuts.slice(0, 3), ['idle', 'half', 'whole'], 'the connections were really lost')
          // What was begun on WebSocket and refused over HTTP has nobody who could end it, until its time is up.
          if (traits.fallback === 'anew') refused++
          t.ok((await running.sessions()) <= refused, 'no session is left behind')
        })
      }
    }
  })
}

function judge(t: Test, { failed, ...seen }: Report, right: Report): void {
  for (const [step, rule] of Object.entries(right)) {
    if (Object.hasOwn(seen, step)) t.strictSame(seen[step], rule, step)
    else if (failed === undefined) t.fail(`${step} was not tried`)
  }
  if (failed !== undefined) t.fail(String(failed))
}

const urlOf = (port: number): string => `http://127.0.0.1:${port}/cometd`

function inNode(running: Running, way: TroubledProxy, traits: Traits, prefix: string): Promise<Report> {
  const stage = {
    near: way.url,
    far: urlOf(running.port),
    client: (url: string, options: Options) => new Client(url, options, { ...nodeSurroundings(), now: clockOf() }),
    cut: async (how: Cut) => way.cut(how),
    set: async (trouble: Trouble) => way.set(trouble),
  }
  return converse(stage, traits, prefix)
}

async function inPage(t: Test, running: Running, way: TroubledProxy, traits: Traits, prefix: string): Promise<Report> {
  const context = await (browser as Browser).newContext()
  t.teardown(() => context.close())
  const page = await context.newPage()
  const errors: string[] = []
  page.on('pageerror', error => errors.push(error.message))
  await page.exposeFunction('cut', (how: Cut) => way.cut(how))
  await page.exposeFunction('set', (trouble: Trouble) => way.set(trouble))
  await page.addInitScript(`{ const now = Date.now; Date.now = () => now() - ${HOUR} }`)
  await page.goto(`${pages}/`)
  const report = await page.evaluate(
    `import('/conversation.js').then(({ converse }) => {
      const client = (url, options) => new Perihelion.Client(url, options)
      const stage = { near: '${way.url}', far: '${urlOf(running.port)}', client, cut, set }
      return converse(stage, ${JSON.stringify(traits)}, '${prefix}')
    })`,
  )
  t.same(errors, [], 'no script of the page threw')
  return report as Report
}

/** A web server of one page, the client and the conversation. @returns its origin */
async function startPages(t: Test): Promise<string> {
  const files: Record<string, readonly [type: string, text: string]> = {
    '/': ['text/html', '<!doctype html><script src="/client.js"></script>'],
    '/client.js': ['text/javascript', readFileSync('build/lib/browser/client.js', 'utf8')],
    '/conversation.js': ['text/javascript', readFileSync('build/test/client/interop/conversation.js', 'utf8')],
  }
  const server = createServer((request, response) => {
    const [type, text] = files[request.url ?? ''] ?? ['text/plain', '']
    response.setHeader('content-type', `${type}; charset=utf-8`).end(text)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('in Node the cookie of the handshake comes with all that follows, without which CometD knows no session', async t => {
  const { port } = await servers[2].start(t)
  const way = await TroubledProxy.open(urlOf(port))
  t.teardown(() => way.close())
  const client = new Client(way.url, { transports: ['long-polling'] })
  await client.connect()
  await client.publish('/cookie', 'crumbs')
  await client.close()
  const requests = way.sent.split(/(?=POST \/cometd )/)
  const cookies = requests.map(request => /^cookie: (BAYEUX_BROWSER=.*)\r$/m.exec(request)?.[1])
  t.ok(requests.length > 3, `${requests.length} requests`)
  t.equal(cookies[0], undefined, 'the handshake has none')
  t.match(cookies[1], /^BAYEUX_BROWSER=./)
  t.strictSame(new Set(cookies.slice(1)).size, 1, 'all that follow have the same')

  const without = new PlainClient(urlOf(port), { transports: ['long-polling'], backoffBase: 10 }, surroundings())
  const lost = new Promise<unknown>(resolve => without.on('error', error => resolve([error.code, error.status, error.text])))
  without.connect().catch(() => {})
  t.strictSame(
    await within(lost, () => 'the refusal'),
    ['SESSION_LOST', 402, 'session_unknown'],
    'a client that keeps none is refused',
  )
  await without.close()
})

// HTTP may not go on with a session that was begun on WebSocket, so that what is not acknowledged yet would be lost with it.
t.test('a session on WebSocket whose next socket does not open tries another one before it turns to HTTP', async t => {
  const { port } = await servers[0].start(t)
  const way = await TroubledProxy.open(urlOf(port))
  t.teardown(() => way.close())
  const [client, other] = [new Client(way.url, { backoffBase: 10 }), new Client(urlOf(port))]
  t.teardown(() => Promise.all([client.close(), other.close()]))
  await Promise.all([client.connect(), other.connect()])
  const heard: unknown[] = []
  let all: () => void
  const done = new Promise<void>(resolve => {
    all = resolve
  })
  await client.subscribe('/kept', ({ data }) => heard.push(data) === 3 && all()).ready
  const { clientId } = client
  const failures: string[] = []
  client.on('error', ({ detail }) => {
    failures.push(detail)
    if (failures.length === 2) way.set('none')
  })
  way.set('upgrades cut')
  way.cut('idle')
  for (let n = 0; n < 3; n++) await other.publish('/kept', n)
  await within(done, () => `three messages: ${heard}; ${failures}`)
  t.strictSame(heard, [0, 1, 2])
  t.equal(client.clientId, clientId, 'in the same session')
  t.equal(client.transport, 'websocket')
  t.equal(failures.length, 2, `the loss and one socket that did not open: ${failures}`)
})
