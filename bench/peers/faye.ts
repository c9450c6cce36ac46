// Faye's Node server, with its memory engine.

import { createServer } from 'node:http'
import { BayeuxPolling, BayeuxSocket } from './bayeux.js'
import { HOLD_MS, listen, type Peer, peerRequire, versionOf } from './peer.js'

interface FayeModule {
  NodeAdapter: new (options: object) => { attach(server: unknown): void; on(event: string, listener: () => void): void }
}

export const faye: Peer = {
  title: 'Faye',
  version: () => versionOf('faye'),
  clients: { websocket: BayeuxSocket, 'long-polling': BayeuxPolling },
  ack: false,
  needs: 'npm',
  serve: async () => {
    const { NodeAdapter } = peerRequire('faye') as FayeModule
    const adapter = new NodeAdapter({ mount: '/cometd', timeout: HOLD_MS / 1000 })
    let sessions = 0
    adapter.on('handshake', () => sessions++)
    adapter.on('disconnect', () => sessions--)
    const server = createServer()
    adapter.attach(server)
    return { port: await listen(server), sessions: () => sessions }
  },
}
