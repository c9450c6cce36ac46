// What `publish` and `subscribe` have in common: flags that say to which server and as whom, and a client made of them.
//
// Does not know: what is done with the client.

import { BayeuxError } from '../../bayeux/index.js'
import { Client, type ClientError, type Options, type TransportName } from '../client/node.js'
import type { Flag, Values } from './flags.js'

const TRANSPORTS: readonly TransportName[] = ['websocket', 'long-polling']
const DEFAULT_URL = 'http://127.0.0.1:8080/cometd'

export const connectingFlags = {
  url: { value: 'url', help: `The server, any that speaks Bayeux. Variable PERIHELION_URL. Default: ${DEFAULT_URL}` },
  token: { value: 'jwt', help: 'Sent as ext.token with the handshake. Better in the variable PERIHELION_TOKEN.' },
  header: { value: 'name:value', help: 'Of each request; may be given several times.', many: true },
  transport: { value: TRANSPORTS.join('|'), help: 'The only transport to use. Default: WebSocket, or else long-polling.' },
  wait: { value: 'seconds', help: 'How long to try to connect. Default: 10' },
} as const satisfies Record<string, Flag>

type Name = keyof typeof connectingFlags
type Env = Readonly<Record<string, string | undefined>>

/** @throws {BayeuxError} OPTION_INVALID */
export function clientOf(values: Values<Name>, env: Env): Client {
  const url = values.get('url')?.[0] ?? env['PERIHELION_URL'] ?? DEFAULT_URL
  const token = values.get('token')?.[0] ?? env['PERIHELION_TOKEN']
  const transport = values.get('transport')?.[0]
  if (transport !== undefined && !TRANSPORTS.includes(transport as TransportName))
    throw new BayeuxError('OPTION_INVALID', `flag --transport must be ${TRANSPORTS.join(' or ')}`)
  const options: Options = {
    headers: Object.fromEntries((values.get('header') ?? []).map(headerOf)),
    transports: transport === undefined ? TRANSPORTS : [transport as TransportName],
    ...(token === undefined ? null : { token }),
  }
  try {
    return new Client(url, options)
  } catch {
    throw new BayeuxError('OPTION_INVALID', `${url} is not an http or https URL`)
  }
}

/** Connects within the time of `--wait`. @throws {ClientError} why not @throws {BayeuxError} OPTION_INVALID */
export async function connected(client: Client, values: Values<Name>): Promise<void> {
  const text = values.get('wait')?.[0] ?? '10'
  const seconds = Number(text)
  if (!(seconds > 0 && seconds < 1e6)) throw new BayeuxError('OPTION_INVALID', 'flag --wait must be a number of seconds')
  let trouble: ClientError | null = null
  const off = client.on('error', error => {
    trouble = error
  })
  const timer = setTimeout(() => void client.close(), seconds * 1_000)
  try {
    await client.connect()
  } catch (error) {
    throw trouble ?? error // rather what was wrong than that it was given up
  } finally {
    clearTimeout(timer)
    off()
  }
}

function headerOf(text: string): [name: string, value: string] {
  const [, name, value] = /^([!#$%&'*+.^`|~\w-]+)\s*:\s*(.*)$/.exec(text) ?? []
  if (name === undefined || value === undefined) throw new BayeuxError('OPTION_INVALID', 'flag --header must be name:value')
  return [name, value]
}
