// replay: what live clients notice while one client is given a million kept messages of another channel.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Arena } from '../arena.js'
import { GENERATOR_CORE, Helper, script } from '../helper.js'
import { conditions, describe, type Figures, figuresOf, inArena, medians } from '../measure.js'
import type { PeerName } from '../peers/index.js'
import type { ReplayCommand, ReplayResult } from '../replayer.js'
import { conclude, type Metric, type Row } from '../result.js'
import type { Settings } from '../settings.js'

const PEERS: readonly PeerName[] = ['perihelion-memory', 'perihelion-disk']
const MESSAGES = 1_000_000
const RATE = 20_000
const USERS = 1_000
const REPETITIONS = 3
/** One publisher, so that the numbers of all messages follow each other; its channel keeps a million (peers/perihelion.ts). */
const UNDER = '/kept/'
const BATCH = 100
/** How often the server's memory is read, ms. */
const PERIOD = 50

export async function replay(settings: Settings): Promise<void> {
  const under = conditions(settings, 'websocket', USERS)
  const rate = settings.rate ?? RATE
  const window = 1_000 * (settings.seconds ?? (settings.quick ? 3 : 10))
  const repetitions = settings.repetitions ?? (settings.quick ? 1 : REPETITIONS)
  const runs = new Map<PeerName, Figures[]>(PEERS.map(peer => [peer, []]))
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const peer of PEERS) {
      const figures = await inArena({ peer, ...under }, arena => measure(arena, rate, window))
      if (figures === null) continue
      runs.get(peer)!.push(figures)
      console.error(
        `  ${peer}: ${Object.entries(figures)
          .map(([key, value]) => `${key} ${Number(value.toPrecision(4))}`)
          .join(', ')}`,
      )
    }
  }
  const rows: Row[] = PEERS.map(peer => ({ peer, values: medians(runs.get(peer)!) }))
  const title = `${describe(under)}, ${rate.toLocaleString('en')} deliveries/s, while one client replays ${MESSAGES.toLocaleString('en')} messages`
  const about =
    'The latency of live deliveries in three windows of one run: before, while one other client replays a channel of a million messages from its beginning ' +
    '(again and again, if a replay is shorter than the window), and after. The client that replays is a process of its own on the core of the generator, and counts: all messages came, ' +
    'each once and in order. "Growth": the most anonymous resident memory that the server had while it replayed, beside what it had before.'
  conclude(settings, about, [{ title, metrics: METRICS, ratioOf: 'ratio', bare: null, rows }])
}

async function measure(arena: Arena, rate: number, window: number): Promise<Figures> {
  await arena.open()
  const filled = await arena.publish({
    under: UNDER,
    publishers: 1,
    batch: BATCH,
    rate: null,
    warmup: 0,
    window: null,
    messages: MESSAGES,
    ahead: 8,
  })
  if (filled.faults.length > 0) throw new Error(filled.faults[0])
  const load = { rate, warmup: 1_000, window, burst: 10 }
  const replayer = new Helper(GENERATOR_CORE, ['nice', '-n', '10', process.execPath, script('replayer.js')])
  const ask = <T>(command: ReplayCommand): Promise<T> => replayer.ask<T>(JSON.stringify(command))
  try {
    await arena.load({ ...load, window: window / 2 })
    await arena.collect()
    const before = figuresOf(await arena.load(load))
    const rss = arena.rss
    await ask({ do: 'replay', port: arena.port, channel: `${UNDER}0`, messages: MESSAGES })
    let most = rss
    const watch = setInterval(() => {
      most = Math.max(most, arena.rss)
    }, PERIOD)
    const during = figuresOf(await arena.load(load))
    await ask({ do: 'stop' })
    const { seconds, faults } = await ask<ReplayResult>({ do: 'result' })
    clearInterval(watch)
    if (faults.length > 0) throw new Error(faults[0])
    await sleep(1_000)
    const after = figuresOf(await arena.load(load))
    const quiet = (before['p99']! + after['p99']!) / 2
    return {
      ratio: during['p99']! / quiet,
      before: before['p99']!,
      during: during['p99']!,
      after: after['p99']!,
      p50: during['p50']!,
      max: during['max']!,
      replay: seconds.reduce((sum, each) => sum + each, 0) / seconds.length,
      perSecond: (MESSAGES * seconds.length) / seconds.reduce((sum, each) => sum + each, 0),
      growth: (most - rss) / 2 ** 20,
      serverCpu: during['serverCpu']!,
      generatorCpu: during['generatorCpu']!,
      lost: before['lost']! + during['lost']! + after['lost']!,
      doubled: before['doubled']! + during['doubled']! + after['doubled']!,
    }
  } finally {
    await replayer.end()
  }
}

const METRICS: readonly Metric[] = [
  { key: 'before', label: 'p99 ms before', digits: 1 },
  { key: 'during', label: 'p99 ms during', digits: 1 },
  { key: 'after', label: 'p99 ms after', digits: 1 },
  { key: 'ratio', label: 'during / quiet', digits: 2 },
  { key: 'max', label: 'max ms during', digits: 1 },
  { key: 'replay', label: 'one replay, s', digits: 1 },
  { key: 'perSecond', label: 'messages/s replayed', digits: 0 },
  { key: 'growth', label: 'growth MiB', digits: 1 },
  { key: 'serverCpu', label: 'server CPU % during', digits: 0 },
  { key: 'generatorCpu', label: 'generator CPU % during', digits: 0 },
  { key: 'lost', label: 'lost', digits: 0 },
  { key: 'doubled', label: 'doubled', digits: 0 },
]
