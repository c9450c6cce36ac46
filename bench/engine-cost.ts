// A whole engine in a process of its own: `node engine-cost.js '<options as JSON>'`. In one process the second of two engines is slower, whatever it is.

import { MemoryHistory } from '../lib/history/memory.js'
import { WHOLE, wholeEngine } from './questions/engine.js'

export interface EngineCostOptions {
  /** With rules that keep other channels, and a history in memory. */
  readonly history: boolean
  /** How long a round lasts. */
  readonly milliseconds: number
}

export interface EngineCostResult {
  /** CPU time for each delivery, of the best round: other programs may have the core meanwhile. */
  readonly ns: number
}

const ROUNDS = 12
const RULES = { '/kept/*': { history: { messages: 1_000, age: 3_600_000 } }, '/last/**': { retain: true } }

const { history, milliseconds } = JSON.parse(process.argv[2]!) as EngineCostOptions
const { whole } = history ? wholeEngine(RULES, new MemoryHistory({ messages: 100_000, bytes: 1e8 })) : wholeEngine()
const rounds = Array.from({ length: ROUNDS }, () => {
  const from = process.cpuUsage()
  let times = 0
  for (const end = performance.now() + milliseconds; performance.now() < end; times++) whole()
  const { user, system } = process.cpuUsage(from)
  return (1_000 * (user + system)) / (times * WHOLE)
})
const result: EngineCostResult = { ns: Math.min(...rounds) }
process.stdout.write(`${JSON.stringify(result)}\n`)
process.exit()
