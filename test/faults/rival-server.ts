// A server that Perihelion is compared with, in a process of its own: `node rival-server.js cometd-nodejs|faye|socket.io <patience, ms>`.
//
// Says {"port":n} when it listens on 127.0.0.1. Ends on SIGTERM as Node programs do that close their server.
// Configured for the fewest losses that each offers; docs/delivery.md says how.

import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { peerRequire } from '../../bench/peers/peer.js'

interface Cometd {
  readonly handle: RequestListener
  addExtension(extension: object): void
}
interface IoServer {
  on(event: 'connection', listener: (socket: IoSocket) => void): void
  to(room: string): { emit(event: string, data: unknown): void }
}
interface IoSocket {
  readonly recovered: boolean
  join(room: string): void
  on(event: 'publish', listener: (data: unknown, done: () => void) => void): void
}

const [name = '', patience = ''] = process.argv.slice(2)
const server = createServer()
const serve: Record<string, (server: Server, patience: number) => void> = {
  'cometd-nodejs': (server, maxInterval) => {
    const { createCometDServer } = peerRequire('cometd-nodejs-server') as { createCometDServer(options: object): Cometd }
    const { AcknowledgedMessagesExtension } = peerRequire('cometd-nodejs-server/ack-extension') as {
      AcknowledgedMessagesExtension: new () => object
    }
    const cometd = createCometDServer({ timeout: 5_000, maxInterval, maxSessionsPerBrowser: -1 })
    cometd.addExtension(new AcknowledgedMessagesExtension())
    server.on('request', cometd.handle)
  },
  faye: (server, patience) => {
    const { NodeAdapter } = peerRequire('faye') as {
      NodeAdapter: new (options: object) => { attach(server: Server): void }
    }
    // its memory engine gives a client up after 1.6 × timeout
    new NodeAdapter({ mount: '/cometd', timeout: patience / 1_600 }).attach(server)
  },
  'socket.io': (server, maxDisconnectionDuration) => {
    const { Server: Io } = peerRequire('socket.io') as { Server: new (server: Server, options: object) => IoServer }
    const io = new Io(server, { connectionStateRecovery: { maxDisconnectionDuration, skipMiddlewares: true } })
    io.on('connection', socket => {
      if (!socket.recovered) socket.join('k')
      socket.on('publish', (data, done) => {
        io.to('k').emit('k', data)
        done()
      })
    })
  },
}
process.once('SIGTERM', () => {
  server.close()
  server.closeAllConnections()
  setTimeout(() => process.exit(0), 100)
})
serve[name]!(server, Number(patience))
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })))
