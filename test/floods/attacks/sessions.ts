// Floods of sessions: handshakes without a connect, and connects that get in each other's way.

import type { Attack, Flood, Outcome } from '../flood.js'
import { Line } from '../line.js'
import { frame, HANDSHAKE, OK, openSocket, pollingSpeaker, post, REFUSED, TAKEN, TEXT } from '../words.js'
import { cutAll, exchange, share, sum } from './drive.js'

const LINES = 4
/** The reason in the close frame of a socket that is shown the door. */
const VIOLATION = 'rate limited'
/** Requests or frames that are sent before their answers are awaited. */
const TOGETHER = 20

/** Each line handshakes again and again. */
async function handshakes(lines: readonly Line[], one: Buffer | string, size: number): Promise<Attack> {
  const together = Buffer.concat(Array<Buffer>(TOGETHER).fill(Buffer.from(one)))
  await share(lines, size / TOGETHER, line => exchange(line, together, TOGETHER))
  const counts = {
    made: sum(lines, TAKEN),
    refused: sum(lines, REFUSED),
  }
  return { counts, release: () => cutAll(lines) }
}

async function byHttp(port: number, size: number): Promise<Attack> {
  const lines = Array.from({ length: LINES }, () => new Line(port, [TAKEN, REFUSED]))
  return await handshakes(lines, post(HANDSHAKE), size)
}

/** A socket that is shown the door is followed by another. */
async function bySocket(port: number, size: number): Promise<Attack> {
  const together = Buffer.concat(Array<Buffer>(TOGETHER).fill(frame(TEXT, HANDSHAKE)))
  const lines: Line[] = []
  for (let sent = 0; sent < size; ) {
    const line = await openSocket(port, [TAKEN, REFUSED, VIOLATION])
    lines.push(line)
    while (sent < size && line.count(VIOLATION) === 0 && !line.closed) {
      const answered = (): number => line.count(TAKEN) + line.count(REFUSED)
      const enough = answered() + TOGETHER
      line.send(together)
      sent += TOGETHER
      await line.until(() => answered() >= enough || line.count(VIOLATION) > 0)
    }
  }
  const counts = { made: sum(lines, TAKEN), refused: sum(lines, REFUSED), closed: lines.length }
  return { counts, release: () => cutAll(lines) }
}

/** 50 a second and 200 at once is what an address may do; a second more for what is measured in whole ones. */
const withinRate = ({ counts, seconds, size, limits }: Outcome) => ({
  'each was answered, but for those behind the end of a socket':
    counts['made']! + counts['refused']! >= size - TOGETHER * (counts['closed'] ?? 0),
  'no more sessions than the rate allows': counts['made']! <= 200 + 50 * (seconds + 1),
  'the limit is counted': limits['maxHandshakeRate'] === counts['refused'],
})

const heldAll = ({ counts, height, before, size }: Outcome) => ({
  'all were made': counts['made'] === size,
  'all are held': height.stats.sessions === before.stats.sessions + size,
})

const newSessions = ({ before, height }: Outcome): number => height.stats.sessions - before.stats.sessions

export const sessionFloods: readonly Flood[] = [
  {
    name: 'handshakes-http',
    title: 'handshakes without a connect, long-polling',
    server: 'usual',
    size: 100_000,
    bound: 96,
    attack: byHttp,
    check: withinRate,
  },
  {
    name: 'handshakes-websocket',
    title: 'handshakes without a connect, one WebSocket',
    server: 'usual',
    size: 100_000,
    bound: 96,
    attack: bySocket,
    check: withinRate,
  },
  {
    name: 'sessions-http',
    title: 'the same, and all are held',
    server: 'lifted',
    size: 100_000,
    bound: 256,
    held: newSessions,
    attack: byHttp,
    check: heldAll,
  },
  {
    name: 'sessions-websocket',
    title: 'the same on one WebSocket, and all are held',
    server: 'lifted',
    size: 100_000,
    bound: 256,
    held: newSessions,
    attack: bySocket,
    check: heldAll,
  },
  {
    name: 'connects',
    title: 'connects of one session, each in place of the one before',
    server: 'lifted',
    size: 50_000,
    bound: 96,
    async attack(port, size) {
      const speaker = await pollingSpeaker(port)
      const lines = Array.from({ length: LINES }, () => new Line(port, [OK, 'HTTP/1.1 500']))
      const together = Buffer.from(String(speaker.say([{ channel: '/meta/connect' }])).repeat(TOGETHER))
      // all but the last of a group come to nothing at once; the last does when another line's come
      await share(lines, size / TOGETHER, line => exchange(line, together, TOGETHER - 1))
      const superseded = sum(lines, 'HTTP/1.1 500')
      return { counts: { superseded }, release: () => cutAll([...lines, speaker.line]) }
    },
    check: ({ counts, height, before, size }) => ({
      'all but few were superseded': counts['superseded']! >= size - LINES * TOGETHER,
      'one is held': height.stats.held === before.stats.held + 1,
    }),
  },
]
