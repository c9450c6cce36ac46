// durable: publishing where each message is kept before its publisher has the answer: on disk, in memory, and not at all.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { type PerihelionOptions, perihelion } from '../../lib/index.js'
import type { Arena } from '../arena.js'
import { conditions, type Figures, inArena, medians, named, rowsOf, warmupOf } from '../measure.js'
import { numberOf, payload } from '../payload.js'
import type { PeerName } from '../peers/index.js'
import type { PublishOptions } from '../publishers.js'
import { conclude, type Metric, type Row, type Table } from '../result.js'
import type { Settings } from '../settings.js'

const PEERS: readonly PeerName[] = ['perihelion', 'perihelion-memory', 'perihelion-disk']
const PUBLISHERS = 64
const REPETITIONS = 3
/** Channels that keep 1,000 messages each (peers/perihelion.ts): one leaves for each that comes. */
const UNDER = '/last/'
const KEPT = { '/last/*': { history: { messages: 1_000, age: 3_600_000 } } }
const PACED = 10_000
/** Callers of `publishSafely` at a time. */
const CALLERS = 640

/** One load: messages in an envelope, and how many a second; null for as many as the server takes. */
interface Load {
  readonly title: string
  readonly batch: number
  readonly rate: number | null
}

const LOADS: readonly Load[] = [
  {
    title: `${PUBLISHERS} publishers, envelopes of 10 messages, the next one when the one before is answered`,
    batch: 10,
    rate: null,
  },
  {
    title: `${PUBLISHERS} publishers, one message in an envelope, the next one when the one before is answered`,
    batch: 1,
    rate: null,
  },
  {
    title: `${PUBLISHERS} publishers, one message in an envelope, ${PACED.toLocaleString('en')} messages/s offered`,
    batch: 1,
    rate: PACED,
  },
]

export async function durable(settings: Settings): Promise<void> {
  const window = 1_000 * (settings.seconds ?? (settings.quick ? 3 : 10))
  const repetitions = settings.repetitions ?? (settings.quick ? 1 : REPETITIONS)
  const runs = new Map<PeerName, Figures[]>(PEERS.map(peer => [peer, []]))
  const under = { ...conditions({ ...settings, ack: false }, 'websocket', 0, 1), users: 0 }
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const peer of PEERS) {
      const figures = await inArena({ peer, ...under }, arena => measure(arena, warmupOf(peer, settings.quick), window))
      if (figures === null) continue
      const run = { ...figures, ...named('inside', await inside(peer, window / 4)) }
      runs.get(peer)!.push(run)
      console.error(
        `  ${peer}: ${Object.entries(run)
          .map(([key, value]) => `${key} ${Number(value.toPrecision(4))}`)
          .join(', ')}`,
      )
    }
  }
  const rows: Row[] = PEERS.map(peer => ({ peer, values: medians(runs.get(peer)!) }))
  const tables: Table[] = LOADS.map(({ title }, i) => ({
    title,
    metrics: METRICS,
    ratioOf: 'perCpu',
    bare: null,
    rows: rowsOf(i, rows),
  }))
  tables.push({
    title: `in process, publishSafely, ${CALLERS} calls at a time, no sockets`,
    metrics: METRICS.filter(({ key }) => key === 'rate' || key === 'perCpu'),
    ratioOf: 'perCpu',
    bare: null,
    rows: rowsOf('inside', rows),
  })
  const killed = await survives(settings)
  console.error(`  ${killed}`)
  const about =
    'Publishers over WebSocket in another process, each to a channel of its own, which keeps its last 1,000 messages, so that one is removed for each that comes; nobody ' +
    'subscribes. A message counts when its reply says `successful: true`; on disk that is after the commit, which outlives the process; its sync to the disk follows. ' +
    `Per CPU second: all threads of the server, those of LMDB included. ${killed}`
  conclude(settings, about, tables)
}

async function measure(arena: Arena, warmup: number, window: number): Promise<Figures> {
  let figures: Figures = {}
  for (const [i, { batch, rate }] of LOADS.entries()) {
    const options: PublishOptions = { under: UNDER, publishers: PUBLISHERS, batch, rate, warmup, window }
    const result = await arena.publish(options)
    if (result.faults.length > 0) throw new Error(result.faults[0])
    const { p50, p99, max } = result.latency
    const { perCpu, serverCpu, generatorCpu } = result
    const own = { rate: result.rate, perCpu, p50, p99, max, serverCpu: 100 * serverCpu, generatorCpu: 100 * generatorCpu }
    figures = { ...figures, ...named(i, own) }
  }
  return figures
}

/** The same through the API, in this process. */
async function inside(peer: PeerName, window: number): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), 'perihelion-'))
  const app = await server(peer === 'perihelion' ? {} : KEPT, peer === 'perihelion-disk' ? folder : '')
  try {
    let count = 0
    let going = true
    const text = payload(0, 0, 0)
    const callers = Array.from({ length: CALLERS }, async (_, i) => {
      while (going) {
        await app.bayeux.publishSafely(`${UNDER}${i % PUBLISHERS}`, text)
        if (++count % CALLERS === 0) await new Promise(setImmediate) // or without a history nothing else had its turn
      }
    })
    await sleep(window)
    const before = { count, cpu: process.cpuUsage(), at: performance.now() }
    await sleep(window)
    const { user, system } = process.cpuUsage(before.cpu)
    const done = count - before.count
    const rate = done / ((performance.now() - before.at) / 1_000)
    going = false
    await Promise.all(callers)
    return { rate, perCpu: done / ((user + system) / 1e6) }
  } finally {
    await app.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Kills a server under full load, and looks whether all that was answered is in its history. @returns what was found, as a sentence */
async function survives(settings: Settings): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'perihelion-'))
  try {
    const under = conditions({ ...settings, ack: false, flags: [...settings.flags, '--history-dir', folder] }, 'websocket', 0, 1)
    const answered = await inArena({ peer: 'perihelion-disk', ...under, users: 0 }, async arena => {
      setTimeout(() => arena.kill(), 3_000)
      return (await arena.publish({ under: UNDER, publishers: PUBLISHERS, batch: 10, rate: null, warmup: 1_000, window: null }))
        .answered
    })
    if (answered === null) throw new Error('the server could not be killed under load')
    const app = await server(KEPT, folder)
    const lost = answered.reduce((sum, count, i) => sum + Math.max(0, count - kept(app, `${UNDER}${i}`)), 0)
    await app.close()
    const count = answered.reduce((sum, each) => sum + each, 0).toLocaleString('en')
    return `Killed (SIGKILL) in the midst of the first load, the server had answered ${count} messages, of which ${lost} were missing when its history was opened again.`
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** How many messages of a channel are known to have been kept: up to the newest, as far as none is missing before it. */
function kept(app: FastifyInstance, channel: string): number {
  let next: number | null = null
  for (let after = 0, end = false; !end; ) {
    const { messages, through } = app.bayeux.history(channel, { after, limit: 10_000 })
    for (const { data } of messages) {
      const number = numberOf(Buffer.from(data as string), 0)
      if (next !== null && number !== next) return next
      next = number + 1
    }
    end = messages.length === 0
    after = through
  }
  return next ?? 0
}

async function server(channels: NonNullable<PerihelionOptions['channels']>, historyDir: string): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(perihelion, { trusted: true, channels, historyDir })
  return app
}

const METRICS: readonly Metric[] = [
  { key: 'rate', label: 'messages/s', digits: 0 },
  { key: 'perCpu', label: 'messages per CPU second', digits: 0 },
  { key: 'p50', label: 'reply p50 ms', digits: 1 },
  { key: 'p99', label: 'p99 ms', digits: 1 },
  { key: 'max', label: 'max ms', digits: 1 },
  { key: 'serverCpu', label: 'server CPU %', digits: 0 },
  { key: 'generatorCpu', label: 'generator CPU %', digits: 0 },
]
