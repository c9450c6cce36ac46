// The history on disk: the contract, that it outlives the process however that ends, and what is wrong with a directory.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { open } from 'lmdb'
import t, { type Test } from 'tap'
import { LmdbHistory } from '../../../lib/history/lmdb.js'
import { historyContract, readAll, type Store } from '../../contract/history.js'

const root = t.testdir({})
let stores = 0

async function store(t: Test, directory = join(root, `store-${++stores}`)): Promise<Store & { readonly history: LmdbHistory }> {
  let safe = 0
  let wake = (): void => {}
  const history = new LmdbHistory(directory, (through, error) => {
    if (error !== null) throw error
    if (through <= safe) throw new Error(`${through} after ${safe}`)
    safe = through
    wake()
  })
  safe = history.tip
  t.teardown(() => history.close().catch(() => {}))
  return {
    history,
    settled: async () => {
      while (safe < history.tip)
        await new Promise<void>(resolve => {
          wake = resolve
        })
    },
  }
}

t.test('contract', async t => historyContract(t, store))

t.test('after close, all is there again: entries, floors, the epoch, the position that comes next', async t => {
  const directory = join(t.testdir({}), 'h')
  const first = await store(t, directory)
  for (let i = 0; i < 500; i++) first.history.append(`/c/${i % 3}`, `${i}`, { messages: 50, age: 1e9 }, i, null)
  await first.settled()
  first.history.trim(0)
  const before = {
    entries: readAll(first.history, '/**'),
    tip: first.history.tip,
    epoch: first.history.epoch,
    floor: first.history.floor({ name: '/c/1', segments: ['c', '1'], kind: 'broadcast', wild: 0 }),
  }
  await first.history.close()
  const { history } = await store(t, directory)
  t.same(
    {
      entries: readAll(history, '/**'),
      tip: history.tip,
      epoch: history.epoch,
      floor: history.floor({ name: '/c/1', segments: ['c', '1'], kind: 'broadcast', wild: 0 }),
    },
    before,
  )
  t.equal(history.append('/c/1', '{}', { messages: 50, age: 1e9 }, 501, null), 501)
})

t.test('SIGKILL at any moment loses nothing that was said to be kept', async t => {
  const directory = join(t.testdir({}), 'h')
  let told = 0
  for (let round = 0; round < 5; round++) {
    const child = fork(fileURLToPath(new URL('./lmdb-child.js', import.meta.url)), [directory])
    const stop = 200 + round * 137
    child.on('message', through => {
      told = through as number
      if (told % 100_000 > stop) child.kill('SIGKILL')
    })
    setTimeout(() => child.kill('SIGKILL'), 5_000).unref()
    await once(child, 'exit')
    const { history } = await store(t, directory)
    const entries = readAll(history, '/**', 0, 1_000)
    t.ok(history.tip >= told && told > 0, `${told} told, ${history.tip} there`)
    t.same(
      entries.slice(0, told).map(({ position, json }) => [position, json]),
      Array.from({ length: told }, (_, i) => [i + 1, String(i + 1)]),
    )
    await history.close()
  }
})

t.test('a directory that cannot be used is refused with a code and a reason', async t => {
  const refused = (directory: string, why: RegExp) =>
    t.throws(() => new LmdbHistory(directory, () => {}), { code: 'HISTORY_UNUSABLE', message: why })
  const folder = t.testdir({ file: 'x', newer: {}, locked: {} })
  refused(join(folder, 'file'), /EEXIST|ENOTDIR/)
  const newer = open({ path: join(folder, 'newer'), maxDbs: 4 })
  await newer.openDB({ name: 'meta' }).put('version', 2)
  await newer.close()
  refused(join(folder, 'newer'), /of version 2/)
  t.notOk(existsSync(join(folder, 'newer/perihelion.lock')), 'no lock is left')
  const { history } = await store(t, join(folder, 'locked'))
  refused(join(folder, 'locked'), new RegExp(`process ${process.pid} has it`))
  await history.close()
  writeFileSync(join(folder, 'locked/perihelion.lock'), '999999999 1')
  const again = await store(t, join(folder, 'locked'))
  t.ok(again.history, 'the lock of a process that is no more is none')
  if (process.getuid?.() !== 0) {
    chmodSync(folder, 0o500)
    refused(join(folder, 'new'), /EACCES/)
  }
})
