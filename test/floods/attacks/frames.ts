// Floods of WebSocket frames: compression bombs, crumbs, pings.

import { deflateRawSync } from 'node:zlib'
import type { Attack, Flood } from '../flood.js'
import type { Line } from '../line.js'
import { CONTINUATION, frame, openSocket, PING, PONG, TEXT } from '../words.js'
import { closedByServer, cutAll } from './drive.js'

const DEFLATE = 'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n'
/** Beginnings of close frames: message too big, policy violation. */
const TOO_BIG = closeFrame(1009)
const VIOLATION = closeFrame(1008)

function closeFrame(code: number): string {
  return Buffer.from([0x88, 2, code >> 8, code & 255]).toString('latin1')
}

async function sockets(port: number, count: number, wanted: readonly string[], headers = ''): Promise<Line[]> {
  const lines: Line[] = []
  for (let i = 0; i < count; i++) lines.push(await openSocket(port, wanted, headers))
  return lines
}

const CRUMB = frame(CONTINUATION, ' ', false)

/** Begins a message on each socket and goes on with it. */
async function fragments(port: number, size: number, parts: readonly Buffer[], ends: boolean): Promise<Attack> {
  const lines = await sockets(port, size, [VIOLATION])
  for (const line of lines) line.send(frame(TEXT, '[', false))
  await Promise.all(
    lines.map(async line => {
      for (const part of parts) if (!line.send(part) && !(await line.room())) return
    }),
  )
  if (ends) for (const line of lines) await line.until(() => line.count(VIOLATION) > 0)
  const isRefused = (line: Line): boolean => line.count(VIOLATION) > 0 || line.closed // one that goes on regardless is cut
  return { counts: { refused: lines.filter(isRefused).length }, release: () => cutAll(lines) }
}

export const frameFloods: readonly Flood[] = [
  {
    name: 'bombs',
    title: 'frames of 60 KiB that would inflate to 60 MiB, each on its socket',
    server: 'compressing',
    size: 200,
    bound: 128,
    async attack(port, size) {
      const bomb = frame(TEXT, deflateRawSync(Buffer.alloc(60_000_000)), true, true)
      const lines = await sockets(port, size, [TOO_BIG], DEFLATE)
      for (const line of lines) line.send(bomb)
      for (const line of lines) await line.until(() => line.total > 0)
      const refused = lines.filter(line => line.count(TOO_BIG) > 0).length
      return { counts: { refused }, release: () => cutAll(lines) }
    },
    check: ({ counts, size }) => ({ 'all were refused as too big': counts['refused'] === size }),
  },
  {
    name: 'fragments',
    title: 'sockets that send a message in fragments of one byte, without an end',
    server: 'usual',
    size: 100,
    bound: 64,
    held: ({ size }) => size,
    attack: (port, size) => fragments(port, size, Array<Buffer>(100).fill(CRUMB), false),
    check: () => ({}),
  },
  {
    name: 'fragments-more',
    title: 'the same, with more of them than may be',
    server: 'usual',
    size: 100,
    bound: 64,
    attack: (port, size) => fragments(port, size, Array<Buffer>(10_000).fill(CRUMB), true),
    check: ({ counts, size }) => ({ 'all were refused': counts['refused'] === size }),
  },
  {
    name: 'fragments-apart',
    title: 'sockets that send 64 KiB of pongs between one byte and the next',
    server: 'usual',
    size: 20,
    bound: 256,
    held: ({ size }) => size,
    attack: (port, size) =>
      fragments(
        port,
        size,
        Array<Buffer>(120).fill(Buffer.concat([...Array<Buffer>(10_900).fill(frame(PONG, '')), CRUMB])),
        false,
      ),
    check: () => ({}),
  },
  {
    name: 'drips',
    title: 'sockets that send a frame byte by byte, without an end',
    server: 'usual',
    size: 20,
    bound: 64,
    held: ({ size }) => size,
    async attack(port, size) {
      const lines = await sockets(port, size, [])
      const head = frame(TEXT, ' '.repeat(60_000)).subarray(0, 8)
      for (const line of lines) line.send(head)
      for (let i = 0; i < 5_000; i++) {
        for (const line of lines) line.send(' ')
        await new Promise(resolve => setImmediate(resolve))
      }
      return { counts: {}, release: () => cutAll(lines) }
    },
    check: () => ({}),
  },
  {
    name: 'pings',
    title: 'sockets that send pings and read no pong',
    server: 'usual',
    size: 100,
    bound: 64,
    async attack(port, size): Promise<Attack> {
      const lines = await sockets(port, size, [])
      const pings = Buffer.concat(Array<Buffer>(50).fill(frame(PING, 'x'.repeat(125))))
      for (const line of lines) line.deafen()
      let sent = 0
      for (let i = 0; i < 1_000; i++)
        for (const line of lines) {
          if (line.closed) continue
          line.send(pings)
          sent++
        }
      return { counts: { sent }, release: () => closedByServer(lines) }
    },
    check: () => ({}),
  },
]
