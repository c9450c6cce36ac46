// The command `subscribe`: follows channels, one line of JSON a message, until it is stopped.
//
// Always true: each delivery is one line; stdout carries nothing else.

import type { Writable } from 'node:stream'
import { BayeuxError } from '../../bayeux/index.js'
import type { From, Message, Place } from '../client/node.js'
import { clientOf, connected, connectingFlags } from './connecting.js'
import { channelOf, type Flag, flagLines, readFlags } from './flags.js'

const flags = {
  count: { value: 'messages', help: 'End after so many. Default: never' },
  from: {
    value: 'all|time|place',
    help: 'Begin with all that the server keeps, with what was published since a time (2026-11-26T08:00Z), or behind a message: its ext.replay. Default: new messages only',
  },
  ...connectingFlags,
} as const satisfies Record<string, Flag>

/** What may wait for a reader that is slower than the messages come, bytes. */
const MAX_WAITING = 64 << 20

export function subscribeUsage(): string {
  return `perihelion subscribe <channel> ... [flags]

Follows channels and patterns, at any server that speaks Bayeux: a line of JSON for each message, {"channel": …, "data": …}; bytes are "base64"
instead of "data". It comes back by itself after trouble, of which it tells on stderr; where the server keeps a history it goes on where it was, and tells
of what is missing.

${flagLines(flags)}
`
}

/**
 * @param stop ends it
 * @param complain gets a line for each trouble
 * @returns when it was stopped, or `--count` is reached
 * @throws {BayeuxError} OPTION_UNKNOWN, OPTION_INVALID @throws {ClientError} it could not connect, a subscription was refused, or nothing will come any more
 */
export async function subscribe(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  output: Writable,
  complain: (line: string) => void,
  stop: AbortSignal,
): Promise<void> {
  const given = readFlags(argv, flags)
  const channels = given.words.map(word => channelOf(word).name)
  if (channels.length === 0) throw new BayeuxError('OPTION_INVALID', 'subscribe needs a channel; see perihelion subscribe --help')
  const count = Number(given.values.get('count')?.[0] ?? Number.POSITIVE_INFINITY)
  if (!(count >= 1)) throw new BayeuxError('OPTION_INVALID', 'flag --count must be a number of messages')
  const from = fromOf(given.values.get('from')?.[0])
  const client = clientOf(given.values, env)
  let seen = 0
  const subscriptions = channels.map(channel => client.subscribe(channel, () => {}, from === undefined ? {} : { from }))
  const followed = (): boolean => subscriptions.some(({ active }) => active)
  const over = new Promise<void>((resolve, reject) => {
    stop.addEventListener('abort', () => resolve(), { once: true })
    output.on('error', (error: NodeJS.ErrnoException) => (error.code === 'EPIPE' ? resolve() : reject(error))) // nobody reads any more
    client.on('message', message => {
      if (seen >= count) return
      output.write(`${lineOf(message)}\n`)
      if (++seen >= count) resolve()
      else if (output.writableLength > MAX_WAITING) reject(new Error('the reader of stdout is too slow'))
    })
    client.on('error', error => followed() || reject(error)) // closed for good, or refused in a new session: nothing will come any more
    Promise.all(subscriptions.map(({ ready }) => ready)).catch(reject)
  })
  over.catch(() => {}) // it is awaited below
  stop.addEventListener('abort', () => void client.close(), { once: true })
  try {
    await connected(client, given.values)
    client.on('error', error => followed() && complain(error.message))
    client.on('gap', ({ channel, dropped }) =>
      complain(dropped > 0 ? `${dropped} messages were dropped: too slow` : `something is missing in ${channel}`),
    )
    await over
  } catch (error) {
    if (!stop.aborted) throw error
  } finally {
    await client.close()
  }
}

/** @throws {BayeuxError} OPTION_INVALID */
function fromOf(text: string | undefined): From | undefined {
  if (text === undefined || text === 'all') return text
  if (text.startsWith('{')) {
    try {
      const { id, epoch } = JSON.parse(text) as Partial<Place>
      if (typeof id === 'number' && typeof epoch === 'string') return { id, epoch }
    } catch {
      // it is none
    }
  } else if (!Number.isNaN(Date.parse(text))) return { at: Date.parse(text) }
  throw new BayeuxError('OPTION_INVALID', 'flag --from must be all, a time such as 2026-11-26T08:00Z, or {"id": …, "epoch": …}')
}

function lineOf({ channel, data, id, ext }: Message): string {
  const content = data instanceof Uint8Array ? { base64: Buffer.from(data).toString('base64') } : { data }
  return JSON.stringify({ channel, ...content, id, ext })
}
