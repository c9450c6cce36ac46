// The gauge of memory: its levels by readings made up here, and in processes that really eat.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import { MemoryGauge, type MemoryLevel, type MemoryReading, memoryLimit, oldLimit, readMemory } from '../../lib/memory.js'
import type { Meal } from '../support/hungry.js'

const MIB = 1_048_576
const OPTIONS = { maxMemory: 1_000, memoryHighWatermark: 85, memoryCriticalWatermark: 92 }

/** A gauge of a process of 1,000 MiB whose old generation holds 100 MiB; what a test sets is in MiB. */
class Bench {
  readonly levels: MemoryLevel[] = []
  now = 0
  asked = 0
  reading = { old: 0, rss: 0, heap: 0, buffers: 0 }
  readonly gauge = new MemoryGauge(OPTIONS, level => this.levels.push(level), {
    read: () => this.#read(),
    now: () => this.now,
    collect: () => {
      this.asked++
    },
  })

  /** @returns the levels told since the last look */
  look(reading: Partial<Bench['reading']> = {}): MemoryLevel[] {
    this.reading = { ...this.reading, ...reading }
    this.gauge.look()
    return this.levels.splice(0)
  }

  collected(reading: Partial<Bench['reading']>): MemoryLevel[] {
    this.reading = { ...this.reading, ...reading }
    this.gauge.collected()
    return this.levels.splice(0)
  }

  #read(): MemoryReading {
    const { old, rss, heap, buffers } = this.reading
    return { old: old * MIB, oldLimit: 100 * MIB, rss: rss * MIB, heap: heap * MIB, buffers: buffers * MIB }
  }
}

t.test('a level is reached at its watermark, told once, and left five points below', t => {
  const bench = new Bench()
  const told = (rss: number): MemoryLevel[] => bench.look({ rss })
  t.same(told(849), [])
  t.same(told(850), ['high'])
  t.same(told(919), [])
  t.same(told(920), ['critical'])
  t.same(told(870), [], 'not yet')
  t.same(told(869), ['high'])
  t.same(told(919), [], 'it has to rise to the watermark again')
  t.same(told(920), ['critical'])
  t.same(told(799), ['ok'], 'also from the highest to the lowest at once')
  t.same(told(1_200), ['critical'])
  t.end()
})

t.test('of the heap counts what was left by the last collection, not the garbage since', t => {
  const bench = new Bench()
  t.same(bench.look({ old: 99 }), [], 'nothing was collected yet')
  t.same(bench.collected({ old: 80 }), [])
  t.same(bench.look({ old: 99 }), [], 'what came since may be garbage')
  t.same(bench.collected({ old: 85 }), ['high'], 'it was not')
  t.same(bench.collected({ old: 93 }), ['critical'])
  t.same(bench.look({ old: 82 }), ['high'], 'what has gone has gone, whether the collection was seen or not')
  t.same(bench.collected({ old: 79 }), ['ok'])
  t.end()
})

t.test('of the resident memory counts not what buffers had and malloc keeps', t => {
  const bench = new Bench()
  t.same(bench.look({ rss: 950, heap: 50, buffers: 800 }), ['critical'])
  t.same(bench.look({ buffers: 100 }), ['ok'], '700 are free, though still resident')
  t.same(bench.look({ rss: 960 }), [], 'a little more matters little')
  t.same(bench.look({ buffers: 790 }), ['critical'], 'used again')
  t.same(bench.look({ buffers: 100 }), ['ok'])
  t.same(bench.look({ rss: 1_050, heap: 150 }), [], 'the heap takes nothing of that')
  t.same(bench.look({ rss: 1_600, heap: 700 }), ['high'], 'but adds to it')
  t.same(bench.look({ rss: 1_050, heap: 150 }), ['ok'])
  t.same(bench.look({ rss: 1_110 }), ['critical'], 'what grows well beyond the peak grows because nothing was free')
  t.same(bench.look({ rss: 400 }), ['ok'], 'it went back to the system')
  t.same(bench.look({ rss: 860 }), ['high'], 'then what comes is seen below the old peak, too')
  t.end()
})

t.test('while there is an alarm V8 is asked to collect what it did not, more and more seldom', t => {
  const bench = new Bench()
  const after = (ms: number): number => {
    bench.now += ms
    bench.look()
    return bench.asked
  }
  t.equal(after(60_000), 0, 'there is none')
  bench.collected({ rss: 900 })
  t.same([after(4_999), after(1)], [0, 1])
  t.same([after(9_999), after(1)], [1, 2])
  bench.collected({})
  t.same([after(19_999), after(1)], [2, 3], 'not soon after it did by itself')
  for (let i = 0; i < 20; i++) after(600_000)
  t.same([bench.asked, after(599_999), after(1)], [23, 23, 24])
  bench.look({ rss: 100 })
  bench.look({ rss: 900 })
  t.same([after(5_000), after(9_999)], [25, 25], 'the next alarm begins anew')
  t.end()
})

t.test('the limits', t => {
  t.equal(memoryLimit(512, 100 * MIB, 1_000 * MIB), 512 * MIB, 'what is said')
  t.equal(memoryLimit(0, 100 * MIB, 1_000 * MIB), 100 * MIB, 'else what the container has')
  t.equal(memoryLimit(0, 2 ** 64, 1_000 * MIB), 1_000 * MIB, 'which may be no limit')
  t.equal(memoryLimit(0, 0, 1_000 * MIB), 1_000 * MIB)
  t.ok(memoryLimit(0) > 100 * MIB)
  t.equal(oldLimit(4_144 * MIB, '--max-old-space-size=4096'), 4_080 * MIB)
  t.equal(oldLimit(4_288 * MIB, '--max-semi-space-size=8 --x --max_semi_space_size=64'), 4_032 * MIB, 'the last flag wins')
  t.equal(oldLimit(392 * MIB, '--max-semi-space-size=64'), 150 * MIB, 'three quarters remain')
  t.throws(() => new MemoryGauge({ ...OPTIONS, memoryCriticalWatermark: 85 }, () => {}), { code: 'OPTION_INVALID' })
  const { old, oldLimit: limit, rss, heap, buffers } = readMemory()
  t.ok(old > MIB && old < limit && heap > old / 2 && rss > heap && buffers > 0, JSON.stringify(readMemory()))
  t.end()
})

t.test('a gauge that was started looks by itself, and after each collection', async t => {
  const awake = setInterval(() => {}, 1_000) // a gauge keeps no process
  t.teardown(() => clearInterval(awake))
  const level = await new Promise(resolve => {
    const gauge = new MemoryGauge({ ...OPTIONS, maxMemory: 1 }, resolve)
    t.teardown(() => gauge.stop())
    gauge.start(1)
  })
  t.equal(level, 'critical', 'by its timer')
  setFlagsFromString('--expose-gc')
  const collectNow = runInNewContext('gc') as () => void
  const readings = { read: () => ({ old: 90, oldLimit: 100, rss: 0, heap: 0, buffers: 0 }), now: () => 0, collect: () => {} }
  const after = new Promise(resolve => {
    const gauge = new MemoryGauge(OPTIONS, resolve, readings)
    t.teardown(() => gauge.stop())
    gauge.start(1)
  })
  collectNow()
  t.equal(await after, 'high', 'of the heap it knows by collections only')
})

/** Runs a process with 200 MiB of heap, whose V8 collects nothing in idle times, until it has eaten. */
async function eat(t: Test, how: 'ask' | 'garbage' | 'heap' | 'buffers', given: Partial<typeof OPTIONS>): Promise<Meal> {
  const child = fork(
    fileURLToPath(new URL('../support/hungry.js', import.meta.url)),
    [how, JSON.stringify({ ...OPTIONS, ...given })],
    { execArgv: ['--max-old-space-size=200', '--no-memory-reducer'], env: { ...process.env, NODE_OPTIONS: '' } },
  )
  t.teardown(() => void child.kill())
  return ((await once(child, 'message')) as [Meal])[0]
}

t.test('V8 collects when it is asked to', async t => {
  t.same((await eat(t, 'ask', {})).levels, [])
})

t.test('a heap that fills with garbage raises no alarm', async t => {
  const { levels, mostOld } = await eat(t, 'garbage', { maxMemory: 4_000, memoryHighWatermark: 80 })
  t.ok(mostOld >= 80, `${mostOld} % of the old generation were taken`)
  t.same(levels, [])
})

t.test('a heap that fills is seen before V8 gives up, and seen to be empty again', async t => {
  t.same((await eat(t, 'heap', { maxMemory: 4_000 })).levels, ['high', 'critical', 'ok'])
})

t.test('so are buffers, although what they took stays resident', async t => {
  const { levels, resident } = await eat(t, 'buffers', { maxMemory: 400 })
  t.same(levels, ['high', 'critical', 'ok'])
  t.comment(`${Math.round(resident)} % are still resident`)
})
