// guard: what rules, tokens and limits cost a delivery. They are looked at when a session begins, subscribes or publishes, so a delivery should
// not notice: the same load as in cpu, on the same server with all of it switched on and with all of it off.

import type { Arena } from '../arena.js'
import { BOTH, compare, conditions, describe, type Figures, figuresOf, METRICS, warmupOf } from '../measure.js'
import type { PeerName } from '../peers/index.js'
import { conclude, type Table } from '../result.js'
import type { Settings } from '../settings.js'

const RATE = 20_000
const REPETITIONS = 9

export async function guard(settings: Settings): Promise<void> {
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
    const both: readonly PeerName[] = ['perihelion', 'perihelion-guarded']
    const rows = await compare({ ...settings, peers: both }, under, measure, REPETITIONS)
    const { cpu, delivered, lost, doubled, reordered } = METRICS
    tables.push({ title, metrics: [cpu, delivered, lost, doubled, reordered], ratioOf: 'cpu', bare: null, rows })
  }
  const about =
    'The load of cpu, on Perihelion with nothing to check, and with a token for each session, rules for each operation, and all limits counted.'
  conclude(settings, about, tables)
}
