// A disk that is full, by a limit on the size of files: who is told, and that all else goes on.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Client } from '../../../lib/client/node.js'

const CLI = fileURLToPath(new URL('../../../lib/cli.js', import.meta.url))
/** Of 512 or 1,024 bytes, as the shell has it. */
const BLOCKS = 3_000

t.test('publishers are refused with a code, other channels go on, readiness tells of it, and the server ends well', async t => {
  const folder = t.testdir({})
  const config = join(folder, 'config.yaml')
  const channels = { '/k/**': { history: { messages: 1_000_000, age: 3_600_000 } } }
  writeFileSync(config, JSON.stringify({ historyDir: join(folder, 'history'), trusted: true, channels }))
  const child = spawn(
    'sh',
    ['-c', `ulimit -f ${BLOCKS}; exec "$0" "$@"`, process.execPath, CLI, 'serve', '--port', '0', '--config', config],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  )
  t.teardown(() => void child.kill('SIGKILL'))
  const origin = await new Promise<string>((resolve, reject) => {
    child.once('exit', code => reject(new Error(`the server ended with ${code}`)))
    createInterface({ input: child.stdout }).on('line', line => {
      const [, found] = /listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(line) ?? []
      if (found !== undefined) resolve(found)
    })
  })
  const client = new Client(`${origin}/cometd`)
  t.teardown(() => client.close())
  await client.connect()
  const heard: unknown[] = []
  await client.subscribe('/k/a', ({ data }) => heard.push(data)).ready
  let taken = 0
  let refused: unknown = null
  let whole = false
  for (let round = 0; round < 60 && !whole; round++) {
    const results = await Promise.allSettled(Array.from({ length: 100 }, () => client.publish('/k/a', 'x'.repeat(1_000))))
    taken += results.filter(({ status }) => status === 'fulfilled').length
    refused = results.find(result => result.status === 'rejected')?.reason ?? null
    whole = results.every(({ status }) => status === 'rejected') // of the round before, a small transaction may still have found room
  }
  t.match(refused, { code: 'REFUSED', status: 503, text: 'history_failed' })
  t.ok(taken > 0)
  t.match(await client.publish('/live', 1), { successful: true })
  t.match(await (await fetch(`${origin}/readyz`)).json(), { status: 'ready', history: 'failed' })
  t.equal(heard.length, taken, 'what was refused reached nobody')
  await client.close()
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  t.same(await ended, [0, null])
})
