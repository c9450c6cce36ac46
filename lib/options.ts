// Table of the server's options: what HTTP, WebSocket, cookies, CORS and tokens add to the engine's.
//
// Knows: CometD's names and defaults, but for maxMessageSize, which has a limit here (protocol reference 8).
// Always true: an option is in one table only; flags, environment, file keys and docs/options.md are read from the tables.

import { engineOptions, type OptionRow, type OptionsOf } from '../bayeux/index.js'

const TOKEN = { pattern: /^[\w!#$%&'*+.^`|~-]+$/, expected: 'a name without blanks and punctuation' }
/** Neither credentials nor a host that only looks local: `http://localhost@evil.example`. */
const JWKS_URL = {
  pattern: /^$|^(?:https:\/\/[^\s/?#@\\]+|http:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?)(?:[/?#]\S*)?$/i,
  expected: 'an https address, or an http address of this machine (localhost)',
}
const PROTOCOL = { pattern: /^[\w!#$%&'*+.^`|~-]*$/, expected: 'the name of a sub-protocol' }
const DOMAIN = { pattern: /^[\w.-]*$/, expected: 'a host name' }
const COOKIE_PATH = { pattern: /^\/[\w./~!$&'()+,=@%-]*$/, expected: 'a path that begins with /' }
const PATH = { pattern: /^\/$|^(?:\/[\w.~!$&'()+,=@-]+)+$/, expected: 'a path such as /cometd, without a slash at its end' }
const PROXY = {
  pattern: /^(?:loopback|linklocal|uniquelocal|[\da-f.:]+(?:\/[\d.]+)?)$/i,
  expected: 'an address, a network, loopback, linklocal or uniquelocal',
}
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
  scripts: {
    default: true,
    help: 'Hand out the bundled clients below the path: client.js, client-durable.js and client-shared.js, cometd.js, and their modules (.mjs).',
  },
  historyDir: {
    default: '',
    help: 'Directory of the history, which then outlives the process, also its death; empty keeps it in memory. One server has it at a time.',
  },
  maxHistory: {
    default: 100_000,
    unit: 'messages',
    min: 1,
    help: 'What all channels with history or retain keep together in memory; the oldest go first.',
  },
  maxHistoryBytes: { default: 67_108_864, unit: 'bytes', min: 1, help: 'The same in bytes, about.' },
  sessionStore: {
    default: '',
    help: 'File that takes the sessions from a server that stops to the next that starts, so that their clients go on without a new handshake; empty for none. It holds their ids: nobody else may read it.',
  },
  drainTimeout: {
    default: 10_000,
    unit: 'ms',
    min: 0,
    help: 'How long a server that stops may take to answer its held connects and close its sockets, in waves; a few clients take a moment.',
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
  maxMemory: {
    default: 0,
    unit: 'MiB',
    min: 0,
    help: 'Memory that the process may use; 0 is what the container has, else the machine. The heap has a limit of its own (--max-old-space-size).',
  },
  memoryHighWatermark: {
    default: 85,
    unit: '%',
    min: 10,
    max: 100,
    help: 'With so much of the memory or of the heap in use, new sessions are refused.',
  },
  memoryCriticalWatermark: {
    default: 92,
    unit: '%',
    min: 10,
    max: 100,
    help: 'With so much in use, the fullest queues are dropped as well. Must be above memoryHighWatermark.',
  },
} as const satisfies Record<string, OptionRow>

export const tokenOptions = {
  tokenSecret: {
    default: '',
    help: 'Secret of tokens signed with HS256, at least 32 bytes; empty takes none of them. Better as a variable than as a flag, which others on the machine can see.',
  },
  tokenKeys: {
    default: [] as readonly string[],
    help: 'Files with the public keys of tokens signed with RS256, ES256 or EdDSA: a PEM public key or certificate, a JWK, or a JWKS.',
  },
  tokenJwksUrl: {
    default: '',
    form: JWKS_URL,
    help: 'Address of a JWKS with such keys; it is asked again every ten minutes, and when a token names a key that it did not have.',
  },
  tokenIssuer: { default: '', help: 'What iss of a token must be; empty for anything.' },
  tokenAudience: { default: '', help: 'What aud of a token must be or have in its list; empty for anything.' },
  tokenCookie: {
    default: '',
    form: { ...PROTOCOL, expected: 'the name of a cookie' },
    help: 'Name of a cookie that may carry the token; empty for none.',
  },
  tokenRoles: {
    default: 'roles',
    form: { pattern: /^\S+$/, expected: 'the name of a claim' },
    help: 'Claim with the roles: a list, or a text with blanks between them. A path such as realm_access.roles leads into objects.',
  },
  tokenRequired: { default: false, help: 'Refuse a handshake that comes without a token.' },
  tokenClockTolerance: {
    default: 5,
    unit: 's',
    min: 0,
    max: 3_600,
    help: "How far the issuer's clock may be from ours: a token holds so much longer and begins to hold so much earlier.",
  },
} as const satisfies Record<string, OptionRow>

/** All that the plugin takes. */
export const pluginOptions = { ...engineOptions, ...transportOptions, ...tokenOptions } as const

export const listenOptions = {
  host: { default: '127.0.0.1', help: 'Address to listen on.' },
  port: { default: 8_080, min: 0, max: 65_535, help: 'Port to listen on; 0 takes a free one.' },
  tlsCert: {
    default: '',
    help: 'PEM file with the certificate and those between it and its root: the server speaks TLS. Read again when it changes.',
  },
  tlsKey: { default: '', help: 'PEM file with its private key.' },
  http2: {
    default: false,
    help: 'Offer HTTP/2 for long-polling beside HTTP/1.1; needs tlsCert and tlsKey. WebSocket stays on HTTP/1.1 of the same port.',
  },
  maxConnections: {
    default: 0,
    unit: 'connections',
    min: 0,
    help: 'Connections at once; one more is closed unread. 0 is as many as the process may have open files, less 200.',
  },
  maxAddressConnections: {
    default: 2_000,
    unit: 'connections',
    min: 0,
    help: 'The same for one remote address (IPv6: its /64); 0 is no limit. With trustProxy there is none, since all come from the proxy.',
  },
  requestTimeout: {
    default: 30_000,
    unit: 'ms',
    min: 1,
    help: 'How long a client may take to send one request; a held /meta/connect has been sent.',
  },
  headersTimeout: {
    default: 15_000,
    unit: 'ms',
    min: 1,
    help: 'How long it may take to send the headers of one, from the start of a new connection on; never more than requestTimeout.',
  },
  keepAliveTimeout: {
    default: 72_000,
    unit: 'ms',
    min: 1,
    help: 'How long a connection without a request stays open. Set it above that of a proxy in front.',
  },
  trustProxy: {
    default: [] as readonly string[],
    form: PROXY,
    help: 'Addresses and networks of the proxies in front, whose X-Forwarded headers are believed: 10.0.0.7, 10.0.0.0/8, or loopback, linklocal, uniquelocal.',
  },
  logLevel: {
    default: 'info',
    oneOf: ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
    help: 'What is written to the log on stdout.',
  },
} as const satisfies Record<string, OptionRow>

/** All that `perihelion serve` takes. */
export const serveOptions = { ...listenOptions, ...pluginOptions } as const

export type TransportOptions = OptionsOf<typeof transportOptions>
export type TokenOptions = OptionsOf<typeof tokenOptions>
export type ListenOptions = OptionsOf<typeof listenOptions>
