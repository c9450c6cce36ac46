// The pages of the chat in Chromium: a server for them, how one comes in, speaks, and waits for what is to be seen.
//
// Always true: a wait ends at an event of the page, or fails after GUARD; an error of a page's script fails the test.

import type { Browser, BrowserContext, Page } from 'playwright-core'
import type { Test } from 'tap'
import { pages } from '../../examples/chat/pages.js'
import { chatRules, chatService } from '../../examples/chat/service.js'
import type { PerihelionOptions } from '../../lib/index.js'
import { startServer, type TestServer } from './server.js'

/** ms */
const GUARD = 20_000

/** A server with the chat at a path that no page has by heart. @param clock epoch ms, of the chat's limits */
export async function startChat(t: Test, options: PerihelionOptions = {}, clock?: () => number): Promise<TestServer> {
  return startServer(t, { path: '/push', channels: chatRules, ...options }, async app => {
    chatService(app.bayeux, clock)
    await pages(app, app.bayeux.path)
  })
}

/** A browser profile of its own. */
export async function profile(t: Test, browser: Browser, width = 1280): Promise<BrowserContext> {
  const context = await browser.newContext({ viewport: { width, height: 800 } })
  t.teardown(() => context.close())
  return context
}

/** Opens a page of the chat at a URL. */
export async function open(t: Test, context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage()
  page.setDefaultTimeout(GUARD)
  page.on('pageerror', error => t.fail(`${url}: ${error.message}`))
  page.on('console', message => {
    if (message.text().includes('Content Security Policy')) t.fail(`${url}: ${message.text()}`)
  })
  await page.goto(url)
  return page
}

/** Opens a page in a profile of its own, and says a name. @param url of the server, or of a way to it; `path` is that of the page */
export async function visit(t: Test, browser: Browser, url: string, path: string, nick: string, width?: number): Promise<Page> {
  const page = await open(t, await profile(t, browser, width), new URL(path, url).href)
  await focused(page, 'nick')
  await page.fill('#nick', nick)
  await page.press('#nick', 'Enter')
  await present(page)
  return page
}

/** Waits until the page is in a room. */
export async function present(page: Page): Promise<void> {
  await page.waitForSelector('#members li', { state: 'attached' })
}

/** Waits until an element has the focus. (A string would be evaluated in the page, against its policy.) */
export async function focused(page: Page, id: string): Promise<void> {
  await page.waitForFunction(wanted => document.activeElement?.id === wanted, id)
}

export async function say(page: Page, text: string): Promise<void> {
  await page.fill('#text', text)
  await page.press('#text', 'Enter')
}

/** Waits until an element's text contains `text`. */
export async function sees(page: Page, selector: string, text: string): Promise<void> {
  const test = ([where, what]: [string, string]): boolean => document.querySelector(where)?.textContent?.includes(what) === true
  await page.waitForFunction(test, [selector, text] as [string, string])
}

/** Waits until there are so many of the elements. */
export async function counts(page: Page, selector: string, count: number): Promise<void> {
  const test = ([where, many]: [string, number]): boolean => document.querySelectorAll(where).length === many
  await page.waitForFunction(test, [selector, count] as [string, number])
}

export async function texts(page: Page, selector: string): Promise<string[]> {
  return page.locator(selector).allTextContents()
}
