// History in memory: gone with the process, bounded by messages, age and bytes in all.
//
// Always true: `log` is in the order of positions; an entry in it is kept while its position is above the floor of its channel.

import {
  type ChannelName,
  covers,
  type Entry,
  type History,
  type Page,
  parseChannel,
  type Retention,
} from '../../bayeux/index.js'
import { randomId } from '../id.js'

export interface MemoryLimits {
  /** In all channels together. */
  readonly messages: number
  readonly bytes: number
}

interface Kept {
  readonly name: ChannelName
  /** Oldest first, from `from` on. */
  entries: Entry[]
  from: number
  floor: number
  retention: Retention
}

/** Entries that one read looks at, channels that one trim looks at. */
const LOOKS = 4_096
/** Entries that one trim drops: it is to take a few ms at most. */
const TRIMMED = 1_024
/** Channels of which nothing is kept but the floor. */
const EMPTY_KEPT = 10_000
/** What an entry takes beside its text, bytes. */
const OVERHEAD = 96
/** Places that are done with are kept at the front of a list, before it is moved up: of a channel's, of the log. */
const FEW = 16
const DONE_KEPT = 1_024
/** So many entries of the log are looked through with each that goes, while it is packed. */
const PACKED = 4

export class MemoryHistory implements History {
  readonly epoch = randomId()
  readonly durable: boolean = false
  tip: number
  readonly #limits: MemoryLimits
  readonly #channels = new Map<string, Kept>()
  #log: Entry[] = []
  #from = 0
  /** The log as it will be, of what is kept, as far as it has been looked through; null while there is enough in it that is kept. */
  #packed: Entry[] | null = null
  #packedTo = 0
  #messages = 0
  #bytes = 0
  /** The floor of channels of which nothing is kept, not even the floor. */
  #forgotten: number
  /** Channels with a floor alone, those first that have been so for the longest time. */
  readonly #empty = new Set<string>()
  #trimming: IterableIterator<Kept> | null = null
  /** When the next entry is too old, of the channels that were looked at. */
  #nextAt = Number.POSITIVE_INFINITY

  /** @param first what positions begin behind: more than any that a process before may have given, as its clients still have those */
  constructor(limits: MemoryLimits, first = 0) {
    this.#limits = limits
    this.tip = first
    this.#forgotten = first
  }

  get messages(): number {
    return this.#messages
  }

  get bytes(): number {
    return this.#bytes
  }

  append(channel: string, json: string, retention: Retention, now: number): number {
    Buffer.byteLength(json) // for this V8 puts together what was joined, and keeps it so: in pieces it takes twice the memory
    const entry = { position: ++this.tip, channel, json, at: now }
    let kept = this.#channels.get(channel)
    if (kept === undefined) {
      const name = parseChannel(channel, Number.POSITIVE_INFINITY, false)!
      kept = { name, entries: [], from: 0, floor: this.#forgotten, retention }
      this.#channels.set(channel, kept)
    }
    kept.retention = retention
    this.#empty.delete(channel)
    kept.entries.push(entry)
    this.#log.push(entry)
    this.#messages++
    this.#bytes += sizeOf(entry)
    while (kept.entries.length - kept.from > retention.messages) this.#drop(kept)
    this.#bound()
    return entry.position
  }

  has(): boolean {
    return false // those of this process the engine knows
  }

  read(pattern: ChannelName, after: number, through: number, most: number, mostBytes: number): Page {
    const own = pattern.wild === 0
    const log = own ? this.#channels.get(pattern.name)?.entries : this.#log
    const entries: Entry[] = []
    if (log === undefined) return { entries, through }
    const from = own ? this.#channels.get(pattern.name)!.from : this.#from
    let at = Math.max(from, firstAfter(log, after))
    const end = at + LOOKS
    let bytes = 0
    for (; at < log.length && log[at]!.position <= through; at++) {
      if (entries.length === most || at === end) return { entries, through: log[at - 1]!.position }
      const entry = log[at]!
      const kept = this.#channels.get(entry.channel)
      if (kept === undefined || entry.position <= kept.floor || !(own || covers(pattern, kept.name))) continue
      bytes += entry.json.length
      if (bytes > mostBytes && entries.length > 0) return { entries, through: log[at - 1]!.position }
      entries.push(entry)
    }
    return { entries, through }
  }

  floor(pattern: ChannelName): number {
    if (pattern.wild === 0) return this.#channels.get(pattern.name)?.floor ?? this.#forgotten
    let floor = this.#forgotten
    for (const kept of this.#channels.values()) if (kept.floor > floor && covers(pattern, kept.name)) floor = kept.floor
    return floor
  }

  before(at: number): number {
    let low = this.#from
    let high = this.#log.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#log[middle]!.at < at) low = middle + 1
      else high = middle
    }
    return low === this.#from ? 0 : this.#log[low - 1]!.position
  }

  last(pattern: ChannelName, most: number, wanted: (channel: ChannelName) => boolean): readonly Entry[] {
    const entries: Entry[] = []
    const channels = pattern.wild === 0 ? [this.#channels.get(pattern.name)] : this.#channels.values()
    for (const kept of channels) {
      const entry = kept?.entries.at(-1)
      if (kept === undefined || entry === undefined || kept.entries.length === kept.from) continue
      if (covers(pattern, kept.name) && wanted(kept.name)) entries.push(entry)
    }
    return entries.sort((a, b) => a.position - b.position).slice(-most)
  }

  trim(now: number): number {
    if (this.#trimming === null) this.#nextAt = Number.POSITIVE_INFINITY
    this.#trimming ??= this.#channels.values()
    if (this.#packed !== null) this.#pack(this.#packed, LOOKS)
    for (let looks = 0, dropped = 0; looks < LOOKS && dropped < TRIMMED; looks++) {
      const next = this.#trimming.next()
      if (next.done === true) {
        this.#trimming = null
        return this.#packed === null ? Math.max(now, this.#nextAt) : now
      }
      const kept = next.value
      const { age, last } = kept.retention
      for (; dropped < TRIMMED && kept.entries.length - kept.from > (last ? 1 : 0); dropped++) {
        if (kept.entries[kept.from]!.at + age >= now) break
        this.#drop(kept)
      }
      if (kept.entries.length - kept.from > (last ? 1 : 0))
        this.#nextAt = Math.min(this.#nextAt, kept.entries[kept.from]!.at + age + 1)
    }
    return now
  }

  /** Nothing of a channel is kept any more but its floor, nor that of those that were so before too many others. */
  #rest(channel: string): void {
    this.#empty.add(channel)
    if (this.#empty.size <= EMPTY_KEPT) return
    const [oldest] = this.#empty
    this.#forgotten = Math.max(this.#forgotten, this.#channels.get(oldest!)!.floor)
    this.#channels.delete(oldest!)
    this.#empty.delete(oldest!)
  }

  async close(): Promise<void> {
    this.#channels.clear()
    this.#log = []
  }

  #bound(): void {
    while ((this.#messages > this.#limits.messages || this.#bytes > this.#limits.bytes) && this.#from < this.#log.length) {
      const { channel, position } = this.#log[this.#from]!
      const kept = this.#channels.get(channel)
      if (kept !== undefined && kept.floor < position) this.#drop(kept)
      else this.#advance()
    }
  }

  /** The oldest entry of a channel goes. */
  #drop(kept: Kept): void {
    const entry = kept.entries[kept.from++]!
    kept.floor = entry.position
    this.#messages--
    this.#bytes -= sizeOf(entry)
    if (kept.from >= FEW && kept.from * 2 > kept.entries.length) {
      kept.entries = kept.entries.slice(kept.from)
      kept.from = 0
    }
    this.#advance()
    if (kept.from === kept.entries.length) this.#rest(kept.name.name)
  }

  /** Passes over what is not kept any more at the front of the log; in its midst it stays until then, or until it is more than half. */
  #advance(): void {
    while (this.#from < this.#log.length && this.#isGone(this.#log[this.#from]!)) this.#from++
    if (this.#packed === null && this.#log.length - this.#messages > DONE_KEPT && this.#log.length > 2 * this.#messages) {
      this.#packed = []
      this.#packedTo = this.#from
    }
    if (this.#packed !== null) this.#pack(this.#packed, PACKED)
  }

  /** Goes on with a log of what is kept; it takes the place of the log when it has reached its end. */
  #pack(packed: Entry[], most: number): void {
    const end = Math.min(this.#log.length, this.#packedTo + most)
    for (; this.#packedTo < end; this.#packedTo++) {
      const entry = this.#log[this.#packedTo]!
      if (!this.#isGone(entry)) packed.push(entry)
    }
    if (end < this.#log.length) return
    this.#log = packed
    this.#from = 0
    this.#packed = null
  }

  #isGone({ channel, position }: Entry): boolean {
    return position <= (this.#channels.get(channel)?.floor ?? position)
  }
}

function sizeOf({ channel, json }: Entry): number {
  return 2 * json.length + channel.length + OVERHEAD
}

/** Index of the first entry behind a position. */
function firstAfter(log: readonly Entry[], position: number): number {
  let low = 0
  let high = log.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (log[middle]!.position <= position) low = middle + 1
    else high = middle
  }
  return low
}
