// Origins: which pages may use the server, and the CORS headers that say so.
//
// Knows: same origin, the allow-list, preflights. The same list is asked for POST and WebSocket upgrades, by their `Origin`, and for
// callback-polling, whose scripts have none, by what else the browser says of their page.
// Always true: the answer names the exact origin, never `*`, since clients send credentials.
// Source: protocol reference 5.7.

import type { IncomingHttpHeaders } from 'node:http'
import type { TransportOptions } from './options.js'

const METHODS = 'GET, POST, OPTIONS'
const HEADERS = 'Content-Type, X-Requested-With, Accept, Origin, Authorization, Pragma'

export class Origins {
  readonly #all: boolean
  readonly #exact: ReadonlySet<string>
  /** For `https://*.example`: what an origin begins and ends with. */
  readonly #wild: readonly { readonly before: string; readonly after: string }[]
  readonly #unknownCallbacks: boolean
  readonly #maxAge: string

  constructor(options: TransportOptions) {
    const { allowedOrigins } = options
    this.#all = allowedOrigins.includes('*')
    this.#exact = new Set(allowedOrigins)
    this.#wild = allowedOrigins
      .filter(origin => origin.length > 1 && origin.includes('*'))
      .map(origin => ({ before: origin.slice(0, origin.indexOf('*')), after: origin.slice(origin.indexOf('*') + 1) }))
    this.#unknownCallbacks = options.allowUnknownCallbackOrigin
    this.#maxAge = String(options.preflightMaxAge)
  }

  /** What a request with this `Origin` header (undefined: none, as programs send) may do at a server called `host`. */
  judge(origin: string | undefined, host: string): 'same' | 'allowed' | 'refused' {
    if (origin === undefined) return 'same'
    const scheme = origin.indexOf('://')
    if (scheme !== -1 && origin.slice(scheme + 3) === host) return 'same'
    if (this.#all || this.#exact.has(origin)) return 'allowed'
    const { length } = origin
    return this.#wild.some(
      ({ before, after }) => length > before.length + after.length && origin.startsWith(before) && origin.endsWith(after),
    )
      ? 'allowed'
      : 'refused'
  }

  /**
   * Whether a script may ask a server called `host` by callback-polling.
   *
   * `Sec-Fetch-Site` tells whether its page is of the same origin (or none: a person typed the address). Of any other page, and of a browser or
   * a connection without that header, the `Referer` tells the origin. One that tells neither is refused unless the option says otherwise: any
   * page can hide its `Referer`, and would read the session's messages.
   */
  admitsCallback(headers: IncomingHttpHeaders, host: string): boolean {
    if (this.#all) return true
    const site = headers['sec-fetch-site']
    if (site === 'same-origin' || site === 'none') return true
    const page = headers.referer === undefined ? undefined : originOf(headers.referer)
    if (page !== undefined) return this.judge(page, host) !== 'refused'
    return site === undefined && this.#unknownCallbacks
  }

  /** Headers of a response to an allowed page of another origin. @param vary what the response varies by already */
  headers(origin: string, vary?: unknown): Record<string, string> {
    const varying = vary === undefined ? 'Origin' : `${vary}, Origin`
    return { 'Access-Control-Allow-Origin': origin, 'Access-Control-Allow-Credentials': 'true', Vary: varying }
  }

  /** What the answer to a preflight has besides. */
  preflightHeaders(): Record<string, string> {
    return {
      'Access-Control-Allow-Methods': METHODS,
      'Access-Control-Allow-Headers': HEADERS,
      'Access-Control-Max-Age': this.#maxAge,
    }
  }
}

/** The origin of an address; undefined for what is none. */
function originOf(address: string): string | undefined {
  return URL.canParse(address) ? new URL(address).origin : undefined
}
