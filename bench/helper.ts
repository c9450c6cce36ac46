// Helpers: processes of the benchmark's own, each on one core, that answer lines with lines (lines.ts).

import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'

export const SERVER_CORE = 0
export const GENERATOR_CORE = 1

/** A process of ours that answers each line with a line. */
export class Helper {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>
  readonly #waiting: ((line: string | null) => void)[] = []
  readonly #lines: string[] = []
  #ended = false

  constructor(core: number, argv: readonly string[]) {
    this.#process = spawn('taskset', ['-c', String(core), ...argv], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#process.stdin.on('error', () => undefined) // it has ended, and 'exit' says so
    this.#process.on('exit', () => {
      this.#ended = true
      for (const settle of this.#waiting.splice(0)) settle(null)
    })
    createInterface({ input: this.#process.stdout }).on('line', line => {
      if (!line.startsWith('{')) return
      const settle = this.#waiting.shift()
      if (settle === undefined) this.#lines.push(line)
      else settle(line)
    })
  }

  get pid(): number {
    return this.#process.pid!
  }

  /** The next line that it says. @throws {Error} it ended, or it says what went wrong (as a rejection) */
  async next<T>(): Promise<T> {
    const line =
      this.#lines.shift() ?? (this.#ended ? null : await new Promise<string | null>(resolve => this.#waiting.push(resolve)))
    if (line === null) throw new Error(`${this.#process.spawnargs.slice(3, 6).join(' ')} ended`)
    const answer = JSON.parse(line) as T & { error?: string }
    if (answer.error !== undefined) throw new Error(answer.error)
    return answer
  }

  ask<T>(request: string): Promise<T> {
    this.#process.stdin.write(`${request}\n`)
    return this.next<T>()
  }

  async end(): Promise<void> {
    if (this.#ended) return
    const exited = new Promise(resolve => this.#process.once('exit', resolve))
    this.#process.stdin.end()
    const cut = setTimeout(() => this.#process.kill('SIGKILL'), 2_000)
    await exited
    clearTimeout(cut)
  }
}

/** A program of the benchmark's, as it is built. */
export function script(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url))
}
