// The history on disk: the contract, that it outlives the process however that ends, and what the clock may do meanwhile.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { open } from 'lmdb'
import t, { type Test } from 'tap'
import type { ChannelName } from '../../../bayeux/index.js'
import { LmdbHistory, type LmdbSettings } from '../../../lib/history/lmdb.js'
import { historyContract, readAll, type Store } from '../../contract/history.js'
import { Drive } from '../../support/drive.js'

const root = t.testdir({})
let stores = 0

async function store(
  t: Test,
  directory = join(root, `store-${++stores}`),
  settings: Partial<LmdbSettings> = {},
): Promise<Store & { readonly history: LmdbHistory }> {
  let safe = 0
  const history = new LmdbHistory(
    directory,
    (through, error) => {
      if (error !== null) throw error
      if (through <= safe) throw new Error(`${through} after ${safe}`)
      safe = through
    },
    { now: 1e9, ...settings },
  )
  safe = history.tip
  t.teardown(() => history.close().catch(() => {}))
  return {
    history,
    settled: async () => {
      await history.written()
      t.equal(safe, history.tip, 'and it was told')
    },
  }
}

t.test('contract', async t => historyContract(t, store))

t.test('after close, all is there again: entries, floors, the epoch, the position that comes next', async t => {
  const directory = join(t.testdir({}), 'h')
  const first = await store(t, directory)
  for (let i = 0; i < 500; i++) first.history.append(`/c/${i % 3}`, `${i}`, { messages: 50, age: 1e9, last: false }, i, null)
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
  t.equal(history.append('/c/1', '{}', { messages: 50, age: 1e9, last: false }, 501, null), 501)
})

t.test('what a rule that was made narrower keeps no more goes, while as much comes as a commit takes', async t => {
  const directory = join(t.testdir({}), 'h')
  const { history } = await store(t, directory)
  const rows = open({ path: directory, maxDbs: 8, readOnly: true }).openDB({ name: 'entries', encoding: 'binary' })
  const append = async (count: number, messages: number): Promise<void> => {
    for (let i = 0; i < count; i++) history.append('/c', '{}', { messages, age: 1e9, last: false }, 0, null)
    await history.written()
  }
  await append(10_000, 100_000)
  t.equal(rows.getKeysCount(), 10_000)
  for (let i = 0; i < 100; i++) await append(600, 1_000)
  t.ok(rows.getKeysCount() < 3_000, `${rows.getKeysCount()} are left`)
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

const KEEP = { messages: 100, age: 1_000, last: false }
const DAY = 86_400_000
const every: ChannelName = { name: '/**', segments: ['**'], kind: 'broadcast', wild: 2 }
const got = (history: LmdbHistory) => readAll(history, '/**').map(({ position, at }) => [position, at])

t.test('the clock was set back by a day: nothing is lost, kept for longer than its age from now, or out of order', async t => {
  const directory = join(t.testdir({}), 'h')
  const first = await store(t, directory, { now: 2 * DAY, keyWindow: 500 })
  for (let i = 0; i < 3; i++) first.history.append('/a', '{}', KEEP, 2 * DAY + 100 * i, `key ${i}`)
  await first.settled()
  await first.history.close()
  const { history, settled } = await store(t, directory, { now: DAY, keyWindow: 500 })
  t.same(
    got(history),
    [
      [1, DAY - 200],
      [2, DAY - 100],
      [3, DAY],
    ],
    'the newest is taken to be of now',
  )
  history.append('/a', '{}', KEEP, DAY + 50, 'key 3')
  await settled()
  t.same(
    [DAY - 150, DAY, DAY + 1, DAY + 51].map(at => history.before(at)),
    [1, 2, 3, 4],
  )
  t.same(
    [0, 1, 2, 3].map(i => history.has(`key ${i}`)),
    [true, true, true, true],
  )
  history.trim(DAY + 400)
  await settled()
  t.same(
    [0, 1, 2, 3].map(i => history.has(`key ${i}`)),
    [false, true, true, true],
    'each for its window',
  )
  t.equal(got(history).length, 4)
  t.equal(history.trim(DAY + 850), DAY + 901)
  t.same(
    got(history).map(([position]) => position),
    [2, 3, 4],
  )
  t.equal(history.trim(DAY + 5_000), Number.POSITIVE_INFINITY)
  await settled()
  t.same(got(history), [])
  t.notOk(history.has('key 3'))
  await history.close()
  const third = await store(t, directory, { now: DAY + 6_000 })
  t.equal(third.history.append('/a', '{}', KEEP, DAY + 6_000, null), 5, 'no position is given twice')
})

t.test('the clock was set forward by a day, or no process ran: entries age, and the floor tells of it; keys do not', async t => {
  const directory = join(t.testdir({}), 'h')
  const first = await store(t, directory, { now: DAY, keyWindow: 500 })
  first.history.append('/a', '{}', KEEP, DAY, 'key')
  first.history.append('/b', '{}', { ...KEEP, last: true }, DAY, null)
  await first.settled()
  await first.history.close()
  const { history, settled } = await store(t, directory, { now: 2 * DAY, keyWindow: 500 })
  t.same(got(history), [
    [1, DAY],
    [2, DAY],
  ])
  history.trim(2 * DAY)
  t.same(got(history), [[2, DAY]], 'the last that is wanted at any age stays')
  t.equal(history.floor({ name: '/a', segments: ['a'], kind: 'broadcast', wild: 0 }), 1)
  t.ok(history.has('key'), 'who could not reach the server for a day may still say it again')
  history.trim(2 * DAY + 501)
  await settled()
  t.notOk(history.has('key'))
  await history.close()
  // and back again
  const third = await store(t, directory, { now: DAY + 10 })
  t.same(
    third.history.last(every, 5, () => true).map(({ position }) => position),
    [2],
  )
  third.history.append('/a', '{}', KEEP, DAY + 20, null)
  await third.settled()
  t.equal(third.history.before(DAY + 15), 2)
})

t.test('positions are never given again: not behind a store that was put back, nor in a new one', async t => {
  const folder = t.testdir({})
  const first = await store(t, join(folder, 'h'), { first: 1_000 })
  t.equal(first.history.append('/a', '{}', KEEP, 0, null), 1_001)
  t.equal(first.history.floor(every), 1_000)
  await first.settled()
  await first.history.close()
  const second = await store(t, join(folder, 'h'), { first: 5_000 })
  t.equal(second.history.tip, 5_000)
  t.equal(second.history.floor(every), 1_000, 'there is no gap between')
  t.equal(second.history.append('/a', '{}', KEEP, 0, null), 5_001)
  await second.settled()
  t.same(
    readAll(second.history, '/a', 1_000).map(({ position }) => position),
    [1_001, 5_001],
  )
  await second.history.close()
  const third = await store(t, join(folder, 'h'), { first: 3 })
  t.equal(third.history.tip, 5_001, 'nor where the clock was set back')
})

t.test(
  'what is too long for a key fails alone, among others that are kept, and leaves the count of its channel as it was',
  async t => {
    const directory = join(t.testdir({}), 'h')
    const told: [through: number, failed: boolean][] = []
    const history = new LmdbHistory(directory, (through, error) => void told.push([through, error !== null]), { now: 0 })
    t.teardown(() => history.close())
    const keep = { messages: 5, age: 1e9, last: false }
    for (let i = 0; i < 5; i++) history.append('/a', '{}', keep, 0, null)
    history.append('/a', '{}', keep, 0, 'x'.repeat(1_941))
    history.append(`/${'ü'.repeat(970)}`, '{}', keep, 0, null)
    history.append(`/${'x'.repeat(1_939)}`, '{}', keep, 0, 'ü'.repeat(970))
    history.append('/a', '{}', keep, 0, null)
    while ((told.at(-1)?.[0] ?? 0) < 9) await new Promise(setImmediate)
    t.same(told, [
      [5, false],
      [6, true],
      [7, true],
      [9, false],
    ])
    t.same(
      readAll(history, '/**').map(({ position }) => position),
      [2, 3, 4, 5, 8, 9],
    )
  },
)

t.test(
  'an engine on it: what is retained is there after a restart, however old, through a wildcard too; what is too old goes at the start',
  async t => {
    const directory = join(t.testdir({}), 'h')
    const rules = { '/r/**': { retain: true }, '/k/**': { history: { messages: 10, age: 1_000 } } } as const
    const first = await store(t, directory, { now: 0 })
    for (const channel of ['/r/a', '/r/b', '/k/a'])
      first.history.append(
        channel,
        JSON.stringify({ channel, data: channel }),
        { messages: 1, age: channel === '/k/a' ? 1_000 : Number.POSITIVE_INFINITY, last: channel !== '/k/a' },
        0,
        null,
      )
    await first.settled()
    await first.history.close()
    const { history } = await store(t, directory, { now: 1_000_000 })
    const drive = new Drive({}, rules, history)
    drive.pass(1)
    const got = (subscription: string): unknown[] => {
      const client = drive.client()
      client.say({ channel: '/meta/subscribe', subscription })
      return client.data
    }
    t.same(got('/r/a'), ['/r/a'])
    t.same(got('/r/*'), ['/r/a', '/r/b'])
    t.same(got('/**'), ['/r/a', '/r/b'])
    t.same(drive.engine.server.history('/**', 0, 10).entries.length, 2, 'nobody had to publish for that')
  },
)
