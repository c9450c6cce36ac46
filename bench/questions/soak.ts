// soak: half of what the server can do, on both transports at once and with sessions that come and go, for a long time; nothing may grow, slow
// down or stay behind.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Transport } from '../client.js'
import { BOTH, conditions, describe, type Figures, figuresOf, inArena, METRICS, named, warmupOf } from '../measure.js'
import { type PeerName, peerOf } from '../peers/index.js'
import { type Chart, conclude, type Metric, type Table } from '../result.js'
import type { Settings } from '../settings.js'

const HOUR = 3_600
const RATE = 20_000
const USERS = 1_000
const CHURNING = 4
/** Between one session and the next, ms: without it they would take all the CPU time that the load leaves. */
const PAUSE = 20
/** How often memory and latency are read, ms. */
const PERIOD = 10_000
/** How long sessions may stay after the last of them has said goodbye, ms. */
const GRACE = 5_000

export async function soak(settings: Settings): Promise<void> {
  const periods = Math.max(2, Math.round((1000 * (settings.seconds ?? (settings.quick ? 60 : HOUR))) / PERIOD))
  const rate = settings.rate ?? RATE
  const peer: PeerName = settings.peers.length === 1 ? settings.peers[0]! : 'perihelion'
  const transports = (settings.transports ?? BOTH).filter(transport => peerOf(peer).clients[transport] !== undefined)
  const under = conditions(settings, transports, USERS)
  const title = `${describe(under)}, ${rate.toLocaleString('en')} deliveries/s, ${CHURNING} sessions at a time coming and going`
  console.error(title)
  const samples: Sample[] = []
  const values = await inArena({ peer, ...under }, async arena => {
    await arena.open()
    await arena.load({ rate, warmup: 0, window: warmupOf(peer, false), burst: 10 })
    const from = Date.now()
    await arena.beginChurn(CHURNING, PAUSE)
    for (let period = 1; period <= periods; period++) {
      const load = await arena.load({ rate, warmup: 0, window: PERIOD, burst: 10 })
      const sample = {
        at: (Date.now() - from) / 60_000,
        rss: arena.rss / 2 ** 20,
        figures: figuresOf(load),
        p99s: load.latencies.map(({ p99 }) => p99),
      }
      samples.push(sample)
      const { lost, doubled, reordered } = sample.figures
      const p99s = sample.p99s.map(p99 => p99.toFixed(1)).join(' and ')
      console.error(
        `  ${period * (PERIOD / 1000)} s: ${sample.rss.toFixed(1)} MiB, p99 ${p99s} ms, ${lost}/${doubled}/${reordered}`,
      )
    }
    const cycles = await arena.endChurn()
    await arena.close()
    await sleep(GRACE)
    return { ...summary(samples), ...latencies(samples, transports), cycles, left: (await arena.sessions()) ?? Number.NaN }
  })
  const rows = values === null ? [] : [{ peer, values }]
  const ofLatency = transports.flatMap(name => [
    { key: `first@${name}`, label: `${name}: first p99 ms`, digits: 1 },
    { key: `last@${name}`, label: `${name}: last p99 ms`, digits: 1 },
    { key: `worst@${name}`, label: `${name}: worst p99 ms`, digits: 1 },
  ])
  const table: Table = { title, metrics: [...OF_SERVER, ...ofLatency, ...AT_THE_END], ratioOf: 'rss', bare: null, rows }
  const series = (name: string, pick: (sample: Sample) => number) => ({
    name,
    points: samples.map(sample => [sample.at, pick(sample)] as const),
  })
  const axes = { x: 'minutes', logarithmic: false }
  const charts: Chart[] = [
    {
      ...axes,
      title: `Memory of ${peerOf(peer).title}`,
      y: 'resident, MiB',
      series: [series(peerOf(peer).title, ({ rss }) => rss)],
    },
    {
      ...axes,
      title: `Latency of ${peerOf(peer).title}`,
      y: 'p99, ms',
      series: transports.map((name, i) => series(name, ({ p99s }) => p99s[i]!)),
    },
  ]
  const about =
    'One server, about half of what it can do, for a long time: half of the users are on each transport, in the same rooms, and so are the ' +
    'speakers and the sessions that come and go beside them.'
  conclude(settings, about, [table], values === null ? [] : charts)
}

interface Sample {
  /** Minutes from the beginning. */
  readonly at: number
  /** MiB. */
  readonly rss: number
  readonly figures: Figures
  /** By transport. */
  readonly p99s: readonly number[]
}

function summary(samples: readonly Sample[]): Figures {
  const steady = samples.slice(Math.floor(samples.length / 4)) // after the heap has found its size
  const total = (key: string): number => samples.reduce((sum, { figures }) => sum + figures[key]!, 0)
  return {
    minutes: samples.at(-1)!.at,
    deliveries: total('delivered') * (PERIOD / 1000),
    slope: 60 * slope(steady.map(({ at, rss }) => [at, rss])),
    rss: steady.at(-1)!.rss,
    lost: total('lost'),
    doubled: total('doubled'),
    reordered: total('reordered'),
  }
}

function latencies(samples: readonly Sample[], transports: readonly Transport[]): Figures {
  const parts = transports.map((transport, i) => {
    const p99s = samples.map(sample => sample.p99s[i]!)
    return named(transport, { first: p99s[0]!, last: p99s.at(-1)!, worst: Math.max(...p99s) })
  })
  return Object.assign({}, ...parts) as Figures
}

const OF_SERVER: readonly Metric[] = [
  { key: 'minutes', label: 'minutes', digits: 0 },
  { key: 'deliveries', label: 'deliveries', digits: 0 },
  { key: 'cycles', label: 'sessions come and gone', digits: 0 },
  { key: 'rss', label: 'RSS MiB', digits: 0 },
  { key: 'slope', label: 'RSS slope MiB/h', digits: 1 },
]
const AT_THE_END: readonly Metric[] = [
  METRICS.lost,
  METRICS.doubled,
  METRICS.reordered,
  { key: 'left', label: 'sessions left', digits: 0 },
]

/** Of the line that fits best (least squares). */
function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (i: 0 | 1): number => points.reduce((sum, point) => sum + point[i], 0) / points.length
  const [x, y] = [mean(0), mean(1)]
  const spread = points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0)
  return points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0) / spread
}
