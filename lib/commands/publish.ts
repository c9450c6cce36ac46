// The command `publish`: one message, or one for each line of stdin.
//
// Always true: exit 0 only when the server took every message.

import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { BayeuxError } from '../../bayeux/index.js'
import { clientOf, connected, connectingFlags } from './connecting.js'
import { channelOf, flagLines, readFlags } from './flags.js'

/** Messages of stdin whose replies may be missing. */
const WINDOW = 256

export function publishUsage(): string {
  return `perihelion publish <channel> <json> [flags]

Publishes a message, at any server that speaks Bayeux. - instead of the JSON: each line of stdin is a message.

${flagLines(connectingFlags)}
`
}

/**
 * @param complain gets a line for each message that was not taken
 * @returns the exit code: 1 when something was not taken
 * @throws {BayeuxError} OPTION_UNKNOWN, OPTION_INVALID @throws {ClientError} it could not connect
 */
export async function publish(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  input: Readable,
  complain: (line: string) => void,
): Promise<number> {
  const given = readFlags(argv, connectingFlags)
  const [channel, text, ...rest] = given.words
  if (channel === undefined || text === undefined || rest.length > 0)
    throw new BayeuxError('OPTION_INVALID', 'publish needs a channel and JSON; see perihelion publish --help')
  channelOf(channel)
  const single = text === '-' ? null : { data: json(text) }
  const client = clientOf(given.values, env)
  let failed = 0
  const send = async (data: unknown, where: string): Promise<void> => {
    try {
      await client.publish(channel, data)
    } catch (error) {
      failed++
      complain(`${where}${(error as Error).message}`)
    }
  }
  try {
    await connected(client, given.values)
    if (single !== null) await send(single.data, '')
    else {
      let line = 0
      const running = new Set<Promise<void>>()
      for await (const text of createInterface({ input })) {
        const where = `line ${++line}: `
        if (text.trim() === '') continue
        let data: unknown
        try {
          data = json(text)
        } catch (error) {
          failed++
          complain(where + (error as Error).message)
          continue
        }
        const sent: Promise<void> = send(data, where).finally(() => running.delete(sent))
        running.add(sent)
        if (running.size >= WINDOW) await Promise.race(running)
      }
      await Promise.all(running)
    }
  } finally {
    await client.close()
  }
  return failed === 0 ? 0 : 1
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new BayeuxError('OPTION_INVALID', `not JSON: ${text.slice(0, 80)} (a text needs its quotes: '"text"')`)
  }
}
