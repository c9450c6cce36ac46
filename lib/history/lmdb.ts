// History on disk, in LMDB: embedded, and whole after a crash.
//
// Knows: where entries lie (by position, and by channel and position), how one transaction takes what a turn appended.
// Does not know: who reads and why (replay.ts).
// Always true: what `kept` was told of survives the death of the process; a position is never given twice; one process has the directory.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
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

const VERSION = 1
const LOCK = 'perihelion.lock'
/** Entries that one read looks at; entries and channels that one trim looks at. */
const LOOKS = 2_048
/** Channels keep so many more than they should until those are removed, all at once. */
const SLACK = 64
/** Entries of one transaction. */
const SLICE = 1_000
const NOTHING = Buffer.alloc(0)
const TIME_BYTES = 8
const LENGTH_BYTES = 2

interface Kept {
  readonly name: ChannelName
  /** Counted when something is appended to it first; -1 before. */
  count: number
  floor: number
  age: number
}

/** Told of what is safe, in the order of the appends. */
export type KeptListener = (through: number, error: Error | null) => void

export class LmdbHistory implements History {
  readonly durable = true
  readonly epoch: string
  tip: number
  readonly #directory: string
  readonly #env: RootDatabase
  readonly #entries: Database<Buffer, number>
  readonly #index: Database<Buffer, [channel: string, position: number]>
  /** Channel to its floor and the age that it keeps. */
  readonly #floors: Database<{ floor: number; age: number }, string>
  /** Keys of publishes to when they came, and those by their time. */
  readonly #keys: Database<number, string>
  readonly #keyTimes: Database<Buffer, [at: number, key: string]>
  readonly #keyWindow: number
  readonly #channels = new Map<string, Kept>()
  readonly #kept: KeptListener
  /** Channels that have too many entries, and how many they keep. */
  readonly #full = new Map<string, number>()
  /** What was appended in this turn, and what did not fit into the transactions of those before. */
  readonly #pending: (Entry & { readonly key: string | null })[] = []
  #trimming: IterableIterator<[string, Kept]> | null = null
  #nextAt = Number.POSITIVE_INFINITY

  /**
   * @param directory is made where there is none
   * @param keyWindow how long a key is remembered, ms
   * @throws {BayeuxError} HISTORY_UNUSABLE: it cannot be written, is of a newer version, or another process has it
   */
  constructor(directory: string, kept: KeptListener, keyWindow = 0) {
    this.#directory = directory
    this.#keyWindow = keyWindow
    this.#kept = kept
    lock(directory)
    try {
      this.#env = open({ path: directory, maxDbs: 8 })
      const meta = this.#env.openDB<unknown, string>({ name: 'meta' })
      const version = meta.get('version') ?? VERSION
      if (version !== VERSION) throw unusable(directory, `it is of version ${version}, this program knows version ${VERSION}`)
      this.epoch = (meta.get('epoch') as string | undefined) ?? randomId()
      meta.putSync('version', VERSION)
      meta.putSync('epoch', this.epoch)
      this.#entries = this.#env.openDB({ name: 'entries', encoding: 'binary' })
      this.#index = this.#env.openDB({ name: 'index', encoding: 'binary' })
      this.#floors = this.#env.openDB({ name: 'floors' })
      this.#keys = this.#env.openDB({ name: 'keys' })
      this.#keyTimes = this.#env.openDB({ name: 'key-times', encoding: 'binary' })
      const [newest = 0] = this.#entries.getKeys({ reverse: true, limit: 1 })
      this.tip = newest
      for (const { key, value } of this.#floors.getRange()) {
        this.#channels.set(key, { name: nameOf(key), count: -1, floor: value.floor, age: value.age })
        this.tip = Math.max(this.tip, value.floor)
      }
    } catch (cause) {
      rmSync(join(directory, LOCK), { force: true })
      throw cause instanceof BayeuxError ? cause : unusable(directory, (cause as Error).message, cause)
    }
  }

  append(channel: string, json: string, { messages, age }: Retention, now: number, key: string | null): number {
    const position = ++this.tip
    const kept = this.#channelOf(channel, age)
    kept.count++
    if (kept.count > messages + Math.max(SLACK, messages / 8)) this.#full.set(channel, messages)
    if (this.#pending.push({ position, channel, json, at: now, key }) === 1) setImmediate(() => this.#commit())
    return position
  }

  has(key: string): boolean {
    return this.#keys.get(key) !== undefined
  }

  read(pattern: ChannelName, after: number, through: number, most: number): Page {
    this.#env.resetReadTxn() // or what was committed in this turn is not seen
    return pattern.wild === 0 ? this.#readOne(pattern.name, after, through, most) : this.#readAll(pattern, after, through, most)
  }

  floor(pattern: ChannelName): number {
    if (pattern.wild === 0) return this.#channels.get(pattern.name)?.floor ?? 0
    let floor = 0
    for (const kept of this.#channels.values()) if (kept.floor > floor && covers(pattern, kept.name)) floor = kept.floor
    return floor
  }

  before(at: number): number {
    this.#env.resetReadTxn()
    let low = 0
    let high = this.tip
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      const [entry] = this.#entries.getRange({ start: middle, reverse: true, limit: 1 })
      if (entry === undefined || entry.value.readDoubleBE(0) < at) low = middle
      else high = entry.key - 1
    }
    const [entry] = this.#entries.getRange({ start: low, reverse: true, limit: 1 })
    return entry === undefined ? 0 : entry.key
  }

  last(pattern: ChannelName, most: number): readonly Entry[] {
    this.#env.resetReadTxn()
    const entries: Entry[] = []
    for (const [channel, kept] of pattern.wild === 0 ? one(this.#channels, pattern.name) : this.#channels) {
      if (!covers(pattern, kept.name)) continue
      const [key] = this.#index.getKeys({ start: [channel, Number.MAX_SAFE_INTEGER], end: [channel, 0], reverse: true, limit: 1 })
      const entry = key === undefined || key[1] <= kept.floor ? null : this.#get(key[1])
      if (entry !== null) entries.push(entry)
    }
    return entries.sort((a, b) => a.position - b.position).slice(-most)
  }

  trim(now: number): number {
    this.#env.resetReadTxn()
    if (this.#trimming === null) this.#nextAt = Number.POSITIVE_INFINITY
    this.#trimming ??= this.#channels.entries()
    this.#forgetKeys(now)
    for (let looks = 0; looks < LOOKS; looks++) {
      const next = this.#trimming.next()
      if (next.done === true) {
        this.#trimming = null
        return this.#nextAt
      }
      const [channel, kept] = next.value
      if (kept.age === Number.POSITIVE_INFINITY) continue
      let old = 0
      for (const { key } of this.#index.getRange({
        start: [channel, 0],
        end: [channel, Number.MAX_SAFE_INTEGER],
        limit: LOOKS,
      })) {
        const at = this.#get(key[1])?.at ?? 0
        if (at + kept.age >= now) {
          this.#nextAt = Math.min(this.#nextAt, at + kept.age + 1)
          break
        }
        old++
      }
      if (old > 0) this.#drop(channel, kept, old)
      if (old === LOOKS) this.#nextAt = now
      looks += old
    }
    return now
  }

  async close(): Promise<void> {
    while (this.#pending.length > 0) this.#commit()
    await this.#env.flushed
    await this.#env.close()
    rmSync(join(this.#directory, LOCK), { force: true })
  }

  #forgetKeys(now: number): void {
    const old: [at: number, key: string][] = []
    for (const key of this.#keyTimes.getKeys({ limit: LOOKS })) {
      if (key[0] + this.#keyWindow >= now) {
        this.#nextAt = Math.min(this.#nextAt, key[0] + this.#keyWindow + 1)
        break
      }
      old.push(key)
    }
    if (old.length === LOOKS) this.#nextAt = now
    if (old.length === 0) return
    this.#write(() => {
      for (const key of old) {
        this.#keyTimes.removeSync(key)
        if (this.#keys.get(key[1]) === key[0]) this.#keys.removeSync(key[1])
      }
    })
  }

  /** What a turn appended goes in one transaction, or in a few: none takes long. */
  #commit(): void {
    const entries = this.#pending.splice(0, SLICE)
    if (entries.length === 0) return // `close` was before
    if (this.#pending.length > 0) setImmediate(() => this.#commit())
    const through = entries.at(-1)!.position
    const error = this.#write(() => {
      for (const { position, channel, json, at, key } of entries) {
        this.#entries.putSync(position, encode(channel, json, at))
        this.#index.putSync([channel, position], NOTHING)
        if (key === null) continue
        this.#keys.putSync(key, at)
        this.#keyTimes.putSync([at, key], NOTHING)
      }
    })
    this.#kept(through, error)
    if (error !== null || this.#full.size === 0) return
    const full = [...this.#full]
    this.#full.clear()
    this.#env.resetReadTxn() // only what is committed can be found
    for (const [channel, messages] of full) {
      const kept = this.#channels.get(channel)!
      if (kept.count > messages) this.#drop(channel, kept, kept.count - messages)
    }
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

  #channelOf(channel: string, age: number): Kept {
    let kept = this.#channels.get(channel)
    if (kept === undefined) {
      kept = { name: nameOf(channel), count: 0, floor: 0, age: -1 }
      this.#channels.set(channel, kept)
    }
    if (kept.count === -1) kept.count = this.#index.getKeysCount({ start: [channel, 0], end: [channel, Number.MAX_SAFE_INTEGER] })
    if (kept.age !== age) {
      kept.age = age
      const { floor } = kept
      this.#write(() => this.#floors.putSync(channel, { floor, age }))
    }
    return kept
  }

  /** The oldest of a channel go; what cannot be removed now is passed over, and removed another time. */
  #drop(channel: string, kept: Kept, count: number): void {
    const keys = [...this.#index.getKeys({ start: [channel, 0], end: [channel, Number.MAX_SAFE_INTEGER], limit: count })]
    const last = keys.at(-1)
    if (last === undefined) return
    kept.floor = Math.max(kept.floor, last[1])
    kept.count = Math.max(0, kept.count - keys.length)
    this.#write(() => {
      for (const key of keys) {
        this.#entries.removeSync(key[1])
        this.#index.removeSync(key)
      }
      this.#floors.putSync(channel, { floor: kept.floor, age: kept.age })
    })
  }

  #readOne(channel: string, after: number, through: number, most: number): Page {
    const entries: Entry[] = []
    const from = Math.max(after, this.#channels.get(channel)?.floor ?? 0) // what is below is about to go
    for (const key of this.#index.getKeys({ start: [channel, from + 1], end: [channel, through + 1], limit: most })) {
      const entry = this.#get(key[1])
      if (entry !== null) entries.push(entry)
    }
    return { entries, through: entries.length < most ? through : entries.at(-1)!.position }
  }

  #readAll(pattern: ChannelName, after: number, through: number, most: number): Page {
    const entries: Entry[] = []
    let looks = 0
    for (const { key, value } of this.#entries.getRange({ start: after + 1, end: through + 1 })) {
      const entry = decode(key, value)
      const kept = this.#channels.get(entry.channel)
      if (kept !== undefined && key > kept.floor && covers(pattern, kept.name)) entries.push(entry)
      if (entries.length === most || ++looks === LOOKS) return { entries, through: key }
    }
    return { entries, through }
  }

  #get(position: number): Entry | null {
    const value = this.#entries.get(position)
    return value === undefined ? null : decode(position, value)
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

function decode(position: number, value: Buffer): Entry {
  const from = TIME_BYTES + LENGTH_BYTES
  const to = from + value.readUInt16BE(TIME_BYTES)
  return { position, channel: value.toString('utf8', from, to), json: value.toString('utf8', to), at: value.readDoubleBE(0) }
}

function unusable(directory: string, why: string, cause?: unknown): BayeuxError {
  return new BayeuxError('HISTORY_UNUSABLE', `the history in ${directory} cannot be used: ${why}`, { cause })
}

/** LMDB itself lets a second process in, whose positions would be those of the first. */
function lock(directory: string): void {
  const file = join(directory, LOCK)
  try {
    mkdirSync(directory, { recursive: true })
    if (isHeld(file)) throw unusable(directory, `process ${readFileSync(file, 'utf8').split(' ')[0]} has it`)
    writeFileSync(file, `${process.pid} ${startOf(process.pid)}`)
  } catch (cause) {
    throw cause instanceof BayeuxError ? cause : unusable(directory, (cause as Error).message, cause)
  }
}

function isHeld(file: string): boolean {
  try {
    const [pid, start] = readFileSync(file, 'utf8').split(' ')
    process.kill(Number(pid), 0)
    return startOf(Number(pid)) === start
  } catch {
    return false // there is none, or of a process that is no more
  }
}

/** When a process began, as Linux counts; '' where that cannot be said. */
function startOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[19]!
  } catch {
    return ''
  }
}
