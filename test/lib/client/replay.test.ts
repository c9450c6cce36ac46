// Replay in the client: what the application hears is whole and in order, whatever happens to connections, sessions, server and page.

import { join } from 'node:path'
import t from 'tap'
import { Client } from '../../../lib/client/node.js'
import { Replay } from '../../../lib/client/replay.js'
import { startServer } from '../../support/server.js'

const channels = { '/k/**': { history: { messages: 10_000, age: 3_600_000 } } } as const
const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i)

class Memory {
  readonly kept = new Map<string, string>()
  getItem = (key: string): string | null => this.kept.get(key) ?? null
  setItem = (key: string, value: string): void => void this.kept.set(key, value)
  removeItem = (key: string): void => void this.kept.delete(key)
}

/** Fulfilled when the list is so long. */
async function reached(list: readonly unknown[], length: number): Promise<void> {
  while (list.length < length) await new Promise(resolve => setTimeout(resolve, 10))
}

t.test('a lost session goes on where it was, through a wildcard too; what was never subscribed to has no position', async t => {
  const { url, bayeux } = await startServer(t, { channels })
  for (const transport of ['websocket', 'long-polling'] as const) {
    const client = new Client(url, { transports: [transport], backoffMax: 100 })
    t.teardown(() => client.close())
    client.registerExtension('replay', new Replay({ gap: channel => t.fail(`a gap in ${channel}`) }))
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
      const gaps: string[] = []
      const client = new Client(first.url, { backoffMax: 100 })
      t.teardown(() => client.close())
      client.registerExtension('replay', new Replay({ from: () => 'all', gap: channel => gaps.push(channel) }))
      await first.bayeux.publishSafely('/k/a', 0)
      await client.connect()
      const heard: number[] = []
      client.subscribe('/k/a', ({ data }) => heard.push(data as number))
      await reached(heard, 1)
      await first.bayeux.publishSafely('/k/a', 1)
      await reached(heard, 2)
      await first.app.close()
      const second = await startServer(t, options, undefined, Number(new URL(first.url).port))
      for (const n of [2, 3]) await second.bayeux.publishSafely('/k/a', n)
      await reached(heard, 4)
      t.same(heard, [0, 1, 2, 3])
      t.same(gaps, durable ? [] : ['/k/a'])
      await client.close()
    }
  },
)

t.test('positions that are kept are those of the next page', async t => {
  const { url, bayeux } = await startServer(t, { channels })
  const storage = new Memory()
  const page = async (): Promise<{ client: Client; heard: number[] }> => {
    const client = new Client(url)
    client.registerExtension('replay', new Replay({ storage }))
    await client.connect()
    const heard: number[] = []
    await client.subscribe('/k/a', ({ data }) => heard.push(data as number)).ready
    return { client, heard }
  }
  const first = await page()
  for (const n of [0, 1, 2]) bayeux.publish('/k/a', n)
  await reached(first.heard, 3)
  await first.client.close()
  for (const n of [3, 4]) bayeux.publish('/k/a', n)
  const second = await page()
  await reached(second.heard, 2)
  bayeux.publish('/k/a', 5)
  await reached(second.heard, 3)
  t.same(second.heard, [3, 4, 5])
  await second.client.close()
  storage.setItem('perihelion.replay', '{"/k/a":{"id":"x"},"/k/b":7')
  const third = await page()
  bayeux.publish('/k/a', 6)
  await reached(third.heard, 1)
  t.same(third.heard, [6], 'what is broken is no position')
  await third.client.close()
})

t.test('where retention does not reach, there is one gap, and all that is kept', async t => {
  const { url, bayeux } = await startServer(t, { channels: { '/k/**': { history: { messages: 5, age: 3_600_000 } } } })
  const gaps: string[] = []
  const client = new Client(url, { backoffMax: 100 })
  t.teardown(() => client.close())
  client.registerExtension('replay', new Replay({ gap: channel => gaps.push(channel) }))
  await client.connect()
  const heard: number[] = []
  await client.subscribe('/k/a', ({ data }) => heard.push(data as number)).ready
  bayeux.publish('/k/a', 0)
  await reached(heard, 1)
  for (const session of bayeux.sessions()) session.expire()
  for (const n of numbers(20, 1)) bayeux.publish('/k/a', n)
  await reached(heard, 6)
  t.same(heard, [0, 16, 17, 18, 19, 20])
  t.same(gaps, ['/k/a'])
})

t.test('with a server without history nothing is different', async t => {
  const { url, bayeux } = await startServer(t)
  const client = new Client(url)
  t.teardown(() => client.close())
  client.registerExtension('replay', new Replay({ from: () => 'all' }))
  await client.connect()
  const heard: unknown[] = []
  await client.subscribe('/a', message => heard.push(message)).ready
  bayeux.publish('/a', 1)
  await reached(heard, 1)
  t.match(heard, [{ channel: '/a', data: 1 }])
})
