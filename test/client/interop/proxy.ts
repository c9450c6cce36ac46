// A TCP way to a server that can be cut, and that can be closed, to WebSockets alone or to all.
//
// Knows: bytes, and what the first ones of a WebSocket look like. Does not know: anything else of HTTP.
// Always true: a cut takes all connections, both ends, without a goodbye; later ones pass again.

import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Passable } from './conversation.js'

export interface Way {
  readonly port: number
  /** Cuts that were done. */
  readonly cuts: readonly string[]
  /** When connections came, in ms of `performance.now`, also those that were not let in. */
  readonly tries: readonly number[]
  /** The client's bytes on all connections, as text, in order of arrival. */
  readonly sent: string
  /** `idle`: at once. `half`, `whole`: at the server's next bytes, when so much of them was passed on. */
  cut(how: 'idle' | 'half' | 'whole'): void
  /** What may come in from now on; `nothing` is a cut too. */
  pass(what: Passable): void
  close(): Promise<void>
}

export async function openWay(target: number): Promise<Way> {
  const open = new Set<Socket>()
  const cuts: string[] = []
  const tries: number[] = []
  const sent: string[] = []
  let armed: 'half' | 'whole' | null = null
  let passable: Passable = 'all'
  const finish = (how: string): void => {
    cuts.push(how)
    for (const socket of open) socket.destroy()
  }
  const server = createServer({ noDelay: true }, near => {
    tries.push(performance.now())
    if (passable === 'nothing') return void near.destroy()
    const far = connect({ port: target, host: '127.0.0.1', noDelay: true })
    for (const [socket, other] of [[near, far] as const, [far, near] as const]) {
      open.add(socket)
      socket.on('error', () => {}) // 'close' follows
      socket.on('close', () => {
        open.delete(socket)
        other.destroy()
      })
    }
    near.on('data', chunk => {
      sent.push(chunk.toString('latin1'))
      if (passable === 'no sockets' && /^upgrade: websocket/im.test(chunk.toString('latin1'))) near.destroy()
      else far.write(chunk)
    })
    far.on('data', chunk => {
      const how = armed
      if (how === null) return near.write(chunk)
      armed = null
      near.pause()
      far.pause()
      // Only once the bytes are handed over: destroy would throw them away.
      return near.write(how === 'half' ? chunk.subarray(0, chunk.length / 2) : chunk, () => finish(how))
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    cuts,
    tries,
    get sent() {
      return sent.join('')
    },
    cut(how) {
      if (how === 'idle') finish(how)
      else armed = how
    },
    pass(what) {
      passable = what
      if (what === 'nothing') for (const socket of open) socket.destroy()
    },
    close() {
      for (const socket of open) socket.destroy()
      return new Promise(resolve => server.close(() => resolve()))
    },
  }
}
