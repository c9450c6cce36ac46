// A TCP proxy that loses connections when told to.
//
// Knows: bytes, and when to stop passing them on. Does not know: HTTP or WebSocket.
// Always true: a cut takes all connections, both ends, without a goodbye; later connections pass again.

import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/**
 * What is lost: `idle` cuts at once; `half` passes half of the next chunk of the server that contains the mark, and cuts; `whole`
 * passes all of that chunk, and cuts before anything can come back.
 */
export type Cut = 'idle' | 'half' | 'whole'

export interface Proxy {
  /** Where it listens: `127.0.0.1:PORT`. */
  readonly host: string
  /** Cuts that were done, each with the number of connections that it took. */
  readonly done: readonly { readonly cut: Cut; readonly connections: number }[]
  /** @param mark what the server's chunk must contain, for `half` and `whole` */
  cut(cut: Cut, mark: string): void
  close(): Promise<void>
}

/** Listens on a free port of 127.0.0.1 and passes everything on to `target`, a port of the same address. */
export async function startProxy(target: number): Promise<Proxy> {
  const sockets = new Set<Socket>()
  const done: { cut: Cut; connections: number }[] = []
  let armed: { cut: Cut; mark: string } | null = null

  const finish = (cut: Cut): void => {
    done.push({ cut, connections: sockets.size / 2 })
    for (const socket of sockets) socket.destroy()
  }
  const server = createServer({ noDelay: true }, client => {
    const upstream = connect({ port: target, host: '127.0.0.1', noDelay: true })
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => {}) // 'close' follows
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
    client.on('data', chunk => upstream.write(chunk))
    upstream.on('data', chunk => {
      if (armed === null || !chunk.includes(armed.mark)) {
        client.write(chunk)
        return
      }
      const { cut } = armed
      armed = null
      // Only once the bytes are handed over: destroy would throw them away.
      client.write(cut === 'half' ? chunk.subarray(0, chunk.length / 2) : chunk, () => finish(cut))
      upstream.pause()
      client.pause()
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    done,
    cut(cut, mark) {
      if (cut === 'idle') finish(cut)
      else armed = { cut, mark }
    },
    close() {
      for (const socket of sockets) socket.destroy()
      return new Promise(resolve => server.close(() => resolve()))
    },
  }
}
