// npm cometd 9, cometd-jquery 3 and this package's build of their API in Chromium: every transport, within an origin, across origins, and over a reload of the page.
//
// Knows: which pages, origins and cookies a browser brings together.
// Does not know: the rules every client is held to (conversation.ts).
// Source: protocol reference 4.5, 5.5, 5.6, 5.7, 6.1, 7.6, 9.2, 9.3; vectors 40 and 179.

import t from 'tap'
import { startChromium, Tab } from '../support/chromium.js'
import { startServer } from '../support/server.js'
import { converse, TIMES, type Traits, Watch } from './conversation.js'
import { servePages, startPages } from './pages.js'

const TRANSPORTS = ['websocket', 'long-polling', 'callback-polling'] as const

/** How each transport shows on the wire. */
const BY = { websocket: 'websocket', 'long-polling': 'POST', 'callback-polling': 'GET' } as const

const browser = await startChromium(t)

/** Which ways a page took, but for the preflights of its POSTs. */
const ways = (tab: Tab): string[] => [...new Set(tab.sent.map(sent => sent.by))].filter(by => by !== 'OPTIONS')

for (const [client, page, calls] of [
  ['cometd 9', 'cometd', 'result'],
  ['cometd-jquery 3', 'jquery', 'reply'],
  ['our cometd.js', 'perihelion', 'result'],
  ['our cometd.mjs', 'perihelion-module', 'result'],
  ['cometd-jquery 3 on our cometd.js', 'perihelion-jquery', 'result'],
] as const) {
  for (const transport of TRANSPORTS) {
    t.test(`${client} on ${transport}`, async t => {
      const traits: Traits = { transport, calls }
      const { url, bayeux } = await startServer(t, TIMES, servePages)
      const { origin } = new URL(url)
      const tab = await Tab.open(t, browser, `${origin}/pages/${page}.html`)
      await converse(t, tab, url, bayeux, traits)
      t.same(ways(tab), [BY[transport]], `all went by ${BY[transport]}`)
    })
  }
}

for (const [client, page, transport] of [['cometd 9', 'cometd'] as const, ['our cometd.js', 'perihelion'] as const].flatMap(
  each => TRANSPORTS.map(transport => [...each, transport] as const),
)) {
  t.test(`${client} on ${transport}, page of another port, with cookies`, async t => {
    const origin = await startPages(t)
    const { url, bayeux } = await startServer(t, { ...TIMES, allowedOrigins: [origin] })
    const tab = await Tab.open(t, browser, `${origin}/pages/${page}.html`)
    await converse(t, tab, url, bayeux, { transport, calls: 'result' })
    t.same(ways(tab), [BY[transport]], `all went by ${BY[transport]}`)
    if (transport === 'websocket') return
    const cookies = await tab.page.context().cookies(url)
    t.match(cookies, [{ name: 'BAYEUX_BROWSER', httpOnly: true }], 'the browser keeps the cookie of the handshake across ports')
  })

  t.test(`${client} on ${transport}, page of another site, without cookies`, async t => {
    const origin = (await startPages(t)).replace('127.0.0.1', 'localhost')
    const { url, bayeux } = await startServer(t, { ...TIMES, allowedOrigins: [origin], trustClientSession: true })
    const tab = await Tab.open(t, browser, `${origin}/pages/${page}.html`)
    await converse(t, tab, url, bayeux, { transport, calls: 'result' })
    t.same(ways(tab), [BY[transport]], `all went by ${BY[transport]}`)
    t.same(await tab.page.context().cookies(), [], 'the browser keeps no cookie of another site')
  })
}

t.test('without trustClientSession a session needs its cookie, which a page of another site does not get', async t => {
  const origin = (await startPages(t)).replace('127.0.0.1', 'localhost')
  const { url, bayeux } = await startServer(t, { ...TIMES, allowedOrigins: [origin] })
  const server = new Watch(t, bayeux)
  const tab = await Tab.open(t, browser, `${origin}/pages/cometd.html`)
  await tab.page.evaluate(`void client.start(${JSON.stringify(url)}, 'long-polling')`)
  await tab.until("client.failures.includes('connect')", 'the connect to fail')
  t.ok(server.begun.length > 0, 'the handshake succeeds')
  t.notOk(await tab.ask('connected'), 'the connect does not')
})

t.test('an origin that is not allowed is refused', async t => {
  const origin = await startPages(t)
  const { url, bayeux } = await startServer(t, { ...TIMES, allowedOrigins: ['http://app.example'] })
  const server = new Watch(t, bayeux)

  await t.test('cometd 9 on long-polling cannot handshake', async t => {
    const tab = await Tab.open(t, browser, `${origin}/pages/cometd.html`)
    await tab.page.evaluate(`void client.start(${JSON.stringify(url)}, 'long-polling')`)
    await tab.until("client.failures.includes('handshake')", 'the handshake to fail')
    t.same(await tab.read('client.sessions'), [], 'the client gets no session')
    t.same(server.begun, [], 'nor does the server make one')
  })

  await t.test('cometd 9 on websocket cannot handshake', async t => {
    const tab = await Tab.open(t, browser, `${origin}/pages/cometd.html`)
    await tab.page.evaluate(`void client.start(${JSON.stringify(url)}, 'websocket')`)
    await tab.until("client.failures.includes('handshake')", 'the handshake to fail')
    t.same(server.begun, [], 'the server makes no session')
  })

  await t.test('a POST that needs no preflight is not processed', async t => {
    const tab = await Tab.open(t, browser, `${origin}/pages/cometd.html`)
    const body = JSON.stringify([{ channel: '/meta/handshake', version: '1.0', id: '1' }])
    const send = `fetch(${JSON.stringify(url)}, { method: 'POST', mode: 'no-cors', body: ${JSON.stringify(body)} }).then(r => r.type)`
    t.equal(await tab.read(send), 'opaque', 'the request is sent and answered')
    t.same(server.begun, [], 'but its handshake has no effect')
  })

  await t.test('a WebSocket upgrade is refused', async t => {
    const tab = await Tab.open(t, browser, `${origin}/pages/cometd.html`)
    const open = `new Promise(resolve => {
      const socket = new WebSocket(${JSON.stringify(url.replace('http', 'ws'))})
      socket.onopen = () => resolve('open')
      socket.onclose = () => resolve('refused')
    })`
    t.equal(await tab.read(open), 'refused', 'before the socket opens')
  })
})

for (const [client, file, transport] of [
  ['cometd 9', 'reload', 'websocket'],
  ['cometd 9', 'reload', 'long-polling'],
  ['our cometd.mjs', 'perihelion-reload', 'websocket'],
  ['our cometd.mjs', 'perihelion-reload', 'long-polling'],
] as const) {
  t.test(`${client} on ${transport} with its reload extension`, async t => {
    const { url, bayeux } = await startServer(t, TIMES, servePages)
    const server = new Watch(t, bayeux)
    const page = `${new URL(url).origin}/pages/${file}.html`
    const tab = await Tab.open(t, browser, page)
    const clientId = await tab.ask('start', url, transport)
    await tab.ask('subscribe', '/talk/own')

    await tab.page.reload()
    await tab.until('window.client !== undefined', 'the scripts of the reloaded page')
    t.equal(await tab.ask('start', url, transport), clientId, 'a page that was reloaded keeps its clientId')
    t.same(server.begun, [clientId], 'without another handshake')
    bayeux.publish('/talk/own', 'still')
    await tab.until("client.wire.some(m => m.data === 'still')", 'a message by the old subscription')
    t.match(await tab.ask('subscribe', '/talk/own'), { successful: true }, 'it may subscribe again to what it was subscribed to')
    bayeux.publish('/talk/own', 'once')
    bayeux.publish('/talk/own', 'end')
    await tab.until("client.wire.some(m => m.data === 'end')", 'a message by the new subscription')
    const wire = await tab.read<{ data: unknown }[]>('client.wire')
    t.same(
      wire.map(m => m.data),
      ['still', 'once', 'end'],
      'and gets every message once',
    )
    t.same(tab.errors, [], 'no script of the page threw')
    await tab.ask('disconnect')
    await server.end('disconnected')
  })
}
