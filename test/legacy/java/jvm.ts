// Builds the Java driver when its sources are newer than it, and runs it.
//
// Knows: Maven, the command line of Driver.java and its JSON lines. Does not know: what a step is about.
// Always true: the JVM does not outlive its test; what it says besides JSON lines is kept for the text of a failure.

import { spawn } from 'node:child_process'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** One line of the driver: what a step saw, how it failed, or a wish for a cut. */
export interface Line {
  readonly run: string
  readonly step?: string
  readonly seen?: unknown
  readonly failed?: string
  readonly cut?: 'idle' | 'half' | 'whole'
}

const HOME = join('test', 'legacy', 'java')
const JAR = join(HOME, 'target', 'driver.jar')
const INSTALL =
  'the Java client needs a JDK (11 or later) and Maven: apt-get install -y --no-install-recommends default-jdk-headless maven'

/** What of a tap test is used here. */
interface Teardown {
  teardown(end: () => unknown): void
}

interface Outcome {
  readonly code: number | null
  /** Its stderr, and what of stdout was no JSON. */
  readonly noise: string
}

/**
 * Makes target/driver.jar and target/lib, unless they are newer than their sources. The first time Maven fetches the client.
 *
 * @throws {Error} it cannot be made; the text says why, or what to install
 */
export async function buildDriver(t: Teardown): Promise<void> {
  const built = await changedAt(JAR)
  const sources = await readdir(join(HOME, 'src'), { recursive: true })
  const changes = await Promise.all([join(HOME, 'pom.xml'), ...sources.map(name => join(HOME, 'src', name))].map(changedAt))
  if (built > Math.max(...changes)) return
  const { code, noise } = await run(t, 'mvn', ['-q', '-B', '-f', join(HOME, 'pom.xml'), 'package'])
  if (code !== 0) throw new Error(`mvn package ended with ${code}; ${INSTALL}\n${noise}`)
}

/** Runs all scenarios in one JVM; `take` gets each line at once. @throws {Error} there is no java */
export function runDriver(t: Teardown, urls: readonly string[], take: (line: Line) => void): Promise<Outcome> {
  return run(t, 'java', ['-jar', JAR, ...urls], take)
}

/** Epoch ms; 0 for a file that is not there. */
async function changedAt(path: string): Promise<number> {
  const found = await stat(path).catch(() => null)
  return found?.mtimeMs ?? 0
}

function run(t: Teardown, command: string, args: readonly string[], take?: (line: Line) => void): Promise<Outcome> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  const noise: string[] = []
  let rest = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => noise.push(chunk))
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n')
    rest = parts.pop() ?? ''
    for (const part of parts) {
      if (take !== undefined && part.startsWith('{')) take(JSON.parse(part) as Line)
      else noise.push(`${part}\n`)
    }
  })
  return new Promise((resolve, reject) => {
    child.on('error', (cause: NodeJS.ErrnoException) => {
      reject(cause.code === 'ENOENT' ? new Error(`${command} was not found; ${INSTALL}`, { cause }) : cause)
    })
    child.on('close', code => resolve({ code, noise: noise.join('') }))
  })
}
