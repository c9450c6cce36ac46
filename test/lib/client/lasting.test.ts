// What outlives a session: the application hears each message once and in order, and what it publishes is done once, whatever
// happens to connections, sessions and server.

import { join } from 'node:path'
import t from 'tap'
import { TroubledProxy } from '../../../bench/proxy.js'
import { Client, type Options } from '../../../lib/client/node.js'
import { startServer } from '../../support/server.js'

const channels = { '/k/**': { history: { messages: 10_000, age: 3_600_000 } } } as const
const OPTIONS: Options = { backoffBase: 20, backoffMax: 100 }
const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i)

/** Fulfilled when the list is so long. */
async function reached(list: readonly unknown[], length: number): Promise<void> {
  while (list.length < length) await new Promise(resolve => setTimeout(resolve, 10))
}

t.test('a lost session goes on where it was, through a wildcard too', async t => {
  const { url, bayeux } = await startServer(t, { channels })
  for (const transport of ['websocket', 'long-polling'] as const) {
    const client = new Client(url, { ...OPTIONS, transports: [transport] })
    t.teardown(() => client.close())
    client.on('gap', ({ channel }) => t.fail(`a gap in ${channel}`))
    await client.connect()
    const heard: number[] = []
    const wild: number[] = []
    await client.subscribe('/k/a', ({ data }) => heard.push(data as number)).ready
    await client.subscribe('/k/*', ({ data }) => wild.push(data as number)).ready
    for (const round of [0, 1, 2]) {
      for (const session of bayeux.sessions()) session.expire()
      for (const n of numbers(50, round * 50)) bayeux.publish('/k/a', n)
      await reached(heard, (round + 1) * 50)
      await reached(wild, (round + 1) * 50)
    }
    t.same(heard, numbers(150), transport)
    t.same(wild, numbers(150))
    await client.close()
  }
})

t.test(
  'a restart of the server with its history on disk loses nothing and doubles nothing; one in memory tells of the gap',
  async t => {
    for (const durable of [true, false]) {
      const folder = t.testdir({})
      const options = { channels, ...(durable ? { historyDir: join(folder, 'history') } : {}) }
      const first = await startServer(t, options)
      const gaps: unknown[] = []
      const client = new Client(first.url, OPTIONS)
      t.teardown(() => client.close())
      client.on('gap', gap => gaps.push(gap))
      await first.bayeux.publishSafely('/k/a', 0)
      await client.connect()
      const heard: number[] = []
      client.subscribe('/k/a', ({ data }) => heard.push(data as number), { from: 'all' })
      await reached(heard, 1)
      await first.bayeux.publishSafely('/k/a', 1)
      await reached(heard, 2)
      await first.app.close()
      const second = await startServer(t, options, undefined, Number(new URL(first.url).port))
      for (const n of [2, 3]) await second.bayeux.publishSafely('/k/a', n)
      await reached(heard, 4)
      t.same(heard, [0, 1, 2, 3])
      t.same(gaps, durable ? [] : [{ channel: '/k/a', dropped: 0 }])
      await client.close()
    }
  },
)

t.test('a subscription begins with all, at a moment, or behind a message that the application has kept', async t => {
  const { url, bayeux } = await startServer(t, { channels })
  for (const n of [0, 1]) bayeux.publish('/k/a', n)
  await new Promise(resolve => setTimeout(resolve, 5))
  const at = performance.timeOrigin + performance.now()
  bayeux.publish('/k/a', 2)
  const begin = async (from?: Parameters<Client['subscribe']>[2]): Promise<[unknown[], unknown[], Client]> => {
    const client = new Client(url)
    t.teardown(() => client.close())
    const heard: unknown[] = []
    const places: unknown[] = []
    await client.connect()
    await client.subscribe(
      '/k/a',
      ({ data, ext }) => {
        heard.push(data)
        places.push(ext?.['replay'])
      },
      from,
    ).ready
    return [heard, places, client]
  }
  const [all, places] = await begin({ from: 'all' })
  await reached(all, 3)
  const [since] = await begin({ from: { at } })
  await reached(since, 1)
  const [behind] = await begin({ from: places[0] as { id: number; epoch: string } })
  await reached(behind, 2)
  const [fresh] = await begin()
  bayeux.publish('/k/a', 3)
  for (const [heard, count] of [
    [all, 4],
    [since, 2],
    [behind, 3],
    [fresh, 1],
  ] as const)
    await reached(heard, count)
  t.same([all, since, behind, fresh], [[0, 1, 2, 3], [2, 3], [1, 2, 3], [3]])
})

t.test('one that begins in the past tells nothing twice to one that was there before', async t => {
  const { url, bayeux } = await startServer(t, { channels })
  const client = new Client(url)
  t.teardown(() => client.close())
  await client.connect()
  const narrow: unknown[] = []
  const wide: unknown[] = []
  await client.subscribe('/k/a', ({ data }) => narrow.push(data)).ready
  for (const n of [0, 1]) bayeux.publish('/k/a', n)
  await reached(narrow, 2)
  client.subscribe('/k/**', ({ data }) => wide.push(data), { from: 'all' })
  await reached(wide, 2)
  bayeux.publish('/k/a', 2)
  await reached(wide, 3)
  t.same(
    [narrow, wide],
    [
      [0, 1, 2],
      [0, 1, 2],
    ],
  )
})

t.test('where retention does not reach there is one gap, and all that is kept; what a slow client lost is told', async t => {
  const rules = { '/k/**': { history: { messages: 5, age: 3_600_000 } }, '/d': { overflow: 'drop-oldest' } } as const
  const { url, bayeux } = await startServer(t, { channels: rules, maxQueue: 10 })
  const gaps: unknown[] = []
  const client = new Client(url, OPTIONS)
  t.teardown(() => client.close())
  client.on('gap', gap => gaps.push(gap))
  await client.connect()
  const heard: number[] = []
  await client.subscribe('/k/a', ({ data }) => heard.push(data as number)).ready
  bayeux.publish('/k/a', 0)
  await reached(heard, 1)
  for (const session of bayeux.sessions()) session.expire()
  for (const n of numbers(20, 1)) bayeux.publish('/k/a', n)
  await reached(heard, 6)
  t.same(heard, [0, 16, 17, 18, 19, 20])
  t.same(gaps.splice(0), [{ channel: '/k/a', dropped: 0 }])

  const prices: number[] = []
  await client.subscribe('/d', ({ data }) => prices.push(data as number)).ready
  const [session] = bayeux.sessions()
  session?.batch(() => {
    for (const n of numbers(25)) bayeux.publish('/d', n)
  })
  await reached(prices, 10)
  const told = (gaps as { dropped: number }[]).reduce((sum, { dropped }) => sum + dropped, 0)
  t.equal(prices.length + told, 25)
  t.equal(prices.at(-1), 24)
})

t.test(
  'a publish whose answer is lost is said again and done once; what the server refuses, or does not know again, is told',
  async t => {
    for (const transport of ['websocket', 'long-polling'] as const) {
      const { url, bayeux } = await startServer(t)
      bayeux.policy({ canPublish: (_session, channel) => channel !== '/no' })
      const proxy = await TroubledProxy.open(url)
      t.teardown(() => proxy.close())
      const heard: unknown[] = []
      bayeux.on('/a', message => void heard.push(message.data))
      const client = new Client(proxy.url, { ...OPTIONS, replyTimeout: 500, transports: [transport] })
      t.teardown(() => client.close())
      await client.connect()
      for (const fate of ['idle', 'half', 'whole'] as const) {
        proxy.cut(fate)
        const said = [1, 2, 3].map(n => client.publish('/a', `${fate} ${n}`))
        t.match(await Promise.all(said), [{ successful: true }, { successful: true }, { successful: true }])
      }
      t.same(heard, ['idle 1', 'idle 2', 'idle 3', 'half 1', 'half 2', 'half 3', 'whole 1', 'whole 2', 'whole 3'], transport)
      await t.rejects(client.publish('/no', 1), { code: 'REFUSED', status: 403 })
      await client.close()
    }
  },
)

t.test('one that breaks every connection is given up after some tries, and holds up nothing behind it', async t => {
  const { url } = await startServer(t, { maxMessageSize: 2_000 })
  for (const transport of ['websocket', 'long-polling'] as const) {
    const client = new Client(url, { ...OPTIONS, transports: [transport] })
    await client.connect()
    const [before, large, ...behind] = client.batch(() =>
      ['short', 'x'.repeat(3_000), 'short', 'short'].map(text => client.publish('/a', text)),
    )
    await t.rejects(large!, { name: 'ClientError' }, transport)
    t.match(await Promise.all([before, ...behind]), Array(3).fill({ successful: true }), 'also in the same envelope')
    await client.close()
  }
})

t.test('with a server without history nothing is different', async t => {
  const { url, bayeux } = await startServer(t, { dedupeWindow: 0 })
  const client = new Client(url)
  t.teardown(() => client.close())
  await client.connect()
  const heard: unknown[] = []
  await client.subscribe('/a', message => heard.push(message), { from: 'all' }).ready
  bayeux.publish('/a', 1)
  await reached(heard, 1)
  t.match(heard, [{ channel: '/a', data: 1 }])
})
