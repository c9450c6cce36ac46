// saturate: the highest rate that a server sustains while 99 of 100 deliveries come in time.

import { Arena, type ArenaOptions } from '../arena.js'
import type { Transport } from '../client.js'
import type { LoadResult } from '../crowd.js'
import { compare, conditions, describe, type Figures, figuresOf, METRICS, named, rowsOf, warmupOf } from '../measure.js'
import { bareOf, peerOf } from '../peers/index.js'
import { conclude, type Table } from '../result.js'
import { nextRate } from '../search.js'
import type { Settings } from '../settings.js'

interface Round {
  readonly transport: Transport
  readonly users: number
  readonly roomsPerUser: number
  /** What p99 must stay below, ms: one table for each. */
  readonly limits: readonly number[]
}

/** What the targets name; one combination instead when the command line gives any other. */
const ROUNDS: readonly Round[] = [
  { transport: 'websocket', users: 1_000, roomsPerUser: 1, limits: [250] },
  { transport: 'websocket', users: 5_000, roomsPerUser: 1, limits: [250] },
  { transport: 'long-polling', users: 1_000, roomsPerUser: 1, limits: [1_000, 250] },
  { transport: 'long-polling', users: 5_000, roomsPerUser: 1, limits: [1_000, 250] },
  { transport: 'long-polling', users: 1_000, roomsPerUser: 10, limits: [1_000] },
]
const FIRST_RATE = 20_000
/** Of what another repetition has found: its limit is then one step away. */
const AGAIN = 0.75
/** What has to come of what is offered, in time. */
const SUSTAINED = 0.97
const WARMUP = 1_000

export async function saturate(settings: Settings): Promise<void> {
  const rounds = roundsOf(settings)
  const tables: Table[] = []
  for (const { transport, users, roomsPerUser, limits } of settings.quick ? rounds.slice(0, 1) : rounds) {
    const under = conditions(settings, transport, users, 100, roomsPerUser)
    const titles = new Map(limits.map(limit => [limit, `${describe(under)}, p99 below ${limit} ms`]))
    console.error([...titles.values()].join('; '))
    const rows = await compare(settings, under, async (arena, peer, before) => {
      const found = before[0]?.[`delivered@${limits[0]}`]
      const first = settings.rate ?? (found === undefined ? FIRST_RATE : AGAIN * found)
      return await new Search(arena, { peer, ...under }, settings).run(limits, first)
    })
    const { delivered, p50, p99, serverCpu, generatorCpu, lost, doubled, reordered } = METRICS
    const metrics = [delivered, p50, p99, serverCpu, generatorCpu, lost, doubled, reordered]
    for (const [limit, title] of titles)
      tables.push({ title, metrics, ratioOf: 'delivered', bare: bareOf(transport), rows: rowsOf(limit, rows) })
  }
  const about =
    'The rate grows until it is too high, then it is halved in, to within 8 %, towards the highest at which p99 stays below the limit, all ' +
    'that is offered is delivered in time and nothing is lost. The last failure is tried a second time.'
  conclude(settings, about, tables)
}

function roundsOf({ transports, users, roomsPerUser, p99 }: Settings): readonly Round[] {
  const rounds = ROUNDS.filter(
    round =>
      (transports?.includes(round.transport) ?? true) &&
      (users ?? round.users) === round.users &&
      (roomsPerUser ?? round.roomsPerUser) === round.roomsPerUser,
  )
    .map(round => ({ ...round, limits: p99 === null ? round.limits : round.limits.filter(limit => limit === p99) }))
    .filter(({ limits }) => limits.length > 0)
  if (rounds.length > 0) return rounds
  return [
    { transport: transports?.[0] ?? 'websocket', users: users ?? 1_000, roomsPerUser: roomsPerUser ?? 1, limits: [p99 ?? 250] },
  ]
}

/** One search on one server. An arena that an overload has damaged is replaced. */
class Search {
  #arena: Arena
  #damaged = false
  readonly #own: Arena[] = []
  /** Every step that was made, for whatever limit. */
  readonly #steps: { readonly rate: number; readonly load: LoadResult }[] = []

  constructor(
    arena: Arena,
    private readonly options: ArenaOptions,
    private readonly settings: Settings,
  ) {
    this.#arena = arena
  }

  /** @param limits of p99, ms; the steps that were made for one serve the next */
  async run(limits: readonly number[], first: number): Promise<Figures> {
    try {
      await this.#prepare(first / 2)
      if (peerOf(this.options.peer).needs === 'maven') {
        for (const limit of limits) await this.#search(limit, first) // a JVM goes on compiling for a minute; what it does meanwhile does not count
        this.#steps.length = 0
      }
      const found: Figures[] = []
      for (const limit of limits) {
        await this.#search(limit, first)
        const good = this.#steps.filter(({ rate, load }) => sustained(load, rate, limit)).sort((a, b) => b.rate - a.rate)
        if (good.length > 0) found.push(named(limit, figuresOf(good[0]!.load)))
      }
      if (found.length === 0) throw new Error('no rate was sustained')
      return Object.assign({}, ...found) as Figures
    } finally {
      for (const arena of this.#own) await arena.end()
    }
  }

  async #search(limit: number, first: number): Promise<void> {
    const trials = () => this.#steps.map(({ rate, load }) => ({ rate, sustained: sustained(load, rate, limit) }))
    for (let rate = nextRate(trials(), first); rate !== null; rate = nextRate(trials(), first)) await this.#step(rate)
  }

  async #step(rate: number): Promise<void> {
    if (this.#damaged) await this.#replace(rate / 2)
    const window = 1000 * (this.settings.seconds ?? 2)
    const load = await this.#arena.load({ rate, warmup: WARMUP, window, burst: 10 })
    this.#steps.push({ rate, load })
    this.#damaged = load.lost > 0 || load.faults.length > 0
  }

  async #replace(rate: number): Promise<void> {
    await this.#arena.end()
    this.#arena = await Arena.start(this.options)
    this.#own.push(this.#arena)
    await this.#prepare(rate)
  }

  async #prepare(rate: number): Promise<void> {
    await this.#arena.open()
    await this.#arena.load({ rate, warmup: 0, window: warmupOf(this.options.peer, this.settings.quick), burst: 10 })
  }
}

function sustained({ latency, delivered, offered, lost, faults }: LoadResult, rate: number, limit: number): boolean {
  const enough = offered >= SUSTAINED * rate && delivered >= SUSTAINED * offered
  return enough && latency.p99 < limit && lost === 0 && faults.length === 0
}
