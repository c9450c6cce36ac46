// retention: whether a million messages that are too old in one moment hold up the server's event loop while they are removed.

import { NODE_FLAGS } from '../arena.js'
import type { ExpiryOptions, ExpiryResult } from '../expiry.js'
import { Helper, SERVER_CORE, script } from '../helper.js'
import { type Figures, medians } from '../measure.js'
import type { PeerName } from '../peers/index.js'
import { conclude, type Metric, type Row, type Table } from '../result.js'
import type { Settings } from '../settings.js'

const PEERS: readonly PeerName[] = ['perihelion-memory', 'perihelion-disk']
const MESSAGES = 1_000_000
const CHANNELS = [1, 100, 10_000] as const
const QUIET = 5_000

export async function retention(settings: Settings): Promise<void> {
  const messages = settings.quick ? MESSAGES / 10 : MESSAGES
  const repetitions = settings.repetitions ?? 1
  const tables: Table[] = []
  for (const channels of CHANNELS) {
    const rows: Row[] = []
    for (const peer of PEERS) {
      const runs: Figures[] = []
      for (let repetition = 0; repetition < repetitions; repetition++) {
        const options: ExpiryOptions = { disk: peer === 'perihelion-disk', channels, messages, quiet: QUIET }
        const command = [process.execPath, '--expose-gc', ...NODE_FLAGS, script('expiry.js'), JSON.stringify(options)]
        const helper = new Helper(SERVER_CORE, command)
        const result = await helper.next<ExpiryResult>()
        await helper.end()
        const { seconds, cpu, ...delays } = result
        runs.push({ ...delays, seconds, load: (100 * cpu) / seconds, each: (1e6 * cpu) / messages })
        console.error(`  ${peer}, ${channels}: ${JSON.stringify(runs.at(-1))}`)
      }
      rows.push({ peer, values: medians(runs) })
    }
    const title = `${messages.toLocaleString('en')} messages in ${channels.toLocaleString('en')} channel${channels === 1 ? '' : 's'}, all too old in one moment`
    tables.push({ title, metrics: METRICS, ratioOf: 'max', bare: null, rows })
  }
  const about =
    'A history is filled in process, then its rule is given a short age. The delay of the event loop (`monitorEventLoopDelay`, 1 ms) while all of it is removed, beside that of the same process ' +
    'before. What other processes take of the core is in both. "removal" ends when nothing can be read any more; in the server there may be some left to tidy up.'
  conclude(settings, about, tables)
}

const METRICS: readonly Metric[] = [
  { key: 'quietP99', label: 'before: delay p99 ms', digits: 1 },
  { key: 'quietMax', label: 'max ms', digits: 1 },
  { key: 'p99', label: 'removal: delay p99 ms', digits: 1 },
  { key: 'p999', label: 'p99.9 ms', digits: 1 },
  { key: 'max', label: 'max ms', digits: 1 },
  { key: 'seconds', label: 'removal s', digits: 1 },
  { key: 'load', label: 'CPU % meanwhile', digits: 0 },
  { key: 'each', label: 'CPU µs/message', digits: 1 },
]
