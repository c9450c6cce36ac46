// Ourselves, as `perihelion serve` runs: Fastify, logging and health included. All clients of a run come from one address and as fast as they
// can, so what is counted per address and per second is lifted; the guarded one has it all switched on, and rules and tokens besides.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
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

/** What the questions of history ask of: channels that keep all, and such that lose one for each that comes. */
const KEEPING = `
maxHistory: 2000000
maxHistoryBytes: 1000000000
channels:
  /kept/*: { history: { messages: 1000000, age: 3600000 } }
  /last/*: { history: { messages: 1000, age: 3600000 } }
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
    return run(['--config', configured(GUARDED), ...flags])
  },
}

export const perihelionMemory: Peer = {
  ...ours,
  title: 'Perihelion, history in memory',
  byName: true,
  serve: ({ flags }) => run(['--trusted', '--config', configured(KEEPING), ...flags]),
}

/** In the directory that the flags name (`--history-dir`), or in one of its own. */
export const perihelionDisk: Peer = {
  ...ours,
  title: 'Perihelion, history on disk',
  byName: true,
  serve: ({ flags }) => run(['--trusted', '--config', configured(KEEPING), '--history-dir', folder(), ...flags]),
}

/** A file of this content. */
function configured(yaml: string): string {
  const file = join(folder(), 'perihelion.yaml')
  writeFileSync(file, yaml)
  return file
}

/** Goes with the process. */
function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'perihelion-'))
  process.on('exit', () => rmSync(path, { recursive: true, force: true }))
  return path
}
