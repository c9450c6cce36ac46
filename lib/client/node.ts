// The client for Node: WebSocket by the package `ws`, and the server's cookies kept.
//
// Knows: cookies of one server, which headers a WebSocket can be given.
// Does not know: anything that is not Node's; the rest is index.js.

import WebSocket from 'ws'
import { Client as AnyClient, type ChannelMap, type Options } from './client.js'
import { type Socket, type Surroundings, surroundings } from './surroundings.js'

export * from './index.js'

/** `Client` with what Node needs: cookies are kept for the life of the client, headers are sent on WebSocket too. */
export class Client<Channels extends object = ChannelMap> extends AnyClient<Channels> {
  constructor(url: string | URL, options: Options = {}, around: Surroundings = nodeSurroundings()) {
    super(url, options, around)
  }
}

/** Surroundings of a Node process, with a cookie jar of their own. */
export function nodeSurroundings(): Surroundings {
  const around = surroundings()
  const jar = new Map<string, string>()
  /** The application's headers; its own cookies behind those of the jar. */
  const withCookies = (given: Readonly<Record<string, string>>): Record<string, string> => {
    const cookies = [...jar].map(([name, value]) => `${name}=${value}`)
    const headers: Record<string, string> = {}
    for (const [name, value] of Object.entries(given)) {
      if (/^cookie$/i.test(name)) cookies.push(value)
      else headers[name] = value
    }
    return cookies.length === 0 ? headers : { ...headers, cookie: cookies.join('; ') }
  }
  return {
    ...around,
    fetch: async (url, init) => {
      const headers = withCookies((init.headers ?? {}) as Record<string, string>)
      const response = await around.fetch(url, { ...init, headers }).catch((error: Error) => {
        throw error.cause ?? error // `fetch failed` says nothing
      })
      for (const line of response.headers.getSetCookie()) keep(jar, line)
      return response
    },
    openSocket: (url, protocols, headers) => {
      const socket = new WebSocket(url, [...protocols], { headers: withCookies(headers) })
      socket.on('upgrade', ({ headers }) => {
        for (const line of headers['set-cookie'] ?? []) keep(jar, line)
      })
      return socket as unknown as Socket
    },
  }
}

/** All requests go to one URL, so path and domain need no look. */
function keep(jar: Map<string, string>, line: string): void {
  const [pair = '', ...attributes] = line.split(';')
  const at = pair.indexOf('=')
  if (at < 1) return
  const name = pair.slice(0, at).trim()
  const gone = attributes.some(attribute => {
    const [key = '', value = ''] = attribute.split('=').map(part => part.trim())
    return /^max-age$/i.test(key) ? Number(value) <= 0 : /^expires$/i.test(key) && Date.parse(value) <= Date.now()
  })
  if (gone) jar.delete(name)
  else jar.set(name, pair.slice(at + 1).trim())
}
