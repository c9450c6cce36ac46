// cpu: what one delivery costs the server, at a rate that every server can do.

import type { Arena } from '../arena.js'
import type { Transport } from '../client.js'
import { BOTH, compare, conditions, describe, type Figures, figuresOf, METRICS, warmupOf } from '../measure.js'
import { bareOf, type PeerName } from '../peers/index.js'
import { conclude, type Metric, type Table } from '../result.js'
import type { Settings } from '../settings.js'

const RATE = 20_000
const REPETITIONS = 3

export async function cpu(settings: Settings): Promise<void> {
  const { cpu: perDelivery, delivered, p50, p99, generatorCpu, lost, doubled, reordered } = METRICS
  const metrics = [perDelivery, delivered, p50, p99, generatorCpu, lost, doubled, reordered]
  const about =
    'CPU time of the whole server process (user and kernel, all threads) in the measured window, divided by the deliveries in it.'
  conclude(settings, about, await costs(settings, metrics, REPETITIONS, bareOf))
}

/** What a delivery costs each peer on each transport, at the same rate for all. @param bare the peer that a row is also told against */
export async function costs(
  settings: Settings,
  metrics: readonly Metric[],
  repetitions: number,
  bare: (transport: Transport) => PeerName | null,
): Promise<Table[]> {
  const rate = settings.rate ?? RATE
  const window = 1000 * (settings.seconds ?? (settings.quick ? 3 : 10))
  const tables: Table[] = []
  for (const transport of settings.transports ?? BOTH) {
    const under = conditions(settings, transport, 1_000)
    const title = `${describe(under)}, ${rate.toLocaleString('en')} deliveries/s offered`
    console.error(title)
    const measure = async (arena: Arena, peer: PeerName): Promise<Figures> => {
      await arena.open()
      return figuresOf(await arena.load({ rate, warmup: warmupOf(peer, settings.quick), window, burst: 10 }))
    }
    const rows = await compare(settings, under, measure, repetitions)
    tables.push({ title, metrics, ratioOf: 'cpu', bare: bare(transport), rows })
  }
  return tables
}
