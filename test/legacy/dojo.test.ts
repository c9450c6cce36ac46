// Dojo 1.6.4 with dojox.cometd in Chromium: JSON-encoded, form-encoded and JSONP, and its ack and timesync extensions.
//
// Knows: which of Dojo's transports speaks which dialect.
// Does not know: the rules every client is held to (conversation.ts).
// Source: protocol reference 5.2, 5.3, 5.6, 7.1, 7.3, 9.1.

import t, { type Test } from 'tap'
import { type Sent, startChromium, Tab } from '../support/chromium.js'
import { startServer } from '../support/server.js'
import { converse, TIMES, type Traits } from './conversation.js'
import { servePages, startPages } from './pages.js'

const POLLING: Traits = { transport: 'long-polling', calls: 'none' }
const JSONP: Traits = { transport: 'callback-polling', calls: 'none' }

interface Wire {
  readonly channel: string
  readonly id: string
  readonly ext?: { readonly ack?: number; readonly timesync?: unknown }
  readonly supportedConnectionTypes?: unknown
}

const browser = await startChromium(t)

/** A page that the server itself serves. */
async function sameOrigin(t: Test, query: string, traits: Traits): Promise<Tab> {
  const { url, bayeux } = await startServer(t, TIMES, servePages)
  const tab = await Tab.open(t, browser, `${new URL(url).origin}/pages/dojo.html?${query}`)
  await converse(t, tab, '/cometd', bayeux, traits)
  return tab
}

/** The first message of what was sent. */
function message(sent: Sent): Wire {
  const text = sent.type.startsWith('application/x-www-form-urlencoded')
    ? new URLSearchParams(sent.text).get('message')
    : sent.text
  return (JSON.parse(text ?? '') as Wire[])[0]!
}

const isHandshake = (sent: Sent): boolean => message(sent).channel === '/meta/handshake'

/** How the requests were made, each way once. */
function ways(sent: readonly Sent[]): string[] {
  return [...new Set(sent.map(({ by, type }) => `${by} ${type}`.trim()))]
}

t.test('Dojo with JSON-encoded long-polling', async t => {
  const { sent } = await sameOrigin(t, 'transport=json', POLLING)
  const handshakes = ['POST application/x-www-form-urlencoded']
  t.same(ways(sent.filter(isHandshake)), handshakes, 'Dojo handshakes form-encoded, and is understood')
  const others = sent.filter(one => !isHandshake(one))
  t.same(ways(others), ['POST text/json;charset=UTF-8'], 'everything else goes as text/json, and is understood')
  t.equal(message(sent[0]!).id, '0', 'its first id is "0", which counts as an id')
})

t.test('Dojo with form-encoded long-polling', async t => {
  const { sent } = await sameOrigin(t, 'transport=form', POLLING)
  t.same(ways(sent), ['POST application/x-www-form-urlencoded'], 'every request is a form, and is understood')
})

t.test('Dojo with JSONP, after a handshake by POST', async t => {
  const { sent } = await sameOrigin(t, 'transport=jsonp&connectTimeout=5000', JSONP)
  t.same(ways(sent.filter(isHandshake)), ['POST application/x-www-form-urlencoded'], 'within its origin Dojo handshakes by POST')
  t.same(ways(sent.filter(one => !isHandshake(one))), ['GET'], 'a session begun by POST goes on by JSONP')
})

t.test('Dojo across origins, all by JSONP', async t => {
  const origin = await startPages(t)
  const { url, bayeux } = await startServer(t, { ...TIMES, allowedOrigins: [origin] })
  const tab = await Tab.open(t, browser, `${origin}/pages/dojo.html?transport=json&connectTimeout=5000`)
  await converse(t, tab, url, bayeux, JSONP)
  t.same(ways(tab.sent), ['GET'], 'every request is a JSONP GET, and is answered')
  t.notOk('supportedConnectionTypes' in message(tab.sent[0]!), 'a handshake that names no connection types is answered with ours')
})

t.test('Dojo with its ack and timesync extensions', async t => {
  const { url, bayeux } = await startServer(t, TIMES, servePages)
  const tab = await Tab.open(t, browser, `${new URL(url).origin}/pages/dojo.html?transport=json&extension=ack&extension=timesync`)
  await converse(t, tab, '/cometd', bayeux, POLLING)

  const lives: number[][] = []
  for (const { channel, ext } of tab.sent.map(message)) {
    if (channel === '/meta/handshake') lives.push([])
    if (channel === '/meta/connect') lives.at(-1)!.push(Number(ext?.ack))
  }
  t.equal(lives.length, 4, 'each of the four handshakes switches acknowledgement on anew')
  lives[0]?.pop() // the connect that found its session lost may repeat the number of one that failed
  for (const numbers of lives) {
    t.equal(numbers[0], -1, 'the first connect of a session acknowledges nothing')
    const grow = numbers.every((number, i) => i === 0 || number > numbers[i - 1]!)
    t.ok(grow, 'each later connect acknowledges a number above the one before')
  }
  const { samples, offset } = (await tab.ask('timesync')) as { samples: number; offset: number }
  t.ok(samples > 0, 'timesync gets answers it can use')
  t.ok(Math.abs(offset) < 2_000, 'the clocks of one machine differ by less than two seconds')
})
