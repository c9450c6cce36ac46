// Ourselves, as `perihelion serve` runs: Fastify, logging and health included. All clients of a run come from one address and as fast as they
// can, so what is counted per address and per second is lifted; the guarded one has it all switched on, and rules and tokens besides.

import { mkdtempSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeToken } from '../../lib/commands/token.js'
import { main } from '../../lib/index.js'
import { BayeuxPolling, BayeuxSocket } from './bayeux.js'
import { HOLD_MS, ownVersionOf, PATIENCE_MS, type Peer, type Running } from './peer.js'

const TIMES = ['--timeout', `${HOLD_MS}`, '--max-interval', `${PATIENCE_MS}`]
const SECRET = 'the benchmark has no secrets, but a key'

/** Limits hold, but are not reached; each operation is judged by a rule, wildcards and templates about. */
const GUARDED = `
tokenSecret: ${SECRET}
tokenRequired: true
maxAddressSessions: 100000
maxAddressConnections: 100000
maxBrowserSessions: 100000
maxUserSessions: 100000
maxHandshakeRate: 100000
maxMessageRate: 100000
maxByteRate: 10000000
channels:
  /**: { subscribe: nobody, publish: nobody, create: nobody }
  /room/*: { subscribe: [user:nobody, role:guest], publish: [role:guest, claim:team=red], create: authenticated }
  /user/{sub}/**: { subscribe: authenticated }
`

const ours = {
  version: () => ownVersionOf('.').replace('.', 'perihelion'),
  clients: { websocket: BayeuxSocket, 'long-polling': BayeuxPolling },
  ack: true,
  needs: 'nothing',
} as const

async function run(flags: readonly string[]): Promise<Running> {
  const app = await main(['--port', '0', '--log-level', 'error', ...TIMES, ...flags])
  const { port } = app.server.address() as AddressInfo
  return { port, sessions: () => app.bayeux.stats().sessions }
}

export const perihelion: Peer = {
  ...ours,
  title: 'Perihelion',
  serve: ({ flags }) => run(['--trusted', ...flags]),
}

export const perihelionGuarded: Peer = {
  ...ours,
  title: 'Perihelion, guarded',
  byName: true,
  token: () => makeToken(['--secret', SECRET, '--sub', 'somebody', '--role', 'guest', '--expires', '1d'], {}),
  serve: ({ flags }) => {
    const file = join(mkdtempSync(join(tmpdir(), 'perihelion-')), 'guarded.yaml')
    writeFileSync(file, GUARDED)
    return run(['--config', file, ...flags])
  },
}
