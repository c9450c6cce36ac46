// The fault machine: many clients behind lines that fail at random, a server that dies and comes back at random, clocks that jump; what each client hears is judged.
//
// Knows: what befalls lines, servers and clocks, what each way of delivery promises through it.
// Does not know: how it is asked for (faults.test.ts, run.ts), how a line fails (bench/proxy.ts), how the server runs (server.ts).
// Always true: all chance comes from one seed, which is told; a run ends when every client has heard what was said when all trouble was over, or fails after GUARD.

import { type Fate, type FateName, fates, TroubledProxy } from '../../bench/proxy.js'
import { Client, nodeSurroundings, type Options, type TransportName } from '../../lib/client/node.js'
import { openDocument } from './document.js'
import { type Ears, judge, type Verdict } from './judge.js'
import { Server } from './server.js'

type Signal = 'SIGKILL' | 'SIGTERM'

/** One way of delivery. */
interface Way {
  readonly ack: boolean
  readonly replay: boolean
  readonly onDisk: boolean
  /** How long the server waits for a client that is away; less than some troubles last where sessions may be lost as well. */
  readonly patience: number
  /** How the server may end. */
  readonly ends: readonly Signal[]
  /** Publishes of unknown fate are said again, with a key, by a publisher whose own line fails as well. */
  readonly saysAgain: boolean
}

/** What each promises is in faults.test.ts. */
export const ways = {
  plain: { ack: false, replay: false, onDisk: false, patience: 60_000, ends: ['SIGKILL', 'SIGTERM'], saysAgain: false },
  ack: { ack: true, replay: false, onDisk: false, patience: 60_000, ends: ['SIGTERM'], saysAgain: false },
  memory: { ack: true, replay: true, onDisk: false, patience: 200, ends: [], saysAgain: true },
  told: { ack: true, replay: true, onDisk: false, patience: 200, ends: ['SIGKILL', 'SIGTERM'], saysAgain: false },
  disk: { ack: true, replay: true, onDisk: true, patience: 5_000, ends: ['SIGKILL', 'SIGTERM'], saysAgain: true },
} as const satisfies Record<string, Way>
export type WayName = keyof typeof ways

export interface Plan {
  readonly way: WayName
  readonly clients: number
  readonly messages: number
  readonly seed: number
}

export interface Outcome extends Verdict {
  /** Publishes that the server answered as done. */
  readonly said: number
  /** How often each fate befell a line, the server was killed or stopped, and a clock was set. */
  readonly troubles: Readonly<Record<FateName | Signal | 'clock', number>>
  readonly seconds: number
}

interface Said {
  readonly n: number
  readonly text: string
}

const CHANNEL = '/k/a'
const GUARD = 240_000
const TRANSPORTS: readonly TransportName[][] = [
  ['websocket'],
  ['long-polling'],
  ['callback-polling'],
  ['websocket', 'long-polling'],
]
const OPTIONS: Options = {
  backoffBase: 30,
  backoffMax: 300,
  upgradeBase: 500,
  upgradeMax: 2_000,
  replyTimeout: 4_000,
  openTimeout: 2_000,
}
const FATES = Object.keys(fates) as FateName[]
const LONGEST_TEXT = 200
const LONGEST_STALL = 400
/** There and back it is less than any patience, or nobody would ever keep a session. */
const LONGEST_DELAY = 80
const HOUR = 3_600
/** Number of what is said when all trouble is over. */
const OVER = -1

export async function run(plan: Plan): Promise<Outcome> {
  const from = performance.now()
  const way: Way = ways[plan.way]
  const troubles = { SIGKILL: 0, SIGTERM: 0, clock: 0 }
  const random = generator(plan.seed)
  const server = serverOf(way)
  const closeDocument = openDocument()
  await server.start()
  const crowd = await Promise.all(Array.from({ length: plan.clients }, (_, i) => Listener.open(server, way, plan, i)))
  const line = await TroubledProxy.open(server.url)
  const publisher = new Client(way.saysAgain ? line.url : server.url, { ...OPTIONS, lasting: way.saysAgain })
  const play = async (): Promise<Outcome> => {
    await Promise.all(crowd.map(listener => listener.start()))
    if (way.saysAgain) line.doom(fatesOf(generator(plan.seed - 1), 100 * plan.messages, 40 * plan.messages))
    const said = new Set<number>()
    const publish = (message: Said): Promise<boolean> =>
      publisher.publish(CHANNEL, message).then(
        () => true,
        () => false,
      )
    await publisher.connect()
    const ends = way.ends.length === 0 ? [] : Array.from({ length: 3 + random(3) }, () => random(plan.messages))
    const settled: Promise<unknown>[] = []
    for (let n = 0; n < plan.messages; n++) {
      settled.push(publish({ n, text: 'x'.repeat(random(LONGEST_TEXT)) }).then(ok => ok && said.add(n)))
      if (random(Math.ceil(plan.messages / 10)) === 0) {
        troubles.clock++
        if (random(2) === 0) server.set((random(11) - 5) * HOUR)
        else crowd[random(crowd.length)]!.ahead += random(5) * HOUR * 1_000
      }
      if (ends.includes(n)) {
        await pause(random(30))
        const signal = way.ends[random(way.ends.length)]!
        troubles[signal]++
        await server.stop(signal)
        await server.start()
      }
      if (random(8) === 0) await pause(random(12))
    }
    await Promise.all(settled)
    for (const { way } of [...crowd, { way: line }]) way.doom(null)
    const until = performance.now() + GUARD
    while (!crowd.every(({ isOver }) => isOver)) {
      if (performance.now() > until)
        throw new Error(`seed ${plan.seed}: ${crowd.filter(({ isOver }) => !isOver).length} heard no end`)
      await publish({ n: OVER, text: '' })
      await pause(100)
    }
    await pause(200) // for what would come twice
    const befallen = [...crowd.map(listener => listener.way), line].map(way => way.befallen)
    return {
      ...judge(
        crowd.map(listener => listener.ears),
        said,
      ),
      said: said.size,
      troubles: {
        ...troubles,
        ...(Object.fromEntries(FATES.map(name => [name, befallen.reduce((sum, one) => sum + one[name], 0)])) as Record<
          FateName,
          number
        >),
      },
      seconds: Math.round((performance.now() - from) / 100) / 10,
    }
  }
  try {
    return await Promise.race([play(), server.died])
  } finally {
    await Promise.all([publisher.close(), ...crowd.map(listener => listener.client.close())])
    await Promise.all([line.close(), ...crowd.map(listener => listener.way.close())])
    await server.end()
    closeDocument()
  }
}

/** One client behind a line of its own, whose clock may be set. */
class Listener {
  readonly ears: Ears = { heard: [], gaps: new Set() }
  isOver = false
  /** How far its clock has been set forward, ms. A client's clock does not go back, whatever is done to the system's (surroundings.ts). */
  ahead = 0
  readonly client: Client

  private constructor(
    readonly way: TroubledProxy,
    readonly draw: () => Fate,
    { ack, replay }: Way,
    i: number,
  ) {
    const around = nodeSurroundings()
    const skewed = { ...around, now: () => around.now() + this.ahead }
    const transports = TRANSPORTS[i % TRANSPORTS.length]
    this.client = new Client(way.url, { ...OPTIONS, transports, ack, lasting: replay }, skewed)
    this.client.on('gap', () => this.ears.gaps.add(this.ears.heard.length))
  }

  static async open(server: Server, way: Way, { seed, messages }: Plan, i: number): Promise<Listener> {
    return new Listener(
      await TroubledProxy.open(server.url),
      fatesOf(generator(seed + 1 + i), 5 * messages, 40 * messages),
      way,
      i,
    )
  }

  /** Its line begins to fail once it has subscribed. */
  async start(): Promise<void> {
    const { ready } = this.client.subscribe<Said>(CHANNEL, ({ data }) => {
      if (data.n === OVER) this.isOver = true
      else this.ears.heard.push(data.n)
    })
    await this.client.connect()
    await ready
    this.way.doom(this.draw)
    this.way.cut()
  }
}

/** One after the other, each after at most so many bytes: who sends or hears all messages has a few. */
function fatesOf(random: (below: number) => number, ofClient: number, ofServer: number): () => Fate {
  return () => {
    const from = random(2) === 0 ? 'client' : 'server'
    const name = FATES[random(FATES.length)]!
    return {
      name,
      from,
      bytes: 100 + random(from === 'client' ? ofClient : ofServer),
      ms: random(name === 'delay' ? LONGEST_DELAY : LONGEST_STALL),
    }
  }
}

function serverOf({ replay, onDisk, patience }: Way): Server {
  // Without it two responses of long-polling may cross, as CometD's may.
  const order = '--meta-connect-deliver-only'
  const flags = ['--timeout', patience < 1_000 ? '500' : '5000', '--max-interval', `${patience}`, order]
  // longer than any clock is set forward
  const rule = replay ? { history: { messages: 1_000_000, age: 30 * 24 * HOUR * 1_000 } } : {}
  return new Server({ flags, rule, onDisk })
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
