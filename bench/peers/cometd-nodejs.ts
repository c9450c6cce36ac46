// CometD's own server for Node, on node:http. It has no WebSocket.

import { createServer, type RequestListener } from 'node:http'
import { BayeuxPolling } from './bayeux.js'
import { HOLD_MS, listen, PATIENCE_MS, type Peer, peerRequire, versionOf } from './peer.js'

interface CometdModule {
  createCometDServer(options: object): {
    readonly handle: RequestListener
    addExtension(extension: object): void
    addListener(event: 'sessionAdded' | 'sessionRemoved', listener: () => void): void
  }
}
interface AckModule {
  AcknowledgedMessagesExtension: new () => object
}

export const cometdNodejs: Peer = {
  title: 'cometd-nodejs-server',
  version: () => versionOf('cometd-nodejs-server'),
  clients: { 'long-polling': BayeuxPolling },
  ack: true,
  needs: 'npm',
  serve: async ({ ack }) => {
    const { createCometDServer } = peerRequire('cometd-nodejs-server') as CometdModule
    const cometd = createCometDServer({ timeout: HOLD_MS, maxInterval: PATIENCE_MS })
    if (ack) {
      const { AcknowledgedMessagesExtension } = peerRequire('cometd-nodejs-server/ack-extension') as AckModule
      cometd.addExtension(new AcknowledgedMessagesExtension())
    }
    let sessions = 0
    cometd.addListener('sessionAdded', () => sessions++)
    cometd.addListener('sessionRemoved', () => sessions--)
    const server = createServer(cometd.handle)
    return { port: await listen(server), sessions: () => sessions }
  },
}
