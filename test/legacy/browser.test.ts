// npm cometd 9 and cometd-jquery 3 in Chromium: every transport, within an origin, across origins, and over a reload of the page.
//
// Knows: which of them visit the server, and which origins it refuses.
// Does not know: what a visit is (visits.ts), the rules every client is held to (conversation.ts).
// Source: protocol reference 5.5, 5.6, 5.7, 6.1.

import t from 'tap'
import { startChromium, Tab } from '../support/chromium.js'
import { startServer } from '../support/server.js'
import { TIMES, Watch } from './conversation.js'
import { startPages } from './pages.js'
import { acrossOrigins, atHome, overReload, TRANSPORTS } from './visits.js'

const browser = await startChromium(t)
const cometd = { client: 'cometd 9', page: 'cometd.html', calls: 'result' } as const
const jquery = { client: 'cometd-jquery 3', page: 'jquery.html', calls: 'reply' } as const

for (const visitor of [cometd, jquery]) for (const transport of TRANSPORTS) atHome(t, browser, visitor, transport)
for (const transport of TRANSPORTS) acrossOrigins(t, browser, cometd, transport)

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

for (const transport of ['websocket', 'long-polling'] as const)
  overReload(t, browser, { ...cometd, page: 'reload.html' }, transport)
