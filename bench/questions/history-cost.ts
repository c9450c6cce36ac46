// history-cost: what a history costs channels that have none: the same server without any, and with rules that keep other channels on disk.

import { type Arena, NODE_FLAGS } from '../arena.js'
import type { EngineCostOptions, EngineCostResult } from '../engine-cost.js'
import { Helper, SERVER_CORE, script } from '../helper.js'
import { conditions, describe, type Figures, figuresOf, inArena, median, warmupOf } from '../measure.js'
import type { PeerName } from '../peers/index.js'
import { conclude, type Metric, type Row, type Table } from '../result.js'
import type { Settings } from '../settings.js'

const WITHOUT: PeerName = 'perihelion'
const BESIDE: PeerName = 'perihelion-disk'
const PAIRS = 9
const RATE = 20_000
const USERS = 1_000
const PUBLISHERS = 64
const BATCH = 10

/** What is measured in each run: its name, and whether more is better. */
const PARTS = {
  delivery: 'CPU µs/delivery',
  publish: 'CPU µs/publish',
  engine: 'CPU ns/delivery',
} as const
type Part = keyof typeof PARTS

export async function historyCost(settings: Settings): Promise<void> {
  const pairs = settings.repetitions ?? (settings.quick ? 2 : PAIRS)
  const window = 1_000 * (settings.seconds ?? (settings.quick ? 2 : 5))
  const rate = settings.rate ?? RATE
  const under = conditions(settings, 'websocket', USERS)
  const runs: Record<Part, Figures[]> = { delivery: [], publish: [], engine: [] }
  for (let pair = 0; pair < pairs; pair++) {
    const order = pair % 2 === 0 ? [WITHOUT, BESIDE] : [BESIDE, WITHOUT]
    const costs: Partial<Record<PeerName, Figures>> = {}
    for (const peer of order) {
      const figures = await inArena({ peer, ...under }, arena => measure(arena, rate, warmupOf(peer, settings.quick), window))
      if (figures !== null) costs[peer] = figures
    }
    const [without, beside] = [costs[WITHOUT], costs[BESIDE]]
    if (without === undefined || beside === undefined) continue
    for (const part of ['delivery', 'publish'] as const) runs[part].push({ without: without[part]!, beside: beside[part]! })
    console.error(
      `  ${pair + 1}: ${(['delivery', 'publish'] as const).map(part => `${part} ${ratioOf(runs[part].at(-1)!).toFixed(3)}`).join(', ')}`,
    )
  }
  const milliseconds = settings.quick ? 50 : 100
  for (let pair = 0; pair < 3 * pairs; pair++) {
    const first = await engineCost(pair % 2 === 1, milliseconds)
    const second = await engineCost(pair % 2 === 0, milliseconds)
    runs.engine.push(pair % 2 === 0 ? { without: first, beside: second } : { without: second, beside: first })
  }
  const titles: Record<Part, string> = {
    delivery: `${describe(under)}, ${rate.toLocaleString('en')} deliveries/s offered`,
    publish: `${PUBLISHERS} publishers, envelopes of ${BATCH}, as many as the server takes, nobody subscribed`,
    engine: 'the engine alone, beside a history in memory: parse, fan out to 10 members and flush',
  }
  const tables = (Object.keys(PARTS) as Part[]).map(part => table(titles[part], part, runs[part]))
  const about =
    'Two servers by turns, as pairs, each time the other one first: one without any history, and one whose rules keep other channels (/kept/*, /last/*) on disk. ' +
    'The ratio is that of a pair, with over without; its median, and the lowest and highest of all pairs.'
  conclude(settings, about, tables)
}

async function measure(arena: Arena, rate: number, warmup: number, window: number): Promise<Figures> {
  await arena.open()
  await arena.load({ rate, warmup: 0, window: warmup, burst: BATCH })
  const load = figuresOf(await arena.load({ rate, warmup: 500, window, burst: BATCH }))
  const published = await arena.publish({ under: '/free/', publishers: PUBLISHERS, batch: BATCH, rate: null, warmup, window })
  if (published.faults.length > 0) throw new Error(published.faults[0])
  return { delivery: load['cpu']!, publish: 1e6 / published.perCpu }
}

/** An engine in a process of its own. @returns ns for each delivery */
async function engineCost(history: boolean, milliseconds: number): Promise<number> {
  const options: EngineCostOptions = { history, milliseconds }
  const helper = new Helper(SERVER_CORE, [process.execPath, ...NODE_FLAGS, script('engine-cost.js'), JSON.stringify(options)])
  const { ns } = await helper.next<EngineCostResult>()
  await helper.end()
  return ns
}

const ratioOf = ({ without, beside }: Figures): number => beside! / without!

function table(title: string, part: Part, runs: readonly Figures[]): Table {
  const ratios = runs.map(ratioOf)
  const spread = { pairs: runs.length, ratio: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) }
  const rows: Row[] = [
    { peer: WITHOUT, values: { cost: median(runs.map(({ without }) => without!)) } },
    { peer: BESIDE, values: { cost: median(runs.map(({ beside }) => beside!)), ...spread } },
  ]
  const metrics: Metric[] = [
    { key: 'cost', label: PARTS[part], digits: part === 'engine' ? 0 : 2 },
    { key: 'pairs', label: 'pairs', digits: 0 },
    { key: 'ratio', label: 'ratio of a pair', digits: 3 },
    { key: 'lowest', label: 'lowest', digits: 3 },
    { key: 'highest', label: 'highest', digits: 3 },
  ]
  return { title, metrics, ratioOf: 'cost', bare: null, rows }
}
