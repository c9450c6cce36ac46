// engine: what each step of a delivery costs inside one process, without sockets.

import { parseChannel } from '../../bayeux/channel.js'
import { Connection } from '../../bayeux/connection.js'
import { Core } from '../../bayeux/core.js'
import { flush } from '../../bayeux/flush.js'
import { type ChannelRules, type Engine, type History, Engine as RealEngine, type Sink } from '../../bayeux/index.js'
import { freezePublished, IMPATIENT, type Message, parseEnvelope } from '../../bayeux/message.js'
import { fanOut } from '../../bayeux/publish.js'
import { Session } from '../../bayeux/session.js'
import { textFrame } from '../../lib/frame.js'
import { median } from '../measure.js'
import { payload } from '../payload.js'
import { conclude, type Row } from '../result.js'
import type { Settings } from '../settings.js'

/** Members of a room: what one publication is fanned out to. */
const MEMBERS = 10
const ROOMS = 100
const BURST = 10
/** Deliveries of one run of the whole engine. */
export const WHOLE = BURST * MEMBERS
const MAX_DEPTH = 64
const MAX_KEYS = 10_000
const NOW = 1_000

export async function engine(settings: Settings): Promise<void> {
  const milliseconds = settings.quick ? 100 : 500
  const steps: [name: string, per: string, ns: number][] = []
  for (const { name, per, units, run } of stepsOf()) {
    const ns = time(run, milliseconds) / units
    steps.push([name, per, ns])
    console.log(`${ns.toFixed(0).padStart(8)} ns  ${name}, each ${per}`)
  }
  const row: Row = { peer: 'perihelion', values: Object.fromEntries(steps.map(([name, , ns]) => [name, ns])) }
  const metrics = steps.map(([key, per]) => ({ key, label: `${key}, ns/${per}`, digits: 0 }))
  const title = `bursts of ${BURST} publications, ${MEMBERS} members in each of ${ROOMS} rooms`
  conclude(settings, 'Steps of the engine in process, with a sink that throws everything away.', [
    { title, metrics, ratioOf: 'whole', bare: null, rows: [row] },
  ])
}

interface Step {
  readonly name: string
  readonly per: 'publication' | 'delivery'
  /** How many of these one run makes. */
  readonly units: number
  readonly run: () => unknown
}

function stepsOf(): Step[] {
  const { speaker, whole } = wholeEngine()
  const envelope = burst(speaker)
  const messages = parseEnvelope([envelope], 100, MAX_DEPTH, MAX_KEYS) as Message[]
  const message = messages[0]!
  const core = new Core({}, {}, nowhere())
  const rooms = Array.from({ length: ROOMS }, (_, room) => core.tree.create(parseChannel(`/room/${room}`)!))
  for (const channel of rooms) for (let i = 0; i < MEMBERS; i++) core.tree.subscribe(listening(core), channel)
  const frozen = freezePublished(message, '/room/7', IMPATIENT, null)
  return [
    { name: 'parse', per: 'publication', units: BURST, run: () => parseEnvelope([envelope], 100, MAX_DEPTH, MAX_KEYS) },
    { name: 'freeze', per: 'publication', units: 1, run: () => freezePublished(message, '/room/7', IMPATIENT, null) },
    { name: 'frame', per: 'publication', units: 1, run: () => textFrame(`[${frozen.json}]`) },
    { name: 'match', per: 'publication', units: 1, run: () => core.tree.resolve(core.tree.find('/room/7')!) },
    {
      name: 'enqueue and flush',
      per: 'delivery',
      units: ROOMS * MEMBERS,
      run: () => {
        for (const channel of rooms) fanOut(core, channel, frozen, null, NOW)
        flush(core, NOW, Number.POSITIVE_INFINITY)
      },
    },
    { name: 'whole', per: 'delivery', units: WHOLE, run: whole },
  ]
}

/** A socket's session that takes whatever it is given. */
function listening(core: Core): Session {
  const session = new Session('s', null, 'websocket', '127.0.0.1', null, false, true)
  session.endpoint = new Connection(
    { transport: 'websocket', browser: null, address: '127.0.0.1', http2: false, context: null },
    null,
  )
  core.sessions.set(session.id, session)
  return session
}

/** A whole engine, driven from outside as a host drives it: an envelope with a burst, then the flush at the end of the turn. */
export function wholeEngine(
  rules: ChannelRules = {},
  history: History | null = null,
): { readonly speaker: string; readonly whole: () => void } {
  let written = ''
  const sink = nowhere((head, tail) => {
    written = head + tail
  })
  const engine: Engine = new RealEngine({ trusted: true }, rules, sink, history)
  const open = (): Connection =>
    engine.open({ transport: 'websocket', browser: null, address: '127.0.0.1', http2: false, context: null }, null)
  const shake = (connection: Connection): string => {
    engine.receive(connection, ['[{"channel":"/meta/handshake","version":"1.0"}]'], NOW)
    return /"clientId":"(\w+)"/.exec(written)![1]!
  }
  for (let i = 0; i < ROOMS * MEMBERS; i++) {
    const connection = open()
    const clientId = shake(connection)
    engine.receive(
      connection,
      [`[{"channel":"/meta/subscribe","clientId":"${clientId}","subscription":"/room/${i % ROOMS}"}]`],
      NOW,
    )
  }
  const connection = open()
  const speaker = shake(connection)
  const envelope = [burst(speaker)]
  return {
    speaker,
    whole: () => {
      engine.receive(connection, envelope, NOW)
      engine.flush(NOW)
    },
  }
}

function burst(clientId: string): string {
  const parts = Array.from({ length: BURST }, (_, i) => {
    const channel = `/room/${(i * 37) % ROOMS}`
    return `{"id":"p${i}","channel":"${channel}","clientId":"${clientId}","data":"${payload(i, i, NOW)}"}`
  })
  return `[${parts.join(',')}]`
}

function nowhere(write: (head: string, tail: string) => void = () => undefined): Sink {
  let ids = 0
  const ignore = (): void => undefined
  return {
    id: () => `session${ids++}xxxxxxxxxxxxxxxx`,
    writable: () => true,
    write: (_connection, head, _messages, tail) => write(head, tail),
    ask: () => true,
    overflow: () => 'drop',
    end: ignore,
    pause: ignore,
    flushSoon: ignore,
    published: ignore,
    limited: ignore,
    filter: (_kind, data) => data,
    sessionAdded: ignore,
    sessionRemoved: ignore,
    subscribed: ignore,
    unsubscribed: ignore,
    channelAdded: ignore,
    channelRemoved: ignore,
    fault: error => {
      throw error
    },
  }
}

/** Results go where the compiler cannot see that nobody reads them. */
const sinkhole: { kept: unknown } = { kept: null }

/** Median over several rounds. @returns ns for one run */
function time(run: () => unknown, milliseconds: number): number {
  const rounds: number[] = []
  let times = 1
  for (let round = 0; round < 9; round++) {
    const from = process.hrtime.bigint()
    for (let i = 0; i < times; i++) sinkhole.kept = run()
    const ns = Number(process.hrtime.bigint() - from)
    if (ns < milliseconds * 1e5 && round === 0) {
      times *= 4
      round-- // too short to be measured
    } else rounds.push(ns / times)
  }
  return median(rounds)
}
