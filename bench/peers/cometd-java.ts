// CometD's Java server on Jetty (java/Main.java), in a JVM on the same single core.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BayeuxPolling, BayeuxSocket } from './bayeux.js'
import { PEERS, type Peer } from './peer.js'

export const JAVA = join(PEERS, 'java')
export const JAR = join(JAVA, 'target', 'peer.jar')

export const cometdJava: Peer = {
  title: 'CometD/Java',
  version: () => {
    const pom = readFileSync(join(JAVA, 'pom.xml'), 'utf8')
    const property = (name: string): string => new RegExp(`<${name}>(.*?)<`).exec(pom)![1]!
    return `CometD ${property('cometd.version')} on Jetty ${property('jetty.version')}`
  },
  clients: { websocket: BayeuxSocket, 'long-polling': BayeuxPolling },
  ack: true,
  needs: 'maven',
  command: ({ ack }) => ['java', '-Xms1g', '-Xmx4g', '-jar', JAR, ...(ack ? ['--ack'] : [])],
}
