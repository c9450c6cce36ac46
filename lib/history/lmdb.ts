// History on disk, in LMDB: embedded, and whole after a crash.
//
// Knows: where entries lie (by position, and by channel and position), how one transaction takes what a turn appended, its own time.
// Does not know: who reads and why (replay.ts), who else may use the directory (lock.ts), whether it is whole (verify.ts).
// Always true: what `kept` was told of survives the death of the process; a position is never given twice; the times of entries never go back.

import { type Database, open, type RootDatabase } from 'lmdb'
import {
  BayeuxError,
  type ChannelName,
  covers,
  type Entry,
  type History,
  type Page,
  parseChannel,
  type Retention,
} from '../../bayeux/index.js'
import { randomId } from '../id.js'
import { lock, unlock } from './lock.js'
import { isAsLeft, noteLeft, verify } from './verify.js'

const VERSION = 1
/** Entries that one read looks at; channels that one trim passes. */
const LOOKS = 2_048
/** Entries that one trim looks at and removes, or twice as many as have come since the last one, up to SLICE: it is to take a few ms, and yet to get through. */
const TRIMMED = 256
/** What is kept no more stays on the disk until there is so much of it in its channel, and is then removed all at once. */
const SLACK = 64
/** Channels of which nothing is kept but the floor. */
const EMPTY_KEPT = 10_000
/** Bytes of a channel or a key, which LMDB's own keys have room for. */
const LONGEST = 1_940
/** Entries of one transaction. */
const SLICE = 1_000
/** What could not be removed is looked at again after so long, ms. */
const RETRY_PERIOD = 60_000
const END = Number.MAX_SAFE_INTEGER
const NOTHING = Buffer.alloc(0)
const TIME_BYTES = 8
const LENGTH_BYTES = 2

interface Kept {
  readonly name: ChannelName
  /** Entries above the floor: counted when something is appended to it first; -1 before. */
  count: number
  /** Entries that are kept no more, and not removed yet. */
  stale: number
  floor: number
  age: number
  last: boolean
  /** Until when its oldest entry is kept, in the time of entries; Infinity where that does not go by its age, or there is none; 0 where it is not known. */
  until: number
}

type Floor = Pick<Kept, 'floor' | 'age' | 'last'>

interface Pending extends Entry {
  readonly key: string | null
  readonly retention: Retention
}

/** Told of what is safe, in the order of the appends. */
export type KeptListener = (through: number, error: Error | null) => void

export interface LmdbSettings {
  /** The present, epoch ms. */
  readonly now: number
  /** What positions begin behind at least: more than any that was ever given, also where the directory was lost, or is one of last week. */
  readonly first?: number
  /** How long a key is remembered, ms. */
  readonly keyWindow?: number
}

export class LmdbHistory implements History {
  readonly durable = true
  readonly epoch: string
  tip: number
  readonly #directory: string
  readonly #env: RootDatabase
  readonly #meta: Database<unknown, string>
  readonly #entries: Database<Buffer, number>
  readonly #index: Database<Buffer, [channel: string, position: number]>
  readonly #floors: Database<Floor, string>
  /** Keys of publishes to when they came, and those by their time. */
  readonly #keys: Database<number, string>
  readonly #keyTimes: Database<Buffer, [at: number, key: string]>
  readonly #keyWindow: number
  /** How much the time of entries is ahead of the clock that we are given, as that was set back; and that of keys, which stands still while no process runs. */
  readonly #ahead: number
  readonly #keysAhead: number
  /** The floor of channels of which nothing is kept, not even the floor. */
  #forgotten: number
  readonly #channels = new Map<string, Kept>()
  /** Channels with a floor alone, those first that have been so for the longest time. */
  readonly #empty = new Set<string>()
  readonly #kept: KeptListener
  /** What was appended in this turn, and what did not fit into the transactions of those before. */
  readonly #pending: Pending[] = []
  #trimming: IterableIterator<[string, Kept]> | null = null
  #nextAt = Number.POSITIVE_INFINITY
  /** The tip at the last trim, and how many entries this one removes at most. */
  #trimmedAt = 0
  #most = TRIMMED

  /**
   * @param directory is made where there is none
   * @throws {BayeuxError} HISTORY_UNUSABLE: it cannot be written, is damaged or of a newer version, or another server has it
   */
  constructor(directory: string, kept: KeptListener, { now, first = 0, keyWindow = 0 }: LmdbSettings) {
    this.#directory = directory
    this.#keyWindow = keyWindow
    this.#kept = kept
    try {
      lock(directory)
    } catch (cause) {
      throw unusable(directory, cause)
    }
    try {
      if (!isAsLeft(directory)) verify(directory)
      this.#env = open({ path: directory, maxDbs: 8 })
      this.#meta = this.#env.openDB({ name: 'meta' })
      const version = this.#meta.get('version') ?? VERSION
      if (version !== VERSION) throw new Error(`it is of version ${version}, this program knows version ${VERSION}`)
      const epoch = this.#meta.get('epoch') as string | undefined
      this.epoch = epoch ?? randomId()
      this.#forgotten = (this.#meta.get('forgotten') as number | undefined) ?? (epoch === undefined ? first : 0)
      this.#meta.putSync('version', VERSION)
      this.#meta.putSync('epoch', this.epoch)
      this.#meta.putSync('forgotten', this.#forgotten)
      this.#entries = this.#env.openDB({ name: 'entries', encoding: 'binary' })
      this.#index = this.#env.openDB({ name: 'index', encoding: 'binary' })
      this.#floors = this.#env.openDB({ name: 'floors' })
      this.#keys = this.#env.openDB({ name: 'keys' })
      this.#keyTimes = this.#env.openDB({ name: 'key-times', encoding: 'binary' })
      const [newest] = this.#entries.getRange({ reverse: true, limit: 1 })
      this.tip = Math.max(first, this.#forgotten, newest?.key ?? 0)
      for (const { key, value } of this.#floors.getRange()) {
        const { floor, age, last = false } = value
        this.#channels.set(key, { name: nameOf(key), count: -1, stale: 0, floor, age, last, until: 0 })
        this.tip = Math.max(this.tip, floor)
      }
      this.#ahead = newest === undefined ? 0 : Math.max(0, timeOf(newest.value) - now)
      const [newestKey] = this.#keyTimes.getKeys({ reverse: true, limit: 1 })
      this.#keysAhead = newestKey === undefined ? 0 : newestKey[0] - now
    } catch (cause) {
      unlock(directory)
      throw unusable(directory, cause)
    }
  }

  append(channel: string, json: string, retention: Retention, now: number, key: string | null): number {
    const position = ++this.tip
    if (this.#pending.push({ position, channel, json, at: now, key, retention }) === 1) setImmediate(() => this.#commit())
    return position
  }

  has(key: string): boolean {
    return this.#keys.get(key) !== undefined
  }

  read(pattern: ChannelName, after: number, through: number, most: number, mostBytes: number): Page {
    this.#env.resetReadTxn() // or what was committed in this turn is not seen
    return pattern.wild === 0
      ? this.#readOne(pattern.name, after, through, most, mostBytes)
      : this.#readAll(pattern, after, through, most, mostBytes)
  }

  floor(pattern: ChannelName): number {
    if (pattern.wild === 0) return this.#channels.get(pattern.name)?.floor ?? this.#forgotten
    let floor = this.#forgotten
    for (const kept of this.#channels.values()) if (kept.floor > floor && covers(pattern, kept.name)) floor = kept.floor
    return floor
  }

  before(at: number): number {
    this.#env.resetReadTxn()
    const moment = at + this.#ahead
    const [oldest] = this.#entries.getKeys({ limit: 1 })
    let low = (oldest ?? 1) - 1
    let high = this.tip
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      const [entry] = this.#entries.getRange({ start: middle, reverse: true, limit: 1 })
      if (entry === undefined || timeOf(entry.value) < moment) low = middle
      else high = entry.key - 1
    }
    const [entry] = this.#entries.getRange({ start: low, reverse: true, limit: 1 })
    return entry === undefined ? 0 : entry.key
  }

  last(pattern: ChannelName, most: number, wanted: (channel: ChannelName) => boolean): readonly Entry[] {
    this.#env.resetReadTxn()
    const entries: Entry[] = []
    for (const [channel, kept] of pattern.wild === 0 ? one(this.#channels, pattern.name) : this.#channels) {
      if (!covers(pattern, kept.name) || !wanted(kept.name)) continue
      const [key] = this.#index.getKeys({ start: [channel, END], end: [channel, kept.floor], reverse: true, limit: 1 })
      const entry = key === undefined ? null : this.#get(key[1])
      if (entry !== null) entries.push(entry)
    }
    return entries.sort((a, b) => a.position - b.position).slice(-most)
  }

  trim(now: number): number {
    this.#env.resetReadTxn()
    let next = now
    const error = this.#write(() => {
      next = this.#trimSome(now)
    })
    if (error === null) return next
    this.#trimming = null // the disk is full or broken
    return now + RETRY_PERIOD
  }

  #trimSome(now: number): number {
    if (this.#trimming === null) this.#nextAt = Number.POSITIVE_INFINITY
    this.#trimming ??= this.#channels.entries()
    this.#most = Math.min(SLICE, Math.max(TRIMMED, 2 * (this.tip - this.#trimmedAt)))
    this.#trimmedAt = this.tip
    this.#forgetKeys(now)
    const moment = now + this.#ahead
    for (let looks = 0, read = 0; looks < LOOKS && read < this.#most; looks++) {
      const next = this.#trimming.next()
      if (next.done === true) {
        this.#trimming = null
        return Math.max(now, this.#nextAt)
      }
      const [channel, kept] = next.value
      if (kept.until < moment || kept.stale > 0) read += this.#trimOne(channel, kept, now)
      this.#nextAt = Math.min(this.#nextAt, kept.until - this.#ahead + 1)
    }
    return now
  }

  async close(): Promise<void> {
    while (this.#pending.length > 0) this.#commit()
    this.#write(() => {
      for (const [channel, kept] of this.#channels) if (kept.stale > 0) this.#remove(channel, kept)
    })
    await this.#env.flushed
    await this.#env.close()
    noteLeft(this.#directory)
    unlock(this.#directory)
  }

  #forgetKeys(now: number): void {
    const moment = now + this.#keysAhead
    const old: [at: number, key: string][] = []
    for (const key of this.#keyTimes.getKeys({ limit: this.#most })) {
      if (key[0] + this.#keyWindow >= moment) {
        this.#nextAt = Math.min(this.#nextAt, key[0] - this.#keysAhead + this.#keyWindow + 1)
        break
      }
      old.push(key)
    }
    if (old.length === this.#most) this.#nextAt = now
    for (const key of old) {
      this.#keyTimes.removeSync(key)
      if (this.#keys.get(key[1]) === key[0]) this.#keys.removeSync(key[1])
    }
  }

  /** What a turn appended goes in one transaction, or in a few: none takes long. */
  #commit(): void {
    const bad = this.#pending.findIndex(isTooLong)
    const entries = this.#pending.splice(0, bad === -1 ? SLICE : Math.min(SLICE, Math.max(1, bad)))
    if (entries.length === 0) return // `close` was before
    if (this.#pending.length > 0) setImmediate(() => this.#commit())
    if (bad === 0) return this.#kept(entries[0]!.position, new Error(`a channel or key has more than ${LONGEST} bytes`))
    const counts = new Map<string, { added: number; retention: Retention }>()
    for (const { channel, retention } of entries) {
      const added = (counts.get(channel)?.added ?? 0) + 1
      counts.set(channel, { added, retention })
    }
    const error = this.#write(() => {
      for (const [channel, { retention }] of counts) this.#noteRule(channel, retention)
      for (const { position, channel, json, at, key } of entries) {
        this.#entries.putSync(position, encode(channel, json, at + this.#ahead))
        this.#index.putSync([channel, position], NOTHING)
        if (key === null) continue
        this.#keys.putSync(key, at + this.#keysAhead)
        this.#keyTimes.putSync([at + this.#keysAhead, key], NOTHING)
      }
    })
    if (error === null) {
      this.#env.resetReadTxn() // only what is committed can be found
      for (const [channel, { added, retention }] of counts) this.#added(channel, added, retention)
      const full = [...counts].filter(([channel, { retention }]) => this.#isFull(channel, retention))
      if (full.length > 0)
        this.#write(() => {
          for (const [channel] of full) this.#remove(channel, this.#channels.get(channel)!)
        })
    }
    this.#kept(entries.at(-1)!.position, error)
  }

  /** One transaction: all of it is kept, or nothing. LMDB's own way to write later leaves rejections that nobody can catch. */
  #write(work: () => void): Error | null {
    try {
      this.#env.transactionSync(work)
      return null
    } catch (error) {
      return error as Error
    }
  }

  #noteRule(channel: string, { age, last }: Retention): void {
    let kept = this.#channels.get(channel)
    if (kept === undefined) {
      kept = { name: nameOf(channel), count: -1, stale: 0, floor: this.#forgotten, age: -1, last, until: 0 }
      this.#channels.set(channel, kept)
    }
    this.#empty.delete(channel)
    if (kept.age === age && kept.last === last) return
    kept.age = age
    kept.last = last
    kept.until = 0
    this.#floors.putSync(channel, { floor: kept.floor, age, last })
  }

  /** Raises the floor of a channel that has more than it keeps. */
  #added(channel: string, added: number, { messages }: Retention): void {
    const kept = this.#channels.get(channel)!
    if (kept.until === Number.POSITIVE_INFINITY) kept.until = 0
    if (kept.count === -1) {
      kept.count = this.#index.getKeysCount({ start: [channel, kept.floor + 1], end: [channel, END] })
      kept.stale = this.#index.getKeysCount({ start: [channel, 0], end: [channel, kept.floor + 1] })
    } else kept.count += added
    if (kept.count > messages) {
      const limit = Math.min(kept.count - messages, LOOKS)
      for (const key of this.#index.getKeys({ start: [channel, kept.floor + 1], end: [channel, END], limit }))
        this.#pass(kept, key[1])
    }
  }

  #isFull(channel: string, { messages }: Retention): boolean {
    return this.#channels.get(channel)!.stale > Math.max(SLACK, messages / 8)
  }

  /** An entry is kept no more. */
  #pass(kept: Kept, position: number): void {
    kept.floor = position
    kept.until = 0
    kept.stale++
    if (kept.count > 0) kept.count--
  }

  /** Removes what a channel keeps no more, or some of it, in a transaction. Where that fails, it is below the floor all the same, and is removed another time. */
  #remove(channel: string, kept: Kept, most = LOOKS): void {
    const keys = [...this.#index.getKeys({ start: [channel, 0], end: [channel, kept.floor + 1], limit: most })]
    for (const key of keys) {
      this.#entries.removeSync(key[1])
      this.#index.removeSync(key)
    }
    const { floor, age, last } = kept
    this.#floors.putSync(channel, { floor, age, last })
    kept.stale = keys.length < most ? 0 : Math.max(1, kept.stale - keys.length)
  }

  /** @returns how many entries it looked at */
  #trimOne(channel: string, kept: Kept, now: number): number {
    const moment = now + this.#ahead
    const { age, last } = kept
    let old: number | null = null
    let looks = 0
    let until = Number.POSITIVE_INFINITY
    for (const [, position] of this.#index.getKeys({
      start: [channel, kept.floor + 1],
      end: [channel, END],
      limit: this.#most,
    })) {
      looks++
      if (old !== null) this.#pass(kept, old) // there is a newer one
      old = null
      const value = age === Number.POSITIVE_INFINITY ? undefined : this.#entries.get(position)
      until = value === undefined ? age : timeOf(value) + age
      if (until >= moment) break
      old = position
    }
    const isLeft = until >= moment && looks > 0
    if (old !== null && !last) this.#pass(kept, old)
    kept.until = isLeft ? until : looks === this.#most ? 0 : Number.POSITIVE_INFINITY
    if (kept.stale > 0) this.#remove(channel, kept, this.#most)
    if (kept.stale > 0) this.#nextAt = now
    else if (!isLeft && !(old !== null && last) && looks < this.#most) this.#rest(channel)
    return looks + 1
  }

  /** Nothing of a channel is kept any more but its floor, nor that of those that were so before too many others. */
  #rest(channel: string): void {
    this.#empty.add(channel)
    if (this.#empty.size <= EMPTY_KEPT) return
    const [oldest] = this.#empty
    this.#forgotten = Math.max(this.#forgotten, this.#channels.get(oldest!)!.floor)
    this.#channels.delete(oldest!)
    this.#empty.delete(oldest!)
    this.#meta.putSync('forgotten', this.#forgotten)
    this.#floors.removeSync(oldest!)
  }

  #readOne(channel: string, after: number, through: number, most: number, mostBytes: number): Page {
    const entries: Entry[] = []
    const from = Math.max(after, this.#channels.get(channel)?.floor ?? 0) // what is below is kept no more
    let bytes = 0
    let reached = from
    for (const key of this.#index.getKeys({ start: [channel, from + 1], end: [channel, through + 1], limit: most })) {
      const entry = this.#get(key[1])
      if (entry !== null) {
        bytes += entry.json.length
        if (bytes > mostBytes && entries.length > 0) return { entries, through: reached }
        entries.push(entry)
      }
      reached = key[1]
    }
    return { entries, through: entries.length < most ? through : reached }
  }

  #readAll(pattern: ChannelName, after: number, through: number, most: number, mostBytes: number): Page {
    const entries: Entry[] = []
    let bytes = 0
    let looks = 0
    let reached = after
    for (const { key, value } of this.#entries.getRange({ start: after + 1, end: through + 1 })) {
      const kept = this.#channels.get(channelOf(value))
      if (kept !== undefined && key > kept.floor && covers(pattern, kept.name)) {
        const entry = this.#decoded(key, value)
        bytes += entry.json.length
        if (bytes > mostBytes && entries.length > 0) return { entries, through: reached }
        entries.push(entry)
      }
      reached = key
      if (entries.length === most || ++looks === LOOKS) return { entries, through: reached }
    }
    return { entries, through }
  }

  #get(position: number): Entry | null {
    const value = this.#entries.get(position)
    return value === undefined ? null : this.#decoded(position, value)
  }

  #decoded(position: number, value: Buffer): Entry {
    const json = value.toString('utf8', TIME_BYTES + LENGTH_BYTES + value.readUInt16BE(TIME_BYTES))
    return { position, channel: channelOf(value), json, at: timeOf(value) - this.#ahead }
  }
}

function* one(channels: ReadonlyMap<string, Kept>, name: string): Generator<[string, Kept]> {
  const kept = channels.get(name)
  if (kept !== undefined) yield [name, kept]
}

function nameOf(channel: string): ChannelName {
  return parseChannel(channel, Number.POSITIVE_INFINITY, false)!
}

/** Time, length of the channel, channel, JSON. */
function encode(channel: string, json: string, at: number): Buffer {
  const length = Buffer.byteLength(channel)
  const value = Buffer.allocUnsafe(TIME_BYTES + LENGTH_BYTES + length + Buffer.byteLength(json))
  value.writeDoubleBE(at, 0)
  value.writeUInt16BE(length, TIME_BYTES)
  value.write(channel, TIME_BYTES + LENGTH_BYTES)
  value.write(json, TIME_BYTES + LENGTH_BYTES + length)
  return value
}

/** LMDB would refuse it, and with it the whole transaction. */
function isTooLong({ channel, key }: Pending): boolean {
  const length = Math.max(channel.length, key?.length ?? 0)
  return length * 3 > LONGEST && Math.max(Buffer.byteLength(channel), Buffer.byteLength(key ?? '')) > LONGEST
}

function timeOf(value: Buffer): number {
  return value.readDoubleBE(0)
}

function channelOf(value: Buffer): string {
  const from = TIME_BYTES + LENGTH_BYTES
  return value.toString('utf8', from, from + value.readUInt16BE(TIME_BYTES))
}

function unusable(directory: string, cause: unknown): BayeuxError {
  return new BayeuxError('HISTORY_UNUSABLE', `the history in ${directory} cannot be used: ${(cause as Error).message}`, { cause })
}
