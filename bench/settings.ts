// The command line of `npm run bench`.

import { parseArgs } from 'node:util'
import { NODE_FLAGS } from './arena.js'
import type { Transport } from './client.js'
import { type PeerName, peerNames, peerOf } from './peers/index.js'

export interface Settings {
  readonly question: string
  /** Short runs, once each: to see that all works, not to quote. */
  readonly quick: boolean
  readonly peers: readonly PeerName[]
  /** Null where the question's own set is wanted. */
  readonly transports: readonly Transport[] | null
  readonly users: number | null
  readonly rooms: number | null
  readonly roomsPerUser: number | null
  readonly ack: boolean
  /** Deliveries per second. */
  readonly rate: number | null
  /** How long a measurement lasts, s. */
  readonly seconds: number | null
  readonly repetitions: number | null
  /** A latency that may not be exceeded, ms. */
  readonly p99: number | null
  readonly nodeFlags: readonly string[]
  readonly flags: readonly string[]
}

export const USAGE = `npm run bench -- <question> [flags]

questions
  chat      latency of every delivery against throughput, users in rooms
  saturate  highest rate with p99 below 250 ms or 1 s, found by stepping
  cpu       server CPU for each delivery at a fixed rate
  fanout    one message to all subscribers of one channel
  idle      memory and CPU of sessions that wait
  churn     sessions made and ended per second
  engine    ns for each step inside one process, without sockets
  guard     what rules, tokens and limits cost a delivery: switched on against switched off
  durable   publishing with the reply after the commit of a history on disk, in memory, and without
  replay    live latency while one client replays a million messages, in memory and on disk
  retention how long the event loop is held while a million messages expire at once
  history-cost  what a history of other channels costs those without: pairs of runs
  soak      a fixed load on both transports, with sessions that come and go, for an hour (--seconds)
  profile   where the server's CPU time goes at a fixed rate
  clients   what clients in Chromium do in trouble: ours, cometd.js, Faye, Socket.IO, Centrifuge
  all       everything but guard, the four on history, soak, profile and clients, then report
  report    RESULTS.md and its charts from the results

flags
  --quick                    short, once each; kept apart, in bench/results/quick
  --peers a,b                ${peerNames.join(', ')}
  --transport websocket|long-polling
  --users n --rooms n --rooms-per-user n --ack
  --rate n                   deliveries per second
  --seconds n                length of a measurement
  --repetitions n            of which the median is taken
  --p99 ms                   what saturate tolerates
  --node-flags="…"           for every server that is a Node program, after ${NODE_FLAGS.join(' ')}
  --flags="…"                for perihelion serve; both need their =, since their values begin with dashes
`

/** @throws {Error} a flag or value is not known */
export function readSettings(argv: readonly string[]): Settings {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      ack: { type: 'boolean', default: false },
      peers: { type: 'string' },
      transport: { type: 'string' },
      users: { type: 'string' },
      rooms: { type: 'string' },
      'rooms-per-user': { type: 'string' },
      rate: { type: 'string' },
      seconds: { type: 'string' },
      repetitions: { type: 'string' },
      p99: { type: 'string' },
      'node-flags': { type: 'string', default: '' },
      flags: { type: 'string', default: '' },
    },
  })
  const number = (text: string | undefined): number | null => {
    if (text === undefined) return null
    if (!(Number(text) > 0)) throw new Error(`not a number above 0: ${text}`)
    return Number(text)
  }
  const names = values.peers?.split(',') ?? peerNames.filter(name => peerOf(name).byName !== true)
  for (const name of names) if (!peerNames.includes(name as PeerName)) throw new Error(`no peer ${name}: ${peerNames.join(', ')}`)
  const { transport } = values
  if (transport !== undefined && transport !== 'websocket' && transport !== 'long-polling')
    throw new Error(`no transport ${transport}: websocket, long-polling`)
  return {
    question: positionals[0] ?? '',
    quick: values.quick,
    peers: names as PeerName[],
    transports: transport === undefined ? null : [transport],
    users: number(values.users),
    rooms: number(values.rooms),
    roomsPerUser: number(values['rooms-per-user']),
    ack: values.ack,
    rate: number(values.rate),
    seconds: number(values.seconds),
    repetitions: number(values.repetitions),
    p99: number(values.p99),
    nodeFlags: words(values['node-flags']),
    flags: words(values.flags),
  }
}

function words(text: string): string[] {
  return text.split(/\s+/).filter(word => word !== '')
}
