// A campaign: so many cases against a server, some at once, each followed by a look at the clients that mean well.
//
// Knows: which cases make a campaign, when it fails, how a case is run again.
// Does not know: what the cases are, how the server is started.

import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { Histogram, type Latency } from '../../bench/histogram.js'
import { generator } from '../support/world.js'
import { brief, type Case, LEVELS, type Level, type Talk } from './case.js'
import { PROMPT } from './healthy.js'
import { randomCase, tables } from './random.js'
import { heap, Target } from './target.js'

/** Cases that are said at once. */
const AT_ONCE = 8
/** After so many cases that failed there is no more to be learnt. */
const ENOUGH = 10
/** Cases after which the heap is as large as it should be, and what it may have grown at the end, bytes. */
const WARM = 2_000
const GROWTH = 16 * 1_048_576

export interface Order {
  readonly seed: number
  readonly cases: number
  readonly levels: readonly Level[]
  /** Whether long-polling goes past Fastify. */
  readonly direct: boolean
  /** Whether a message that comes later than PROMPT is a failure. */
  readonly strict: boolean
  /** The name of the only case to be run; null for all. */
  readonly only: string | null
}

export interface Outcome {
  readonly cases: number
  readonly ofTables: number
  /** HTTP statuses and close codes that came. */
  readonly seen: ReadonlySet<number>
  /** Until a message was with all healthy clients. */
  readonly latency: Latency
  /** Messages that came later than PROMPT. */
  readonly late: number
  /** Bytes by which the heap has grown; null where there were too few cases to tell. */
  readonly grown: number | null
  /** Each with all that is needed to run it again. */
  readonly failures: readonly string[]
}

/** The cases of an order: those of the tables in an order of the seed's, then others from the seed. */
function* casesOf({ seed, cases, levels }: Order): Generator<Case> {
  const ours = levels.flatMap(level => tables[level])
  const random = generator(seed)
  for (let i = ours.length - 1; i > 0; i--) {
    const other = Math.floor(random() * (i + 1))
    ;[ours[i], ours[other]] = [ours[other]!, ours[i]!]
  }
  yield* ours.slice(0, cases)
  for (let i = 0; i < cases - ours.length; i++) yield randomCase(levels[i % levels.length]!, seed, Math.floor(i / levels.length))
}

/** The case with a name. @throws {Error} there is none */
function caseCalled(name: string, seed: number): Case {
  const [, level = '', index] = /^(\w+)#(\d+)$/.exec(name) ?? []
  if (LEVELS.includes(level as Level)) return randomCase(level as Level, seed, Number(index))
  const found = LEVELS.flatMap(each => tables[each]).find(each => each.name === name)
  if (found === undefined) throw new Error(`no case is called ${name}`)
  return found
}

/** Runs an order to its end, or until too much has failed. `progress` is told of every thousand cases. */
export async function campaign(order: Order, progress: (cases: number) => void = () => {}): Promise<Outcome> {
  const rest = order.only === null ? casesOf(order) : [caseCalled(order.only, order.seed)].values()
  const failures: string[] = []
  const seen = new Set<number>()
  const latency = new Histogram()
  const inHand = new Set<Case>()
  let done = 0
  let late = 0
  let warm: number | null = null
  let stopped = false
  const crashed = (error: unknown): void =>
    console.error(
      `the process ends (${error}) while these are in hand:\n${[...inHand].map(each => again(order, each)).join('\n')}`,
    )
  process.on('uncaughtExceptionMonitor', crashed)
  const target = await Target.start(order.direct)

  const run = async (each: Case): Promise<void> => {
    let talk: Talk | null = null
    let said: Buffer = Buffer.alloc(0)
    try {
      talk = each.say(await target.cast())
      said = await target.say(talk)
      if (talk.after !== 'reset') for (const code of talk.judge(said)) seen.add(code)
    } catch (error) {
      failures.push(`${again(order, each)}\n${described(error)}\nsaid: ${shown(talk?.pieces ?? [])}\nanswered: ${shown([said])}`)
    }
    try {
      if (target.faults.length > 0) throw new Error(`faults of the server: ${target.faults.splice(0).join('\n')}`)
      const ms = await target.healthy.check()
      latency.add(ms)
      if (ms > PROMPT) late++
      if (ms > PROMPT && order.strict)
        failures.push(`${again(order, each)}\na healthy client waited ${Math.round(ms)} ms after it`)
    } catch (error) {
      stopped = true // nothing that comes after would tell anything
      const others = [...inHand].map(other => other.name).join(', ')
      failures.push(`${again(order, each)}\n${described(error)}\nin hand were: ${others}\nsaid: ${shown(talk?.pieces ?? [])}`)
    }
  }
  const lane = async (): Promise<void> => {
    for (let next = rest.next(); next.done !== true && !stopped && failures.length < ENOUGH; next = rest.next()) {
      inHand.add(next.value)
      await run(next.value)
      inHand.delete(next.value)
      done++
      if (done === WARM) warm = await heap()
      if (done % 1_000 === 0) progress(done)
      await turn()
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))

  const grown = warm === null ? null : (await heap()) - warm
  try {
    if (failures.length === 0) await target.settle()
    assert(grown === null || grown < GROWTH, `the heap has grown by ${grown} bytes`)
  } catch (error) {
    failures.push(`after all cases: ${described(error)}`)
  }
  await target.close()
  process.off('uncaughtExceptionMonitor', crashed)
  const ofTables = order.only === null ? Math.min(done, order.levels.flatMap(level => tables[level]).length) : 0
  return { cases: done, ofTables, seen, latency: latency.summary(), late, grown, failures }
}

/** How a case is run again, alone. */
function again({ seed, direct }: Order, { name }: Case): string {
  return `${name}: npm run hostile -- --seed ${seed} --road ${direct ? 'direct' : 'fastify'} --only '${name.replaceAll("'", "'\\''")}'`
}

function described(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

function shown(pieces: readonly Buffer[]): string {
  return brief(Buffer.concat(pieces).toString('latin1'), 3_000)
}
