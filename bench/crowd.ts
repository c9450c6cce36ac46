// A crowd: all clients of one run, in one process, and what is done with them.
//
// Users are in rooms and listen. Speakers are sessions of their own, in no room, which publish; so no user's deliveries ride on the answer
// to its own publish, and the order in a room is known. Where there are several kinds of clients, they take turns: each kind has its share of
// the users of a room, of the speakers and of the sessions that come and go, and all are in one account. Rooms are drawn from a seeded generator: every server gets the same crowd.

import type { Client, ClientClass, Ears, Target } from './client.js'
import { Histogram, type Latency } from './histogram.js'
import { cpuSeconds } from './machine.js'
import { payload } from './payload.js'
import { type Account, Tally } from './tally.js'

export interface CrowdOptions {
  readonly users: number
  readonly rooms: number
  readonly roomsPerUser: number
  /** Process id of the server, whose CPU time is read at the edges of the window. */
  readonly server: number
}

export interface LoadOptions {
  /** Deliveries per second that are offered. */
  readonly rate: number
  /** ms before the window opens, and how long it is open. */
  readonly warmup: number
  readonly window: number
  /** Messages that are published together. */
  readonly burst: number
}

export interface LoadResult extends Account {
  readonly latency: Latency
  /** The same for each kind of clients. */
  readonly latencies: readonly Latency[]
  /** Deliveries per second within the window: what was sent for, and what came. */
  readonly offered: number
  readonly delivered: number
  /** CPU time of the server within the window: µs for each delivery, and share of a core. */
  readonly cpuPerDelivery: number
  readonly serverCpu: number
  /** Share of a core that the generator itself took. */
  readonly generatorCpu: number
  readonly faults: readonly string[]
}

export interface ChurnResult {
  /** Cycles per second. */
  readonly rate: number
  /** Shares of a core. */
  readonly serverCpu: number
  readonly generatorCpu: number
}

export interface Spread {
  /** ms from the publication to the first and the last delivery. */
  readonly first: number
  readonly last: number
}

const SPEAKERS = 64
/** Sessions that are being made at the same time. */
const OPENING = 64
const SEED = 20_111
const TICK_MS = 1
/** A generator that is later than this to send is not fast enough: from there on lateness counts as latency. */
const TOLERATED_LAG_MS = 5
/** A run has lost messages when none came for so long. */
const SILENCE_MS = 3_000
const MANY_FAULTS = 20

export class Crowd {
  readonly #users: Client[] = []
  readonly #speakers: Client[] = []
  readonly #tally: Tally
  readonly #memberships: number[][]
  readonly #random = generator(SEED)
  readonly #faults: string[] = []
  #turn = 0
  /** Who makes and ends sessions now. */
  #churning: Promise<void>[] | null = null
  #cycles = 0

  constructor(
    private readonly kinds: readonly ClientClass[],
    private readonly target: Target,
    private readonly options: CrowdOptions,
  ) {
    this.#memberships = Array.from({ length: options.users }, () => this.#draw(options.roomsPerUser))
    this.#tally = new Tally(options.rooms, this.#memberships, kinds.length)
  }

  /** Makes sessions until there are so many users, and the speakers. @returns how long it took, s */
  async open(users: number): Promise<number> {
    const from = performance.now()
    const there = this.#users.length
    await inParallel(users - there, OPENING, async i => {
      const user = there + i
      const ears: Ears = {
        heard: (bytes, mark) => this.#tally.heard(user, bytes, mark),
        fault: reason => this.#fault(reason),
      }
      const client = this.#client(user, ears)
      await client.open(this.#memberships[user]!)
      client.listen()
      this.#users.push(client)
    })
    const deaf: Ears = { heard: () => this.#fault('a speaker got a message'), fault: reason => this.#fault(reason) }
    await inParallel(SPEAKERS - this.#speakers.length, OPENING, async i => {
      const speaker = this.#client(i, deaf)
      await speaker.open([])
      this.#speakers.push(speaker)
    })
    return (performance.now() - from) / 1000
  }

  /** Publishes bursts to random rooms at a fixed interval, and accounts for every delivery. */
  async load({ rate, warmup, window, burst }: LoadOptions): Promise<LoadResult> {
    const tally = this.#tally
    const { users, rooms, roomsPerUser, server } = this.options
    const interval = (1000 * burst * ((users * roomsPerUser) / rooms)) / rate
    const begin = performance.now()
    for (const latency of tally.latencies) latency.clear()
    tally.windowFrom = begin + warmup
    tally.windowTo = tally.windowFrom + window
    const bursts = Math.floor((warmup + window) / interval)
    let sent = 0
    const before = { account: tally.account(), received: tally.received, expected: tally.expected, server: 0, own: 0, at: begin }
    let after = before
    await new Promise<void>(resolve => {
      let open = false
      const tick = (): void => {
        const now = performance.now()
        for (let due = begin + sent * interval; due <= now && sent < bursts; due = begin + ++sent * interval)
          this.#say(burst, now - due > TOLERATED_LAG_MS ? due : now)
        const edge = (): typeof before => ({
          ...before,
          received: tally.received,
          expected: tally.expected,
          server: cpuSeconds(server),
          own: cpuSeconds(process.pid),
          at: now,
        })
        if (!open && now >= tally.windowFrom) {
          open = true
          Object.assign(before, edge())
        }
        if (now < tally.windowTo) setTimeout(tick, TICK_MS)
        else {
          after = edge()
          resolve()
        }
      }
      tick()
    })
    await this.#settled()
    const seconds = (after.at - before.at) / 1000
    const received = after.received - before.received
    const account = tally.account()
    return {
      ...difference(account, before.account),
      latency: Histogram.of(tally.latencies).summary(),
      latencies: tally.latencies.map(latency => latency.summary()),
      offered: (after.expected - before.expected) / seconds,
      delivered: received / seconds,
      cpuPerDelivery: (1e6 * (after.server - before.server)) / received,
      serverCpu: (after.server - before.server) / seconds,
      generatorCpu: (after.own - before.own) / seconds,
      faults: this.#faults.splice(0),
    }
  }

  /** Publishes one message at a time to the first room and waits until every member has it. */
  async fanout(times: number, pause: number): Promise<{ spreads: Spread[]; account: Account; faults: readonly string[] }> {
    const spreads: Spread[] = []
    for (let i = 0; i < times; i++) {
      this.#tally.firstAt = 0
      const at = performance.now()
      this.#post(this.#speakers[0]!, 0, [0], at)
      await this.#settled()
      spreads.push({ first: this.#tally.firstAt - at, last: this.#tally.lastAt - at })
      await sleep(pause)
    }
    return { spreads, account: this.#tally.account(), faults: this.#faults.splice(0) }
  }

  /**
   * From now on sessions come and go, so many at a time, each in one room. What they hear is no part of the account.
   *
   * @param pause ms between the end of one and the beginning of the next
   */
  beginChurn(concurrency: number, pause = 0): void {
    const deaf: Ears = { heard: () => undefined, fault: reason => this.#fault(reason) }
    const worker = async (i: number): Promise<void> => {
      while (this.#churning !== null) {
        const client = this.#client(i, deaf)
        await client.open([Math.floor(this.#random() * this.options.rooms)])
        await client.close()
        this.#cycles++
        if (pause > 0) await sleep(pause)
      }
    }
    this.#cycles = 0
    this.#churning = [] // the workers look at it when they begin
    this.#churning.push(...Array.from({ length: concurrency }, (_, i) => worker(i)))
    for (const working of this.#churning) working.catch((error: unknown) => this.#fault(String(error)))
  }

  /** @returns how many sessions came and went */
  async endChurn(): Promise<number> {
    const workers = this.#churning ?? []
    this.#churning = null
    await Promise.all(workers)
    if (this.#faults.length > 0) throw new Error(this.#faults.join('\n'))
    return this.#cycles
  }

  /** @returns full cycles per second within the window */
  async churn(concurrency: number, warmup: number, window: number): Promise<ChurnResult> {
    const { server } = this.options
    this.beginChurn(concurrency)
    await sleep(warmup)
    const before = { cycles: this.#cycles, server: cpuSeconds(server), own: cpuSeconds(process.pid), at: performance.now() }
    await sleep(window)
    const seconds = (performance.now() - before.at) / 1000
    const result = {
      rate: (this.#cycles - before.cycles) / seconds,
      serverCpu: (cpuSeconds(server) - before.server) / seconds,
      generatorCpu: (cpuSeconds(process.pid) - before.own) / seconds,
    }
    await this.endChurn()
    return result
  }

  /** Ends all sessions as the protocol wants it. */
  async close(): Promise<void> {
    const all = [...this.#users, ...this.#speakers]
    await inParallel(all.length, OPENING, i => all[i]!.close())
  }

  #client(i: number, ears: Ears): Client {
    return new this.kinds[i % this.kinds.length]!(this.target, ears)
  }

  #say(burst: number, at: number): void {
    const rooms = Array.from({ length: burst }, () => Math.floor(this.#random() * this.options.rooms))
    const speaker = this.#turn++ % this.#speakers.length
    this.#post(this.#speakers[speaker]!, speaker, rooms, at)
  }

  #post(client: Client, speaker: number, rooms: readonly number[], at: number): void {
    client.publish(rooms.map(room => ({ room, text: payload(room, this.#tally.sent(room, speaker), at) })))
  }

  /** Waits until all is there, or nothing comes any more. */
  async #settled(): Promise<void> {
    let seen = this.#tally.received
    let since = performance.now()
    while (!this.#tally.complete && performance.now() - since < SILENCE_MS) {
      await sleep(5)
      if (this.#tally.received === seen) continue
      seen = this.#tally.received
      since = performance.now()
    }
  }

  /** Different rooms. */
  #draw(count: number): number[] {
    const drawn = new Set<number>()
    while (drawn.size < count) drawn.add(Math.floor(this.#random() * this.options.rooms))
    return [...drawn]
  }

  #fault(reason: string): void {
    if (this.#faults.length < MANY_FAULTS) this.#faults.push(reason)
  }
}

function difference(after: Account, before: Account): Account {
  return Object.fromEntries(
    Object.entries(after).map(([name, value]) => [name, value - before[name as keyof Account]]),
  ) as unknown as Account
}

async function inParallel(count: number, width: number, work: (i: number) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: Math.min(width, count) }, worker))
}

function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}

/** Numbers in [0, 1) that are the same in each run (mulberry32). */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
