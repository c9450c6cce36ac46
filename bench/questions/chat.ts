// chat: the benchmark of "20,000 reasons why Comet scales" and of CometD's manual: users in rooms, bursts of messages to random rooms, and the
// latency of every delivery against throughput.

import type { Transport } from '../client.js'
import { BOTH, compare, conditions, describe, figuresOf, METRICS, named, rowsOf, warmupOf } from '../measure.js'
import { bareOf, type PeerName, peerNames, peerOf } from '../peers/index.js'
import { type Chart, conclude, type Row, type Table } from '../result.js'
import type { Settings } from '../settings.js'

interface Scene {
  readonly users: number
  readonly rooms: number
  readonly roomsPerUser: number
  readonly ack: boolean
  readonly rates: readonly number[]
  /** Leaves LATECOMERS out. */
  readonly crowded: boolean
}

/** The first one is the main scene; the others change one thing or two of it. */
const MAIN: Scene = {
  users: 1_000,
  rooms: 100,
  roomsPerUser: 1,
  ack: false,
  rates: [5_000, 20_000, 80_000],
  crowded: false,
}
const SIDE: Scene = { ...MAIN, rates: [20_000] }
const SCENES: readonly Scene[] = [
  MAIN,
  { ...SIDE, ack: true },
  { ...SIDE, users: 5_000, crowded: true },
  { ...SIDE, users: 10_000, rooms: 1_000, roomsPerUser: 10, rates: [10_000], crowded: true },
  { ...SIDE, users: 19_000, rooms: 1_000, rates: [5_000], crowded: true }, // over long-polling each delivery is a response of its own
]
const QUICK_RATES = [5_000, 20_000]
/** Their crowds take long to gather, or they tell nothing new there. */
const LATECOMERS: readonly PeerName[] = ['cometd-nodejs', 'bare-ws-gathered']
const WARMUP = 1_000
/** A server that falls behind like this is not asked for more. */
const HOPELESS_P99 = 2_000

export async function chat(settings: Settings): Promise<void> {
  const given = settings.users !== null || settings.rooms !== null || settings.roomsPerUser !== null || settings.ack
  const scenes = settings.quick || given ? SCENES.slice(0, 1) : SCENES
  const tables: Table[] = []
  const charts: Chart[] = []
  for (const scene of scenes) {
    for (const transport of settings.transports ?? BOTH) {
      const { tables: more, chart } = await play(settings, scene, transport)
      tables.push(...more)
      if (chart !== null) charts.push(chart)
    }
  }
  const about =
    'Bursts of 10 messages of 50 bytes to random rooms at a fixed interval, from 64 sessions that are in no room. Every delivery is timed ' +
    'from the moment its message was due, and accounted for. Crowds of 5,000 and more leave out cometd-nodejs-server and the second bare server.'
  conclude(settings, about, tables, charts)
}

/** One scene on all peers, at growing rates. */
async function play(
  settings: Settings,
  { users, rooms, roomsPerUser, ack, rates: usual, crowded }: Scene,
  transport: Transport,
): Promise<{ tables: Table[]; chart: Chart | null }> {
  const under = conditions({ ...settings, ack: settings.ack || ack }, transport, users, rooms, roomsPerUser)
  const rates = settings.rate !== null ? [settings.rate] : settings.quick ? QUICK_RATES : usual
  const window = 1000 * (settings.seconds ?? (settings.quick ? 3 : 4))
  const peers = crowded ? settings.peers.filter(name => !LATECOMERS.includes(name)) : settings.peers
  console.error(describe(under))
  const rows = await compare({ ...settings, peers }, under, async (arena, peer) => {
    await arena.open()
    await arena.load({ rate: rates[0]!, warmup: 0, window: warmupOf(peer, settings.quick), burst: 10 })
    const figures = {}
    for (const rate of rates) {
      const level = figuresOf(await arena.load({ rate, warmup: WARMUP, window, burst: 10 }))
      Object.assign(figures, named(rate, level))
      if (level['p99']! > HOPELESS_P99 || level['lost']! > 0) break
    }
    return figures
  })
  const { delivered, mean, p50, p90, p99, p999, max, lost, doubled, reordered } = METRICS
  const metrics = [delivered, mean, p50, p90, p99, p999, max, METRICS.cpu, lost, doubled, reordered]
  const tables = rates.map(rate => ({
    title: `${describe(under)}, ${rate.toLocaleString('en')} deliveries/s offered`,
    metrics,
    ratioOf: 'p99',
    bare: bareOf(transport),
    rows: rowsOf(rate, rows),
  }))
  return { tables, chart: rates.length > 1 ? chartOf(describe(under), rows, rates) : null }
}

function chartOf(title: string, rows: readonly Row[], rates: readonly number[]): Chart {
  const series = rows.map(row => ({
    name: peerOf(row.peer).title,
    colour: peerNames.indexOf(row.peer),
    points: rates
      .flatMap(rate => rowsOf(rate, [row]))
      .map(({ values }) => [values['delivered']!, Math.max(0.1, values['p99']!)] as const),
  }))
  return { title, x: 'deliveries/s', y: 'p99 latency, ms', logarithmic: true, series }
}
