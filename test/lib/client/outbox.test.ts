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
    this.publisher ||= publisher
    return this.publisher
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
    const outbox = await Outbox.open(client, new MemoryStore())
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
  const outbox = await Outbox.open(client, new MemoryStore())
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

t.test('what a page leaves behind is published by the next, in its order and once', async t => {
  const { url, bayeux } = await startServer(t)
  const heard: unknown[] = []
  bayeux.on('/a', message => void heard.push(message.data))
  const proxy = await TroubledProxy.open(url)
  t.teardown(() => proxy.close())
  const store = new MemoryStore()
  const page = new Client(proxy.url, { ...OPTIONS, transports: ['long-polling'] })
  const before = await Outbox.open(page, store)
  await page.connect()
  await before.publish('/a', 0)
  t.same(store.entries, [])
  proxy.cut('whole') // the server has it, the page does not know
  const unknown = before.publish('/a', 1)
  const waits = before.publish('/a', 2)
  while (heard.length < 2) await pause(5)
  const left = { publisher: store.publisher, entries: [...store.entries] } // as a page that goes leaves it
  const store2 = Object.assign(new MemoryStore(), left)
  const ended = Promise.allSettled([unknown, waits])
  await page.close()
  await ended
  const next = new Client(url)
  t.teardown(() => next.close())
  const outbox = await Outbox.open(next, store2)
  t.equal(outbox.size, left.entries.length)
  void outbox.publish('/a', 3)
  await next.connect()
  while (outbox.size > 0) await pause(5)
  t.same([...new Set(heard)], [0, 1, 2, 3])
  t.equal(heard.length, 4, 'once')
  t.same(store2.entries, [])
})

t.test('a closed client rejects what waits, and says it when it connects again', async t => {
  const { url, bayeux } = await startServer(t)
  const heard: unknown[] = []
  bayeux.on('/a', message => void heard.push(message.data))
  const client = new Client(url, OPTIONS)
  const outbox = await Outbox.open(client, new MemoryStore())
  await client.connect()
  await client.close()
  await t.rejects(outbox.publish('/a', 1), { code: 'CLOSED' })
  await t.rejects(outbox.publish('/a', 2), { code: 'CLOSED' })
  t.equal(outbox.size, 2)
  await client.connect()
  while (outbox.size > 0) await pause(5)
  t.same(heard, [1, 2])
  await client.close()
})

t.test('what is refused is rejected and not said again; an outbox has its bounds', async t => {
  const { url, bayeux } = await startServer(t)
  bayeux.policy({ canPublish: (_session, channel) => channel !== '/no' })
  const client = new Client(url)
  const store = new MemoryStore()
  const outbox = await Outbox.open(client, store, 3)
  const early = [outbox.publish('/a', 1), outbox.publish('/no', 2), outbox.publish('/a', 3)]
  await t.rejects(outbox.publish('/a', 4), { code: 'OUTBOX_FULL' })
  await client.connect()
  const results = await Promise.allSettled(early)
  t.same(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  t.match((results[1] as PromiseRejectedResult).reason, { code: 'REFUSED', status: 403, text: 'publish_denied' })
  t.same(store.entries, [])
  t.throws(() => outbox.publish('/a', 1n), { name: 'TypeError' })
  await t.rejects(Outbox.open(client, store), { name: 'TypeError' }, 'it is connected')
  await client.close()
  await t.rejects(Outbox.open(client, store), { name: 'TypeError' }, 'it has one')
})

t.test('more than are said at a time wait, and arrive in order', async t => {
  const { url, bayeux } = await startServer(t, { trusted: true })
  const heard: unknown[] = []
  bayeux.on('/a', message => void heard.push(message.data))
  const client = new Client(url)
  t.teardown(() => client.close())
  const outbox = await Outbox.open(client, new MemoryStore())
  const settled = numbers(1_000).map(n => outbox.publish('/a', n))
  await client.connect()
  await Promise.all(settled)
  t.same(heard, numbers(1_000))
})

t.test('a store that fails costs what outlives the page, nothing else', async t => {
  const { url } = await startServer(t)
  const fails = () => Promise.reject(new Error('no store'))
  const client = new Client(url)
  t.teardown(() => client.close())
  const outbox = await Outbox.open(client, { load: fails, name: fails, put: fails, remove: fails })
  await client.connect()
  t.match(await outbox.publish('/a', 1), { successful: true })
})

t.test('with a server that knows no keys, a message of unknown fate is rejected', async t => {
  const { url } = await startServer(t, { dedupeWindow: 0 })
  const proxy = await TroubledProxy.open(url)
  t.teardown(() => proxy.close())
  const client = new Client(proxy.url, OPTIONS)
  t.teardown(() => client.close())
  const store = new MemoryStore()
  const outbox = await Outbox.open(client, store)
  await client.connect()
  proxy.set('deaf')
  const lost = outbox.publish('/a', 1)
  await t.rejects(lost, { code: /TIMEOUT|CONNECTION_FAILED/ })
  t.same(store.entries, [], 'nor said by the next page')
  proxy.set('none')
  t.match(await outbox.publish('/a', 2), { successful: true })
})

t.test('a slow store keeps nothing that was answered before it had it', async t => {
  const { url } = await startServer(t)
  const client = new Client(url)
  t.teardown(() => client.close())
  const store = new MemoryStore()
  let kept = (): void => {}
  store.put = async entry => {
    await new Promise<void>(resolve => (kept = resolve))
    store.entries.push(entry)
  }
  const outbox = await Outbox.open(client, store)
  await client.connect()
  t.match(await outbox.publish('/a', 1), { successful: true })
  await pause(0)
  kept()
  await pause(0)
  t.same(store.entries, [])
})

t.test('pages that open one store at a time are one publisher', async t => {
  const { url } = await startServer(t)
  const store = new MemoryStore()
  const publishers: unknown[] = []
  const clients = [new Client(url), new Client(url)]
  const opened = clients.map(client => Outbox.open(client, store))
  await Promise.all(opened)
  for (const client of clients) {
    t.teardown(() => client.close())
    client.registerExtension('look', {
      outgoing: ({ channel, ext }) =>
        void (channel === '/meta/handshake' && publishers.push((ext as { dedupe: unknown }).dedupe)),
    })
    await client.connect()
  }
  t.same(publishers, [{ publisher: store.publisher }, { publisher: store.publisher }])
})

t.test('without a store the publisher is the client, or the outbox where the client has none', async t => {
  const { url } = await startServer(t)
  const fails = () => Promise.reject(new Error('no store'))
  for (const lasting of [true, false]) {
    const client = new Client(url, { lasting })
    t.teardown(() => client.close())
    const ids: unknown[] = []
    const look = ({ channel, ext }: Record<string, unknown>): void => {
      if (channel === '/meta/handshake') ids.push((ext as { dedupe?: { publisher: string } }).dedupe?.publisher)
    }
    client.registerExtension('before', { outgoing: look })
    const outbox = await Outbox.open(client, { load: fails, name: fails, put: fails, remove: fails })
    client.registerExtension('after', { outgoing: look })
    await client.connect()
    t.match(await outbox.publish('/a', 1), { successful: true })
    const [own, told] = ids
    if (lasting) t.equal(told, own)
    else t.match([own, told], [undefined, /^[0-9a-z]{22,64}$/])
  }
})

t.test('bytes are bytes', async t => {
  const { url } = await startServer(t)
  const client = new Client(url)
  t.teardown(() => client.close())
  const outbox = await Outbox.open(client, new MemoryStore())
  await client.connect()
  const heard: unknown[] = []
  await client.subscribe('/a', ({ data }) => heard.push(data)).ready
  const bytes = new Uint8Array([1, 2, 3, 4])
  const said = outbox.publish('/a', bytes)
  bytes.fill(0)
  await said
  while (heard.length === 0) await pause(1)
  t.strictSame(heard, [new Uint8Array([1, 2, 3, 4])])
})
