// Directories of histories that cannot be used: each is refused at the start with a code and a reason, in one line by the command, and never by a crash.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  cpSync,
  existsSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { open } from 'lmdb'
import t from 'tap'
import { LmdbHistory } from '../../../lib/history/lmdb.js'
import { readAll } from '../../contract/history.js'
import { startServer } from '../../support/server.js'

const CLI = fileURLToPath(new URL('../../../lib/cli.js', import.meta.url))
const ROOT = process.getuid?.() === 0
const NOBODY = 65_534
const ENTRIES = 3_000

const opened = (directory: string) => new LmdbHistory(directory, () => {}, { now: Date.now() })
/** One that is there, and as it was left. */
async function made(directory: string): Promise<void> {
  const history = opened(directory)
  for (let i = 0; i < ENTRIES; i++)
    history.append(
      `/c/${i % 7}`,
      `{"n":${i},"pad":"${'x'.repeat(i % 300)}"}`,
      { messages: 1e6, age: 1e9, last: false },
      Date.now(),
      `key ${i}`,
    )
  await history.close()
}

/** What the command says on stderr, and its exit code. */
function served(directory: string): { code: number | null; said: string } {
  const channels = '{"/k/**":{"history":{"messages":10,"age":1000}}}'
  const config = `${directory}.yaml`
  writeFileSync(config, `historyDir: ${JSON.stringify(directory)}\nchannels: ${channels}\n`)
  const { status, stderr } = spawnSync(process.execPath, [CLI, 'serve', '--port', '0', '--config', config], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
    timeout: 30_000,
  })
  return { code: status, said: stderr }
}

t.test('a file, a newer version, another server in this process or another: refused, and no lock is left or taken', async t => {
  const folder = t.testdir({ file: 'x', newer: {} })
  const refused = (name: string, why: RegExp) => {
    t.throws(() => opened(join(folder, name)), { code: 'HISTORY_UNUSABLE', message: why })
    const { code, said } = served(join(folder, name))
    t.equal(code, 1, name)
    t.match(said, /^perihelion: the history in \S+ cannot be used: [^\n]+\n$/)
  }
  refused('file', /EEXIST|ENOTDIR/)
  const newer = open({ path: join(folder, 'newer'), maxDbs: 4 })
  await newer.openDB({ name: 'meta' }).put('version', 2)
  await newer.close()
  refused('newer', /of version 2, this program knows version 1/)
  t.notOk(existsSync(join(folder, 'newer/perihelion.lock')))
  const held = opened(join(folder, 'held'))
  refused('held', /this process has it already/)
  t.match(served(join(folder, 'held')).said, `process ${process.pid} has it`)
  t.ok(existsSync(join(folder, 'held/perihelion.lock')))
  await held.close()
  t.notOk(existsSync(join(folder, 'held/perihelion.lock')))
})

t.test('one that may not be written', async t => {
  const folder = t.testdir({})
  await made(join(folder, 'h'))
  if (ROOT) process.seteuid!(NOBODY)
  else spawnSync('chmod', ['-R', 'a-w', folder])
  t.teardown(() => {
    if (!ROOT) spawnSync('chmod', ['-R', 'u+w', folder])
  })
  try {
    for (const name of ['h', 'new'])
      t.throws(() => opened(join(folder, name)), { code: 'HISTORY_UNUSABLE', message: /EACCES|EPERM|EROFS/ }, name)
  } finally {
    if (ROOT) process.seteuid!(0)
  }
})

t.test('two servers in one process: the second does not start, and the first goes on', async t => {
  const options = { historyDir: join(t.testdir({}), 'h'), channels: { '/k': { history: { messages: 10, age: 1_000 } } } } as const
  const { bayeux } = await startServer(t, options)
  await t.rejects(startServer(t, options), { code: 'HISTORY_UNUSABLE' })
  await bayeux.publishSafely('/k', 1)
  t.equal(bayeux.history('/k').messages.length, 1)
})

t.test('the lock of a process that was killed is none, nor where its number is that of another by now', async t => {
  const directory = join(t.testdir({}), 'h')
  const child = spawn(process.execPath, [fileURLToPath(new URL('./lmdb-child.js', import.meta.url)), directory], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  await once(child, 'message')
  t.throws(() => opened(directory), { message: new RegExp(`process ${child.pid} has it`) })
  child.kill('SIGKILL')
  await once(child, 'exit')
  const lock = join(directory, 'perihelion.lock')
  t.ok(existsSync(lock))
  const [, start] = lockOf(directory).split(' ')
  t.match(start, process.platform === 'linux' ? /^\d+@[\da-f-]+$/ : '')
  if (process.platform !== 'linux') return
  for (const other of [
    `${process.ppid} 1@x`,
    `${process.pid} ${Number.parseInt(start!, 10) - 1}${start!.slice(start!.indexOf('@'))}`,
    'x',
    '0 1',
    '',
  ]) {
    writeFileSync(lock, other)
    t.match(lockOf(directory), `${process.pid} ${start}`, JSON.stringify(other))
  }
})

t.test('the lock of one that was killed, and whose parent has not asked what became of it, is none', async t => {
  if (process.platform !== 'linux') return
  const directory = join(t.testdir({}), 'h')
  const child = fileURLToPath(new URL('./lmdb-child.js', import.meta.url))
  // the shell gives way to a program that never asks
  const parent = spawn('sh', ['-c', '"$0" "$1" "$2" & echo $!; exec sleep 60', process.execPath, child, directory])
  t.teardown(() => void parent.kill('SIGKILL'))
  const [pid] = await once(parent.stdout.setEncoding('utf8'), 'data')
  const lock = join(directory, 'perihelion.lock')
  while (!existsSync(lock) || readFileSync(lock, 'utf8') === '') await new Promise(resolve => setTimeout(resolve, 20))
  process.kill(Number(pid), 'SIGKILL')
  const state = () =>
    readFileSync(`/proc/${Number(pid)}/stat`, 'utf8')
      .split(') ')
      .at(-1)![0]
  while (state() !== 'Z') await new Promise(resolve => setTimeout(resolve, 20))
  await opened(directory).close()
})

/** What is in the lock of a directory while it is open. */
function lockOf(directory: string): string {
  const history = opened(directory)
  t.teardown(() => history.close())
  return readFileSync(join(directory, 'perihelion.lock'), 'utf8')
}

t.test(
  'damage is found before anything is read by the server: garbage, holes, a file that was cut; what is found whole is whole',
  async t => {
    const folder = t.testdir({})
    const good = join(folder, 'good')
    await made(good)
    const { size } = statSync(join(good, 'data.mdb'))
    const damages: [name: string, damage: (file: string) => void][] = [
      ...[0.05, 0.3, 0.6, 0.9].flatMap((part): [string, (file: string) => void][] => [
        [
          `garbage at ${part}`,
          file =>
            overwrite(file, Math.floor(size * part), Buffer.from(Array.from({ length: 32_768 }, (_, i) => (i * 7 + 13) & 255))),
        ],
        [`a hole at ${part}`, file => overwrite(file, Math.floor(size * part), Buffer.alloc(32_768))],
        [`cut at ${part}`, file => truncateSync(file, Math.floor(size * part))],
      ]),
      ['another file', file => writeFileSync(file, 'x'.repeat(100_000))],
    ]
    let found = 0
    for (const [name, damage] of damages) {
      const directory = join(folder, 'bad')
      rmSync(directory, { recursive: true, force: true })
      cpSync(good, directory, { recursive: true, preserveTimestamps: true })
      damage(join(directory, 'data.mdb'))
      try {
        const history = opened(directory)
        t.equal(readAll(history, '/**', 0, 1_000).length, ENTRIES, `${name}: nothing was hit`)
        await history.close()
      } catch (error) {
        found++
        t.match(error, { code: 'HISTORY_UNUSABLE', message: /its data is damaged \(.+\); move it away/ }, name)
        t.notOk(existsSync(join(directory, 'perihelion.lock')))
      }
    }
    t.ok(found >= 10, `${found} of ${damages.length} were found`)
    const { code, said } = served(join(folder, 'bad'))
    t.equal(code, 1)
    t.match(said, /^perihelion: [^\n]+ is damaged [^\n]+\n$/)
    const history = opened(good)
    t.equal(readAll(history, '/**', 0, 1_000).length, ENTRIES)
    await history.close()
  },
)

function overwrite(file: string, at: number, bytes: Buffer): void {
  const descriptor = openSync(file, 'r+')
  writeSync(descriptor, bytes, 0, bytes.length, at)
  closeSync(descriptor)
}
