// The server under attack, in a process of its own: what `perihelion serve` runs, on the direct road, with the options that are the argument.
//
// Knows: what of its memory is in use once all garbage is gone (needs --expose-gc).
// Does not know: who attacks.

import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ChannelRules, Stats } from '../../bayeux/index.js'
import { start } from '../../lib/serve.js'
import { answerParent } from './child.js'

export interface ServerOptions {
  readonly options: Readonly<Record<string, unknown>>
  readonly channels: ChannelRules
  /** How long a request may take to come in full, ms, and how often that is looked at. */
  readonly requestTimeout: number
}

export interface Look {
  readonly stats: Stats
  /** How often each limit has held since the start. */
  readonly limits: Readonly<Record<string, number>>
  readonly connections: number
}

export interface Report extends Look {
  /** Bytes in use: objects, and buffers outside of the heap. */
  readonly heap: number
  readonly buffers: number
}

export type ServerQuestion = 'port' | 'look' | 'report'

const { options, channels, requestTimeout } = JSON.parse(process.argv[2]!) as ServerOptions
const app = await start(
  { options: { port: 0, logLevel: 'warn', ...options }, channels },
  {
    direct: true,
    extend: ({ server }) => {
      server.requestTimeout = requestTimeout
      server.headersTimeout = requestTimeout
      Object.assign(server, { connectionsCheckingInterval: requestTimeout / 4 })
    },
  },
)

answerParent(async ({ ask }: { ask: ServerQuestion }) => {
  switch (ask) {
    case 'port':
      return (app.server.address() as AddressInfo).port
    case 'look':
      return await look()
    case 'report':
      return await report()
  }
})

async function look(): Promise<Look> {
  const connections = await new Promise<number>(resolve => app.server.getConnections((_error, count) => resolve(count)))
  return { stats: app.bayeux.stats(), limits: app.bayeux.limits(), connections }
}

/** Several collections, since what finalizers free is only found the next time. */
async function report(): Promise<Report> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc!()
    await sleep(20)
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return { ...(await look()), heap: heapUsed, buffers: arrayBuffers }
}
