// What is not promised without an extension, and with ack: what docs/delivery.md says is lost is lost, and nobody is told.

import t, { type Test } from 'tap'
import { Client } from '../../lib/client/node.js'
import { startServer, type TestServer } from '../support/server.js'

const MODES = [{ ack: false }, { ack: true }]

/** A client that hears what is said on /a, and what it is told of trouble. */
async function listener(t: Test, url: string, ack: boolean): Promise<{ client: Client; heard: unknown[]; told: Set<string> }> {
  const client = new Client(url, { ack, backoffMax: 100 })
  t.teardown(() => client.close())
  const heard: unknown[] = []
  const told = new Set<string>()
  client.on('error', ({ code }) => told.add(code))
  await client.connect()
  await client.subscribe('/a', ({ data }) => heard.push(data)).ready
  return { client, heard, told }
}

/** Says it until it is heard: in the session that the client has then. */
async function heardAgain({ bayeux }: TestServer, heard: readonly unknown[]): Promise<void> {
  const before = heard.length
  while (heard.length === before) {
    bayeux.publish('/a', 'after')
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

t.test(
  'a session that is lost: what was said meanwhile is lost, with ack as well, and nothing says that it is missing',
  async t => {
    for (const { ack } of MODES) {
      const server = await startServer(t)
      const { client, heard, told } = await listener(t, server.url, ack)
      const { clientId } = client
      server.bayeux.session(clientId!)!.expire()
      server.bayeux.publish('/a', 'meanwhile')
      await heardAgain(server, heard)
      t.not(client.clientId, clientId)
      t.same([...new Set(heard)], ['after'])
      t.ok([...told].every(code => code === 'SESSION_LOST' || code === 'CONNECTION_FAILED'))
    }
  },
)

t.test('a server that stops and starts without a session store has no sessions, with ack as well', async t => {
  for (const { ack } of MODES) {
    const first = await startServer(t)
    const { client, heard } = await listener(t, first.url, ack)
    const { clientId } = client
    await first.app.close()
    const second = await startServer(t, {}, undefined, Number(new URL(first.url).port))
    second.bayeux.publish('/a', 'meanwhile')
    await heardAgain(second, heard)
    t.not(client.clientId, clientId)
    t.same([...new Set(heard)], ['after'])
  }
})
