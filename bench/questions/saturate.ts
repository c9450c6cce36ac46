// saturate: the highest rate that a server sustains while 99 of 100 deliveries come in time.

import { Arena, type ArenaOptions } from '../arena.js'
import type { Transport } from '../client.js'
import type { LoadResult } from '../crowd.js'
import { type Conditions, compare, conditions, describe, type Figures, figuresOf, METRICS, warmupOf } from '../measure.js'
import { bareOf } from '../peers/index.js'
import { conclude, type Table } from '../result.js'
import type { Settings } from '../settings.js'

/** What the targets name; one combination instead when the command line gives any of it. */
const SETS: readonly (readonly [transport: Transport, users: number, p99: number, roomsPerUser: number])[] = [
  ['websocket', 1_000, 250, 1],
  ['websocket', 5_000, 250, 1],
  ['long-polling', 1_000, 250, 1],
  ['long-polling', 5_000, 250, 1],
  ['long-polling', 1_000, 1_000, 1],
  ['long-polling', 5_000, 1_000, 1],
  ['long-polling', 1_000, 1_000, 10],
]
const FIRST_RATE = 15_000
const GROWTH = 1.4
/** The search ends when the rates that do and do not do are so near. */
const NEAR = 1.05
/** What has to come of what is offered, in time. */
const SUSTAINED = 0.97
const HIGHEST_RATE = 2_000_000

export async function saturate(settings: Settings): Promise<void> {
  const sets = SETS.filter(
    ([transport, users, p99, roomsPerUser]) =>
      (settings.transports?.includes(transport) ?? true) &&
      (settings.users ?? users) === users &&
      (settings.p99 ?? p99) === p99 &&
      (settings.roomsPerUser ?? roomsPerUser) === roomsPerUser,
  )
  if (sets.length === 0) {
    const { transports, users, p99, roomsPerUser } = settings
    sets.push([transports?.[0] ?? 'websocket', users ?? 1_000, p99 ?? 250, roomsPerUser ?? 1])
  }
  const tables: Table[] = []
  for (const [transport, users, p99Limit, roomsPerUser] of settings.quick ? sets.slice(0, 1) : sets) {
    const under = conditions(settings, transport, users, 100, roomsPerUser)
    const title = `${describe(under)}, p99 below ${p99Limit} ms`
    console.error(title)
    const rows = await compare(settings, under, async (arena, peer, before) => {
      const first = before.length === 0 ? FIRST_RATE : 0.75 * before[0]!['delivered']!
      return await new Search(arena, { peer, ...under }, settings, p99Limit).run(settings.rate ?? first)
    })
    const { delivered, p50, p99, serverCpu, generatorCpu, lost, doubled, reordered } = METRICS
    const metrics = [delivered, p50, p99, serverCpu, generatorCpu, lost, doubled, reordered]
    tables.push({ title, metrics, ratioOf: 'delivered', bare: bareOf(transport), rows })
  }
  const about =
    'The rate is raised step by step, then halved in towards the highest at which p99 stays below the limit, all that is offered is ' +
    'delivered in time and nothing is lost.'
  conclude(settings, about, tables)
}

/** One search on one server. An arena that an overload has damaged is replaced. */
class Search {
  #arena: Arena
  readonly #own: Arena[] = []

  constructor(
    arena: Arena,
    private readonly options: ArenaOptions & Conditions,
    private readonly settings: Settings,
    private readonly limit: number,
  ) {
    this.#arena = arena
  }

  async run(first: number): Promise<Figures> {
    try {
      await this.#prepare(first / 2)
      let good = 0
      let bad = HIGHEST_RATE * GROWTH
      let best: Figures | null = null
      for (let rate = first; bad / good > NEAR && rate > 100; ) {
        let load = await this.#step(rate)
        if (!this.#sustained(load, rate) && load.faults.length === 0) load = await this.#step(rate) // once may be bad luck
        if (this.#sustained(load, rate)) {
          good = rate
          best = figuresOf(load)
        } else {
          bad = rate
          if (load.lost > 0 || load.faults.length > 0) await this.#replace(good === 0 ? rate / 4 : good / 2)
        }
        if (rate >= HIGHEST_RATE) break
        rate = good === 0 ? bad / 2 : bad > HIGHEST_RATE ? good * GROWTH : Math.sqrt(good * bad)
      }
      if (best === null) throw new Error('no rate was sustained')
      return best
    } finally {
      for (const arena of this.#own) await arena.end()
    }
  }

  #step(rate: number): Promise<LoadResult> {
    const window = 1000 * (this.settings.seconds ?? (this.settings.quick ? 2 : 4))
    return this.#arena.load({ rate, warmup: 1_500, window, burst: 10 })
  }

  #sustained(load: LoadResult, rate: number): boolean {
    const { latency, delivered, offered, lost, faults } = load
    const enough = offered >= SUSTAINED * rate && delivered >= SUSTAINED * offered
    return enough && latency.p99 < this.limit && lost === 0 && faults.length === 0
  }

  async #prepare(rate: number): Promise<void> {
    await this.#arena.open()
    await this.#arena.load({ rate, warmup: 0, window: warmupOf(this.options.peer, this.settings.quick), burst: 10 })
  }

  async #replace(rate: number): Promise<void> {
    await this.#arena.end()
    this.#arena = await Arena.start(this.options)
    this.#own.push(this.#arena)
    await this.#prepare(rate)
  }
}
