// What each way of delivery promises, through lines that fail, a server that dies, and clocks that jump. `npm run faults` does the same with many more.

import t from 'tap'
import { run, type WayName, ways } from './machine.js'

const CLIENTS = 20
const MESSAGES = 300

for (const way of Object.keys(ways) as WayName[]) {
  t.test(ways[way].promise, async t => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
    const outcome = await run({ way, clients: CLIENTS, messages: MESSAGES, seed })
    t.comment(`${way}, seed ${seed}: ${JSON.stringify(outcome)}`)
    const { said, heard, lost, told, doubled, reordered, troubles } = outcome
    t.match({ doubled, reordered }, { doubled: 0, reordered: 0 })
    if (way !== 'plain') t.equal(lost, 0)
    if (way !== 'plain' && way !== 'told') t.equal(told, 0)
    if (ways[way].saysAgain) t.equal(heard, CLIENTS * MESSAGES)
    t.ok(said > MESSAGES / 2)
    for (const fate of ['cut', 'truncate', 'reset', 'stall', 'delay'] as const) t.ok(troubles[fate] > 0, fate)
    t.ok(way === 'memory' || troubles.SIGKILL + troubles.SIGTERM > 0)
  })
}
