// Floods that the server itself sends: subscribers that do not read what is published to them.

import type { Attack, Flood } from '../flood.js'
import type { Line } from '../line.js'
import { pollingSpeaker, type Speaker, socketSpeaker, TAKEN } from '../words.js'
import { closedByServer, cutAll, exchange } from './drive.js'

const MIB = 1_048_576
const DEAF = 10
const CHANNEL = '/unread'
/** A message that hardly compresses, as long as may be. */
const LENGTH = 60_000
/** What a session's queue holds, less what it takes to be full. */
const ALMOST = 15 * MIB

const noise = (): string => Buffer.from(Array.from({ length: LENGTH * 0.75 }, () => Math.random() * 256)).toString('base64')

/** Sessions that are subscribed and do not read any more. */
async function deafened(open: () => Promise<Speaker>, connects: number): Promise<Line[]> {
  const lines: Line[] = []
  for (let i = 0; i < DEAF; i++) {
    const { line, say } = await open()
    await exchange(line, say([{ channel: '/meta/subscribe', subscription: CHANNEL }]), 1)
    await exchange(line, say([{ channel: '/meta/connect' }]), 1)
    line.deafen()
    for (let n = 0; n < connects; n++) line.send(say([{ channel: '/meta/connect' }]))
    lines.push(line)
  }
  return lines
}

/** Publishes so many bytes, each message after the reply to the one before. */
async function publish(port: number, size: number): Promise<Line> {
  const { line, say } = await socketSpeaker(port, [TAKEN])
  const bytes = say([{ channel: CHANNEL, data: noise() }])
  for (let sent = 0; sent < size; sent += LENGTH) await exchange(line, bytes, 1)
  return line
}

async function unread(port: number, size: number, open: () => Promise<Speaker>, connects: number): Promise<Attack> {
  const lines = await deafened(open, connects)
  const publisher = await publish(port, size)
  return { counts: {}, release: () => cutAll([...lines, publisher]) }
}

/** So that short answers come as they are. */
const DEFLATE = 'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n'

export const readerFloods: readonly Flood[] = [
  {
    name: 'unread-websocket',
    title: `bytes to ${DEAF} WebSockets that do not read`,
    server: 'lifted',
    size: 100 * MIB,
    bound: 128,
    attack: (port, size) => unread(port, size, () => socketSpeaker(port, [TAKEN]), 1),
    check: ({ limits }) => ({ 'all were removed for it': limits['maxQueue'] === DEAF }),
  },
  {
    name: 'unread-deflate',
    title: 'the same with compression',
    server: 'compressing',
    size: 100 * MIB,
    bound: 192,
    attack: (port, size) => unread(port, size, () => socketSpeaker(port, [TAKEN], DEFLATE), 1),
    check: ({ limits }) => ({ 'all were removed for it': limits['maxQueue'] === DEAF }),
  },
  {
    name: 'unread-polling',
    title: `bytes to ${DEAF} pollers that do not read`,
    server: 'lifted',
    size: 100 * MIB,
    bound: 128,
    attack: (port, size) => unread(port, size, () => pollingSpeaker(port, [TAKEN]), 20),
    check: ({ limits }) => ({ 'all were removed for it': limits['maxQueue'] === DEAF }),
  },
  {
    name: 'unread-answers',
    title: 'polls with 15 MiB in the answer, which is not read',
    server: 'lifted',
    size: 20,
    bound: 1_024,
    held: ({ size }) => size,
    async attack(port, size) {
      const speakers: Speaker[] = []
      for (let i = 0; i < size; i++) {
        const speaker = await pollingSpeaker(port, [TAKEN])
        await exchange(speaker.line, speaker.say([{ channel: '/meta/subscribe', subscription: CHANNEL }]), 1)
        await exchange(speaker.line, speaker.say([{ channel: '/meta/connect' }]), 1)
        speakers.push(speaker)
      }
      const publisher = await publish(port, ALMOST)
      for (const { line, say } of speakers) {
        line.deafen()
        line.send(say([{ channel: '/meta/connect' }]))
      }
      await exchange(publisher, 'x', 0)
      publisher.cut()
      return {
        counts: {},
        release: () =>
          closedByServer(
            speakers.map(({ line }) => line),
            '\r\n',
          ),
      } // an empty line before a request says nothing
    },
    check: ({ counts, size }) => ({ 'the server closed them all': counts['closed'] === size }),
  },
]
