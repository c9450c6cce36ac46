// An arena: one server on the first core, one generator on the second, for one run.
//
// Knows: how the two are started, asked and ended. Does not know: what is measured.

import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Transport } from './client.js'
import type { ChurnResult, CrowdOptions, LoadOptions, LoadResult, Spread } from './crowd.js'
import type { Command } from './generator.js'
import { rssBytes } from './machine.js'
import { type PeerName, peerOf } from './peers/index.js'
import type { ServeOptions } from './peers/peer.js'
import type { Account } from './tally.js'

const SERVER_CORE = 0
const GENERATOR_CORE = 1

/** Start flags that Perihelion recommends; all servers that are Node programs get them, so that no figure is of a flag. */
export const NODE_FLAGS = ['--max-semi-space-size=64']

export interface ArenaOptions {
  readonly peer: PeerName
  /** More than one: users, speakers and churn take them in turn. */
  readonly transports: readonly Transport[]
  readonly ack: boolean
  readonly users: number
  readonly rooms: number
  readonly roomsPerUser: number
  /** Flags of Node for every server that is a Node program, after NODE_FLAGS. */
  readonly nodeFlags: readonly string[]
  /** Flags of `perihelion serve`. */
  readonly flags: readonly string[]
}

/** A process of ours that answers each line with a line. */
class Helper {
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

export class Arena {
  private constructor(
    private readonly options: ArenaOptions,
    private readonly server: Helper,
    private readonly generator: Helper,
  ) {}

  /** Starts both; no session is made yet. */
  static async start(options: ArenaOptions): Promise<Arena> {
    const { peer, transports, ack, users, rooms, roomsPerUser, nodeFlags, flags } = options
    const serve: ServeOptions = { ack, flags: peer === 'perihelion' ? flags : [] }
    const command = peerOf(peer).command?.(serve) ?? [
      ...[process.execPath, '--expose-gc', ...NODE_FLAGS, ...nodeFlags, script('server.js')],
      ...[peer, JSON.stringify(serve)],
    ]
    const server = new Helper(SERVER_CORE, command)
    const generator = new Helper(GENERATOR_CORE, [process.execPath, '--max-semi-space-size=64', script('generator.js')])
    const arena = new Arena(options, server, generator)
    try {
      const { port } = await server.next<{ port: number }>()
      const crowd: CrowdOptions = { users, rooms, roomsPerUser, server: server.pid }
      await arena.#do({
        do: 'gather',
        peer,
        transports,
        target: { port, ack, token: (await peerOf(peer).token?.()) ?? null },
        crowd,
      })
      return arena
    } catch (error) {
      await arena.end()
      throw error
    }
  }

  /** Makes sessions until there are so many users; all of them if no number is given. @returns how long it took, s */
  async open(users = this.options.users): Promise<number> {
    const { seconds } = await this.#do<{ seconds: number }>({ do: 'open', users })
    return seconds
  }

  load(options: LoadOptions): Promise<LoadResult> {
    return this.#do({ do: 'load', ...options })
  }

  fanout(times: number, pause: number): Promise<{ spreads: Spread[]; account: Account; faults: readonly string[] }> {
    return this.#do({ do: 'fanout', times, pause })
  }

  churn(concurrency: number, warmup: number, window: number): Promise<ChurnResult> {
    return this.#do({ do: 'churn', concurrency, warmup, window })
  }

  async beginChurn(concurrency: number, pause: number): Promise<void> {
    await this.#do({ do: 'beginChurn', concurrency, pause })
  }

  /** @returns how many sessions came and went since its beginning */
  async endChurn(): Promise<number> {
    const { cycles } = await this.#do<{ cycles: number }>({ do: 'endChurn' })
    return cycles
  }

  /** Ends all sessions as the protocol wants it. */
  async close(): Promise<void> {
    await this.#do({ do: 'close' })
  }

  /** Lets the server free what it can. @returns its resident memory then, bytes */
  async collect(): Promise<number> {
    await this.server.ask('collect')
    return rssBytes(this.server.pid)
  }

  get rss(): number {
    return rssBytes(this.server.pid)
  }

  get serverPid(): number {
    return this.server.pid
  }

  /** How many sessions the server has; null where it does not say. */
  async sessions(): Promise<number | null> {
    const { sessions } = await this.server.ask<{ sessions: number | null }>('sessions')
    return sessions
  }

  /** Profiles the server while `work` is done. @returns what DevTools saves as .cpuprofile */
  async profiled(work: () => Promise<unknown>): Promise<object> {
    await this.server.ask('profile')
    await work()
    const { profile } = await this.server.ask<{ profile: object }>('profiled')
    return profile
  }

  async end(): Promise<void> {
    await Promise.all([this.generator.end(), this.server.end()])
  }

  #do<T>(command: Command): Promise<T> {
    return this.generator.ask(JSON.stringify(command))
  }
}

function script(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url))
}
