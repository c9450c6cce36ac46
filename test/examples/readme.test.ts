// The page of the README and of docs/client.md, as it stands there, in a real browser: two of them talk.

import { readFileSync } from 'node:fs'
import t from 'tap'
import { startChromium, within } from '../support/chromium.js'
import { startServer } from '../support/server.js'

const GUARD = { timeout: 20_000 }

for (const file of ['README.md', 'docs/client.md']) {
  t.test(`the page in ${file} is a chat`, async t => {
    const [, page] = /```html\n(<!doctype html>.*?)```/s.exec(readFileSync(file, 'utf8')) ?? []
    if (page === undefined) throw new Error(`no page in ${file}`)
    t.ok(/<script>\n(.*)<\/script>/s.exec(page)![1]!.trim().split('\n').length <= 10, 'in ten lines')
    const { app, url } = await startServer(t, {}, app => {
      app.get('/', (_request, reply) => reply.type('text/html').send(page))
    })
    const browser = await startChromium(t)
    const errors: string[] = []
    const open = async () => {
      const tab = await (await browser.newContext()).newPage()
      tab.on('pageerror', error => errors.push(error.message))
      await tab.goto(new URL('/', url).href, GUARD)
      return tab
    }
    const [ana, ben] = [await open(), await open()]
    for (const tab of [ana, ben])
      await within(tab.waitForFunction("client.state === 'connected'", undefined, GUARD), () => 'the page to be connected')
    t.equal(app.bayeux.stats().sessions, 2)
    await ana.fill('#text', 'hello <b>Ben</b>')
    await ana.press('#text', 'Enter')
    for (const tab of [ana, ben]) await tab.getByText('hello <b>Ben</b>').waitFor(GUARD)
    await ben.fill('#text', 'hi')
    await ben.press('#text', 'Enter')
    await ana.getByText('hi', { exact: true }).waitFor(GUARD)
    for (const tab of [ana, ben]) t.same(await tab.locator('li').allTextContents(), ['hello <b>Ben</b>', 'hi'])
    t.same(errors, [])
  })
}
