// History queries over the wire, by the bundled client's `call`.

import t from 'tap'
import { Client } from '../../../lib/client/node.js'
import { startServer } from '../../support/server.js'

interface Answer {
  readonly epoch: string
  readonly messages: readonly {
    readonly channel: string
    readonly data: unknown
    readonly position: number
    readonly at: number
  }[]
  readonly through: number
  readonly more: boolean
  readonly recovered: boolean
}

t.test('pages of what is kept, in memory and on disk, on each transport; a refusal has its code', async t => {
  for (const durable of [false, true]) {
    const channels = { '/k/**': { history: { messages: 100, age: 3_600_000 } }, '/k/secret': { subscribe: 'nobody' } } as const
    const { url, bayeux } = await startServer(t, { channels, ...(durable ? { historyDir: `${t.testdir({})}/h` } : {}) })
    const from = Date.now()
    for (let n = 0; n < 5; n++) await bayeux.publishSafely('/k/a', n)
    for (const transport of ['websocket', 'long-polling'] as const) {
      const client = new Client(url, { transports: [transport] })
      t.teardown(() => client.close())
      await client.connect()
      const first = await client.call<Answer>('history', { channel: '/k/a', limit: 3 })
      t.match(first, { more: true, recovered: true })
      t.same(
        first.messages.map(({ data }) => data),
        [0, 1, 2],
      )
      const { through: id, epoch } = first
      const second = await client.call<Answer>('history', { channel: '/k/a', limit: 3, after: { id, epoch } })
      t.match(second, { more: false, recovered: true, epoch })
      t.same(
        second.messages.map(({ data }) => data),
        [3, 4],
      )
      const [, last] = second.messages
      t.ok(last!.at >= from - 100 && last!.at < from + 60_000 && Number.isInteger(last!.at))
      t.equal(second.through, last!.position)
      t.ok(Number.isSafeInteger(last!.position))
      await t.rejects(client.call('history', { channel: '/k/secret' }), {
        code: 'REFUSED',
        reply: { data: { error: 'subscribe_denied', text: /^403:/ } },
      })
      await t.rejects(client.call('history', { channel: '/k/a', limit: '3' }), {
        code: 'REFUSED',
        reply: { data: { error: 'history_query_invalid' } },
      })
      await client.close()
    }
  }
})
