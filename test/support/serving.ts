// `perihelion serve` in a process of its own, for tests that attack, measure or end it: its flags are the arguments.
//
// Says `{port}` once it listens; answers each message with its stats and its heap after a full collection (needs --expose-gc).
// Ends with its parent.

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Report } from './child.js'

const FILES = join('test', 'support', 'tls')
export const certOf = (name: string): string => join(FILES, `${name}.cert.pem`)
export const keyOf = (name: string): string => join(FILES, `${name}.key.pem`)
/** Flags for a server that speaks HTTP/2. */
export const HTTP2_FLAGS = ['--http2', '--tls-cert', certOf('one'), '--tls-key', keyOf('one')]

export class Serving {
  private constructor(
    readonly child: ChildProcess,
    readonly port: number,
  ) {}

  /** Starts it on a free port; it ends with the test. */
  static async start(t: { teardown(end: () => void): void }, ...flags: string[]): Promise<Serving> {
    const child = fork(fileURLToPath(import.meta.url), ['--port', '0', '--log-level', 'silent', ...flags], {
      execArgv: ['--expose-gc'],
      env: { ...process.env, NODE_OPTIONS: '' }, // tap's own hooks would be measured too
    })
    t.teardown(() => void child.kill('SIGKILL'))
    const [{ port }] = (await once(child, 'message')) as [{ port: number }]
    return new Serving(child, port)
  }

  async report(): Promise<Report> {
    this.child.send('report')
    return ((await once(this.child, 'message')) as [Report])[0]
  }

  /** @returns its exit code, null when it had to be killed */
  async end(): Promise<number | null> {
    this.child.kill('SIGTERM')
    return ((await once(this.child, 'exit')) as [number | null])[0]
  }
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  process.once('disconnect', () => process.exit())
  const { main } = await import('../../lib/index.js')
  const app = await main(process.argv.slice(2))
  process.on('message', async () => {
    globalThis.gc!()
    await delay(10) // what finalizers and closed handles still hold goes with the second
    globalThis.gc!()
    process.send!({ stats: app.bayeux.stats(), heap: process.memoryUsage().heapUsed } satisfies Report)
  })
  process.send({ port: (app.server.address() as { port: number }).port })
}
