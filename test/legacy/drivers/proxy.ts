// A way to the server that can lose what the server sends: as a network does, without the server's noticing.
//
// Knows: bytes and sockets. Does not know: HTTP, WebSocket, messages.
// Always true: it keeps no process alive; only the clients' own ends of the connections do.

import { connect, createServer, type Socket } from 'node:net'
import { touch } from './steps.js'

export class LossyProxy {
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  #deaf = false
  /** Bytes of the server that were lost since `swallow`. */
  swallowed = 0

  private constructor(
    /** The server's URL, by this way. */
    readonly url: string,
  ) {}

  /** Listens on a free port of 127.0.0.1. */
  static async open(target: string): Promise<LossyProxy> {
    const { hostname, port, pathname } = new URL(target)
    const server = createServer()
    server.unref()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('not listening')
    const proxy = new LossyProxy(`http://127.0.0.1:${address.port}${pathname}`)
    server.on('connection', near => proxy.#join(near, connect(Number(port), hostname)))
    return proxy
  }

  /** From now on the server's bytes are lost on all connections that are open. */
  swallow(): void {
    this.#deaf = true
    this.swallowed = 0
  }

  /** Breaks all connections; new ones lose nothing. */
  cut(): void {
    this.#deaf = false
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy()
  }

  #join(near: Socket, far: Socket): void {
    const pair = [near, far] as const
    this.#pairs.add(pair)
    near.on('data', chunk => far.write(chunk))
    far.on('data', chunk => {
      if (this.#deaf) {
        this.swallowed += chunk.length
        touch()
      } else near.write(chunk)
    })
    for (const [socket, peer] of [pair, [far, near] as const]) {
      socket.setNoDelay(true)
      socket.unref()
      socket.on('error', () => socket.destroy())
      socket.on('end', () => peer.end())
      socket.on('close', () => {
        peer.destroySoon()
        this.#pairs.delete(pair)
      })
    }
  }
}
