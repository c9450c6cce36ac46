// What tokens, rules and limits do to legacy clients in Chromium: tokens in cookies, and transports that see neither a status nor a header.
//
// Knows: what each client must live to see, in tabs with cookies of their own.
// Does not know: clients outside of a browser (security.test.ts).
// Source: protocol reference 3.7, 4.9, 5.6, 9.1 to 9.3, DEV-17; guarantee G8.

import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { PerihelionOptions } from '../../lib/index.js'
import { startChromium, Tab } from '../support/chromium.js'
import { hs256, SECRET } from '../support/issuer.js'
import { startServer } from '../support/server.js'
import { post } from '../support/wire.js'
import { servePages } from './pages.js'

t.setTimeout(110_000)

/** Client, its page, and the transport that it takes there. */
const CLIENTS = [
  ['cometd 9', 'cometd.html', 'websocket'],
  ['cometd 9', 'cometd.html', 'long-polling'],
  ['cometd 9', 'cometd.html', 'callback-polling'],
  ['our cometd.js', 'perihelion.html', 'websocket'],
  ['cometd-jquery 3', 'jquery.html', 'websocket'],
  ['cometd-jquery 3', 'jquery.html', 'long-polling'],
  ['cometd-jquery 3', 'jquery.html', 'callback-polling'],
  ['Dojo', 'dojo.html?transport=json', 'long-polling'],
  ['Dojo', 'dojo.html?transport=jsonp&connectTimeout=5000', 'callback-polling'],
] as const

const OPTIONS: PerihelionOptions = {
  tokenSecret: SECRET,
  tokenCookie: 'jwt',
  tokenClockTolerance: 0,
  tokenRenewal: 2_000,
  timeout: 3_000,
  channels: { '/secret/**': { subscribe: 'role:ops' } },
}

const browser = await startChromium(t)

/** A token for so many seconds and a part of one. */
function tokenOf(user: string, seconds: number, roles: readonly string[]): string {
  const now = Date.now() / 1_000
  return hs256({ sub: user, roles, iat: Math.floor(now) - 1, exp: Math.ceil(now) + seconds })
}

/** A tab with one client. */
class Page {
  private constructor(
    readonly tab: Tab,
    private readonly url: string,
    private readonly transport: string,
  ) {}

  static async open(t: Test, url: string, page: string, transport: string): Promise<Page> {
    return new Page(await Tab.open(t, browser, `${new URL(url).origin}/pages/${page}`), url, transport)
  }

  async setCookie(token: string): Promise<void> {
    await this.tab.page.context().addCookies([{ name: 'jwt', value: token, url: this.url, httpOnly: true }])
  }

  start(): Promise<unknown> {
    return this.tab.ask('start', this.url, this.transport)
  }

  /** Begins, and waits until the handshake is refused. */
  async startInVain(): Promise<void> {
    const failed = "client.failures.filter(what => what === 'handshake').length"
    const before = await this.tab.read<number>(failed)
    await this.tab.page.evaluate(`void client.start(${JSON.stringify(this.url)}, '${this.transport}')`)
    await this.tab.until(`${failed} > ${before}`, 'the handshake to fail')
  }

  /** Waits until the client has given up; says whether it then sends nothing more. */
  async silent(): Promise<boolean> {
    await this.tab.until('client.stopped()', 'the client to stop')
    const sent = this.tab.sent.length
    await delay(300)
    return this.tab.sent.length === sent
  }

  /** Waits for a message. @returns how often it came */
  async times(data: string): Promise<number> {
    await this.tab.until(`client.wire.some(m => m.data === '${data}')`, data)
    return this.tab.read<number>(`client.wire.filter(m => m.data === '${data}').length`)
  }

  handshakes(): number {
    return this.tab.sent.filter(({ text }) => decodeURIComponent(text).includes('/meta/handshake')).length
  }
}

/** A token in a cookie, a newer one in its place in time, and the end of all right. */
async function inCookie(t: Test, page: string, transport: string): Promise<void> {
  const { url, bayeux } = await startServer(t, OPTIONS, servePages)
  const client = await Page.open(t, url, page, transport)
  const { tab } = client
  await client.setCookie(tokenOf('alice', 300, ['ops']))
  await client.start()
  t.match(await tab.ask('subscribe', '/secret/a'), { successful: true }, 'a token in a cookie opens what a rule has closed')
  bayeux.publish('/secret/a', 'one')
  t.equal(await client.times('one'), 1, 'and its messages come')

  await client.setCookie(tokenOf('alice', 900, ['ops']))
  const session = bayeux.session(String(await tab.ask('clientId')))
  session?.identify({ ...session.identity, expiresAt: Date.now() + 2_500 })
  await tab.until('client.sessions.length === 2', 'a new handshake')
  await tab.until("client.subscribed.filter(channel => channel === '/secret/a').length === 2", 'the new subscribe')
  bayeux.publish('/secret/a', 'two')
  t.equal(await client.times('two'), 1, 'before that token ends the client handshakes again, and gets each message once')
  const { expiresAt } = bayeux.session(String(await tab.ask('clientId')))?.identity ?? { expiresAt: 0 }
  t.ok(expiresAt > Date.now() + 400_000, 'with the newer token that its cookie has by then')
  // from 5 on CometD, and ours too, stays on the socket that came with the first cookie, until it finds it closed
  const lost = /^(?:cometd|perihelion)\.html/.test(page) && transport === 'websocket' ? 1 : 0
  t.equal(
    await tab.read<number>("client.failures.filter(what => what === 'handshake').length"),
    lost,
    'no handshake is refused meanwhile',
  )

  bayeux.revoke({ user: 'alice' })
  t.ok(await client.silent(), 'revoked, it stops')
  await client.startInVain()
  t.ok(await client.silent(), 'begun again it is refused, and stops')
  t.equal(client.handshakes(), 3 + lost, 'three handshakes are all')
  t.equal(bayeux.stats().sessions, 0)
  t.same(tab.errors, [], 'no script of the page threw')
}

/** A token in `ext`: one that is none, one without the right, and one that ends. */
async function inExt(t: Test, page: string, transport: string): Promise<void> {
  const { url, bayeux } = await startServer(t, { ...OPTIONS, tokenRequired: true }, servePages)
  const client = await Page.open(t, url, page, transport)
  const { tab } = client
  await tab.read("client.token = 'broken'")
  await client.startInVain()
  t.ok(await client.silent(), 'with a token that is none the client is refused, and stops')

  await tab.read(`client.token = '${tokenOf('bob', 4, ['guest'])}'`)
  await client.start()
  t.match(await tab.ask('subscribe', '/open'), { successful: true })
  await tab.until("client.failures.filter(what => what === 'handshake').length === 2", 'the end of the token')
  t.ok(
    await client.silent(),
    'with one that it keeps when it is over, too: what it holds is answered, also where there is no status',
  )

  await tab.read(`client.token = '${tokenOf('bob', 600, ['guest'])}'`)
  await client.start()
  t.match(
    await tab.ask('subscribe', '/secret/a'),
    { successful: false, error: /403:denied_by_security_policy:subscribe_denied/ },
    'without the right it sees why not',
  )
  bayeux.publish('/secret/a', 'secret')
  await tab.ask('disconnect')
  t.same(
    (await tab.read<{ data: unknown }[]>('client.wire')).filter(({ data }) => data === 'secret'),
    [],
    'and gets nothing',
  )
  t.same(tab.errors, [], 'no script of the page threw')
}

/** A server that is full, until somebody leaves. */
async function tooLate(t: Test, page: string, transport: string): Promise<void> {
  const { url, bayeux } = await startServer(t, { ...OPTIONS, maxSessions: 1, maxInterval: 60_000 }, servePages)
  await post(url, JSON.stringify([{ channel: '/meta/handshake' }]))
  const client = await Page.open(t, url, page, transport)
  await client.startInVain()
  for (const session of bayeux.sessions()) session.disconnect()
  await client.tab.until('client.sessions.length === 1 && client.connected()', 'the client to get in')
  t.equal(client.handshakes(), 2, 'refused for want of room, the client tries again when it was told to, once')
  t.same(client.tab.errors, [], 'no script of the page threw')
}

t.test('legacy clients in Chromium get along with tokens, rules and limits', async t => {
  t.jobs = 3
  await Promise.all(
    CLIENTS.map(([client, page, transport]) =>
      t.test(`${client} on ${transport}, ${page}`, { buffered: true }, async t => {
        t.jobs = 3
        await Promise.all([
          t.test('a token in a cookie', { buffered: true }, t => inCookie(t, page, transport)),
          t.test('a token in ext', { buffered: true }, t => inExt(t, page, transport)),
          t.test('a full server', { buffered: true }, t => tooLate(t, page, transport)),
        ])
      }),
    ),
  )
})
