// churn: full lives of sessions per second: connection, handshake, subscription, first connect, disconnect.

import { BOTH, compare, conditions, METRICS } from '../measure.js'
import { bareOf } from '../peers/index.js'
import { conclude, type Table } from '../result.js'
import type { Settings } from '../settings.js'

const CONCURRENT = 64
const RATE = { key: 'rate', label: 'cycles/s', digits: 0 }
const CYCLE_CPU = { key: 'cpu', label: 'CPU µs/cycle', digits: 0 }

export async function churn(settings: Settings): Promise<void> {
  const window = 1000 * (settings.seconds ?? (settings.quick ? 3 : 6))
  const tables: Table[] = []
  for (const transport of settings.transports ?? BOTH) {
    console.error(`churn on ${transport}`)
    const rows = await compare(settings, conditions(settings, transport, 1), async arena => {
      const { rate, serverCpu, generatorCpu } = await arena.churn(CONCURRENT, settings.quick ? 2_000 : 3_000, window)
      return { rate, cpu: (1e6 * serverCpu) / rate, serverCpu: 100 * serverCpu, generatorCpu: 100 * generatorCpu }
    })
    const metrics = [RATE, CYCLE_CPU, METRICS.serverCpu, METRICS.generatorCpu]
    tables.push({ title: `${transport}, ${CONCURRENT} at a time`, metrics, ratioOf: 'rate', bare: bareOf(transport), rows })
  }
  const about =
    'Each cycle is a new connection, handshake, subscription to one room, first connect and disconnect (Socket.IO: connect and join; ' +
    'the bare servers: join).'
  conclude(settings, about, tables)
}
