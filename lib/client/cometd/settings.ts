// From CometD's configuration to a link's settings, and the surroundings that a page may have changed.
//
// Knows: the defaults of the configuration, which URL a message goes to, how a page's own `xhrSend` takes the place of `fetch`.
// Does not know: sessions (wire.ts), callbacks (cometd.ts).

import { clientDefaults } from '../../../bayeux/client-sink.js'
import type { Settings, TransportName } from '../line.js'
import type { Storage, Surroundings } from '../surroundings.js'
import { LongPollingTransport, type Request, type TransportRegistry } from './transports.js'
import type { Configuration } from './types.js'

export type Configured = Required<Configuration>

export function defaults(): Configured {
  return {
    url: '',
    urls: {},
    logLevel: 'info',
    connectTimeout: 0,
    stickyReconnect: true,
    protocol: null,
    backoffIncrement: 1_000,
    maxBackoff: 60_000,
    maxNetworkDelay: 10_000,
    requestHeaders: {},
    appendMessageTypeToURL: true,
    maxURILength: 2_000,
    maxSendBayeuxMessageSize: 8_192,
    advice: { timeout: 60_000, interval: 0, maxInterval: 0 },
    maxConnections: 2,
    autoBatch: false,
    useWorkerScheduler: true,
  }
}

/** Copies what is defined. @param deep plain objects and arrays too */
export function mixin(deep: boolean, target: object, ...sources: readonly unknown[]): Record<string, unknown> {
  const result = target as Record<string, unknown>
  for (const source of sources) {
    for (const [name, value] of Object.entries((source ?? {}) as object)) {
      if (value === undefined || value === target) continue
      const old = result[name]
      if (!deep || typeof value !== 'object' || value === null) result[name] = value
      else if (Array.isArray(value)) result[name] = mixin(true, Array.isArray(old) ? old : [], value)
      else result[name] = mixin(true, typeof old === 'object' && old !== null && !Array.isArray(old) ? old : {}, value)
    }
  }
  return result
}

/** Whether a path behind the URL leads anywhere: not with a query, nor behind a file's name. */
export function canAppend(url: string): boolean {
  const [, path = '', rest = ''] = /^(?:https?:\/\/)?(?:\[[^\]]+\][^/?#]*|[^/?#]*)([^?#]*)(.*)$/s.exec(url) ?? []
  return rest === '' && !path.replace(/\/$/, '').split('/').at(-1)!.includes('.')
}

/** As a page's own requests are resolved. @throws {TypeError} it is relative, and there is no page */
export function absolute(url: string): string {
  return new URL(url, globalThis.document?.baseURI).href
}

/** @param types of transports, in the order of preference */
export function settingsOf(config: Configured, types: readonly string[], on: { ack: boolean; reload: boolean }): Settings {
  // The link prefers WebSocket: where it is not the first choice, it is none.
  const known = types.filter(type => type === 'websocket' || type === 'long-polling' || type === 'callback-polling')
  const transports = (known[0] === 'websocket' ? known : known.filter(type => type !== 'websocket')) as TransportName[]
  const jsonp = transports.find(type => type !== 'websocket') === 'callback-polling'
  const most = Math.max(1, config.maxBackoff)
  return {
    ...clientDefaults,
    url: absolute(config.urls[jsonp ? 'callback-polling' : 'long-polling'] ?? config.url).replace(/\/$/, ''),
    transports,
    connectionTypes: transports,
    protocols: config.protocol ? [config.protocol] : [],
    get headers() {
      return config.requestHeaders
    },
    openTimeout: config.connectTimeout > 0 ? config.connectTimeout : 4_000,
    upgradeBase: 10_000,
    upgradeMax: 300_000,
    reload: on.reload,
    ack: on.ack,
    timesync: false, // an extension
    lasting: false,
    restore: false,
    replyTimeout: config.maxNetworkDelay,
    callTimeout: Number.POSITIVE_INFINITY, // each call has its own
    backoffBase: most, // `random` says how much of it
    backoffMax: most,
    maxEnvelope: jsonp ? Math.floor(config.maxURILength / 2) : clientDefaults.maxEnvelope, // escaped, text grows
  }
}

export interface Surrounded {
  readonly config: Configured
  readonly registry: TransportRegistry
  /** Of the transport, as it is now. */
  urlOf(type: TransportName): string
  /** ms until the next try */
  pause(): number
  /** Whether a WebSocket worked and then broke. */
  broken(): boolean
  /** Takes the way to tell the link that the page is about to go. */
  leaving(leave: () => void): void
  storage(storage: Storage): Storage | null
}

export function surround(around: Surroundings, by: Surrounded): Surroundings {
  const { openSocket } = around
  const most = Math.max(1, by.config.maxBackoff)
  return {
    ...around,
    fetch: (_url, init) => {
      const url = targetOf(absolute(by.urlOf('long-polling')), init, by.config.appendMessageTypeToURL)
      const transport = by.registry.find('long-polling')
      const { xhrSend } = (transport ?? {}) as Partial<LongPollingTransport>
      if (xhrSend === undefined || xhrSend === LongPollingTransport.prototype.xhrSend) return around.fetch(url, init)
      return ownRequest(transport as LongPollingTransport, url, init, by.config.requestHeaders)
    },
    openSocket:
      openSocket &&
      ((_url, protocols, headers) => {
        if (!by.config.stickyReconnect && by.broken()) throw new Error('stickyReconnect is false')
        return openSocket(absolute(by.urlOf('websocket')).replace(/^http/, 'ws'), protocols, headers)
      }),
    // All clients of a server that went down come back: not all at once. Nor at the very moment, before HTTP could stand in for a WebSocket.
    random: () => Math.min(0.999, (Math.max(1, by.pause()) * (1 + around.random())) / 2 / most),
    listen: heard => {
      by.leaving(() => heard('leave'))
      return around.listen(event => event !== 'leave' && heard(event)) // that is for `reload` to say
    },
    storage: around.storage && by.storage(around.storage),
  }
}

/** A handshake, connect or disconnect that goes alone has its name behind the URL. */
function targetOf(url: string, init: RequestInit, append: boolean): string {
  if (!append) return url
  const [first, second] = JSON.parse(String(init.body)) as { channel: string }[]
  const [, type = ''] = (second === undefined && /^\/meta\/(handshake|connect|disconnect)$/.exec(first!.channel)) || []
  return `${url.replace(/\/$/, '')}/${type}`
}

/** A request by the page's own code, as jQuery's binding makes them. */
function ownRequest(
  transport: LongPollingTransport,
  url: string,
  init: RequestInit,
  headers: Readonly<Record<string, string>>,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    let request: Request | undefined
    const answered = (status: number, text: string): void =>
      resolve({ status, text: () => Promise.resolve(text), body: null } as Response)
    request = transport.xhrSend({
      transport,
      url,
      sync: false,
      headers,
      body: String(init.body),
      onSuccess: response => answered(200, typeof response === 'string' ? response : JSON.stringify(response)),
      onError: (reason, exception) => {
        const status = request?.status ?? 0
        if (status > 0 && status !== 200) answered(status, '')
        else reject(exception || new Error(reason))
      },
    })
    init.signal?.addEventListener('abort', () => request?.abort())
  })
}
