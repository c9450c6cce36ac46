// An arena: one server on the first core, one generator on the second, for one run.
//
// Knows: how the two are started, asked and ended. Does not know: what is measured.

import type { Transport } from './client.js'
import type { ChurnResult, CrowdOptions, LoadOptions, LoadResult, Spread } from './crowd.js'
import type { Command } from './generator.js'
import { GENERATOR_CORE, Helper, SERVER_CORE, script } from './helper.js'
import { rssBytes } from './machine.js'
import { type PeerName, peerOf } from './peers/index.js'
import type { ServeOptions } from './peers/peer.js'
import type { PublishOptions, PublishResult } from './publishers.js'
import type { Account } from './tally.js'

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

export class Arena {
  /** Where the server listens. */
  port = 0

  private constructor(
    private readonly options: ArenaOptions,
    private readonly server: Helper,
    private readonly generator: Helper,
  ) {}

  /** Starts both; no session is made yet. */
  static async start(options: ArenaOptions): Promise<Arena> {
    const { peer, transports, ack, users, rooms, roomsPerUser, nodeFlags, flags } = options
    const serve: ServeOptions = { ack, flags: peer.startsWith('perihelion') ? flags : [] }
    const command = peerOf(peer).command?.(serve) ?? [
      ...[process.execPath, '--expose-gc', ...NODE_FLAGS, ...nodeFlags, script('server.js')],
      ...[peer, JSON.stringify(serve)],
    ]
    const server = new Helper(SERVER_CORE, command)
    const generator = new Helper(GENERATOR_CORE, [process.execPath, ...NODE_FLAGS, script('generator.js')])
    const arena = new Arena(options, server, generator)
    try {
      const { port } = await server.next<{ port: number }>()
      arena.port = port
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

  /** Publishes from sessions of their own, each reply awaited. */
  publish(options: PublishOptions): Promise<PublishResult> {
    return this.#do({ do: 'publish', ...options })
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

  /** The server dies in this moment, as by SIGKILL. */
  kill(): void {
    process.kill(this.server.pid, 'SIGKILL')
  }

  async end(): Promise<void> {
    await Promise.all([this.generator.end(), this.server.end()])
  }

  #do<T>(command: Command): Promise<T> {
    return this.generator.ask(JSON.stringify(command))
  }
}
