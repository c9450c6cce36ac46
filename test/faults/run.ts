// `npm run faults -- [--way plain|ack|memory|told|disk] [--clients 200] [--messages 2000] [--seed n]`

import { parseArgs } from 'node:util'
import { run, type WayName, ways } from './machine.js'

const { values } = parseArgs({
  options: {
    way: { type: 'string', multiple: true, default: Object.keys(ways) },
    clients: { type: 'string', default: '200' },
    messages: { type: 'string', default: '2000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
const [clients, messages, seed] = [Number(values.clients), Number(values.messages), Number(values.seed)]
for (const way of values.way as WayName[]) {
  const outcome = await run({ way, clients, messages, seed })
  console.log(`${way}, ${clients} clients, ${messages} messages, seed ${seed}: ${JSON.stringify(outcome)}`)
  if (outcome.doubled + outcome.reordered + (way === 'plain' ? 0 : outcome.lost) > 0) process.exitCode = 1
}
