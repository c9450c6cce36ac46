// What a page with a client of CometD's API lives through in Chromium: within an origin, across origins, over a reload.
//
// Knows: which origins and cookies a browser brings together, and how each transport shows on the wire.
// Does not know: which library a page loads, the rules every client is held to (conversation.ts).
// Source: protocol reference 4.5, 5.5, 5.7, 6.1, 7.6, 9.2, 9.3; vectors 40 and 179.

import type { Browser } from 'playwright-core'
import type { Test } from 'tap'
import { Tab } from '../support/chromium.js'
import { startServer } from '../support/server.js'
import { converse, TIMES, type Traits, Watch } from './conversation.js'
import { servePages, startPages } from './pages.js'

export const TRANSPORTS = ['websocket', 'long-polling', 'callback-polling'] as const

const BY = { websocket: 'websocket', 'long-polling': 'POST', 'callback-polling': 'GET' } as const

/** A client and its page in test/legacy/pages, with its query. */
export interface Visitor {
  readonly client: string
  readonly page: string
  readonly calls: Traits['calls']
}

type Transport = (typeof TRANSPORTS)[number]

/** Which ways a page took, but for the preflights of its POSTs. */
const ways = (tab: Tab): string[] => [...new Set(tab.sent.map(sent => sent.by))].filter(by => by !== 'OPTIONS')

export function atHome(t: Test, browser: Browser, { client, page, calls }: Visitor, transport: Transport): void {
  t.test(`${client} on ${transport}`, async t => {
    const { url, bayeux } = await startServer(t, TIMES, servePages)
    const { origin } = new URL(url)
    const tab = await Tab.open(t, browser, `${origin}/pages/${page}`)
    await converse(t, tab, url, bayeux, { transport, calls })
    t.same(ways(tab), [BY[transport]], `all went by ${BY[transport]}`)
  })
}

export function acrossOrigins(t: Test, browser: Browser, { client, page, calls }: Visitor, transport: Transport): void {
  t.test(`${client} on ${transport}, page of another port, with cookies`, async t => {
    const origin = await startPages(t)
    const { url, bayeux } = await startServer(t, { ...TIMES, allowedOrigins: [origin] })
    const tab = await Tab.open(t, browser, `${origin}/pages/${page}`)
    await converse(t, tab, url, bayeux, { transport, calls })
    t.same(ways(tab), [BY[transport]], `all went by ${BY[transport]}`)
    if (transport === 'websocket') return
    const cookies = await tab.page.context().cookies(url)
    t.match(cookies, [{ name: 'BAYEUX_BROWSER', httpOnly: true }], 'the browser keeps the cookie of the handshake across ports')
  })

  t.test(`${client} on ${transport}, page of another site, without cookies`, async t => {
    const origin = (await startPages(t)).replace('127.0.0.1', 'localhost')
    const { url, bayeux } = await startServer(t, { ...TIMES, allowedOrigins: [origin], trustClientSession: true })
    const tab = await Tab.open(t, browser, `${origin}/pages/${page}`)
    await converse(t, tab, url, bayeux, { transport, calls })
    t.same(ways(tab), [BY[transport]], `all went by ${BY[transport]}`)
    t.same(await tab.page.context().cookies(), [], 'the browser keeps no cookie of another site')
  })
}

export function overReload(t: Test, browser: Browser, { client, page }: Visitor, transport: Transport): void {
  t.test(`${client} on ${transport} with its reload extension`, async t => {
    const { url, bayeux } = await startServer(t, TIMES, servePages)
    const server = new Watch(t, bayeux)
    const tab = await Tab.open(t, browser, `${new URL(url).origin}/pages/${page}`)
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
