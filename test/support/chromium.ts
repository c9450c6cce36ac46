// Chromium for the tests of pages: one browser a test file, one tab with its own cookie jar for each client.
//
// Knows: how Chromium is started without a screen, what a tab sent over the wire, how to wait for a page with a guard.
// Does not know: Bayeux clients, servers, which pages there are.
// Always true: a wait ends at an event of the page, or fails after GUARD with a text that says what was waited for.

import { existsSync } from 'node:fs'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import type { Test } from 'tap'

/** How long one wait may take, ms. */
const GUARD = 20_000

const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** What Playwright does to hidden pages lest they slow its tests down. */
const UNTHROTTLED = [
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
  '--disable-background-timer-throttling',
]

/** One request or WebSocket frame that a page sent. */
export interface Sent {
  readonly by: 'GET' | 'POST' | 'OPTIONS' | 'websocket'
  readonly url: string
  /** Content type of a POST, as sent. */
  readonly type: string
  /** Body of a POST, `message` parameter of a GET, text of a frame. */
  readonly text: string
}

/**
 * Starts the browser and closes it with the test. The timers of its hidden pages are slowed down, as people's are.
 *
 * The executable is Debian's /usr/bin/chromium, or that of the environment variable CHROMIUM_PATH.
 *
 * @throws {Error} there is no Chromium at that place
 */
export async function startChromium(t: Test, ...args: string[]): Promise<Browser> {
  const executablePath = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium'
  if (!existsSync(executablePath)) {
    throw new Error(`no Chromium at ${executablePath}: apt-get install chromium, or set CHROMIUM_PATH`)
  }
  const browser = await chromium.launch({ executablePath, args: [...ARGS, ...args], ignoreDefaultArgs: UNTHROTTLED })
  t.teardown(() => browser.close())
  return browser
}

/** A page in a browser profile of its own. */
export class Tab {
  /** Everything the page sent that went to a path under `/cometd`, in order. */
  readonly sent: Sent[] = []
  /** Uncaught errors of the page's scripts. */
  readonly errors: string[] = []

  constructor(readonly page: Page) {
    page.on('pageerror', error => this.errors.push(error.message))
    page.on('request', request => {
      const url = new URL(request.url())
      if (!url.pathname.startsWith('/cometd')) return
      const by = request.method() as Sent['by']
      const text = by === 'GET' ? url.searchParams.get('message') : request.postData()
      this.sent.push({ by, url: request.url(), type: request.headers()['content-type'] ?? '', text: text ?? '' })
    })
    page.on('websocket', socket => {
      socket.on('framesent', frame => {
        this.sent.push({ by: 'websocket', url: socket.url(), type: '', text: String(frame.payload) })
      })
    })
  }

  /** Opens a page and waits for its `window.client`. The profile goes with the test. Certificates that nobody has signed will do. */
  static async open(t: Test, browser: Browser, url: string): Promise<Tab> {
    const context = await browser.newContext({ ignoreHTTPSErrors: true })
    t.teardown(() => context.close())
    return Tab.beside(context, url)
  }

  /** Opens a page in a profile that is there. */
  static async beside(context: BrowserContext, url: string): Promise<Tab> {
    const tab = new Tab(await context.newPage())
    await tab.goto(url)
    return tab
  }

  async goto(url: string): Promise<void> {
    await this.page.goto(url, { timeout: GUARD })
    await this.until('window.client !== undefined', `the scripts of ${url}`)
  }

  /** Calls a function of `window.client` and waits for what it returns or resolves to. */
  async ask(name: string, ...args: unknown[]): Promise<unknown> {
    const call = `client.${name}(${args.map(arg => JSON.stringify(arg)).join(', ')})`
    return within(this.page.evaluate(call), () => `${call} to be answered; ${this.#state()}`)
  }

  /** Evaluates an expression in the page, and waits for its promise. */
  async read<T>(expression: string, guard = GUARD): Promise<T> {
    return within(this.page.evaluate<T>(expression), () => `the page to evaluate ${expression}; ${this.#state()}`, guard)
  }

  /** Waits until an expression is true in the page. */
  async until(expression: string, what: string): Promise<void> {
    await within(
      this.page.waitForFunction(expression, undefined, { timeout: 0 }),
      () => `${what} (${expression}); ${this.#state()}`,
    )
  }

  #state(): string {
    return `script errors: ${JSON.stringify(this.errors)}, last sent: ${JSON.stringify(this.sent.slice(-3))}`
  }
}

/**
 * Waits for a promise, at most `guard` ms.
 *
 * @throws {Error} that says in vain for what
 */
export async function within<T>(promise: Promise<T>, what: () => string, guard = GUARD): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${guard} ms in vain for ${what()}`)), guard)
  })
  try {
    return await Promise.race([promise, tooLate])
  } finally {
    clearTimeout(timer)
    promise.catch(() => {}) // after the guard, the page may still close on it
  }
}
