// soak: half of what the server can do, with sessions that come and go, for a long time; nothing may grow, slow down or stay behind.

import { setTimeout as sleep } from 'node:timers/promises'
import { conditions, describe, type Figures, figuresOf, inArena, METRICS, warmupOf } from '../measure.js'
import type { PeerName } from '../peers/index.js'
import { type Chart, conclude, type Table } from '../result.js'
import type { Settings } from '../settings.js'

const HOUR = 3_600
const RATE = 20_000
const USERS = 1_000
const CHURNING = 4
/** How often memory and latency are read, ms. */
const PERIOD = 10_000
/** How long sessions may stay after the last of them has said goodbye, ms. */
const GRACE = 5_000

export async function soak(settings: Settings): Promise<void> {
  const periods = Math.max(2, Math.round((1000 * (settings.seconds ?? (settings.quick ? 60 : HOUR))) / PERIOD))
  const rate = settings.rate ?? RATE
  const peer: PeerName = settings.peers.length === 1 ? settings.peers[0]! : 'perihelion'
  const tables: Table[] = []
  const charts: Chart[] = []
  for (const transport of settings.transports ?? (['websocket', 'long-polling'] as const)) {
    const under = conditions(settings, transport, USERS)
    const samples: { at: number; rss: number; figures: Figures }[] = []
    const values = await inArena({ peer, ...under }, async arena => {
      await arena.open()
      await arena.load({ rate, warmup: 0, window: warmupOf(peer, false), burst: 10 })
      const from = Date.now()
      await arena.beginChurn(CHURNING)
      for (let period = 0; period < periods; period++) {
        const figures = figuresOf(await arena.load({ rate, warmup: 0, window: PERIOD, burst: 10 }))
        samples.push({ at: (Date.now() - from) / 60_000, rss: arena.rss / 2 ** 20, figures })
        const { p99, lost, doubled, reordered } = figures
        console.error(
          `  ${(period + 1) * (PERIOD / 1000)} s: ${samples.at(-1)!.rss.toFixed(1)} MiB, p99 ${p99!.toFixed(1)} ms, ${lost}/${doubled}/${reordered}`,
        )
      }
      const cycles = await arena.endChurn()
      await arena.close()
      await sleep(GRACE)
      const steady = samples.slice(Math.floor(samples.length / 4)) // after the heap has found its size
      const total = (key: string): number => samples.reduce((sum, { figures }) => sum + figures[key]!, 0)
      return {
        minutes: samples.at(-1)!.at,
        deliveries: total('delivered') * (PERIOD / 1000),
        cycles,
        slope: 60 * slope(steady.map(({ at, rss }) => [at, rss])),
        rss: steady.at(-1)!.rss,
        firstP99: samples[0]!.figures['p99']!,
        lastP99: samples.at(-1)!.figures['p99']!,
        worstP99: Math.max(...samples.map(({ figures }) => figures['p99']!)),
        lost: total('lost'),
        doubled: total('doubled'),
        reordered: total('reordered'),
        left: (await arena.sessions()) ?? Number.NaN,
      }
    })
    if (values === null) continue
    const title = `${describe(under)}, ${rate.toLocaleString('en')} deliveries/s, ${CHURNING} sessions at a time coming and going`
    tables.push({ title, metrics: SOAK_METRICS, ratioOf: 'worstP99', bare: null, rows: [{ peer, values }] })
    const points = (pick: (sample: (typeof samples)[number]) => number) =>
      samples.map(sample => [sample.at, pick(sample)] as const)
    const axes = { x: 'minutes', logarithmic: false }
    charts.push({
      ...axes,
      title: `Memory: ${title}`,
      y: 'resident, MiB',
      series: [{ name: peer, points: points(({ rss }) => rss) }],
    })
    const p99 = points(({ figures }) => figures['p99']!)
    charts.push({ ...axes, title: `Latency: ${title}`, y: 'p99, ms', series: [{ name: peer, points: p99 }] })
  }
  conclude(settings, 'Half load for a long time, with sessions that come and go beside it.', tables, charts)
}

const SOAK_METRICS = [
  { key: 'minutes', label: 'minutes', digits: 0 },
  { key: 'deliveries', label: 'deliveries', digits: 0 },
  { key: 'cycles', label: 'sessions come and gone', digits: 0 },
  { key: 'rss', label: 'RSS MiB', digits: 0 },
  { key: 'slope', label: 'RSS slope MiB/h', digits: 1 },
  { key: 'firstP99', label: 'first p99 ms', digits: 1 },
  { key: 'lastP99', label: 'last p99 ms', digits: 1 },
  { key: 'worstP99', label: 'worst p99 ms', digits: 1 },
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
