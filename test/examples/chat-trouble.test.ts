// The modern page of the chat when the network fails and the server begins anew, over reloads, and in several tabs.

import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { TroubledProxy } from '../../bench/proxy.js'
import { counts, focused, open, present, profile, say, sees, startChat, texts, visit } from '../support/chat.js'
import { startChromium } from '../support/chromium.js'
import type { TestServer } from '../support/server.js'

/** Waits until these are the last words that a page shows. */
async function hears(page: Page, ...words: string[]): Promise<void> {
  const test = (wanted: string[]): boolean => {
    const all = [...document.querySelectorAll('.bubble')].map(bubble => bubble.textContent)
    return wanted.every((word, i) => all[all.length - wanted.length + i] === word)
  }
  await page.waitForFunction(test, words)
}

/** A way to a server that can be cut. */
async function layCable(t: Test, server: TestServer): Promise<TroubledProxy> {
  const cable = await TroubledProxy.open(server.url)
  t.teardown(() => cable.close())
  return cable
}

/** Ana behind a cable, Ben on a wire of his own, both in the lobby. */
async function two(t: Test, browser: Browser, server: TestServer): Promise<{ ana: Page; ben: Page; cable: TroubledProxy }> {
  const cable = await layCable(t, server)
  const ana = await visit(t, browser, cable.url, '/', 'Ana')
  const ben = await visit(t, browser, server.url, '/', 'Ben')
  await sees(ana, '#members', 'Ben')
  return { ana, ben, cable }
}

t.test('with trouble', async t => {
  const browser = await startChromium(t)

  await t.test('what one says is shown at once, pale until the server has it', async t => {
    const { ana, ben, cable } = await two(t, browser, await startChat(t))
    cable.set('stall')
    await say(ana, 'patience')
    await counts(ana, '.said.sending', 1)
    t.equal(await ana.getAttribute('.said svg', 'aria-label'), 'Sending')
    cable.set('none')
    await counts(ana, '.said.sent', 1)
    t.equal(await ana.getAttribute('.said svg', 'aria-label'), 'Sent')
    await hears(ben, 'patience')
  })

  await t.test('what is written while the network is cut waits, and arrives once and in order', async t => {
    const { ana, ben, cable } = await two(t, browser, await startChat(t))
    cable.set('shut')
    await sees(ana, '#banner', 'Reconnecting since')
    for (const word of ['one', 'two', 'three']) await say(ana, word)
    await sees(ana, '#banner', '3 messages wait')
    await counts(ana, '.said.sending', 3)
    await say(ben, 'meanwhile')
    cable.set('none')
    await sees(ana, '#banner', 'Connected again')
    await hears(ben, 'meanwhile', 'one', 'two', 'three')
    await hears(ana, 'meanwhile', 'one', 'two', 'three')
    await counts(ana, '.said.sent', 3)
    t.same(await texts(ana, '.bubble'), await texts(ben, '.bubble'))
    await sees(ana, '#link-state', 'Live · ')
  })

  await t.test('a message whose answer was lost is not said twice, and the next ones come behind it', async t => {
    const { ana, ben, cable } = await two(t, browser, await startChat(t))
    cable.set('deaf')
    await say(ana, 'did you hear')
    await hears(ben, 'did you hear')
    cable.set('shut')
    await sees(ana, '#banner', 'Reconnecting since')
    await say(ana, 'me?')
    cable.set('none')
    await hears(ben, 'did you hear', 'me?')
    await counts(ana, '.said.sent', 2)
    t.same(await texts(ana, '.bubble'), ['did you hear', 'me?'])
    t.same(await texts(ben, '.bubble'), ['did you hear', 'me?'])
  })

  await t.test('what is written while the server begins anew arrives once and in order', async t => {
    const first = await startChat(t)
    const { ana, cable } = await two(t, browser, first)
    const cleo = await visit(t, browser, cable.url, '/', 'Cleo')
    await say(ana, 'before')
    await hears(cleo, 'before')
    cable.set('shut')
    await first.app.close()
    await sees(ana, '#banner', 'Reconnecting since')
    for (const word of ['one', 'two', 'three']) await say(ana, word)
    await ana.click('#rooms button:has-text("music")')
    await say(ana, 'la la')
    await sees(ana, '#banner', '4 messages wait')
    cable.lead((await startChat(t)).url)
    cable.set('none')
    await hears(cleo, 'before', 'one', 'two', 'three')
    await counts(ana, '.said.sent', 1)
    await ana.click('#rooms button:has-text("lobby")')
    await hears(ana, 'before', 'one', 'two', 'three')
    await counts(ana, '.said.sent', 4)
    t.same(await texts(cleo, '.bubble'), ['before', 'one', 'two', 'three'])
    t.match(await texts(ana, '#members .name'), ['Ana', 'Cleo'], 'and both are there again')
  })

  await t.test('what the server refuses says why, and can be tried again or be discarded', async t => {
    let now = Date.now()
    const server = await startChat(t, {}, () => now)
    const { ana, ben } = await two(t, browser, server)
    for (let i = 0; i < 50; i++) await say(ana, `word ${i}`)
    await counts(ana, '.said.sending', 0)
    const failed = await ana.locator('.said.failed').count()
    t.ok(failed > 2 && failed < 20, `${failed} of 50`)
    t.match((await texts(ana, '.why'))[0], /^That was a lot at once/)
    await ana.locator('.why').last().getByText('Discard').click()
    await counts(ana, '.said.failed', failed - 1)
    await ana.getByText('Try again').first().click()
    await counts(ana, '.said.failed', failed - 1)
    now += 10_000
    const [words] = await texts(ana, '.said.failed .bubble')
    await ana.getByText('Try again').first().click()
    await counts(ana, '.said.sent', 50 - failed + 1)
    await hears(ben, words!)
  })

  await t.test('a private message to somebody who is not there fails, and arrives once they are', async t => {
    const server = await startChat(t)
    const { ana } = await two(t, browser, server)
    await ana.goto(`${ana.url().split('#')[0]}#@Greta`)
    await sees(ana, '#title', 'Greta')
    await say(ana, 'are you there?')
    await sees(ana, '.why', 'Nobody here has this name.')
    const greta = await visit(t, browser, server.url, '/', 'Greta')
    await ana.getByText('Try again').click()
    await counts(ana, '.said.sent', 1)
    await sees(greta, '#threads', 'Ana')
    t.match(await greta.title(), /^\(1\) /, 'and is counted in the title')
    await greta.click('#threads button')
    await hears(greta, 'are you there?')
    t.notMatch(await greta.title(), /^\(/)
  })

  await t.test('a reload goes on with the same session, and shows each message once', async t => {
    const server = await startChat(t)
    const { ana, ben } = await two(t, browser, server)
    const ids = (): string[] => [...server.bayeux.sessions()].map(session => session.id).sort()
    await say(ana, 'before')
    await hears(ben, 'before')
    const before = ids()
    for (const word of ['after', 'and again']) {
      await ana.reload()
      await present(ana)
      await say(ana, word)
      await hears(ben, word)
      await say(ben, `${word}!`)
      await hears(ana, word, `${word}!`)
    }
    t.same(ids(), before)
    t.same(await texts(ana, '.bubble'), ['before', 'after', 'after!', 'and again', 'and again!'])
    t.same(await texts(ben, '.notice'), [], 'nobody saw her go')
  })

  await t.test('sent away by the server, one may connect again, and what was written then is sent', async t => {
    const server = await startChat(t)
    const { ana, ben } = await two(t, browser, server)
    await ana.click('#rooms button:has-text("music")')
    await sees(ana, '#members', 'Ana')
    for (const { id, subscriptions } of [...server.bayeux.sessions()])
      if (subscriptions.includes('/talk/room/lobby')) server.bayeux.session(id)?.disconnect()
    for (const page of [ana, ben]) await sees(page, '#banner', 'The server has ended this connection.')
    await ana.click('#rooms button:has-text("lobby")')
    await say(ana, 'hello?')
    await sees(ana, '#banner', '1 message waits')
    for (const page of [ben, ana]) await page.getByText('Connect again').click()
    await hears(ben, 'hello?')
    await counts(ana, '.said.sent', 1)
    await say(ben, 'hello')
    await hears(ana, 'hello?', 'hello')
    await counts(ana, '#rooms .idle', 1)
  })

  await t.test('two tabs are one person', async t => {
    const server = await startChat(t)
    const { ana, ben, cable } = await two(t, browser, server)
    const second = await open(t, ana.context(), new URL('/', cable.url).href)
    await present(second)
    await say(ana, 'from the first')
    await hears(second, 'from the first')
    await counts(second, '.said.sent', 1)
    await say(second, 'from the second')
    await hears(ana, 'from the first', 'from the second')
    t.same(await texts(ben, '#members .name'), ['Ben', 'Ana'])
    await second.click('#me')
    await second.fill('#nick', 'Anna')
    await second.press('#nick', 'Enter')
    await sees(ben, '#members', 'Anna')
    await sees(ana, '#my-nick', 'Anna')
    t.same(await texts(ben, '.notice'), ['Ana is now Anna'])
    t.same(server.bayeux.sessionCount, 3)
  })

  await t.test('a name said in one tab will do for all', async t => {
    const server = await startChat(t)
    const context = await profile(t, browser)
    const first = await open(t, context, new URL('/', server.url).href)
    const second = await open(t, context, new URL('/', server.url).href)
    await focused(second, 'nick')
    await first.fill('#nick', 'Ana')
    await first.press('#nick', 'Enter')
    await present(second)
    await focused(second, 'text')
    await say(second, 'hello')
    await hears(first, 'hello')
  })

  await t.test('tabs that share one connection are one session, and each is told what concerns it', async t => {
    const server = await startChat(t)
    const context = await profile(t, browser)
    const first = await open(t, context, new URL('/?shared', server.url).href)
    await first.fill('#nick', 'Ana')
    await first.press('#nick', 'Enter')
    await present(first)
    const second = await open(t, context, new URL('/?shared', server.url).href)
    await present(second)
    await sees(second, '#link-state', 'Live · websocket, shared')
    const ben = await visit(t, browser, server.url, '/', 'Ben')
    t.equal(server.bayeux.sessionCount, 2)

    await say(first, 'hello')
    for (const page of [first, second, ben]) await hears(page, 'hello')
    await counts(second, '.said.sent', 1)
    await say(ben, 'hello both')
    for (const page of [first, second]) await hears(page, 'hello', 'hello both')

    await first.click('#members button:has-text("Ben")')
    await say(first, 'between us')
    await counts(first, '.said.sent', 1)
    await second.click('#threads button:has-text("Ben")')
    await hears(second, 'between us')
    await counts(second, '.said.sent', 1)

    await first.click('#rooms button:has-text("music")')
    await sees(first, '#members', 'Ana')
    await counts(second, '#rooms .idle', 1)
    await second.click('#rooms button:has-text("music")')
    await first.click('#leave')
    await sees(second, '#title', '#lobby')
    await say(second, 'music is over')
    await hears(ben, 'hello both', 'music is over')

    for (const { id } of [...server.bayeux.sessions()]) server.bayeux.session(id)?.expire()
    await say(second, 'anew')
    await hears(ben, 'anew')
    await first.close()
    await say(second, 'alone')
    await hears(ben, 'anew', 'alone')
    t.equal(server.bayeux.sessionCount, 2)
    await second.reload()
    await present(second)
    await say(second, 'and again')
    await hears(ben, 'anew', 'alone', 'and again')
    await hears(second, 'music is over', 'anew', 'alone', 'and again')
  })

  await t.test('the page on cometd.js comes back by itself, and offers again what was not sent', async t => {
    const server = await startChat(t)
    const cable = await layCable(t, server)
    const cora = await visit(t, browser, cable.url, '/cometd.html', 'Cora')
    const ben = await visit(t, browser, server.url, '/', 'Ben')
    cable.set('shut')
    await sees(cora, '#banner', 'Trying to get it back')
    await say(cora, 'lost?')
    await sees(cora, '.why', 'The server cannot be reached.')
    cable.set('none')
    await sees(cora, '#link-state', 'Cora · live')
    await cora.getByText('Try again').click()
    await hears(ben, 'lost?')
    await counts(cora, '.said.sent', 1)
    t.same(await texts(cora, '.bubble'), ['lost?'])
  })
})
