// How figures are taken: all peers under the same conditions, one after the other, several times over, and the median of each figure.

import { Arena, type ArenaOptions } from './arena.js'
import type { Transport } from './client.js'
import type { LoadResult } from './crowd.js'
import { type PeerName, peerOf } from './peers/index.js'
import type { Metric, Row } from './result.js'
import type { Settings } from './settings.js'

/** The conditions of one table. */
export type Conditions = Omit<ArenaOptions, 'peer'>

export function conditions(
  settings: Settings,
  transport: Transport | readonly Transport[],
  users: number,
  rooms = 100,
  roomsPerUser = 1,
): Conditions {
  const { ack, nodeFlags, flags } = settings
  return {
    transports: typeof transport === 'string' ? [transport] : transport,
    ack,
    nodeFlags,
    flags,
    users: settings.users ?? users,
    rooms: settings.rooms ?? rooms,
    roomsPerUser: settings.roomsPerUser ?? roomsPerUser,
  }
}

export function describe({ transports, ack, users, rooms, roomsPerUser }: Omit<Conditions, 'nodeFlags' | 'flags'>): string {
  const count = (n: number, word: string): string => `${n.toLocaleString('en')} ${word}${n === 1 ? '' : 's'}`
  return `${transports.join(' and ')}${ack ? ' with acks' : ''}, ${count(users, 'user')} in ${roomsPerUser} of ${count(rooms, 'room')}`
}

/** What a JIT compiler needs before its server is measured, ms: a JVM more than Node (from its eighth second on its figures stay). */
export const warmupOf = (peer: PeerName, quick: boolean): number =>
  (peerOf(peer).needs === 'maven' ? 2.5 : 1) * (quick ? 1_500 : 4_000)

/**
 * Measures all peers that can do it, in turn, as often as the command line says or else as is usual for the question.
 *
 * @param measure gives the figures of one run in a fresh arena
 * @returns a row for each peer: the median of each figure
 */
export async function compare(
  settings: Settings,
  under: Conditions,
  measure: (arena: Arena, peer: PeerName, before: readonly Figures[]) => Promise<Figures>,
  usual = 1,
): Promise<Row[]> {
  const able = settings.peers.filter(name => canDo(name, under.transports) && (!under.ack || peerOf(name).ack))
  const runs = new Map<PeerName, Figures[]>(able.map(name => [name, []]))
  const repetitions = settings.repetitions ?? (settings.quick ? 1 : usual)
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const peer of able) {
      const before = runs.get(peer)!
      const figures = await inArena({ peer, ...under }, arena => measure(arena, peer, before))
      if (figures === null) continue
      before.push(figures)
      console.error(
        `  ${peer}: ${Object.entries(figures)
          .map(([key, value]) => `${key} ${Number(value.toPrecision(4))}`)
          .join(', ')}`,
      )
    }
  }
  return able.map(peer => ({ peer, values: medians(runs.get(peer)!) })).filter(row => Object.keys(row.values).length > 0)
}

const canDo = (name: PeerName, transports: readonly Transport[]): boolean =>
  transports.every(transport => peerOf(name).clients[transport] !== undefined)

export type Figures = Readonly<Record<string, number>>

/** Does something in an arena of its own. @returns null when it failed, which is said on stderr */
export async function inArena<T>(options: ArenaOptions, work: (arena: Arena) => Promise<T>): Promise<T | null> {
  let arena: Arena | null = null
  try {
    arena = await Arena.start(options)
    return await work(arena)
  } catch (error) {
    console.error(`  ${options.peer}: failed: ${error instanceof Error ? error.message : String(error)}`)
    return null
  } finally {
    await arena?.end()
  }
}

export function medians(runs: readonly Figures[]): Figures {
  const keys = new Set(runs.flatMap(Object.keys))
  return Object.fromEntries(
    [...keys].map(key => {
      const values = runs.map(run => run[key]).filter(value => value !== undefined)
      return [key, SUMMED.has(key.split('@')[0]!) ? values.reduce((total, value) => total + value, 0) : median(values)]
    }),
  )
}

/** Of these every single one counts. */
const SUMMED = new Set(['lost', 'doubled', 'reordered'])

/** Figures of one part of a run, in which several parts are measured: the part's name goes behind each key. */
export function named(part: number | string, figures: Figures): Figures {
  return Object.fromEntries(Object.entries(figures).map(([key, value]) => [`${key}@${part}`, value]))
}

/** The rows of one part again; peers that have no figures of it are left out. */
export function rowsOf(part: number | string, rows: readonly Row[]): Row[] {
  const suffix = `@${part}`
  const own = rows.map(({ peer, values }) => {
    const entries = Object.entries(values).filter(([key]) => key.endsWith(suffix))
    return { peer, values: Object.fromEntries(entries.map(([key, value]) => [key.slice(0, -suffix.length), value])) }
  })
  return own.filter(({ values }) => Object.keys(values).length > 0)
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** The figures of one load. @throws {Error} the clients met what must not happen */
export function figuresOf(load: LoadResult): Figures {
  if (load.faults.length > 0) throw new Error(load.faults[0])
  if (load.strays > 0) throw new Error(`${load.strays} deliveries to users that are not in the room`)
  const { latency } = load
  return {
    delivered: load.delivered,
    mean: latency.mean,
    p50: latency.p50,
    p90: latency.p90,
    p99: latency.p99,
    p999: latency.p999,
    max: latency.max,
    cpu: load.cpuPerDelivery,
    serverCpu: 100 * load.serverCpu,
    generatorCpu: 100 * load.generatorCpu,
    lost: load.lost,
    doubled: load.doubled,
    reordered: load.reordered,
  }
}

export const METRICS = {
  delivered: { key: 'delivered', label: 'deliveries/s', digits: 0 },
  mean: { key: 'mean', label: 'mean ms', digits: 1 },
  p50: { key: 'p50', label: 'p50 ms', digits: 1 },
  p90: { key: 'p90', label: 'p90 ms', digits: 1 },
  p99: { key: 'p99', label: 'p99 ms', digits: 1 },
  p999: { key: 'p999', label: 'p99.9 ms', digits: 1 },
  max: { key: 'max', label: 'max ms', digits: 1 },
  cpu: { key: 'cpu', label: 'CPU µs/delivery', digits: 2 },
  serverCpu: { key: 'serverCpu', label: 'server CPU %', digits: 0 },
  generatorCpu: { key: 'generatorCpu', label: 'generator CPU %', digits: 0 },
  lost: { key: 'lost', label: 'lost', digits: 0 },
  doubled: { key: 'doubled', label: 'doubled', digits: 0 },
  reordered: { key: 'reordered', label: 'reordered', digits: 0 },
} as const satisfies Record<string, Metric>

export const BOTH: readonly Transport[] = ['websocket', 'long-polling']
