// Latencies of all deliveries, at most 1.6 % off, in a fixed amount of memory.
//
// Buckets are linear within each power of two (64 of them), as in HdrHistogram.

const BITS = 6
const PER_OCTAVE = 1 << BITS
/** 2^32 µs is more than an hour. */
const BUCKETS = (32 - BITS + 1) * PER_OCTAVE

export interface Latency {
  readonly count: number
  /** All in ms. */
  readonly mean: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS)
  #count = 0
  #sum = 0
  #max = 0

  /** All of several. */
  static of(parts: readonly Histogram[]): Histogram {
    const whole = new Histogram()
    for (const part of parts) {
      for (let bucket = 0; bucket < BUCKETS; bucket++) whole.#counts[bucket]! += part.#counts[bucket]!
      whole.#count += part.#count
      whole.#sum += part.#sum
      whole.#max = Math.max(whole.#max, part.#max)
    }
    return whole
  }

  /** @param ms never negative but for the rounding of clocks */
  add(ms: number): void {
    const us = ms > 0 ? Math.floor(ms * 1000) : 0
    this.#counts[bucketOf(us)]!++
    this.#count++
    this.#sum += us
    if (us > this.#max) this.#max = us
  }

  clear(): void {
    this.#counts.fill(0)
    this.#count = this.#sum = this.#max = 0
  }

  summary(): Latency {
    return {
      count: this.#count,
      mean: this.#count === 0 ? 0 : this.#sum / this.#count / 1000,
      p50: this.#quantile(0.5),
      p90: this.#quantile(0.9),
      p99: this.#quantile(0.99),
      p999: this.#quantile(0.999),
      max: this.#max / 1000,
    }
  }

  #quantile(q: number): number {
    let left = q * this.#count
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.#counts[bucket]!
      if (left <= 0) return Math.min(this.#max, highestOf(bucket)) / 1000
    }
    return this.#max / 1000
  }
}

function bucketOf(us: number): number {
  const v = us > 0xffff_ffff ? 0xffff_ffff : us
  if (v < PER_OCTAVE) return v
  const shift = 31 - Math.clz32(v) - BITS
  return shift * PER_OCTAVE + (v >>> shift)
}

function highestOf(bucket: number): number {
  if (bucket < 2 * PER_OCTAVE) return bucket
  const shift = Math.floor(bucket / PER_OCTAVE) - 1
  return (bucket - shift * PER_OCTAVE + 1) * 2 ** shift - 1
}
