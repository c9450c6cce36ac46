// What every history keeps to (bayeux/history.ts): one suite, run on each store.

import fc from 'fast-check'
import type { Test } from 'tap'
import { type ChannelName, covers, type Entry, type History, parseChannel } from '../../bayeux/index.js'

/** A store under test: emptied for each use. `settled`: all that was appended is kept, and all that was found to be too old is gone. */
export interface Store {
  readonly history: History
  settled(): Promise<void>
}

const AGE = 1e9
const all = (): boolean => true
const name = (text: string): ChannelName => parseChannel(text)!
const positions = (entries: readonly Entry[]) => entries.map(({ position }) => position)

/** All of a pattern, page by page. */
export function readAll(history: History, pattern: string, after = 0, most = 10): Entry[] {
  const entries: Entry[] = []
  for (let from = after, pages = 0; from < history.tip; pages++) {
    if (pages > 10_000) throw new Error('reading does not end')
    const page = history.read(name(pattern), from, history.tip, most, Number.POSITIVE_INFINITY)
    if (page.entries.length > most || page.through <= from)
      throw new Error(`a page of ${page.entries.length} from ${from} through ${page.through}`)
    entries.push(...page.entries)
    from = page.through
  }
  return entries
}

export function historyContract(t: Test, open: (t: Test) => Promise<Store>): void {
  t.test('positions grow over all channels, and entries come back as they were', async t => {
    const { history, settled } = await open(t)
    t.ok(history.epoch.length >= 16)
    t.equal(history.tip, 0)
    const channels = ['/a', '/b', '/a/b', '/ä ö', '/a']
    for (const [i, channel] of channels.entries())
      t.equal(history.append(channel, `{"n":${i},"t":"✓"}`, { messages: 10, age: AGE, last: false }, 1_000 + i, null), i + 1)
    await settled()
    t.equal(history.tip, 5)
    t.same(
      readAll(history, '/**'),
      channels.map((channel, i) => ({ position: i + 1, channel, json: `{"n":${i},"t":"✓"}`, at: 1_000 + i })),
    )
    t.same(positions(readAll(history, '/a')), [1, 5])
    t.same(positions(readAll(history, '/a', 1)), [5])
    t.same(positions(readAll(history, '/a/*')), [3])
    t.same(positions(readAll(history, '/*')), [1, 2, 4, 5])
    t.same(readAll(history, '/none'), [])
    t.same(
      history.read(name('/a'), 0, 4, 10, 1_000),
      { entries: readAll(history, '/a').slice(0, 1), through: 4 },
      'not further than asked',
    )
  })

  t.test('the last of each channel, also through a wildcard', async t => {
    const { history, settled } = await open(t)
    for (const channel of ['/a/1', '/a/2', '/a/1', '/b'])
      history.append(channel, '{}', { messages: 10, age: AGE, last: false }, 0, null)
    await settled()
    t.same(positions(history.last(name('/a/1'), 5, all)), [3])
    t.same(positions(history.last(name('/a/*'), 5, all)), [2, 3])
    t.same(positions(history.last(name('/**'), 2, all)), [3, 4], 'the newest, if there are too many')
    t.same(history.last(name('/none'), 5, all), [])
  })

  t.test('of each channel so many are kept, and the floor is the last that is not', async t => {
    const { history, settled } = await open(t)
    const keep = { messages: 20, age: AGE, last: false }
    for (let i = 0; i < 1_000; i++) history.append(i % 10 === 0 ? '/rare' : '/often', '{}', keep, i, null)
    await settled()
    const often = Array.from({ length: 1_000 }, (_, i) => i + 1).filter(position => position % 10 !== 1)
    t.same(positions(readAll(history, '/often')), often.slice(-20), 'not one more')
    t.same(positions(history.read(name('/**'), 0, history.tip, 1_000, 1e9).entries).length, 40)
    t.equal(history.floor(name('/often')), often.at(-21))
    t.equal(readAll(history, '/rare').length, 20)
    t.equal(history.floor(name('/none')), 0)
    t.equal(history.floor(name('/**')), Math.max(history.floor(name('/often')), history.floor(name('/rare'))))
  })

  t.test('much that is too old goes in steps, of which none is large, one behind the other', async t => {
    const { history, settled } = await open(t)
    const keep = { messages: 1e6, age: 1_000, last: false }
    const channels = ['/one', '/two', '/one', '/one']
    const many = 6_000
    for (let i = 0; i < many; i++) history.append(channels[i % channels.length]!, '{}', keep, 0, null)
    history.append('/one', '{}', keep, 5_000, null)
    await settled()
    let left = many + 1
    let steps = 0
    let next = 5_000
    for (; next === 5_000 && steps < 10_000; steps++) {
      next = history.trim(5_000)
      await settled()
      const now = readAll(history, '/**', 0, 1_000).length
      t.ok(left - now <= 1_024, `${left - now} at once`)
      left = now
    }
    t.equal(left, 1)
    t.equal(next, 6_001, 'it says that it is not through until it is')
    t.ok(steps >= many / 1_024, `${steps} steps`)
    t.equal(history.floor(name('/one')), many)
  })

  t.test('what is too old goes, each channel by its own age; trim says when to look again', async t => {
    const { history, settled } = await open(t)
    history.append('/short', '{}', { messages: 10, age: 1_000, last: false }, 0, null)
    history.append('/long', '{}', { messages: 10, age: 5_000, last: false }, 0, null)
    history.append('/ever', '{}', { messages: 10, age: Number.POSITIVE_INFINITY, last: false }, 0, null)
    history.append('/short', '{}', { messages: 10, age: 1_000, last: false }, 600, null)
    await settled()
    t.equal(history.trim(1_000), 1_001)
    t.equal(history.trim(1_001), 1_601)
    await settled()
    t.same(positions(readAll(history, '/**')), [2, 3, 4])
    t.equal(history.floor(name('/short')), 1)
    t.equal(history.trim(2_000), 5_001)
    t.equal(history.trim(6_000), Number.POSITIVE_INFINITY)
    await settled()
    t.same(positions(readAll(history, '/**')), [3])
    t.ok(history.floor(name('/short')) >= 4)
    t.equal(
      history.append('/short', '{}', { messages: 10, age: 1_000, last: false }, 7_000, null),
      5,
      'no position is given twice',
    )
  })

  t.test(
    'the last of a channel stays at any age where that is wanted, also through a wildcard, and gives way to a newer one',
    async t => {
      const { history, settled } = await open(t)
      const keep = { messages: 10, age: 1_000, last: true }
      for (const [channel, at] of [
        ['/a/1', 0],
        ['/a/1', 100],
        ['/a/2', 200],
      ] as const)
        history.append(channel, '{}', keep, at, null)
      await settled()
      history.trim(1_050)
      t.equal(history.trim(1e9), Number.POSITIVE_INFINITY, 'nothing is left to be looked at')
      t.same(positions(history.last(name('/a/*'), 5, all)), [2, 3])
      t.same(positions(readAll(history, '/a/**')), [2, 3])
      t.equal(history.floor(name('/a/1')), 1)
      history.append('/a/1', '{}', keep, 1e9, null)
      await settled()
      history.trim(1e9)
      t.same(positions(readAll(history, '/a/1')), [4])
      t.same(positions(history.last(name('/a/*'), 5, ({ name }) => name === '/a/2')), [3], 'of those that are wanted')
    },
  )

  t.test('a page holds so many characters, but one entry in any case, and reading goes on behind it', async t => {
    const { history, settled } = await open(t)
    const sizes = [10, 20, 30, 500, 1, 1]
    for (const [i, size] of sizes.entries())
      history.append(i % 2 === 0 ? '/a' : '/b', 'x'.repeat(size), { messages: 10, age: AGE, last: false }, 0, null)
    await settled()
    for (const pattern of ['/**', '/a', '/b'])
      for (const most of [1, 31, 60, 1e6]) {
        const got: number[] = []
        for (let from = 0; from < history.tip; ) {
          const { entries, through } = history.read(name(pattern), from, history.tip, 100, most)
          const size = entries.reduce((sum, { json }) => sum + json.length, 0)
          if (entries.length > 1 && size > most) t.fail(`${size} of ${most}`)
          if (through <= from) throw new Error('reading does not go on')
          got.push(...positions(entries))
          from = through
        }
        t.same(got, positions(readAll(history, pattern)), `${pattern} ${most}`)
      }
  })

  t.test('channels that come and go leave at most the floors of so many', async t => {
    const { history, settled } = await open(t)
    for (let i = 0; i < 10_300; i++) history.append(`/c/${i}`, '{}', { messages: 10, age: 10, last: false }, 0, null)
    await settled()
    for (let looks = 0; history.trim(1_000) === 1_000; looks++) {
      if (looks > 1_000) throw new Error('trim does not end')
      await settled()
    }
    await settled()
    t.same(readAll(history, '/**'), [])
    t.equal(history.floor(name('/c/299')), 300)
    t.equal(history.floor(name('/c/5')), 300, 'that of all that are forgotten')
    t.equal(history.floor(name('/c/9999')), 10_000)
    history.append('/c/5', '{}', { messages: 10, age: 10, last: false }, 2_000, null)
    await settled()
    t.same(positions(readAll(history, '/c/*')), [10_301])
  })

  t.test('a moment leads to the position before it', async t => {
    const { history, settled } = await open(t)
    for (const at of [100, 200, 200, 300]) history.append('/a', '{}', { messages: 10, age: AGE, last: false }, at, null)
    await settled()
    t.same(
      [0, 100, 101, 200, 201, 300, 301].map(at => history.before(at)),
      [0, 0, 1, 1, 3, 3, 4],
    )
  })

  t.test('any appends and trims: reading by pages gives what a plain list gives', async t => {
    const step = fc.record({ channel: fc.constantFrom('/a', '/a/b', '/a/c', '/d'), wait: fc.nat(300), trim: fc.boolean() })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.constantFrom(1, 3, 100), async (steps, most) => {
        const { history, settled } = await open(t)
        const all: Entry[] = []
        let now = 0
        for (const [i, { channel, wait, trim }] of steps.entries()) {
          now += wait
          const position = history.append(channel, String(i), { messages: 1_000, age: 2_000, last: false }, now, null)
          all.push({ position, channel, json: String(i), at: now })
          if (trim) {
            await settled()
            history.trim(now)
          }
        }
        await settled()
        for (const pattern of ['/a', '/a/*', '/**', '/d']) {
          const floor = history.floor(name(pattern))
          const covered = all.filter(({ channel }) => covers(name(pattern), name(channel)))
          const got = readAll(history, pattern, 0, most)
          const whole = covered.filter(({ position }) => position > floor)
          const faults = [
            JSON.stringify(got.filter(({ position }) => position > floor)) !== JSON.stringify(whole)
              ? 'a gap above the floor'
              : '',
            covered.some(({ at, position }) => at + 2_000 >= now && position <= floor && pattern === '/d') ? 'gone too soon' : '',
          ].filter(Boolean)
          if (faults.length > 0) throw new Error(`${pattern}: ${faults}`)
        }
        await history.close()
      }),
      { numRuns: 30 },
    )
  })
}
