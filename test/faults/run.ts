// `npm run faults -- [--way plain|ack|memory|told|disk] [--clients 200] [--messages 2000] [--seed n]`: the fault machine.
// `npm run faults -- --rival perihelion|cometd-java|cometd-nodejs|faye|socket.io|centrifugo`: what others do in such troubles.

import { parseArgs } from 'node:util'
import { install } from '../../bench/peers/install.js'
import { beside } from './beside.js'
import { run, type WayName, ways } from './machine.js'
import { type RivalName, rivals } from './rivals.js'

const { values } = parseArgs({
  options: {
    way: { type: 'string', multiple: true, default: Object.keys(ways) },
    clients: { type: 'string', default: '200' },
    messages: { type: 'string', default: '2000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    rival: { type: 'string' },
  },
})
if (values.rival === undefined) await machine()
else {
  const rival = rivals[values.rival as RivalName]
  install(['faye']) // with it come all that npm has
  console.log(rival.version())
  for await (const [trouble, verdict] of beside(rival)) console.log(`${trouble}: ${JSON.stringify(verdict)}`)
  process.exit() // their clients go on trying
}

async function machine(): Promise<void> {
  const [clients, messages, seed] = [Number(values.clients), Number(values.messages), Number(values.seed)]
  for (const way of values.way as WayName[]) {
    const outcome = await run({ way, clients, messages, seed })
    console.log(`${way}, ${clients} clients, ${messages} messages, seed ${seed}: ${JSON.stringify(outcome)}`)
    if (outcome.doubled + outcome.reordered + (way === 'plain' ? 0 : outcome.lost) > 0) process.exitCode = 1
  }
}
