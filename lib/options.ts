// Table of the server's options: what HTTP, WebSocket, cookies and CORS add to the engine's.
//
// Knows: CometD's names and defaults, but for maxMessageSize, which has a limit here (protocol reference 8).
// Always true: an option is in one table only; flags, environment, file keys and docs/options.md are read from the tables.

import { engineOptions, type OptionRow, type OptionsOf } from '../bayeux/index.js'

const TOKEN = { pattern: /^[\w!#$%&'*+.^`|~-]+$/, expected: 'a name without blanks and punctuation' }
const PROTOCOL = { pattern: /^[\w!#$%&'*+.^`|~-]*$/, expected: 'the name of a sub-protocol' }
const DOMAIN = { pattern: /^[\w.-]*$/, expected: 'a host name' }
const COOKIE_PATH = { pattern: /^\/[\w./~!$&'()+,=@%-]*$/, expected: 'a path that begins with /' }
const PATH = { pattern: /^\/$|^(?:\/[\w.~!$&'()+,=@-]+)+$/, expected: 'a path such as /cometd, without a slash at its end' }
const ORIGIN = {
  pattern: /^(?:\*|null|[a-z][a-z\d+.-]*:\/\/[^\s/?#]+)$/i,
  expected: '*, null, or an origin such as https://app.example',
}

export const transportOptions = {
  path: { default: '/cometd', form: PATH, help: 'Where the Bayeux server is; every path below it is served alike.' },
  maxMessageSize: {
    default: 65_536,
    unit: 'bytes',
    min: 256,
    perTransport: true,
    help: 'Largest request body or WebSocket message.',
  },
  policyTimeout: {
    default: 10_000,
    unit: 'ms',
    min: 1,
    help: 'A policy that has not answered for so long is taken to refuse; this is logged.',
  },
  duplicateMetaConnectHttpResponseCode: {
    default: 500,
    min: 400,
    max: 599,
    help: 'HTTP status that ends a held /meta/connect when a newer one comes.',
  },
  browserCookieName: { default: 'BAYEUX_BROWSER', form: TOKEN, help: 'Name of the cookie that ties sessions to a browser.' },
  browserCookieDomain: { default: '', form: DOMAIN, help: 'Its Domain attribute; empty for none.' },
  browserCookiePath: { default: '/', form: COOKIE_PATH, help: 'Its Path attribute.' },
  browserCookieMaxAge: { default: -1, unit: 's', min: -1, help: 'Its Max-Age attribute; negative for none.' },
  browserCookieSecure: { default: false, help: 'Its Secure attribute, given on secure requests only.' },
  browserCookieHttpOnly: { default: true, help: 'Its HttpOnly attribute.' },
  browserCookieSameSite: { default: '', oneOf: ['', 'Strict', 'Lax', 'None'], help: 'Its SameSite attribute; empty for none.' },
  browserCookiePartitioned: { default: false, help: 'Its Partitioned attribute.' },
  callbackParameter: { default: 'jsonp', form: TOKEN, help: 'Query parameter that names the JSONP callback.' },
  callbackParameterMaxLength: { default: 64, unit: 'characters', min: 1, max: 1_024, help: 'Length of the callback name.' },
  'ws.protocol': {
    default: '',
    form: PROTOCOL,
    help: 'WebSocket sub-protocol that a client must offer; empty takes what the client offers first.',
  },
  'ws.messagesPerFrame': { default: 1, unit: 'messages', min: 1, help: 'Queued messages in one WebSocket frame.' },
  'ws.idleTimeout': {
    default: 300_000,
    unit: 'ms',
    min: 0,
    help: 'A WebSocket on which nothing moves for so long is closed; 0 is never. Set it above timeout.',
  },
  'ws.enableExtension.permessage-deflate': {
    default: false,
    help: 'Offer compression on WebSocket; costs memory for each socket and the sharing of frames.',
  },
  allowedOrigins: {
    default: [] as readonly string[],
    form: ORIGIN,
    help: 'Origins that may use the server from pages of other hosts, such as https://app.example or https://*.example; * for all.',
  },
  allowUnknownCallbackOrigin: {
    default: false,
    help: 'Take callback-polling that says with neither Sec-Fetch-Site nor Referer which page it is of, as programs send it; a page of any site can, too.',
  },
  preflightMaxAge: { default: 1_800, unit: 's', min: 0, help: 'How long a browser may remember the answer to a CORS preflight.' },
} as const satisfies Record<string, OptionRow>

/** All that the plugin takes. */
export const pluginOptions = { ...engineOptions, ...transportOptions } as const

export const listenOptions = {
  host: { default: '127.0.0.1', help: 'Address to listen on.' },
  port: { default: 8_080, min: 0, max: 65_535, help: 'Port to listen on; 0 takes a free one.' },
  tlsCert: {
    default: '',
    help: 'PEM file with the certificate and those between it and its root: the server speaks TLS. Read again when it changes.',
  },
  tlsKey: { default: '', help: 'PEM file with its private key.' },
  trustProxy: { default: false, help: 'Believe the X-Forwarded headers of a proxy in front.' },
  logLevel: {
    default: 'info',
    oneOf: ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
    help: 'What is written to the log on stdout.',
  },
} as const satisfies Record<string, OptionRow>

/** All that `perihelion serve` takes. */
export const serveOptions = { ...listenOptions, ...pluginOptions } as const

export type TransportOptions = OptionsOf<typeof transportOptions>
