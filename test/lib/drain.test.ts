// The end of a server as its clients see it, over real sockets: nobody hangs, nothing is lost, and all come back by themselves.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { Client } from '../../lib/client/node.js'
import { startServer } from '../support/server.js'

const cli = fileURLToPath(new URL('../../lib/cli.js', import.meta.url))

async function clients(t: Test, url: string, count: number): Promise<Client[]> {
  const all = Array.from(
    { length: count },
    (_, i) => new Client(url, { transports: [i % 2 === 0 ? 'websocket' : 'long-polling'] }),
  )
  t.teardown(() => Promise.all(all.map(client => client.close())))
  await Promise.all(all.map(client => client.connect()))
  return all
}

t.test(
  'app.close answers every held connect and closes every socket with what waited, and takes no more than its time',
  async t => {
    const { app, url, bayeux } = await startServer(t, { trusted: true, drainTimeout: 2_000 })
    const all = await clients(t, url, 60)
    const heard = new Map<Client, unknown[]>()
    await Promise.all(
      all.map(client => {
        heard.set(client, [])
        return client.subscribe('/a', ({ data }) => heard.get(client)!.push(data)).ready
      }),
    )
    const replies: unknown[] = []
    for (const client of all) client.on('reply', reply => reply.channel === '/meta/connect' && replies.push(reply))
    bayeux.publish('/a', 'last')
    const from = performance.now()
    await app.close()
    t.ok(performance.now() - from < 5_000)
    t.ok(bayeux.draining)
    t.same(
      all.map(client => heard.get(client)),
      all.map(() => ['last']),
    )
    const told = (replies as { advice?: { interval: number; reconnect: string } }[]).filter(
      ({ advice }) => (advice?.interval ?? 0) >= 500,
    )
    t.equal(told.length, 60, 'each is told when to come back')
    t.ok(new Set(told.map(({ advice }) => advice!.interval)).size > 20, 'not all at the same time')
  },
)

t.test('with a session store the clients go on after a restart with the session that they had', async t => {
  const folder = t.testdir({})
  const sessionStore = join(folder, 'sessions')
  const first = await startServer(t, { sessionStore, trusted: true })
  const { port } = new URL(first.url)
  const all = await clients(t, first.url, 10)
  const heard = all.map(() => [] as unknown[])
  await Promise.all(all.map((client, i) => client.subscribe('/a', ({ data }) => heard[i]!.push(data)).ready))
  const ids = all.map(client => client.clientId)
  const lost: unknown[] = []
  for (const client of all) client.on('error', ({ code }) => code === 'SESSION_LOST' && lost.push(code))
  await first.app.close()
  t.equal(statSync(sessionStore).mode & 0o777, 0o600)
  const second = await startServer(t, { sessionStore, trusted: true }, undefined, Number(port))
  t.notOk(existsSync(sessionStore), 'it is used once')
  t.equal(second.bayeux.sessionCount, 10)
  second.bayeux.publish('/a', 'again')
  for (const messages of heard) while (messages.length === 0) await new Promise(resolve => setTimeout(resolve, 20))
  t.same(
    heard,
    all.map(() => ['again']),
  )
  t.same(
    all.map(client => client.clientId),
    ids,
  )
  t.same(lost, [])
})

t.test('a store that cannot be read is told and used no further', async t => {
  for (const content of ['nonsense', '{"version":2}\n', '{"version":1,"at":0}\n{}\n']) {
    const sessionStore = join(t.testdir({ sessions: content }), 'sessions')
    const { bayeux } = await startServer(t, { sessionStore })
    t.equal(bayeux.sessionCount, 0)
  }
})

t.test(
  'SIGTERM: not ready, no new sessions, then exit 0; after the next start the clients are there again, with their subscriptions',
  async t => {
    const start = async (port: string) => {
      const child = spawn(process.execPath, [cli, 'serve', '--port', port, '--drain-timeout', '3000'])
      t.teardown(() => void child.kill('SIGKILL'))
      for await (const line of createInterface({ input: child.stdout })) {
        const [, bound] = /listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(line) ?? []
        if (bound !== undefined) {
          child.stdout.resume()
          return { child, port: bound }
        }
      }
      throw new Error('it did not start')
    }
    const { child, port } = await start('0')
    const url = `http://127.0.0.1:${port}/cometd`
    const all = await clients(t, url, 10)
    const heard = all.map(() => [] as unknown[])
    await Promise.all(all.map((client, i) => client.subscribe('/a', ({ data }) => heard[i]!.push(data)).ready))
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    t.same(await ended, [0, null])
    for (const client of all) void client.publish('/b', 'typed meanwhile').catch(() => {})
    const again = await start(port)
    await Promise.all(all.map(client => client.call('nothing').catch(() => {}))) // behind it, subscriptions are made again
    await all[0]!.publish('/a', 'again')
    await Promise.all(
      heard.map(async messages => {
        while (messages.length === 0) await new Promise(resolve => setTimeout(resolve, 20))
      }),
    )
    t.same(
      heard,
      all.map(() => ['again']),
    )
    again.child.kill('SIGTERM')
    await once(again.child, 'exit')
  },
)
