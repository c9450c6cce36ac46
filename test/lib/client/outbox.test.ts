// The outbox: each message arrives once, in order, over cut lines, restarts of the server and reloads of the page.

import { join } from 'node:path'
import t from 'tap'
import { TroubledProxy } from '../../../bench/proxy.js'
import { Client } from '../../../lib/client/node.js'
import { Outbox, type OutboxEntry, type OutboxStore } from '../../../lib/client/outbox.js'
import { startServer } from '../../support/server.js'

const OPTIONS = { backoffBase: 20, backoffMax: 100, replyTimeout: 2_000 }
const channels = { '/k/**': { history: { messages: 10_000, age: 3_600_000 } } } as const
const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i)
const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

class MemoryStore implements OutboxStore {
  publisher = ''
  entries: OutboxEntry[] = []
  load = async () => ({ publisher: this.publisher, entries: [...this.entries] })
  name = async (publisher: string) => {
    this.publisher = publisher
  }
  put = async (entry: OutboxEntry) => void this.entries.push(entry)
  remove = async (key: string) => {
    this.entries = this.entries.filter(entry => entry.key !== key)
  }
}

/** Small numbers from a seed. */
function generator(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

t.test('through cuts at any moment each message arrives once and in order, and every promise is fulfilled', async t => {
  const seed = Date.now() % 1_000_000
  t.comment(`seed ${seed}`)
  const random = generator(seed)
  for (const transport of ['websocket', 'long-polling'] as const) {
    const { url, bayeux } = await startServer(t, { trusted: true })
    const proxy = await TroubledProxy.open(url)
    t.teardown(() => proxy.close())
    const heard: unknown[] = []
    bayeux.on('/a', message => void heard.push(message.data))
    const client = new Client(proxy.url, { ...OPTIONS, transports: [transport] })
    t.teardown(() => client.close())
    const outbox = new Outbox(client)
    await client.connect()
    const settled: Promise<unknown>[] = []
    for (const n of numbers(400)) {
      settled.push(outbox.publish('/a', n))
      if (n % 40 === 13) proxy.cut((['idle', 'half', 'whole'] as const)[random(3)])
      if (random(4) === 0) await pause(random(8))
    }
    await Promise.all(settled)
    t.same(heard, numbers(400), transport)
    t.equal(outbox.size, 0)
    await client.close()
  }
})

t.test('a restart of the server with its history on disk doubles nothing', async t => {
  const options = { channels, historyDir: join(t.testdir({}), 'history'), trusted: true }
  let server = await startServer(t, options)
  const port = Number(new URL(server.url).port)
  const client = new Client(server.url, OPTIONS)
  t.teardown(() => client.close())
  const outbox = new Outbox(client)
  await client.connect()
  const settled: Promise<unknown>[] = []
  for (const round of [0, 1, 2]) {
    for (const n of numbers(100, round * 100)) settled.push(outbox.publish('/k/a', n))
    await pause(5)
    await server.app.close()
    server = await startServer(t, options, undefined, port)
  }
  await Promise.all(settled)
  const kept = server.bayeux.history('/k/a', { limit: 1_000 }).messages.map(({ data }) => data)
  t.same(kept, numbers(300))
})

t.test('what a page leaves behind is published by the next, once', async t => {
  const { url, bayeux } = await startServer(t)
  const heard: unknown[] = []
  bayeux.on('/a', message => void heard.push(message.data))
  const store = new MemoryStore()
  const first = new Client(url)
  const before = new Outbox(first, { store })
  await before.loaded
  await first.connect()
  await before.publish('/a', 0)
  t.same(store.entries, [])
  const lost = store.put
  await first.close()
  for (const n of [1, 2]) void before.publish('/a', n).catch(() => {})
  await lost({ key: 'was-said-already', channel: '/a', data: 'x' })
  t.equal(store.entries.length, 3)
  const again = new Client(url)
  t.teardown(() => again.close())
  const outbox = new Outbox(again, { store })
  void outbox.publish('/a', 3)
  await outbox.loaded
  await again.connect()
  while (outbox.size > 0) await pause(5)
  t.same(heard, [0, 1, 2, 'x', 3])
  t.same(store.entries, [])
})

t.test('what is refused is rejected and not said again; an outbox has its bounds, and ends with its client', async t => {
  const { url, bayeux } = await startServer(t)
  bayeux.policy({ canPublish: (_session, channel) => channel !== '/no' })
  const client = new Client(url)
  const outbox = new Outbox(client, { max: 3 })
  const early = [outbox.publish('/a', 1), outbox.publish('/no', 2), outbox.publish('/a', 3)]
  await t.rejects(outbox.publish('/a', 4), { code: 'OUTBOX_FULL' })
  await client.connect()
  const results = await Promise.allSettled(early)
  t.same(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  t.match((results[1] as PromiseRejectedResult).reason, { code: 'REFUSED', status: 403, text: 'publish_denied' })
  await client.close()
  const late = outbox.publish('/a', 5)
  await client.connect()
  t.match(await late, { successful: true })
  await client.close()
  t.throws(() => outbox.publish('/a', 1n))
})

t.test('with a server that knows no keys, a message of unknown fate is rejected', async t => {
  const { url } = await startServer(t, { dedupeWindow: 0 })
  const proxy = await TroubledProxy.open(url)
  t.teardown(() => proxy.close())
  const client = new Client(proxy.url, OPTIONS)
  t.teardown(() => client.close())
  const outbox = new Outbox(client)
  await client.connect()
  proxy.set('deaf')
  const lost = outbox.publish('/a', 1)
  await t.rejects(lost, { code: /TIMEOUT|CONNECTION_FAILED/ })
  proxy.set('none')
  t.match(await outbox.publish('/a', 2), { successful: true })
})
