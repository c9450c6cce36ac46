// A stage: a server, a crowd that must not be disturbed, and an attacker, each a process of its own; and what is measured of them.
//
// How a flood is measured. The crowd publishes 50 messages a second to 20 WebSockets and 20 pollers and takes the time of each delivery:
// once in quiet, then while the attacker attacks, and until all that it left behind is gone. At the height nothing is published for a
// moment, the server collects its garbage, and what is then in use is what the attack holds. Resident memory is read all the time.
//
// The attacker has the lowest priority and waits for answers, group by group; so what is measured is a server that has as much work as it can
// do, and not how long a queue of requests one can put before it. What this cannot tell: how a server fares whose kernel is
// flooded, or whose only core is wanted by others; and latencies of less than a few ms, which are those of the crowd's own process.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Latency } from '../../bench/histogram.js'
import { rssBytes } from '../../bench/machine.js'
import type { AttackerQuestion } from './attacker.js'
import { Child } from './child.js'
import type { CrowdQuestion, Heard } from './crowd.js'
import { type Counts, type Flood, type Outcome, SERVERS, type ServerKind } from './flood.js'
import type { Look, Report, ServerOptions, ServerQuestion } from './server.js'

export interface Tempo {
  /** Options over those of each kind of server. */
  readonly options: Readonly<Record<string, unknown>>
  /** Of requests that are not sent in full, ms. */
  readonly requestTimeout: number
  /** How long the crowd is measured in quiet, ms. */
  readonly quiet: number
}

export interface Result {
  readonly flood: Flood
  readonly outcome: Outcome
  readonly latency: Heard
  /** Bytes of resident memory: before, the most that was seen, at the end. */
  readonly rss: { readonly before: number; readonly peak: number; readonly after: number }
  /** The server at the end. */
  readonly after: Report
  /** How long it took from the end of the attack until sessions, channels and connections were as before, and memory, s. */
  readonly settled: number
  readonly freed: number
}

/** How often resident memory is read, ms. */
const PERIOD = 20
/** The shortest time that latencies are taken of, ms: 50 messages. */
const SHORTEST = 1_000
/** How long it may take until nothing is left of an attack, and then until its memory is given back, ms. */
const PATIENCE = 45_000
/** What it takes until all code is compiled, ms. */
const WARM_UP = 2_000
const MIB = 1_048_576
/** What of the heap may stay: compiled code, tables that have grown. */
export const KEPT_HEAP = 4 * MIB
/** What of resident memory may stay: pages that V8 and the allocator keep for the next time. */
export const KEPT_RSS = 64 * MIB

export class Stage {
  #port = 0

  private constructor(
    private readonly server: Child,
    private readonly crowd: Child,
    private readonly attacker: Child,
  ) {}

  static async start(kind: ServerKind, { options, requestTimeout }: Tempo): Promise<Stage> {
    const given: ServerOptions = {
      options: { ...SERVERS[kind].options, ...options },
      channels: SERVERS[kind].channels,
      requestTimeout,
    }
    const server = new Child('server.js', [JSON.stringify(given)], ['--expose-gc'])
    const stage = new Stage(server, new Child('crowd.js'), new Child('attacker.js'))
    stage.#port = await stage.#server<number>('port')
    await stage.#crowd({ do: 'gather', port: stage.#port })
    await stage.quiet(WARM_UP)
    return stage
  }

  async quiet(ms: number): Promise<Heard> {
    await this.#crowd({ do: 'speak', anew: true })
    await sleep(ms)
    await this.#crowd({ do: 'hush' })
    return await this.#crowd({ do: 'tell' })
  }

  async flood(flood: Flood, size: number): Promise<Result> {
    const before = await this.#server<Report>('report')
    const rss = { before: this.#rss, peak: 0, after: 0 }
    const watch = setInterval(() => {
      rss.peak = Math.max(rss.peak, this.#rss)
    }, PERIOD)
    try {
      await this.#crowd({ do: 'speak', anew: true })
      const from = performance.now()
      const first = await this.#attacker({ do: 'attack', name: flood.name, port: this.#port, size })
      const seconds = (performance.now() - from) / 1_000
      await this.#crowd({ do: 'hush' })
      const height = await this.#server<Report>('report')
      await this.#crowd({ do: 'speak', anew: false })
      const released = performance.now()
      const counts = { ...first, ...(await this.#attacker({ do: 'release' })) }
      const last = await this.#settle(before)
      const settled = (performance.now() - released) / 1_000
      await sleep(Math.max(0, from + SHORTEST - performance.now()))
      await this.#crowd({ do: 'hush' })
      const latency = await this.#crowd<Heard>({ do: 'tell' })
      clearInterval(watch)
      const after = await this.#free(before, rss.before)
      rss.after = this.#rss
      const outcome = { size, seconds, counts, before, height, limits: difference(last.limits, before.limits) }
      return { flood, outcome, latency, rss, after, settled, freed: (performance.now() - released) / 1_000 }
    } finally {
      clearInterval(watch)
    }
  }

  async end(): Promise<void> {
    await Promise.all([this.server.end(), this.crowd.end(), this.attacker.end()])
  }

  /** Waits until all is as it was before but for memory, or for as long as it may take. */
  async #settle(before: Look): Promise<Look> {
    let last = await this.#server<Look>('look')
    for (const end = Date.now() + PATIENCE; !isSame(last, before) && Date.now() < end; ) {
      await sleep(50)
      last = await this.#server<Look>('look')
    }
    return last
  }

  /** The same for memory. */
  async #free(before: Report, rss: number): Promise<Report> {
    let last = await this.#server<Report>('report')
    const isBack = (): boolean => inUse(last) <= inUse(before) + KEPT_HEAP && this.#rss <= rss + KEPT_RSS
    for (const end = Date.now() + PATIENCE; !isBack() && Date.now() < end; ) {
      await sleep(500)
      last = await this.#server<Report>('report')
    }
    return last
  }

  get #rss(): number {
    return rssBytes(this.server.pid)
  }

  #server<T>(ask: ServerQuestion): Promise<T> {
    return this.server.ask({ ask })
  }

  #crowd<T>(question: CrowdQuestion): Promise<T> {
    return this.crowd.ask(question)
  }

  #attacker(question: AttackerQuestion): Promise<Counts> {
    return this.attacker.ask(question)
  }
}

/** Bytes in use, in the heap and outside. */
export function inUse({ heap, buffers }: Report): number {
  return heap + buffers
}

/** Whether what is counted is as it was. The crowd's own connects come and go. */
export function isSame(now: Look, before: Look): boolean {
  const { sessions, channels, subscriptions } = now.stats
  return (
    sessions === before.stats.sessions &&
    channels === before.stats.channels &&
    subscriptions === before.stats.subscriptions &&
    now.connections === before.connections
  )
}

/** What is not as it should be, in words; empty when all is well. Latencies are not judged. */
export function complaints({ flood, outcome, latency, rss, after }: Result): string[] {
  const { before } = outcome
  const rules: Readonly<Record<string, boolean>> = {
    ...flood.check(outcome),
    [`at most ${flood.bound} MiB more (${mib(rss.peak - rss.before)})`]: rss.peak - rss.before <= flood.bound * MIB,
    'sessions, channels, subscriptions and connections are as before': isSame(after, before),
    'queues are as before': after.stats.queued === before.stats.queued,
    [`memory in use is as before (${mib(inUse(before))}, ${mib(inUse(after))} MiB)`]: inUse(after) <= inUse(before) + KEPT_HEAP,
    [`resident memory is as before (${mib(rss.before)}, ${mib(rss.after)} MiB)`]: rss.after <= rss.before + KEPT_RSS,
    'the crowd got every message': latency.lost === 0,
    [`the crowd was not disturbed ${latency.faults.join('; ')}`]: latency.faults.length === 0,
  }
  return Object.entries(rules)
    .filter(([, holds]) => !holds)
    .map(([rule]) => rule)
}

export const p99 = ({ websocket, polling }: { readonly websocket: Latency; readonly polling: Latency }): number =>
  Math.max(websocket.p99, polling.p99)

export function mib(bytes: number): string {
  return (bytes / MIB).toFixed(1)
}

function difference(after: Look['limits'], before: Look['limits']): Look['limits'] {
  return Object.fromEntries(Object.entries(after).map(([name, times]) => [name, times - (before[name] ?? 0)]))
}
