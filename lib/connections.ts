// Limits at the listening socket: how many connections there are, in all and of one address, and how all of them end.
//
// Knows: which TCP connections are open, whatever they speak: also those that have said nothing yet, or never come through TLS.
// Does not know: what is sent on them.
// Always true: a connection too many is gone before a byte of it is read; a connection is counted until its socket has closed.

import type { EventEmitter } from 'node:events'
import { type Server, Socket } from 'node:net'
import { addressKey } from '../bayeux/index.js'

/** Open files that are left for what is not a client: logs, libraries, name resolution, files that are served. */
const SPARE_FILES = 200

export interface ConnectionLimits {
  /** Connections at once; 0 for as many as the process may have files, less some. */
  readonly maxConnections: number
  /** Of one remote address (IPv6: of one /64); 0 for no limit, as where all come from a proxy. */
  readonly maxAddressConnections: number
}

/** One remote address, for as long as it has connections. */
class Remote {
  connections = 0
  constructor(readonly key: string) {}
}

export class Connections {
  /** Connections refused so far, by the limit that they met. */
  readonly refused = { maxConnections: 0, maxAddressConnections: 0 }
  readonly #sockets = new Map<Socket, Remote>()
  readonly #remotes = new Map<string, Remote>()
  /** Whom all belong to where addresses are not told apart. */
  readonly #anybody = new Remote('')
  /** What a socket does when it ends, one function for all. A listener of 'close' would cost 130 bytes each, since Node has two there already. */
  readonly #destroy: Socket['_destroy']

  /** @param told of each refusal: the limit that held, and the address of whom it met, '' where that is not known */
  constructor(
    private readonly limits: ConnectionLimits,
    private readonly told: (limit: keyof ConnectionLimits, address: string) => void = () => {},
  ) {
    const connections = this
    this.#destroy = function (this: Socket, error, done) {
      connections.#closed(this)
      Socket.prototype._destroy.call(this, error, done)
    }
  }

  get open(): number {
    return this.#sockets.size
  }

  /** Steps in front of the listeners that a server, of TLS or not, has for connections now. They get those that are within the limits. */
  install(server: Server): void {
    const { maxConnections } = this.limits
    const most = maxConnections === 0 ? filesForClients() : maxConnections
    if (most !== Number.POSITIVE_INFINITY) server.maxConnections = most
    server.on('drop', drop => this.#refuse('maxConnections', drop?.remoteAddress ?? '')) // Node closes it before there is a socket
    guard(server, 'connection', socket => this.#admits(socket as Socket))
  }

  /** Ends every connection that is still open, at once. */
  cut(): void {
    for (const socket of this.#sockets.keys()) socket.destroy()
  }

  #closed(socket: Socket): void {
    const remote = this.#sockets.get(socket)!
    this.#sockets.delete(socket)
    if (--remote.connections === 0) this.#remotes.delete(remote.key)
  }

  #admits(socket: Socket): boolean {
    const remote = this.#remoteOf(socket)
    if (remote !== this.#anybody && remote.connections >= this.limits.maxAddressConnections) {
      const address = socket.remoteAddress ?? ''
      socket.destroy()
      this.#refuse('maxAddressConnections', address)
      return false
    }
    remote.connections++
    this.#sockets.set(socket, remote)
    socket._destroy = this.#destroy
    return true
  }

  #remoteOf(socket: Socket): Remote {
    if (this.limits.maxAddressConnections === 0) return this.#anybody
    const key = addressKey(socket.remoteAddress ?? '') // of one that has gone already, or of a Unix socket, there is none
    const known = this.#remotes.get(key)
    if (known !== undefined) return known
    const remote = new Remote(key)
    this.#remotes.set(key, remote)
    return remote
  }

  #refuse(limit: keyof ConnectionLimits, address: string): void {
    this.refused[limit]++
    this.told(limit, address)
  }
}

/** Lets the listeners that an emitter has for an event now see only what `admits` lets through. Those added later see all. */
export function guard(emitter: EventEmitter, event: string, admits: (...args: unknown[]) => boolean): void {
  const others = emitter.listeners(event)
  for (const other of others) emitter.removeListener(event, other as () => void)
  emitter.prependListener(event, (...args: unknown[]) => {
    if (admits(...args)) for (const other of others) other.apply(emitter, args)
  })
}

/** How many clients this process has files for; Infinity where nothing limits it. Node has raised the soft limit to the hard one by then. */
export function filesForClients(limit: unknown = openFileLimit()): number {
  if (typeof limit !== 'number') return Number.POSITIVE_INFINITY // 'unlimited', or a system that does not say
  return Math.max(limit - SPARE_FILES, Math.ceil(limit / 2))
}

function openFileLimit(): unknown {
  const report = process.report.getReport() as unknown as { userLimits?: { open_files?: { soft?: unknown } } }
  return report.userLimits?.open_files?.soft
}
