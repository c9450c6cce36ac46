// A page in a tab that lies behind another: Playwright shows its own pages as if each were in front.
//
// Does not know: which page.

import { setTimeout as delay } from 'node:timers/promises'
import type { Browser, CDPSession } from 'playwright-core'
import { within } from '../support/chromium.js'
import type { Page } from './stage.js'

interface Answer {
  readonly id?: number
  readonly result?: { readonly result: { readonly value: unknown }; readonly exceptionDetails?: unknown }
}

export class HiddenTab implements Page {
  readonly errors: string[] = []
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #asked = 0

  private constructor(
    readonly devtools: CDPSession,
    readonly sessionId: string,
  ) {
    devtools.on('Target.receivedMessageFromTarget', ({ sessionId, message }) => {
      if (sessionId !== this.sessionId) return
      const answer = JSON.parse(message) as Answer
      this.#waiting.get(answer.id ?? 0)?.(answer)
    })
  }

  /** Waits for its `window.client`. It goes with the browser. */
  static async open(browser: Browser, url: string): Promise<HiddenTab> {
    const devtools = await browser.newBrowserCDPSession()
    const { targetId } = await devtools.send('Target.createTarget', { url, background: true })
    const front = await devtools.send('Target.createTarget', { url: 'about:blank' })
    await devtools.send('Target.activateTarget', front)
    const { sessionId } = await devtools.send('Target.attachToTarget', { targetId, flatten: false })
    const tab = new HiddenTab(devtools, sessionId)
    for (const began = Date.now(); Date.now() - began < 20_000; await delay(50))
      if (await tab.read('window.client !== undefined')) return tab
    throw new Error(`waited in vain for the scripts of ${url}`)
  }

  async read<T>(expression: string, guard?: number): Promise<T> {
    const id = ++this.#asked
    const answered = new Promise<Answer>(resolve => this.#waiting.set(id, resolve))
    const params = { expression: `Promise.resolve(${expression})`, awaitPromise: true, returnByValue: true }
    const message = JSON.stringify({ id, method: 'Runtime.evaluate', params })
    await this.devtools.send('Target.sendMessageToTarget', { sessionId: this.sessionId, message })
    const { result } = await within(answered, () => `the hidden page to evaluate ${expression}`, guard)
    if (result?.exceptionDetails !== undefined) throw new Error(`${expression}: ${JSON.stringify(result.exceptionDetails)}`)
    return result?.result.value as T
  }
}
