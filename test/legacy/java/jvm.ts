// Runs the Java driver, which `npm test` has built.
//
// Knows: the command line of Driver.java and its JSON lines. Does not know: what a step is about.
// Always true: the JVM does not outlive its test; what it says besides JSON lines is kept for the text of a failure.

import { spawn } from 'node:child_process'
import { join } from 'node:path'

/** One line of the driver: what a step saw, how it failed, or a wish for a cut. */
export interface Line {
  readonly run: string
  readonly step?: string
  readonly seen?: unknown
  readonly failed?: string
  readonly cut?: 'idle' | 'half' | 'whole'
}

const JAR = join('test', 'legacy', 'java', 'target', 'driver.jar')

/** What of a tap test is used here. */
interface Teardown {
  teardown(end: () => unknown): void
}

interface Outcome {
  readonly code: number | null
  /** Its stderr, and what of stdout was no JSON. */
  readonly noise: string
}

/** Runs all scenarios in one JVM; `take` gets each line at once. @throws {Error} there is no java */
export function runDriver(t: Teardown, urls: readonly string[], take: (line: Line) => void): Promise<Outcome> {
  const child = spawn('java', ['-jar', JAR, ...urls], { stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  const noise: string[] = []
  let rest = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => noise.push(chunk))
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n')
    rest = parts.pop() ?? ''
    for (const part of parts) {
      if (part.startsWith('{')) take(JSON.parse(part) as Line)
      else noise.push(`${part}\n`)
    }
  })
  return new Promise((resolve, reject) => {
    child.on('error', (cause: NodeJS.ErrnoException) => {
      reject(cause.code === 'ENOENT' ? new Error('there is no java; npm test says what to install', { cause }) : cause)
    })
    child.on('close', code => resolve({ code, noise: noise.join('') }))
  })
}
