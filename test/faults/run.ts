// `npm run faults -- [--kind plain|ack|memory|disk] [--clients 200] [--messages 2000] [--seed n]`

import { parseArgs } from 'node:util'
import { type Kind, run } from './machine.js'

const { values } = parseArgs({
  options: {
    kind: { type: 'string', multiple: true, default: ['plain', 'ack', 'memory', 'disk'] },
    clients: { type: 'string', default: '200' },
    messages: { type: 'string', default: '2000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
let failed = false
for (const kind of values.kind as Kind[]) {
  const seed = Number(values.seed)
  const outcome = await run({ kind, clients: Number(values.clients), messages: Number(values.messages), seed })
  console.log(`${kind}, ${values.clients} clients, ${values.messages} messages, seed ${seed}: ${JSON.stringify(outcome)}`)
  failed ||= outcome.doubled + outcome.reordered + (kind === 'plain' ? 0 : outcome.lost) > 0
}
process.exitCode = failed ? 1 : 0
