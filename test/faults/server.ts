// The server of the fault machine: `perihelion serve` in a process of its own, which is killed, stopped and started again, under a clock that is set back and forward.
//
// Knows: how its clock is set (libfaketime), which options each way of delivery needs.
// Does not know: clients and lines.
// Always true: it comes back on its port, with what it left in its folder.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const CLI = fileURLToPath(new URL('../../lib/cli.js', import.meta.url))
const LIB = '/usr/lib'
/** Seconds: a busy machine may take a while to answer. */
const CLOCK_TOLERANCE = 30

export interface ServerOptions {
  readonly flags: readonly string[]
  /** The rule of all channels. */
  readonly rule: object
  readonly onDisk: boolean
}

export class Server {
  readonly #folder = mkdtempSync(join(tmpdir(), 'perihelion-faults-'))
  readonly #clock = join(this.#folder, 'clock')
  readonly #config = join(this.#folder, 'config.yaml')
  readonly #flags: readonly string[]
  #child: ChildProcess | null = null
  #port = '0'
  #ahead = 0
  #fail!: (error: Error) => void
  /** Rejected when it ends without being asked to. */
  readonly died = new Promise<never>((_, reject) => {
    this.#fail = reject
  })

  constructor({ flags, rule, onDisk }: ServerOptions) {
    this.#flags = flags
    const history = onDisk ? { historyDir: join(this.#folder, 'history') } : {}
    const sessionStore = join(this.#folder, 'sessions')
    writeFileSync(this.#config, JSON.stringify({ ...history, sessionStore, channels: { '/**': rule } }))
    this.set(0)
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/cometd`
  }

  /** Sets its clock so many seconds before or after the right time; it notices within a second. */
  set(seconds: number): void {
    this.#ahead = seconds
    writeFileSync(this.#clock, `${seconds < 0 ? '' : '+'}${seconds}\n`)
  }

  async start(): Promise<void> {
    const flags = ['serve', '--port', this.#port, '--trusted', '--trust-client-session', '--config', this.#config, ...this.#flags]
    const env = {
      ...process.env,
      NODE_OPTIONS: '', // tap's hooks are not for it
      LD_PRELOAD: fakeTime(),
      FAKETIME_TIMESTAMP_FILE: this.#clock,
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_DISABLE_SHM: '1', // it would be left behind by each kill
    }
    const child = spawn(process.execPath, [CLI, ...flags], { stdio: ['ignore', 'pipe', 'inherit'], env })
    this.#child = child
    child.once('exit', (code, signal) => {
      if (this.#child !== child) return
      this.#child = null
      this.#fail(new Error(`the server died by itself: code ${code}, signal ${signal}`))
    })
    for await (const line of createInterface({ input: child.stdout })) {
      const [, port] = /listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(line) ?? []
      if (port === undefined) continue
      this.#port = port
      child.stdout.resume()
      return this.#checkClock()
    }
    throw new Error('the server did not start')
  }

  async #checkClock(): Promise<void> {
    const { headers } = await fetch(new URL('/healthz', this.url))
    const off = Date.parse(headers.get('date')!) / 1_000 - Date.now() / 1_000 - this.#ahead
    if (Math.abs(off) > CLOCK_TOLERANCE) throw new Error(`the clock of the server is ${off} s wrong`)
  }

  async stop(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child
    if (child === null) return
    this.#child = null
    const ended = new Promise(resolve => child.once('exit', resolve))
    child.kill(signal)
    await ended
  }

  async end(): Promise<void> {
    await this.stop('SIGKILL')
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Where Debian has it. */
function fakeTime(): string {
  const paths = readdirSync(LIB).map(folder => join(LIB, folder, 'faketime', 'libfaketime.so.1'))
  const found = paths.find(path => existsSync(path))
  if (found === undefined) throw new Error('libfaketime is not installed')
  return found
}
