// All peers, by the name that the command line uses. Ourselves first, then the physical limits, then the others.

import type { Transport } from '../client.js'
import { bareHttp } from './bare-http.js'
import { bareWs, bareWsGathered } from './bare-ws.js'
import { cometdJava } from './cometd-java.js'
import { cometdNodejs } from './cometd-nodejs.js'
import { faye } from './faye.js'
import type { Peer } from './peer.js'
import { perihelion, perihelionDisk, perihelionGuarded, perihelionMemory } from './perihelion.js'
import { socketIo } from './socket.io.js'

export const peers = {
  perihelion,
  'bare-ws': bareWs,
  'bare-ws-gathered': bareWsGathered,
  'bare-http': bareHttp,
  'socket.io': socketIo,
  faye,
  'cometd-nodejs': cometdNodejs,
  'cometd-java': cometdJava,
  'perihelion-guarded': perihelionGuarded,
  'perihelion-memory': perihelionMemory,
  'perihelion-disk': perihelionDisk,
} as const satisfies Record<string, Peer>

export type PeerName = keyof typeof peers

export const peerNames = Object.keys(peers) as PeerName[]

export const peerOf = (name: PeerName): Peer => peers[name]

/** The peer that shows what Node can do at all on a transport; every figure is also given as a ratio to its figure. */
export const bareOf = (transport: Transport): PeerName => (transport === 'websocket' ? 'bare-ws' : 'bare-http')
