// Ourselves, as `perihelion serve` runs: Fastify, logging and health included.

import type { AddressInfo } from 'node:net'
import { main } from '../../lib/index.js'
import { BayeuxPolling, BayeuxSocket } from './bayeux.js'
import { HOLD_MS, ownVersionOf, PATIENCE_MS, type Peer } from './peer.js'

export const perihelion: Peer = {
  title: 'Perihelion',
  version: () => ownVersionOf('.').replace('.', 'perihelion'),
  clients: { websocket: BayeuxSocket, 'long-polling': BayeuxPolling },
  ack: true,
  needs: 'nothing',
  async serve({ flags }) {
    const app = await main([
      ...['--port', '0', '--log-level', 'warn', '--timeout', `${HOLD_MS}`, '--max-interval', `${PATIENCE_MS}`],
      ...flags,
    ])
    const { port } = app.server.address() as AddressInfo
    return { port, sessions: () => app.bayeux.stats().sessions }
  },
}
