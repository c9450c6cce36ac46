// The chat over the wire: its service and its headers by plain HTTP, its three pages in Chromium. When the network fails: chat-trouble.test.ts.

import t from 'tap'
import { counts, focused, open, present, profile, say, sees, startChat, texts, visit } from '../support/chat.js'
import { startChromium } from '../support/chromium.js'

type Json = Record<string, unknown>

/** A client that polls by hand: what it sends returns with all that was queued for it. */
class Caller {
  #count = 0
  private constructor(
    readonly url: string,
    readonly clientId: string,
    readonly cookie: string,
  ) {}

  static async open(url: string): Promise<Caller> {
    const body = JSON.stringify([{ channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['long-polling'] }])
    const response = await fetch(url, { method: 'POST', body })
    const [reply] = (await response.json()) as [{ clientId: string }]
    return new Caller(url, reply.clientId, response.headers.getSetCookie().join('; '))
  }

  /** Comes in and joins the lobby. */
  static async enter(url: string, nick: string): Promise<Caller> {
    const caller = await Caller.open(url)
    await caller.send({ channel: '/meta/subscribe', subscription: '/talk/**' })
    await caller.call('enter', { nick, key: `key-of-${nick}`.padEnd(20, '-') })
    await caller.call('join', { room: 'lobby' })
    return caller
  }

  async send(...messages: Json[]): Promise<Json[]> {
    const body = JSON.stringify(messages.map(message => ({ id: String(++this.#count), clientId: this.clientId, ...message })))
    const response = await fetch(this.url, { method: 'POST', body, headers: { cookie: this.cookie } })
    return (await response.json()) as Json[]
  }

  /** Publishes, and gives what came back without the subscriptions of others. */
  async publish(channel: string, data: unknown): Promise<Json[]> {
    return this.send({ channel, data })
  }

  async call(name: string, data: unknown): Promise<Json | undefined> {
    const replies = await this.publish(`/service/talk/${name}`, data)
    return replies.find(reply => reply['data'] !== undefined && reply['id'] !== undefined)
  }
}

t.test('what a client publishes in a room is replaced by what the chat knows of its sender', async t => {
  const { url } = await startChat(t)
  const ana = await Caller.enter(url, 'Ana')
  const before = Date.now()
  const [delivery, reply] = await ana.publish('/talk/room/lobby', {
    text: 'hi',
    nick: 'Ben',
    at: 1,
    ['__proto__']: 1,
    extra: true,
  })
  t.match(reply, { successful: true })
  const { at, id, ...said } = delivery!['data'] as { at: number; id: string } & Json
  t.same(said, { nick: 'Ana', text: 'hi', tag: '' })
  t.ok(at >= before && at <= Date.now())
  t.match(id, /^[0-9a-z]+-\d+$/)
})

t.test('what is malformed, or not a client’s to say, is vetoed', async t => {
  const { url } = await startChat(t)
  const ana = await Caller.enter(url, 'Ana')
  const stranger = await Caller.open(url)
  const vetoed = async (caller: Caller, channel: string, data: unknown): Promise<void> => {
    const replies = await caller.publish(channel, data)
    t.match(replies.at(-1), { successful: false, error: '404::message_deleted' }, `${channel} ${JSON.stringify(data)}`)
    t.notOk(replies.some(reply => String(reply['channel']).startsWith('/talk/') && reply['data'] !== undefined))
  }
  for (const data of [null, 'hi', 7, ['hi'], {}, { text: '' }, { text: 7 }, { text: 'x'.repeat(2_001) }])
    await vetoed(ana, '/talk/room/lobby', data)
  for (const data of [null, 'x']) await vetoed(ana, '/talk/room/lobby/typing', data)
  await vetoed(ana, '/talk/room/ideas', { text: 'not joined' })
  await vetoed(ana, '/talk/room/lobby/', { text: 'x' })
  await vetoed(ana, '/talk/room/*', { text: 'x' })
  await vetoed(ana, '/talk/room/lobby/members', { event: 'left', nick: 'Ben' })
  await vetoed(ana, '/talk/rooms', { room: 'lobby', members: 99 })
  await vetoed(stranger, '/talk/room/lobby', { text: 'no name' })
  const refused = (await ana.publish('/talk/room/lobby', { text: '', tag: 'x1' })).find(
    reply => reply['channel'] === '/service/talk/refused',
  )
  t.match(refused, { data: { error: 'text_invalid', room: 'lobby', tag: 'x1' } }, 'and the sender is told why')
})

t.test('a refused request fails with its reason; other channels are not the chat’s business', async t => {
  const { url } = await startChat(t)
  const ana = await Caller.enter(url, 'Ana')
  t.match(await ana.call('private', { to: 'Nobody', text: 'x' }), { successful: false, data: { error: 'person_unknown' } })
  t.match(await ana.call('join', { room: 'No such slug' }), { successful: false, data: { error: 'room_invalid' } })
  t.match(await ana.call('leave', { room: 'lobby' }), { successful: true, data: { room: 'lobby' } })
  const other = await Caller.open(url)
  t.match(await other.call('enter', { nick: 'ana', key: 'x'.repeat(20) }), { successful: false, data: { error: 'nick_taken' } })
  const [own] = await other.send(
    { channel: '/meta/subscribe', subscription: '/chat/1' },
    { channel: '/chat/1', data: { text: 'hi' } },
  )
  t.same(own, { channel: '/chat/1', data: { text: 'hi' } })
})

t.test('a session that ends leaves its rooms and frees its name', async t => {
  const { url, bayeux } = await startChat(t)
  const ana = await Caller.enter(url, 'Ana')
  const ben = await Caller.enter(url, 'Ben')
  bayeux.session(ben.clientId)?.disconnect()
  const seen = await ana.publish('/talk/room/lobby', { text: 'x' })
  t.match(
    seen.filter(message => message['channel'] === '/talk/room/lobby/members').map(message => message['data']),
    [
      { event: 'joined', nick: 'Ben' },
      { event: 'left', nick: 'Ben', members: 1 },
    ],
  )
  t.match(await (await Caller.open(url)).call('enter', { nick: 'Ben', key: 'z'.repeat(20) }), { successful: true })
})

t.test('pages come with a strict policy, libraries from the packages, and nothing else does', async t => {
  const { url } = await startChat(t)
  const get = async (path: string): Promise<Response> => fetch(new URL(path, url))
  const policyOf = (response: Response): string => response.headers.get('content-security-policy') ?? ''
  for (const path of [
    '/',
    '/dojo.html',
    '/cometd.html',
    '/chat.js',
    '/config.json',
    '/vendor/dojo/dojo.js',
    '/vendor/dojox/cometd.js',
  ]) {
    const response = await get(path)
    t.equal(response.status, 200, path)
    t.equal(response.headers.get('x-content-type-options'), 'nosniff')
    t.match(policyOf(response), /default-src 'none'; script-src 'self'/)
    t.notMatch(policyOf(response), /unsafe-inline/)
    t.equal(policyOf(response).includes('unsafe-eval'), path === '/dojo.html')
    if (path.endsWith('.html') || path === '/')
      t.notMatch(await response.text(), /<script(?![^>]*\ssrc=)|\son[a-z]+=|\sstyle=|<style|https?:\/\//, path)
  }
  t.same(await (await get('/config.json')).json(), { bayeux: '/push' })
  for (const path of ['/vendor/dojo/package.json', '/vendor/fastify/fastify.js', '/room.ts', '/vendor/dojo/']) {
    t.not((await get(path)).status, 200, path)
  }
})

t.test('the pages', async t => {
  const server = await startChat(t)
  const browser = await startChromium(t)
  const ana = await visit(t, browser, server.url, '/', 'Ana')
  const tim = await visit(t, browser, server.url, '/dojo.html', 'Old Tim')

  await t.test('a modern page, one on Dojo and one on cometd.js talk with each other', async t => {
    const cora = await visit(t, browser, server.url, '/cometd.html', 'Cora')
    await say(cora, 'Hello <i>all</i>')
    await sees(ana, '#log', 'Hello <i>all</i>')
    await sees(tim, '#log', 'Hello <i>all</i>')
    await say(ana, 'Hello <b>old</b> friend')
    await sees(tim, '#log', 'Hello <b>old</b> friend')
    await say(tim, 'Hello & good day')
    await sees(ana, '#log', 'Hello & good day')
    await sees(cora, '#log', 'Hello & good day')
    t.same(await texts(cora, '.bubble'), ['Hello <i>all</i>', 'Hello <b>old</b> friend', 'Hello & good day'])
    t.same(await texts(cora, '#members .name'), ['Ana', 'Cora', 'Old Tim'])
    await cora.click('#rooms a:has-text("music")')
    await say(cora, 'la la')
    await counts(cora, '.said.sent', 1)
    await cora.click('#leave')
    await sees(cora, '#link-state', 'Not connected')
    await sees(ana, '#log', 'Cora left')
    await cora.click('#leave')
    await sees(cora, '#link-state', 'Cora · live on websocket')
    await cora.click('#leave')
    await sees(cora, '#link-state', 'Not connected')
    t.same(await texts(ana, '.group.own .bubble'), ['Hello <b>old</b> friend'])
    await sees(tim, '.row.own .words', 'Hello & good day')
    await counts(ana, '.said.sent', 1)
  })

  await t.test('both show who is there', async t => {
    t.same(await texts(ana, '#members .name'), ['Ana', 'Old Tim'])
    t.same(await texts(tim, '#members li'), ['Ana', 'Old Tim (you)'])
    await visit(t, browser, server.url, '/', 'Narrow', 360)
    await sees(ana, '#members', 'Narrow')
    await sees(tim, '#members', 'Narrow')
  })

  await t.test('each sees that the other is typing, and no longer once the message is there', async t => {
    await ana.locator('#text').pressSequentially('hm')
    await sees(tim, '#typing', 'Ana is typing')
    await tim.locator('#text').pressSequentially('well')
    await sees(ana, '#typing', 'Old Tim is typing')
    await tim.press('#text', 'Enter')
    await ana.waitForFunction(() => document.getElementById('typing')?.textContent === '')
    t.equal(await ana.inputValue('#text'), 'hm', 'what one writes stays')
    await ana.fill('#text', '')
  })

  await t.test('Shift and Enter begins a new line', async t => {
    await ana.fill('#text', 'one')
    await ana.press('#text', 'Shift+Enter')
    await ana.locator('#text').pressSequentially('two')
    await ana.press('#text', 'Enter')
    await sees(tim, '#log', 'one\ntwo')
    t.equal(await ana.inputValue('#text'), '')
  })

  await t.test('a private message is seen by the two alone', async t => {
    const cleo = await visit(t, browser, server.url, '/', 'Cleo')
    await ana.click('#members button:has-text("Old Tim")')
    await say(ana, 'between us')
    await tim.click('#privates a:has-text("Ana")')
    await sees(tim, '#log', 'between us')
    await say(tim, 'of course')
    await sees(ana, '#log', 'of course')
    t.same(await texts(ana, '.bubble'), ['between us', 'of course'])
    t.equal(await cleo.locator('#threads li').count(), 0)
    t.notMatch(await cleo.textContent('#log'), 'between us')
    await cleo.context().close()
    await ana.click('#rooms button:has-text("lobby")')
    await tim.click('#rooms a:has-text("lobby")')
  })

  await t.test('one may be in several rooms; the others count what is new', async t => {
    await ana.click('#new-room')
    await ana.fill('#room-name', 'Tea & Cake')
    await ana.press('#room-name', 'Enter')
    await sees(ana, '#title', '#tea-cake')
    await tim.click('#rooms a:has-text("tea-cake")')
    await sees(ana, '#members', 'Old Tim')
    await tim.click('#rooms a:has-text("lobby")')
    await say(ana, 'cake is ready')
    await sees(tim, '#rooms li:has(b)', '#tea-cake1')
    await say(tim, 'anybody here?')
    await sees(ana, '#rooms .news', 'lobby')
    t.notMatch(await ana.textContent('#log'), 'anybody here?')
    await ana.click('#rooms button:has-text("lobby")')
    await sees(ana, '#log .new + .group', 'anybody here?')
    t.equal(await ana.locator('#rooms .news').count(), 0)
    await tim.click('#rooms a:has-text("tea-cake")')
    await sees(tim, '#log', 'cake is ready')
    await tim.click('#rooms a:has-text("lobby")')
  })

  await t.test(
    'after the loss of their sessions both come back to their rooms, and what is said meanwhile comes with them',
    async t => {
      for (const { id } of [...server.bayeux.sessions()]) server.bayeux.session(id)?.expire()
      await say(ana, 'still here')
      await sees(tim, '#log', 'still here')
      await say(tim, 'me too')
      await sees(ana, '#log', 'me too')
      t.same(await texts(ana, '#members .name'), ['Ana', 'Old Tim'])
      t.equal((await texts(ana, '.bubble')).filter(text => text === 'anybody here?').length, 1, 'nothing twice')
    },
  )

  await t.test('a name that is taken is asked for again', async t => {
    const page = await open(t, await profile(t, browser), new URL('/', server.url).href)
    await page.fill('#nick', 'ana')
    await page.press('#nick', 'Enter')
    await sees(page, '#nick-error', 'already has this name')
    await page.fill('#nick', 'Anna')
    await page.press('#nick', 'Enter')
    await present(page)
    await page.reload()
    await sees(page, '#my-nick', 'Anna')
    await sees(page, '#members', 'Anna')
    t.equal(await page.isVisible('#name-dialog'), false, 'and the browser remembers it')
  })

  await t.test('an address that names no room leads to the lobby', async t => {
    for (const [nick, hash] of Object.entries({ Eve: '%', Eva: '@', Evi: 'no/room' })) {
      const page = await visit(t, browser, server.url, `/#${hash}`, nick)
      await sees(page, '#members', nick)
      t.equal(new URL(page.url()).hash, '#lobby', hash)
      await page.context().close()
    }
  })

  await t.test('at 360 px rooms and members are drawers, and nothing is wider than the screen', async t => {
    for (const path of ['/', '/dojo.html', '/cometd.html']) {
      const page = await visit(t, browser, server.url, path, `Phone ${path.length}`, 360)
      await say(page, `https://example.org/${'long-'.repeat(40)}`)
      await sees(page, '#log', 'long-long')
      t.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), path)
      if (path !== '/') continue
      t.equal(await page.locator('#rooms').isVisible(), false)
      await page.click('#open-sidebar')
      await page.click('#rooms button:has-text("music")')
      await sees(page, '#title', '#music')
      t.equal(await page.evaluate('document.getElementById("main").inert'), false)
      await page.click('#open-people')
      await page.waitForSelector('#people [data-close]:focus')
      await page.keyboard.press('Escape')
      await focused(page, 'open-people')
    }
  })
})
