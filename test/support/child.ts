// A Bayeux server in a process of its own, for tests that look at its memory: its options are the argument, as JSON.
//
// Says `{url}` once it listens; answers each message with its stats and its heap after a full collection (needs --expose-gc).
// Ends with its parent.

import { setTimeout as delay } from 'node:timers/promises'
import type { Stats } from '../../bayeux/server.js'
import type { PerihelionOptions } from '../../lib/index.js'
import { startServer } from './server.js'

export interface Report {
  readonly stats: Stats
  /** Bytes. */
  readonly heap: number
}

process.once('disconnect', () => process.exit())
const { url, bayeux } = await startServer({ teardown: () => {} }, JSON.parse(process.argv[2] ?? '{}') as PerihelionOptions)
process.on('message', async () => {
  globalThis.gc!()
  await delay(10) // what finalizers and closed handles still hold goes with the second
  globalThis.gc!()
  process.send!({ stats: bayeux.stats(), heap: process.memoryUsage().heapUsed } satisfies Report)
})
process.send!({ url })
