// The command `subscribe`: follows channels, one line of JSON a message, until it is stopped.
//
// Always true: each delivery is one line; stdout carries nothing else.

import type { Writable } from 'node:stream'
import { BayeuxError } from '../../bayeux/index.js'
import type { Message } from '../client/node.js'
import { clientOf, connected, connectingFlags } from './connecting.js'
import { channelOf, type Flag, flagLines, readFlags } from './flags.js'

const flags = {
  count: { value: 'messages', help: 'End after so many. Default: never' },
  ...connectingFlags,
} as const satisfies Record<string, Flag>

/** What may wait for a reader that is slower than the messages come, bytes. */
const MAX_WAITING = 64 << 20

export function subscribeUsage(): string {
  return `perihelion subscribe <channel> ... [flags]

Follows channels and patterns, at any server that speaks Bayeux: a line of JSON for each message, {"channel": …, "data": …}; bytes are "base64"
instead of "data". It comes back by itself after trouble, of which it tells on stderr.

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
  const client = clientOf(given.values, env)
  let seen = 0
  const subscriptions = channels.map(channel => client.subscribe(channel, () => {}))
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
    await over
  } catch (error) {
    if (!stop.aborted) throw error
  } finally {
    await client.close()
  }
}

function lineOf({ channel, data, id, ext }: Message): string {
  const content = data instanceof Uint8Array ? { base64: Buffer.from(data).toString('base64') } : { data }
  return JSON.stringify({ channel, ...content, id, ext })
}
