// What each way of delivery promises, through lines that fail, a server that dies, and clocks that jump. `npm run faults` does the same with many more.

import t from 'tap'
import { run, type WayName, ways } from './machine.js'

const CLIENTS = 20
const MESSAGES = 300

const promises: Readonly<Record<WayName, string>> = {
  plain: 'without an extension: in order, at most once',
  ack: 'ack: exactly once while the session lives, and over stops with a session store',
  memory: 'replay of a history in memory: exactly once, also when sessions are lost',
  told: 'replay of a history in memory, and the server dies: at most once, and what is missing is told',
  disk: 'replay of a history on disk: exactly once, whatever happens',
}

for (const [way, promise] of Object.entries(promises) as [WayName, string][]) {
  t.test(promise, async t => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
    const outcome = await run({ way, clients: CLIENTS, messages: MESSAGES, seed })
    t.comment(`${way}, seed ${seed}: ${JSON.stringify(outcome)}`)
    const { said, heard, lost, told, doubled, reordered, troubles } = outcome
    t.match({ doubled, reordered }, { doubled: 0, reordered: 0 })
    if (way === 'plain') t.ok(lost > 0, 'what is on the way is lost')
    else t.equal(lost, 0)
    if (way !== 'plain' && way !== 'told') t.equal(told, 0)
    if (ways[way].saysAgain) t.equal(heard, CLIENTS * MESSAGES)
    t.ok(said > MESSAGES / 2)
    for (const fate of ['cut', 'truncate', 'reset', 'stall', 'delay'] as const) t.ok(troubles[fate] > 0, fate)
    t.ok(way === 'memory' || troubles.SIGKILL + troubles.SIGTERM > 0)
  })
}
