// The outbox in a real browser: IndexedDB keeps it over reloads of the page and the end of the tab.

import type { Page } from 'playwright-core'
import t from 'tap'
import { TroubledProxy } from '../../bench/proxy.js'
import { startChromium } from '../support/chromium.js'
import { startServer } from '../support/server.js'

const PAGE = `<!doctype html><title>outbox</title><script type="module">
  import { Client, indexedDbStore, Outbox } from '/cometd/client-durable.mjs'
  const client = new Client('/cometd', { backoffBase: 50, backoffMax: 200 })
  globalThis.outbox = await Outbox.open(client, indexedDbStore())
  globalThis.client = client
  await client.connect()
  document.title = 'connected'
</script>`

interface Scope {
  outbox: { size: number; publish(channel: string, data: unknown): Promise<unknown> }
}
const publish = (page: Page, data: unknown): Promise<void> =>
  page.evaluate(data => {
    ;(globalThis as unknown as Scope).outbox.publish('/a', data).catch(() => {})
  }, data)
const waits = (page: Page, count: number) =>
  page.waitForFunction(wanted => (globalThis as unknown as Scope).outbox?.size === wanted, count)
/** What is in the database, which is written behind the page's back. */
const stored = (page: Page): Promise<number> =>
  page.evaluate(
    () =>
      new Promise<number>((resolve, reject) => {
        const opening = indexedDB.open('perihelion-outbox')
        opening.onerror = () => reject(opening.error)
        opening.onsuccess = () => {
          const counting = opening.result.transaction('entries').objectStore('entries').count()
          counting.onsuccess = () => resolve(counting.result)
        }
      }),
  )

t.test('what is published while the network is cut outlives the page, and is done once, in order', async t => {
  const browser = await startChromium(t)
  const { url, bayeux } = await startServer(t, {}, async app => {
    app.get('/', (_request, reply) => reply.type('text/html').send(PAGE))
  })
  const heard: unknown[] = []
  bayeux.on('/a', message => void heard.push(message.data))
  const proxy = await TroubledProxy.open(url)
  t.teardown(() => proxy.close())
  const context = await browser.newContext()
  t.teardown(() => context.close())
  const first = await context.newPage()
  const home = new URL('/', proxy.url).href
  await first.goto(home)
  await first.waitForFunction(() => document.title === 'connected')
  await publish(first, 0)
  await waits(first, 0)

  proxy.set('deaf') // the server hears, the page does not
  await publish(first, 1)
  while (heard.length < 2) await new Promise(resolve => setTimeout(resolve, 10))
  proxy.set('shut')
  for (const n of [2, 3]) await publish(first, n)
  while ((await stored(first)) < 3) await new Promise(resolve => setTimeout(resolve, 10))
  t.same(heard, [0, 1])
  await first.close()

  proxy.set('none')
  const second = await context.newPage()
  await second.goto(home)
  await second.waitForFunction(() => document.title === 'connected')
  await publish(second, 4)
  await waits(second, 0)
  t.same(heard, [0, 1, 2, 3, 4], 'also what the server had heard and the page did not know')
  while ((await stored(second)) > 0) await new Promise(resolve => setTimeout(resolve, 10))
  await second.reload()
  await second.waitForFunction(() => document.title === 'connected')
  await waits(second, 0)
  t.equal(heard.length, 5, 'nothing is left for the page after it')
})
