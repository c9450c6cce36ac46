// Brings the peers that are not here yet: from npm into npm/node_modules, from Maven Central into java/target. Both are git-ignored.

import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { JAR, JAVA } from './cometd-java.js'
import { type PeerName, peerOf } from './index.js'
import { PEERS, type Peer } from './peer.js'

const NPM = join(PEERS, 'npm')

/** Installs what these peers need. @returns those that can run; of the others it says why not */
export function install(names: readonly PeerName[]): PeerName[] {
  const failed = new Set<Peer['needs']>()
  for (const need of new Set(names.map(name => peerOf(name).needs))) if (!INSTALLERS[need]()) failed.add(need)
  return names.filter(name => !failed.has(peerOf(name).needs))
}

const INSTALLERS: Readonly<Record<Peer['needs'], () => boolean>> = {
  nothing: () => true,
  npm: () => {
    const lock = join(NPM, 'package-lock.json')
    if (changedAt(join(NPM, 'node_modules', '.package-lock.json')) >= changedAt(lock)) return true
    return run('npm', ['ci', '--no-audit', '--no-fund', '--silent', '--prefix', NPM])
  },
  maven: () => {
    const sources = [join(JAVA, 'pom.xml'), join(JAVA, 'src', 'main', 'java', 'Main.java')]
    if (changedAt(JAR) >= Math.max(...sources.map(changedAt))) return true
    return run('mvn', ['-q', '-B', '-f', join(JAVA, 'pom.xml'), 'package'])
  },
}

function run(command: string, args: readonly string[]): boolean {
  console.error(`${command} ${args.join(' ')}`)
  const { status, error, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status === 0) return true
  console.error(
    `${stdout ?? ''}${stderr ?? ''}${command} failed${error === undefined ? '' : ` (${error.message})`}: its peers are left out`,
  )
  return false
}

/** Epoch ms; -1 for a file that is not there. */
function changedAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? -1
}
