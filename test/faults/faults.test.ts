// What each way of delivery promises, through lines that break and servers that are killed at random. `npm run faults` does the same with many more.

import t from 'tap'
import { type Kind, run } from './machine.js'

const EXACT = { lost: 0, doubled: 0, reordered: 0 }
const promises: [kind: Kind, promise: object][] = [
  ['plain', { doubled: 0, reordered: 0 }],
  ['ack', EXACT],
  ['memory', EXACT],
  ['disk', EXACT],
]

for (const [kind, promise] of promises) {
  t.test(kind, async t => {
    const seed = Date.now() % 1_000_000
    const outcome = await run({ kind, clients: 20, messages: 300, seed })
    t.comment(`seed ${seed}: ${JSON.stringify(outcome)}`)
    t.match(outcome, promise)
    t.ok(outcome.cuts > 0, 'lines were cut')
    if (kind === 'disk') t.ok(outcome.kills >= 3, 'the server was killed')
    if (kind !== 'plain') t.equal(outcome.heard, 20 * 300)
  })
}
