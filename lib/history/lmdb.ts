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
import { channelOf, encode, jsonOf, timeOf } from './layout.js'
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
/** Removals that may be under way when there is another; more of them might all be done in one turn. */
const MOST_REMOVALS = 1
const NOTHING = Buffer.alloc(0)

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
  /** The tip at the last trim. */
  #trimmedAt = 0
  /** The commits of what was appended, as long as there are any; the last removal, how many are under way, and whether the last one failed. */
  #committing: Promise<void> | null = null
  #removing: Promise<void> | null = null
  #removals = 0
  #failed = false

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
      this.#env = open({ path: directory, maxDbs: 8, eventTurnBatching: false }) // LMDB's own batches reject promises that nobody can catch
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
    this.#pending.push({ position, channel, json, at: now, key, retention })
    this.#committing ??= this.#commitAll()
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
    if (this.#removals > MOST_REMOVALS) return now // the disk is slow
    if (this.#failed) {
      this.#failed = false // the disk is full or broken
      this.#trimming = null
      return now + RETRY_PERIOD
    }
    this.#env.resetReadTxn()
    if (this.#trimming === null) this.#nextAt = Number.POSITIVE_INFINITY
    this.#trimming ??= this.#channels.entries()
    const most = Math.min(SLICE, Math.max(TRIMMED, 2 * (this.tip - this.#trimmedAt)))
    this.#trimmedAt = this.tip
    const keys = this.#oldKeys(now, most)
    const stale: string[] = []
    const moment = now + this.#ahead
    for (let looks = 0, read = 0; looks < LOOKS && read < most && this.#trimming !== null; looks++) {
      const next = this.#trimming.next()
      if (next.done === true) {
        this.#trimming = null
        break
      }
      const [channel, kept] = next.value
      if (kept.until < moment || kept.stale > 0) {
        read += this.#look(channel, kept, moment, most)
        if (kept.stale > 0 || isOver(kept)) stale.push(channel)
      }
      this.#nextAt = Math.min(this.#nextAt, kept.stale > most ? now : kept.until - this.#ahead + 1)
    }
    if (keys.length + stale.length > 0) this.#removeLater(stale, most, keys)
    return this.#trimming === null ? Math.max(now, this.#nextAt) : now
  }

  /** Fulfilled when all is written that was appended, or was found to be kept no more. */
  async written(): Promise<void> {
    while (this.#committing !== null) await this.#committing
    await this.#removing
  }

  async close(): Promise<void> {
    await this.written()
    const stale = [...this.#channels].flatMap(([channel, kept]) => (kept.stale > 0 ? [channel] : []))
    if (stale.length > 0) this.#removeLater(stale, Number.POSITIVE_INFINITY, [])
    await this.written()
    await this.#env.flushed
    await this.#env.close()
    noteLeft(this.#directory)
    unlock(this.#directory)
  }

  /** Keys that are not remembered any more, at most so many. */
  #oldKeys(now: number, most: number): [at: number, key: string][] {
    const moment = now + this.#keysAhead
    const old: [at: number, key: string][] = []
    for (const key of this.#keyTimes.getKeys({ limit: most })) {
      if (key[0] + this.#keyWindow >= moment) {
        this.#nextAt = Math.min(this.#nextAt, key[0] - this.#keysAhead + this.#keyWindow + 1)
        return old
      }
      old.push(key)
    }
    if (old.length === most) this.#nextAt = now
    return old
  }

  /** One transaction after the other, as long as there is something: each takes what was appended while the one before was written. */
  async #commitAll(): Promise<void> {
    await new Promise(resolve => setImmediate(resolve)) // what is appended in one turn goes together
    while (this.#pending.length > 0) {
      const bad = this.#pending.findIndex(isTooLong)
      const entries = this.#pending.splice(0, bad === -1 ? SLICE : Math.min(SLICE, Math.max(1, bad)))
      if (bad !== 0) await this.#commit(entries)
      else this.#kept(entries[0]!.position, new Error(`a channel or key has more than ${LONGEST} bytes`))
    }
    this.#committing = null
  }

  async #commit(entries: readonly Pending[]): Promise<void> {
    const counts = new Map<string, { added: number; retention: Retention }>()
    for (const { channel, retention } of entries) {
      const added = (counts.get(channel)?.added ?? 0) + 1
      counts.set(channel, { added, retention })
    }
    const error = await this.#write(() => {
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
      const full = [...counts].flatMap(([channel, { retention }]) => (this.#isFull(channel, retention) ? [channel] : []))
      if (full.length > 0 && this.#removals <= MOST_REMOVALS) this.#removeLater(full, entries.length + TRIMMED, [])
    }
    this.#kept(entries.at(-1)!.position, error)
  }

  /** Removes what these channels keep no more, at most so many entries, and keys that are not remembered any more. */
  #removeLater(channels: readonly string[], most: number, keys: readonly [at: number, key: string][]): void {
    const work = (): void => {
      let left = most
      for (const channel of channels) {
        if (left > 0) left -= this.#remove(channel, this.#channels.get(channel)!, left)
      }
      for (const key of keys) {
        this.#keyTimes.removeSync(key)
        if (this.#keys.get(key[1]) === key[0]) this.#keys.removeSync(key[1])
      }
    }
    this.#removals++
    this.#removing = this.#write(work).then(error => {
      this.#removals--
      this.#failed = error !== null
    })
  }

  /** One transaction, which another thread commits and syncs: the event loop never waits for the disk. All of it is kept, or nothing. */
  async #write(work: () => void): Promise<Error | null> {
    try {
      await this.#env.childTransaction(work)
      return null
    } catch (error) {
      const { commitError } = error as { readonly commitError?: Promise<never> }
      return commitError === undefined ? (error as Error) : await commitError.catch((why: Error) => why)
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

  /** Removes what a channel keeps no more, or some of it, in a transaction. Where that fails, it is below the floor all the same, and is removed another time. @returns how many entries */
  #remove(channel: string, kept: Kept, most: number): number {
    const limit = Math.min(most, LOOKS)
    const keys = [...this.#index.getKeys({ start: [channel, 0], end: [channel, kept.floor + 1], limit })]
    for (const key of keys) {
      this.#entries.removeSync(key[1])
      this.#index.removeSync(key)
    }
    const { floor, age, last } = kept
    this.#floors.putSync(channel, { floor, age, last })
    kept.stale = keys.length < limit ? 0 : Math.max(1, kept.stale - keys.length)
    if (kept.stale === 0 && isOver(kept)) this.#rest(channel)
    return keys.length
  }

  /** Raises the floor of a channel above what is too old. @returns how many entries it looked at */
  #look(channel: string, kept: Kept, moment: number, most: number): number {
    const { age, last } = kept
    let old: number | null = null
    let looks = 0
    let until = Number.POSITIVE_INFINITY
    for (const [, position] of this.#index.getKeys({ start: [channel, kept.floor + 1], end: [channel, END], limit: most })) {
      looks++
      if (old !== null) this.#pass(kept, old) // there is a newer one
      old = null
      const value = age === Number.POSITIVE_INFINITY ? undefined : this.#entries.getBinaryFast(position)
      until = value === undefined ? age : timeOf(value) + age
      if (until >= moment) break
      old = position
    }
    if (old !== null && !last) this.#pass(kept, old)
    const isLeft = until >= moment && looks > 0
    kept.until = isLeft ? until : looks === most ? 0 : Number.POSITIVE_INFINITY
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
    const value = this.#entries.getBinaryFast(position) // until the next one: a copy would cost a buffer outside of the heap
    return value === undefined ? null : this.#decoded(position, value)
  }

  #decoded(position: number, value: Buffer): Entry {
    return { position, channel: channelOf(value), json: jsonOf(value), at: timeOf(value) - this.#ahead }
  }
}

function* one(channels: ReadonlyMap<string, Kept>, name: string): Generator<[string, Kept]> {
  const kept = channels.get(name)
  if (kept !== undefined) yield [name, kept]
}

/** Whether nothing of a channel is kept any more, as its entries were too old. */
function isOver({ until, age, last }: Kept): boolean {
  return until === Number.POSITIVE_INFINITY && age < until && !last
}

function nameOf(channel: string): ChannelName {
  return parseChannel(channel, Number.POSITIVE_INFINITY, false)!
}

/** LMDB would refuse it, and with it the whole transaction. */
function isTooLong({ channel, key }: Pending): boolean {
  const length = Math.max(channel.length, key?.length ?? 0)
  return length * 3 > LONGEST && Math.max(Buffer.byteLength(channel), Buffer.byteLength(key ?? '')) > LONGEST
}

function unusable(directory: string, cause: unknown): BayeuxError {
  return new BayeuxError('HISTORY_UNUSABLE', `the history in ${directory} cannot be used: ${(cause as Error).message}`, { cause })
}
