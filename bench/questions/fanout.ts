// fanout: one message to all subscribers of one channel, from the publication to the first and the last delivery.

import type { Arena } from '../arena.js'
import { compare, conditions, describe, type Figures, median } from '../measure.js'
import { bareOf } from '../peers/index.js'
import { conclude, type Table } from '../result.js'
import type { Settings } from '../settings.js'

/** The most that fits the limit of 20,000 open files for one process. */
const USERS = 19_000
const REPETITIONS = 3

export async function fanout(settings: Settings): Promise<void> {
  const times = settings.quick ? 6 : 30
  const tables: Table[] = []
  for (const transport of settings.transports ?? (['websocket'] as const)) {
    const under = conditions({ ...settings, rooms: 1, roomsPerUser: 1 }, transport, settings.quick ? 5_000 : USERS)
    console.error(describe(under))
    const measure = async (arena: Arena): Promise<Figures> => {
      await arena.open()
      await arena.fanout(Math.ceil(times / 3), 100) // the first ones meet cold code
      const { spreads, account, faults } = await arena.fanout(times, 100)
      if (faults.length > 0) throw new Error(faults[0])
      const { lost, doubled } = account
      return {
        spread: median(spreads.map(({ first, last }) => last - first)),
        first: median(spreads.map(({ first }) => first)),
        last: median(spreads.map(({ last }) => last)),
        lost,
        doubled,
      }
    }
    const rows = await compare(settings, under, measure, REPETITIONS)
    const metrics = [
      { key: 'spread', label: 'first to last ms', digits: 1 },
      { key: 'first', label: 'first ms', digits: 1 },
      { key: 'last', label: 'last ms', digits: 1 },
      { key: 'lost', label: 'lost', digits: 0 },
      { key: 'doubled', label: 'doubled', digits: 0 },
    ]
    tables.push({ title: `${describe(under)}, one message`, metrics, ratioOf: 'spread', bare: bareOf(transport), rows })
  }
  conclude(settings, 'One message at a time to a channel that everybody subscribes to: the median of many.', tables)
}
