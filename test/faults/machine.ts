// The fault machine: many clients behind lines that break at random, a server that is killed at random; what each client hears is counted.
//
// Knows: which fates a line and a server have, what each way of delivery promises.
// Does not know: how it is asked for (faults.test.ts, run.ts).
// Always true: all chance comes from one seed, which is told; a run ends when all that is promised has come, or fails after GUARD.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { TroubledProxy } from '../../bench/proxy.js'
import { Client, type Options, type TransportName } from '../../lib/client/node.js'

/** `plain`: in order, at most once. `ack`: exactly once while the session lives. `memory`: exactly once with replay. `disk`: the same, and the server is killed. */
export type Kind = 'plain' | 'ack' | 'memory' | 'disk'

export interface Plan {
  readonly kind: Kind
  readonly clients: number
  readonly messages: number
  readonly seed: number
}

export interface Outcome {
  readonly heard: number
  readonly lost: number
  readonly doubled: number
  readonly reordered: number
  readonly cuts: number
  readonly kills: number
  readonly seconds: number
}

const CLI = fileURLToPath(new URL('../../lib/cli.js', import.meta.url))
const CHANNEL = '/k/a'
const GUARD = 240_000
const OPTIONS: Options = {
  backoffBase: 30,
  backoffMax: 300,
  upgradeBase: 500,
  upgradeMax: 2_000,
  replyTimeout: 4_000,
  openTimeout: 2_000,
}

export async function run({ kind, clients, messages, seed }: Plan): Promise<Outcome> {
  const random = generator(seed)
  const from = performance.now()
  const server = new Server(kind)
  await server.start()
  const lines = await Promise.all(Array.from({ length: Math.min(clients, 10) }, () => TroubledProxy.open(server.url)))
  const heard: number[][] = []
  const listeners: Client[] = []
  try {
    for (let i = 0; i < clients; i++) {
      const mine: number[] = []
      heard.push(mine)
      const transports: TransportName[] = [i % 2 === 0 ? 'websocket' : 'long-polling']
      const lasting = kind === 'memory' || kind === 'disk'
      const client = new Client(lines[i % lines.length]!.url, { ...OPTIONS, transports, lasting, ack: kind !== 'plain' })
      listeners.push(client)
      client.subscribe(CHANNEL, ({ data }) => mine.push(data as number))
    }
    await Promise.all(listeners.map(client => client.connect()))
    await Promise.all(listeners.map(client => client.subscribe(CHANNEL, () => {}).ready))
    const publisher = new Client(server.url, OPTIONS)
    listeners.push(publisher)
    await publisher.connect()
    const sent: Promise<unknown>[] = []
    let kills = 0
    for (let n = 0; n < messages; n++) {
      sent.push(publisher.publish(CHANNEL, n))
      if (random(Math.ceil(messages / 20)) === 0) break_(lines[random(lines.length)]!, random)
      if (kind === 'disk' && n % Math.ceil(messages / 5) === Math.ceil(messages / 7)) {
        kills++
        await server.kill()
        await server.start()
      }
      if (random(8) === 0) await pause(random(12))
    }
    await Promise.all(sent)
    for (const line of lines) line.set('none')
    const complete = (): boolean => heard.every(mine => new Set(mine).size >= messages)
    const until = performance.now() + (kind === 'plain' ? 3_000 : GUARD)
    while (!complete() && performance.now() < until) await pause(50)
    await pause(200)
    return {
      heard: heard.reduce((sum, mine) => sum + mine.length, 0),
      lost: heard.reduce((sum, mine) => sum + messages - new Set(mine).size, 0),
      doubled: heard.reduce((sum, mine) => sum + mine.length - new Set(mine).size, 0),
      reordered: heard.reduce((sum, mine) => sum + mine.filter((n, i) => i > 0 && n < mine[i - 1]!).length, 0),
      cuts: lines.reduce((sum, line) => sum + line.cuts.length, 0),
      kills,
      seconds: (performance.now() - from) / 1_000,
    }
  } finally {
    await Promise.all(listeners.map(client => client.close()))
    await Promise.all(lines.map(line => line.close()))
    await server.end()
  }
}

/** A line breaks: at once, in the midst of what comes next, or it stands still for a while. */
function break_(line: TroubledProxy, random: (below: number) => number): void {
  const fate = random(4)
  if (fate < 3) line.cut((['idle', 'half', 'whole'] as const)[fate])
  else {
    line.set('stall')
    setTimeout(() => line.set('none'), random(300))
  }
}

class Server {
  readonly #folder = mkdtempSync(join(tmpdir(), 'perihelion-faults-'))
  readonly #kind: Kind
  #child: ChildProcess | null = null
  #port = '0'

  constructor(kind: Kind) {
    this.#kind = kind
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/cometd`
  }

  async start(): Promise<void> {
    // with replay sessions may be lost as well
    const times =
      this.#kind === 'memory' ? ['--timeout', '500', '--max-interval', '200'] : ['--timeout', '5000', '--max-interval', '60000']
    const flags = ['serve', '--port', this.#port, '--trusted', '--trust-client-session', ...times]
    const rules = this.#kind === 'memory' || this.#kind === 'disk' ? { history: { messages: 1_000_000, age: 3_600_000 } } : {}
    const config = join(this.#folder, 'config.yaml')
    const disk = this.#kind === 'disk' ? { historyDir: join(this.#folder, 'history') } : {}
    writeFileSync(config, JSON.stringify({ ...disk, channels: { '/k/**': rules } }))
    const child = spawn(process.execPath, [CLI, ...flags, '--config', config], { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#child = child
    for await (const line of createInterface({ input: child.stdout })) {
      const [, port] = /listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(line) ?? []
      if (port === undefined) continue
      this.#port = port
      child.stdout.resume()
      return
    }
    throw new Error('the server did not start')
  }

  async kill(): Promise<void> {
    const child = this.#child!
    const ended = new Promise(resolve => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
  }

  async end(): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}

/** Whole numbers below a bound, from a seed (mulberry32). */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0
  return below => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}
