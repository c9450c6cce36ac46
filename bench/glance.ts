// The figures that a reader of the README wants, out of the results of several questions: one table, every figure beside Perihelion's.

import type { Transport } from './client.js'
import { describe } from './measure.js'
import { bareOf, type PeerName, peerOf } from './peers/index.js'
import { figure, type Result } from './result.js'

interface Line {
  readonly label: string
  readonly transport: Transport
  readonly question: string
  readonly table: string
  readonly key: string
  readonly digits: number
}

const crowd = (transport: Transport, users: number, rooms = 100, roomsPerUser = 1): string =>
  describe({ transports: [transport], ack: false, users, rooms, roomsPerUser })

function saturation(transport: Transport, users: number, roomsPerUser: number, limit: number, label: string): Line {
  const table = `${crowd(transport, users, 100, roomsPerUser)}, p99 below ${limit} ms`
  return { label: `deliveries/s, ${label} ↑`, transport, question: 'saturate', table, key: 'delivered', digits: 0 }
}

function each(make: (transport: Transport, name: string) => Line): Line[] {
  return [make('websocket', 'WebSocket'), make('long-polling', 'long-polling')]
}

/** In this order. A table is found by its title, which the question makes of the same parts. */
export const LINES: readonly Line[] = [
  ...each((transport, name) => ({
    label: `CPU µs/delivery, ${name}, 20,000/s ↓`,
    transport,
    question: 'chat',
    table: `${crowd(transport, 1_000)}, 20,000 deliveries/s offered`,
    key: 'cpu',
    digits: 1,
  })),
  ...each((transport, name) => ({
    label: `p99 ms, ${name}, 20,000/s ↓`,
    transport,
    question: 'chat',
    table: `${crowd(transport, 1_000)}, 20,000 deliveries/s offered`,
    key: 'p99',
    digits: 1,
  })),
  saturation('websocket', 1_000, 1, 250, 'WebSocket, 1,000 users, p99 < 250 ms'),
  saturation('websocket', 5_000, 1, 250, 'WebSocket, 5,000 users, p99 < 250 ms'),
  saturation('long-polling', 1_000, 1, 250, 'long-polling, 1,000 users, p99 < 250 ms'),
  saturation('long-polling', 5_000, 1, 250, 'long-polling, 5,000 users, p99 < 250 ms'),
  saturation(
    'long-polling',
    1_000,
    10,
    1_000,
    'long-polling, as in the manual of CometD: 1,000 users in 10 of 100 rooms, p99 < 1 s',
  ),
  {
    label: 'ms from the first to the last of 19,000 WebSocket subscribers ↓',
    transport: 'websocket',
    question: 'fanout',
    table: `${crowd('websocket', 19_000, 1)}, one message`,
    key: 'spread',
    digits: 0,
  },
  ...each((transport, name) => ({
    label: `KiB per idle session, ${name} ↓`,
    transport,
    question: 'idle',
    table: `${crowd(transport, 10_000)}, idle`,
    key: 'bytes',
    digits: 1,
  })),
  ...each((transport, name) => ({
    label: `sessions made and ended per second, ${name} ↑`,
    transport,
    question: 'churn',
    table: `${transport}, 64 at a time`,
    key: 'rate',
    digits: 0,
  })),
]

/** Who has the second column: under overload the bare server that gathers is the limit (docs/benchmarks.md, "The bare servers"). */
const limitOf = ({ question, transport }: Line): PeerName =>
  question === 'saturate' && transport === 'websocket' ? 'bare-ws-gathered' : bareOf(transport)

const OTHERS: readonly PeerName[] = ['socket.io', 'faye', 'cometd-nodejs', 'cometd-java']

/** @returns head and lines; a line is left out as long as Perihelion has no figure of it */
export function glance(results: readonly Result[]): string[][] {
  const head = ['', peerOf('perihelion').title, 'bare Node', ...OTHERS.map(name => peerOf(name).title)]
  const lines = LINES.flatMap(line => {
    const { label, question, table, key, digits } = line
    const rows =
      results
        .filter(result => result.question === question)
        .flatMap(({ tables }) => tables)
        .find(({ title }) => title === table)?.rows ?? []
    const figureOf = (name: PeerName): number => rows.find(({ peer }) => peer === name)?.values[key] ?? Number.NaN
    const own = figureOf('perihelion')
    if (Number.isNaN(own)) return []
    const beside = [limitOf(line), ...OTHERS].map(figureOf)
    const cells = beside.map(value => (Number.isNaN(value) ? '–' : `${figure(value, digits)} (${figure(value / own, 2)}×)`))
    return [[label, figure(own, digits), ...cells]]
  })
  return [head, ...lines]
}

export const GLANCE = `On one machine; in brackets the figure divided by Perihelion's. ↑ more is better, ↓ less is better. "bare Node" has no sessions and no
protocol: it is the limit of what Node can do. – is not measured, or the server does not have that transport.`
