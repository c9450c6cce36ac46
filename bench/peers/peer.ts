// What a peer is: a server that the benchmark can start, and clients that speak to it.

import type { Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import type { ClientClass, Transport } from '../client.js'

/** A server that runs in a Node process of ours. */
export interface Running {
  readonly port: number
  /** How many sessions it has now; null where it does not know. */
  sessions(): number | null
}

export interface ServeOptions {
  readonly ack: boolean
  /** What the caller passes through to the server's own options. */
  readonly flags: readonly string[]
}

export interface Peer {
  readonly title: string
  /** The name and version that tables show. */
  version(): string
  readonly clients: Readonly<Partial<Record<Transport, ClientClass>>>
  readonly ack: boolean
  /** Is measured only where it is named, or its question is asked. */
  readonly byName?: true
  /** The token that its clients handshake with. */
  token?(): Promise<string>
  /** What must be installed before it can run. */
  readonly needs: 'nothing' | 'npm' | 'maven'
  /** Command line of a server that is no Node program; the others are started by server.ts with `serve`. */
  command?(options: ServeOptions): readonly string[]
  serve?(options: ServeOptions): Promise<Running>
}

/** Where the peers' own packages are. */
export const PEERS = resolve('bench', 'peers')

/** Loads a package that the bench installed for a peer. */
export const peerRequire = createRequire(resolve(PEERS, 'npm', 'package.json'))

/** Name and version of such a package. */
export function versionOf(name: string, require = peerRequire): string {
  const { version } = require(`${name}/package.json`) as { version: string }
  return `${name} ${version}`
}

/** The same for this package (`.`) and what it depends on. */
export const ownVersionOf = (name: string): string => versionOf(name, createRequire(resolve('package.json')))

/** Lets a server of Node's take connections on a free port; nothing is cut for being idle. */
export async function listen(server: Server): Promise<number> {
  server.keepAliveTimeout = 0
  await new Promise<void>(done => server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, done))
  return (server.address() as AddressInfo).port
}

/** Long polls are held, and heartbeats are sent, at this rhythm by all servers that have one. */
export const HOLD_MS = 30_000
/** A session whose client is slow in an overload is not given up sooner. */
export const PATIENCE_MS = 60_000
