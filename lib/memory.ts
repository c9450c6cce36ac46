// A gauge of the process's memory with two watermarks.
//
// Knows: what V8 and the system say of memory, and how much of it is really in use.
// Does not know: what is done about it (`changed` is told).
// Always true: garbage raises no alarm, and memory that was freed raises none, though the process may still hold it.

import { totalmem } from 'node:os'
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, getHeapStatistics } from 'node:v8'
import { BayeuxError } from '../bayeux/index.js'
import type { TransportOptions } from './options.js'

export type MemoryLevel = 'ok' | 'high' | 'critical'
export type MemoryOptions = Pick<TransportOptions, 'maxMemory' | 'memoryHighWatermark' | 'memoryCriticalWatermark'>

/** All in bytes. */
export interface MemoryReading {
  /** In V8's old generation, with the garbage that is not collected yet. */
  readonly old: number
  readonly oldLimit: number
  /** Of the process, in memory. */
  readonly rss: number
  /** Of V8's heap, in memory. */
  readonly heap: number
  /** In buffers, which malloc gives. */
  readonly buffers: number
}

/** What a gauge has to do with the process; tests have their own. */
export interface Surroundings {
  readonly read: () => MemoryReading
  /** ms, never less than before */
  readonly now: () => number
  /** Asks V8 to collect its old generation soon. */
  readonly collect: () => void
}

const MIB = 1_048_576
const RANKS = { ok: 0, high: 1, critical: 2 } as const
const EVERY = 1_000
/** A level is left so many points below its watermark, so that it does not flap. */
const HYSTERESIS = 5
/** So much of the limit may resident memory rise above its peak before it is taken for growth. */
const SLACK = 0.05
/** So long V8 may take to collect by itself what may be behind an alarm, before it is asked to; twice as long each time, ms. */
const PATIENCE = 5_000
const LONGEST_PATIENCE = 600_000
/** Growth of all buffers since the last collection that makes V8 begin another, beside other work where it can. */
const PRESSURE = 65 * MIB

export class MemoryGauge {
  level: MemoryLevel = 'ok'
  readonly #limit: number
  /** What was in use in the old generation after its last collection; nothing is known of it before the first. */
  #old = 0
  /** The most that was resident beside V8's heap, and how much of that was not in buffers. */
  #peak = 0
  #others = 0
  #collectedAt = 0
  #patience = PATIENCE
  #timer: NodeJS.Timeout | undefined
  #observer: PerformanceObserver | undefined

  /**
   * @param changed told of each new level
   * @throws {BayeuxError} OPTION_INVALID the critical watermark is not above the high one
   */
  constructor(
    private readonly options: MemoryOptions,
    private readonly changed: (level: MemoryLevel) => void,
    private readonly surroundings: Surroundings = { read: readMemory, now: () => performance.now(), collect },
  ) {
    if (options.memoryCriticalWatermark <= options.memoryHighWatermark)
      throw new BayeuxError('OPTION_INVALID', 'option memoryCriticalWatermark must be above memoryHighWatermark')
    this.#limit = memoryLimit(options.maxMemory)
  }

  /** Looks by itself from now on. @param every ms */
  start(every = EVERY): void {
    this.#timer = setInterval(() => this.look(), every).unref()
    this.#observer = new PerformanceObserver(list => {
      if (list.getEntries().some(isMajor)) this.collected()
    })
    this.#observer.observe({ entryTypes: ['gc'] })
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#observer?.disconnect()
  }

  /** Reads the memory and says so when the level is another. */
  look(): void {
    const { read, now, collect } = this.surroundings
    this.#judge(read())
    if (this.level === 'ok') this.#patience = PATIENCE
    else if (now() - this.#collectedAt >= this.#patience) {
      // in a process that does little V8 would leave the garbage where it is, and the alarm with it
      this.#patience = Math.min(2 * this.#patience, LONGEST_PATIENCE)
      this.#collectedAt = now()
      collect()
    }
  }

  /** The same, right after V8 has collected its old generation. */
  collected(): void {
    const { read, now } = this.surroundings
    const reading = read()
    this.#old = reading.old
    this.#collectedAt = now()
    this.#judge(reading)
  }

  #judge(reading: MemoryReading): void {
    const share = 100 * Math.max(this.#heapShare(reading), this.#resident(reading) / this.#limit)
    const { memoryHighWatermark: high, memoryCriticalWatermark: critical } = this.options
    const level = this.#reaches('critical', share, critical) ? 'critical' : this.#reaches('high', share, high) ? 'high' : 'ok'
    if (level === this.level) return
    this.level = level
    this.changed(level)
  }

  #reaches(level: MemoryLevel, share: number, watermark: number): boolean {
    return share >= (RANKS[this.level] >= RANKS[level] ? watermark - HYSTERESIS : watermark)
  }

  /**
   * What the old generation held after its last collection, or holds now, whichever is less.
   *
   * V8 collects it late: what grows from 71 % to 86 % of the limit may be garbage for the most part, and in an idle process stays so for long. But V8
   * collects at the latest when half of the room is gone that was left the last time, so real growth is seen again and again on its way to the limit:
   * at 86, 94 and 97 % for instance.
   */
  #heapShare({ old, oldLimit }: MemoryReading): number {
    return Math.min(this.#old, old) / oldLimit
  }

  /**
   * What is resident, less the buffers that were freed since most was: malloc keeps their memory, sometimes for good, but takes from it before it
   * asks for more (400 MB of buffers, freed but for each two-hundredth, left 455 MB resident). What grows well beyond that is seen as it is.
   */
  #resident({ rss, heap, buffers }: MemoryReading): number {
    const slack = SLACK * this.#limit
    const native = rss - heap
    if (native > this.#peak + slack) {
      this.#peak = native
      this.#others = native - buffers
    } else this.#peak = Math.min(this.#peak, native + slack) // some went back to the system
    return Math.min(rss, heap + this.#others + buffers + Math.max(0, native - this.#peak))
  }
}

/** V8 is asked through what it is told of buffers; this one is never touched, so that it takes no memory. */
export function collect(): void {
  void new ArrayBuffer(PRESSURE)
}

function isMajor(entry: PerformanceEntry): boolean {
  return (entry as { detail?: { kind?: number } }).detail?.kind === constants.NODE_PERFORMANCE_GC_MAJOR
}

/** The memory that this process may use, bytes. @param maxMemory MiB; 0 for what the container or else the machine has */
export function memoryLimit(maxMemory: number, constrained = process.constrainedMemory() ?? 0, total = totalmem()): number {
  if (maxMemory > 0) return maxMemory * MIB
  return constrained > 0 && constrained < total ? constrained : total // a container without a limit names one beyond all memory
}

/** Of the young generation each, MiB, unless a flag says otherwise. */
const SEMI_SPACE = 16
/** At least so much of the old generation's limit counts, however large the young generation may grow beside it. */
const LEAST = 0.75

/**
 * How much the old generation may hold, bytes.
 *
 * V8 tells its limit together with the young generation's, which is three semi-spaces. And it keeps the room for one of them free, or collects
 * the whole heap each time, until it gives up: with 200 MiB and `--max-semi-space-size=64` it did so with 162 MiB in use.
 *
 * @param flags of Node, the stronger last
 */
export function oldLimit(heapLimit: number, flags: string): number {
  const given = [...flags.matchAll(/--max[-_]semi[-_]space[-_]size[= ](\d+)/g)].at(-1)?.[1]
  const semiSpace = Number(given ?? SEMI_SPACE) * MIB
  const limit = heapLimit - 3 * semiSpace
  return Math.max(limit - semiSpace, LEAST * limit)
}

const limitOfOld = oldLimit(
  getHeapStatistics().heap_size_limit,
  `${process.env['NODE_OPTIONS'] ?? ''} ${process.execArgv.join(' ')}`,
)

export function readMemory(): MemoryReading {
  const { total_physical_size, external_memory } = getHeapStatistics()
  let old = 0
  for (const { space_name, space_used_size } of getHeapSpaceStatistics())
    if (!space_name.startsWith('new_')) old += space_used_size
  return {
    old,
    oldLimit: limitOfOld,
    rss: process.memoryUsage.rss(),
    heap: total_physical_size,
    buffers: external_memory,
  }
}
