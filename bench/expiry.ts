// The process whose history expires: `node expiry.js '<options as JSON>'`. It fills a history, lets all of it be too old in one moment, and says how long
// its event loop was held meanwhile, and before.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import { perihelion } from '../lib/index.js'
import { payload } from './payload.js'

export interface ExpiryOptions {
  readonly disk: boolean
  readonly channels: number
  readonly messages: number
  /** How long the loop is watched before, ms. */
  readonly quiet: number
}

/** Delays of the event loop, ms, in a quiet time and while all expires; how long that took, s, and the CPU time of it. */
export interface ExpiryResult {
  readonly quietP99: number
  readonly quietMax: number
  readonly p99: number
  readonly p999: number
  readonly max: number
  readonly seconds: number
  readonly cpu: number
}

/** Appends in one turn while it is filled. */
const TURN = 500
/** Publishes in one turn while it is watched. */
const FEW = 50
const LONG = 86_400_000
const SHORT = 1_000
/** The process looks whether it is through so often, ms. */
const PERIOD = 100

const { disk, channels, messages, quiet } = JSON.parse(process.argv[2]!) as ExpiryOptions
const folder = mkdtempSync(join(tmpdir(), 'perihelion-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
const rules = (age: number) => ({ '/kept/*': { history: { messages, age } } })
const app = Fastify()
await app.register(perihelion, {
  trusted: true,
  channels: rules(LONG),
  ...(disk ? { historyDir: folder } : { maxHistory: 2 * messages, maxHistoryBytes: 1e10 }),
})
await app.ready()
for (let i = 0; i < messages; ) {
  const turn = Array.from({ length: TURN }, () => {
    const channel = i % channels
    return app.bayeux.publishSafely(`/kept/${channel}`, payload(channel, i++, 0))
  })
  await Promise.all(turn)
  await new Promise(setImmediate)
}
for (let i = 0; i < 4; i++) global.gc!()
await sleep(SHORT + 100)
const before = watch()
await sleep(quiet)
const { p99: quietP99, max: quietMax } = before()
await app.bayeux.channels(rules(SHORT))
const during = watch()
const from = { at: performance.now(), cpu: process.cpuUsage() }
for (let i = 0; i < channels; i++) {
  app.bayeux.publish(`/kept/${i}`, 'the last') // with it the channel's new age is known
  if (i % FEW === FEW - 1) await sleep(1) // many in one turn would hold the loop by themselves
}
const rest = (): boolean => app.bayeux.history('/kept/*', { limit: 1 }).messages.length > 0
while (rest()) await sleep(PERIOD)
const seconds = (performance.now() - from.at) / 1_000
const { user, system } = process.cpuUsage(from.cpu)
const result: ExpiryResult = { quietP99, quietMax, ...during(), seconds, cpu: (user + system) / 1e6 }
process.stdout.write(`${JSON.stringify(result)}\n`)
await app.close()
process.exit()

/** @returns what tells the delays since then */
function watch(): () => Pick<ExpiryResult, 'p99' | 'p999' | 'max'> {
  const delays = monitorEventLoopDelay({ resolution: 1 })
  delays.enable()
  return () => {
    delays.disable()
    const ms = (ns: number): number => ns / 1e6
    return { p99: ms(delays.percentile(99)), p999: ms(delays.percentile(99.9)), max: ms(delays.max) }
  }
}
