// A process that eats memory under the eyes of a gauge, for tests: how is its argument, and its options as JSON.
//
// Says at its end which levels the gauge told, in their order, and what else it saw.

import { constants, PerformanceObserver } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { collect, MemoryGauge, type MemoryLevel, type MemoryOptions, readMemory } from '../../lib/memory.js'

export interface Meal {
  readonly levels: readonly MemoryLevel[]
  /** The most that stood in the old generation with its garbage, and at the end the resident memory, in percent of their limits. */
  readonly mostOld: number
  readonly resident: number
}

/** So many bytes stay as they are until the end. */
interface Morsel {
  readonly text: string
  readonly numbers: readonly number[]
}

const CHUNK = 2_000
const options = JSON.parse(process.argv[3]!) as MemoryOptions
const levels: MemoryLevel[] = []
let mostOld = 0
const gauge = new MemoryGauge(options, level => levels.push(level))
gauge.start(20)

const morsels = (): Morsel[] =>
  Array.from({ length: CHUNK }, (_, i) => ({ text: `${i}${Math.random()}`, numbers: [i, Math.random(), 2, 3] }))
const share = (): number => {
  const { old, oldLimit } = readMemory()
  mostOld = Math.max(mostOld, (100 * old) / oldLimit)
  return (100 * old) / oldLimit
}
/** Idles, with a little work now and then, until the gauge has come to a level or nothing is to be hoped for. */
const settle = async (level: MemoryLevel): Promise<void> => {
  for (let i = 0; i < 2_000 && gauge.level !== level; i++) {
    morsels()
    await delay(20)
  }
}

switch (process.argv[2]) {
  case 'ask': {
    const collected = new Promise<void>(resolve => {
      const observer = new PerformanceObserver(list => {
        const entries = list.getEntries() as unknown as { detail: { kind: number } }[]
        if (entries.some(({ detail }) => detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR)) resolve()
      })
      observer.observe({ entryTypes: ['gc'] })
    })
    const awake = setInterval(() => {}, 1_000)
    collect()
    await collected
    clearInterval(awake)
    break
  }
  case 'garbage': {
    // most of the heap stays; what comes and goes beside them has lived long enough to be old
    const live: Morsel[][] = []
    while (share() < 64) {
      live.push(morsels())
      await delay(1)
    }
    const passing: number[][] = []
    for (let i = 0; i < 20_000 && mostOld < options.memoryHighWatermark; i++) {
      passing[i % 4] = Array<number>(40_000).fill(i + 0.5)
      share()
      if (i % 12 === 0) await new Promise(setImmediate)
    }
    await delay(100)
    break
  }
  case 'heap': {
    let live: Morsel[][] = []
    while (gauge.level !== 'critical') {
      live.push(morsels())
      share()
      await delay(1)
    }
    live = []
    await settle('ok')
    break
  }
  case 'buffers': {
    let live: Buffer[] = []
    while (gauge.level !== 'critical') {
      for (let i = 0; i < 50; i++) live.push(Buffer.alloc(60_000, 1))
      await delay(1)
    }
    live = live.filter((_, i) => i % 200 === 0) // what is left is strewn over all that malloc holds
    await settle('ok')
    live.length = 0
  }
}
gauge.stop()
const resident = (100 * readMemory().rss) / (options.maxMemory * 1_048_576)
process.send!({ levels, mostOld, resident } satisfies Meal, () => process.exit())
