// The browser cookie, which ties sessions to the browser that handshook for them.
//
// Source: protocol reference 5.5: the order of the attributes is CometD's.

import type { TransportOptions } from './options.js'

/** Longest value that is taken for a browser's, characters; ours have 16. */
const LONGEST = 128
/** Characters of a Cookie header that may stay in memory with a session: a part of a string keeps the whole of it. */
const SHORT = 100

/** The value of the cookie `name` in a Cookie header; null when it has none. */
export function readCookie(header: string | undefined, name: string): string | null {
  if (header === undefined) return null
  for (const pair of header.split(';')) {
    const equals = pair.indexOf('=')
    if (equals === -1 || pair.slice(0, equals).trim() !== name) continue
    const value = pair.slice(equals + 1).trim()
    const bare = value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value
    return bare === '' ? null : header.length > SHORT ? copied(bare) : bare
  }
  return null
}

function copied(part: string): string {
  return Buffer.from(part, 'latin1').toString('latin1') // as Node reads headers
}

/** Writes the Set-Cookie header for browser ids, its attributes made once. */
export class BrowserCookie {
  readonly name: string
  readonly #before: string
  readonly #after: string
  readonly #secure: boolean

  constructor(options: TransportOptions) {
    this.name = options.browserCookieName
    this.#before =
      (options.browserCookieDomain === '' ? '' : `; Domain=${options.browserCookieDomain}`) +
      `; Path=${options.browserCookiePath}` +
      (options.browserCookieMaxAge < 0 ? '' : `; Max-Age=${options.browserCookieMaxAge}`) +
      (options.browserCookieHttpOnly ? '; HttpOnly' : '')
    this.#after =
      (options.browserCookieSameSite === '' ? '' : `; SameSite=${options.browserCookieSameSite}`) +
      (options.browserCookiePartitioned ? '; Partitioned' : '')
    this.#secure = options.browserCookieSecure
  }

  /** The browser that a Cookie header names; null for none, and for what is too long to be kept with a session. */
  read(header: string | undefined): string | null {
    const browser = readCookie(header, this.name)
    return browser === null || browser.length <= LONGEST ? browser : null
  }

  /** @param secure whether the request came over TLS: `Secure` is given only then */
  header(browser: string, secure: boolean): string {
    return `${this.name}=${browser}${this.#before}${this.#secure && secure ? '; Secure' : ''}${this.#after}`
  }
}
