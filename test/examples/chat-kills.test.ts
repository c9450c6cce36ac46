// The chat as `npm start` runs it, with its history on disk: the server is killed ten times while two people type.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { counts, say, sees, texts, visit } from '../support/chat.js'
import { startChromium } from '../support/chromium.js'

const CHAT = fileURLToPath(new URL('../../examples/chat/main.js', import.meta.url))
const KILLS = 10
/** Of each person between two kills. The chat lets nobody say more than 40 at once. */
const WORDS = 3

/** Starts the chat and waits until it listens. */
async function start(t: Test, historyDir: string, port: string): Promise<{ child: ChildProcess; port: string }> {
  const child = spawn(process.execPath, [CHAT, '--port', port, '--history-dir', historyDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => void child.kill('SIGKILL'))
  for await (const line of createInterface({ input: child.stdout })) {
    const [, bound] = /listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(line) ?? []
    if (bound === undefined) continue
    child.stdout.resume()
    return { child, port: bound }
  }
  throw new Error('the chat did not start')
}

/** Waits until a page has heard so many. */
async function heard(page: Page, count: number): Promise<void> {
  await page.waitForFunction(wanted => document.querySelectorAll('.bubble').length >= wanted, count, { timeout: 60_000 })
}

t.test('both pages have the same transcript, with all that was said, once and in the order of each', async t => {
  const historyDir = join(t.testdir({}), 'history')
  const browser = await startChromium(t)
  let server = await start(t, historyDir, '0')
  const url = `http://127.0.0.1:${server.port}/`
  const ana = await visit(t, browser, url, '/', 'Ana')
  const ben = await visit(t, browser, url, '/', 'Ben')
  await sees(ana, '#members', 'Ben')
  const said: Record<'Ana' | 'Ben', string[]> = { Ana: [], Ben: [] }
  const type = async (page: Page, nick: 'Ana' | 'Ben', round: number): Promise<void> => {
    for (let n = 0; n < WORDS; n++) {
      const text = `${nick} ${round}.${n}`
      said[nick].push(text)
      await say(page, text)
    }
  }
  for (let round = 0; round < KILLS; round++) {
    const typing = Promise.all([type(ana, 'Ana', round), type(ben, 'Ben', round)])
    const ended = once(server.child, 'exit')
    setTimeout(() => server.child.kill('SIGKILL'), 20 * round) // before, in the midst of it, and after
    await Promise.all([typing, ended])
    server = await start(t, historyDir, server.port)
    if (round % 2 === 0) for (const page of [ana, ben]) await page.waitForSelector('#link-state:has-text("Live")')
  }
  const all = 2 * KILLS * WORDS
  for (const page of [ana, ben]) await heard(page, all)
  for (const page of [ana, ben]) await counts(page, '.said.sending', 0)
  const transcript = await texts(ana, '.bubble')
  t.same(await texts(ben, '.bubble'), transcript)
  t.equal(transcript.length, all, 'nothing is doubled')
  for (const nick of ['Ana', 'Ben'] as const)
    t.same(
      transcript.filter(text => text.startsWith(nick)),
      said[nick],
      `all of ${nick}, in order`,
    )
  for (const page of [ana, ben]) t.equal(await page.locator('.said.failed').count(), 0)

  const cleo = await visit(t, browser, url, '/', 'Cleo')
  await heard(cleo, 50)
  t.same(await texts(cleo, '.bubble'), transcript.slice(-50), 'who comes later reads the last of it')
})
