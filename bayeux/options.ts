// Table of engine options: one row is the type, the default, the check, the flag and the line in docs/options.md.
//
// Knows: names and defaults of CometD where CometD has the option (protocol reference 8).
// Does not know: sockets, HTTP, files; those rows stand in lib/options.ts and go through the same `resolve`.
// Always true: what `resolve` returns is complete, checked and frozen; nothing else reads raw options.

import { BayeuxError } from './errors.js'

export interface OptionRow {
  readonly default: number | boolean | string | readonly string[]
  readonly unit?:
    | 'ms'
    | 's'
    | 'bytes'
    | 'messages'
    | 'levels'
    | 'keys'
    | 'characters'
    | 'segments'
    | 'subscriptions'
    | 'sessions'
    | 'frames'
    | 'messages/s'
    | 'bytes/s'
    | 'handshakes/s'
    | 'connections'
    | 'MiB'
    | '%'
  readonly min?: number
  readonly max?: number
  readonly oneOf?: readonly string[]
  /** What a text, or each text of a list, must match, and how to say so. */
  readonly form?: { readonly pattern: RegExp; readonly expected: string }
  /** May be given for one transport alone, with CometD's prefixes `ws.`, `long-polling.`, `long-polling.json.`, `long-polling.jsonp.`. */
  readonly perTransport?: true
  readonly help: string
}

type Widen<T> = T extends number ? number : T extends boolean ? boolean : T extends string ? string : readonly string[]
export type OptionsOf<S extends Record<string, OptionRow>> = { readonly [K in keyof S]: Widen<S[K]['default']> }

export const TRANSPORTS = ['websocket', 'long-polling', 'callback-polling'] as const
export type Transport = (typeof TRANSPORTS)[number]

export const engineOptions = {
  timeout: {
    default: 30_000,
    unit: 'ms',
    min: 0,
    perTransport: true,
    help: 'How long a /meta/connect is held while there is nothing to deliver; advertised to clients.',
  },
  interval: {
    default: 0,
    unit: 'ms',
    min: 0,
    perTransport: true,
    help: 'How long a client pauses before its next /meta/connect; advertised to clients.',
  },
  maxInterval: {
    default: 10_000,
    unit: 'ms',
    min: 0,
    perTransport: true,
    help: 'How long a session lives without a /meta/connect, beyond interval.',
  },
  maxProcessing: {
    default: -1,
    unit: 'ms',
    min: -1,
    help: 'A session whose connect is held or processed and which sent nothing for so long is removed; -1 is off. Set it above timeout.',
  },
  maxTimeout: {
    default: 300_000,
    unit: 'ms',
    min: 0,
    help: 'The longest hold (advice.timeout) or pause (advice.interval) that a client may ask for.',
  },
  maxLazyTimeout: {
    default: 5_000,
    unit: 'ms',
    min: 0,
    help: 'How long a lazy message may wait when its channel does not say; 0 sends it at once.',
  },
  metaConnectDeliverOnly: {
    default: false,
    perTransport: true,
    help: 'Deliver messages only with /meta/connect replies (always so on callback-polling and with the ack extension).',
  },
  maxQueue: {
    default: 10_000,
    unit: 'messages',
    min: 1,
    help: 'A session with more undelivered messages is a slow consumer and is removed.',
  },
  maxQueueBytes: {
    default: 4_194_304,
    unit: 'bytes',
    min: 1024,
    help: 'The same limit as a size, counted in characters of JSON.',
  },
  handshakeReconnect: {
    default: false,
    help: 'Put maxInterval into the advice, so that clients handshake again by themselves once it has passed.',
  },
  allowMessageDeliveryDuringHandshake: {
    default: false,
    help: 'Messages queued while a handshake is processed travel with its reply.',
  },
  broadcastToPublisher: { default: true, help: 'A publisher that is subscribed gets its own messages.' },
  validateMessageFields: { default: true, help: 'Check the characters of channels and message ids.' },
  sweepPeriod: {
    default: 997,
    unit: 'ms',
    min: 1,
    help: 'How often unused channels are looked for; one that is unused three times running is removed.',
  },
  maxSessionsPerBrowser: {
    default: 1,
    unit: 'sessions',
    min: -1,
    help: 'Connects that may be held at once for one browser cookie over HTTP/1.1; -1 is no limit.',
  },
  http2MaxSessionsPerBrowser: { default: -1, unit: 'sessions', min: -1, help: 'The same over HTTP/2.' },
  multiSessionInterval: {
    default: 2_000,
    unit: 'ms',
    min: -1,
    help: 'Poll interval advised to the sessions beyond maxSessionsPerBrowser; 0 or less tells them to stop.',
  },
  trustClientSession: {
    default: false,
    help: 'Find a session by its clientId alone when the request does not carry the browser cookie.',
  },
  'ws.requireHandshakePerConnection': {
    default: false,
    help: 'A session may not move to a WebSocket on which it did not handshake.',
  },
  allowedTransports: {
    default: TRANSPORTS as readonly string[],
    oneOf: TRANSPORTS,
    min: 1,
    help: 'The transports served, in the order of supportedConnectionTypes.',
  },
  maxMessages: { default: 1_000, unit: 'messages', min: 1, help: 'Messages in one envelope.' },
  maxDepth: {
    default: 32,
    unit: 'levels',
    min: 3,
    max: 500,
    help: 'Nesting of JSON in one envelope, the envelope itself included.',
  },
  maxKeys: {
    default: 10_000,
    unit: 'keys',
    min: 16,
    help: 'Members of objects and items of arrays in one envelope, all together.',
  },
  maxChannelLength: { default: 1_024, unit: 'characters', min: 2, help: 'Length of a channel name.' },
  maxChannelSegments: { default: 16, unit: 'segments', min: 2, help: 'Segments of a channel name.' },
  maxSubscriptions: { default: 1_000, unit: 'subscriptions', min: 1, help: 'Subscriptions of one session.' },
  maxSessions: { default: 100_000, unit: 'sessions', min: 0, help: 'Sessions in all; 0 is no limit.' },
  maxAddressSessions: {
    default: 1_000,
    unit: 'sessions',
    min: 0,
    help: 'Sessions of one address (of a /64 of IPv6); 0 is no limit. Behind a proxy see trustProxy.',
  },
  maxBrowserSessions: {
    default: 100,
    unit: 'sessions',
    min: 0,
    help: 'Sessions of one browser cookie, whether their connects are held or not; 0 is no limit.',
  },
  maxUserSessions: { default: 200, unit: 'sessions', min: 0, help: 'Sessions of one user; 0 is no limit.' },
  maxHandshakeRate: {
    default: 50,
    unit: 'handshakes/s',
    min: 0,
    max: 100_000,
    help: 'Handshakes of one address, four times as many at once after a pause; 0 is no limit.',
  },
  maxMessageRate: {
    default: 500,
    unit: 'messages/s',
    min: 0,
    max: 100_000,
    help: 'Messages that one session may send, four times as many at once after a pause; 0 is no limit.',
  },
  maxByteRate: {
    default: 1_048_576,
    unit: 'bytes/s',
    min: 0,
    max: 10_485_760,
    help: 'The same as a size, counted in characters of JSON; 0 is no limit.',
  },
  trusted: {
    default: false,
    help: 'Lift what is counted per address and per second: for load tests and private networks.',
  },
  tokenRenewal: {
    default: 30_000,
    unit: 'ms',
    min: 0,
    help: 'How long before the end of its token a client is told to handshake again.',
  },
  ack: { default: true, help: 'Offer the ack extension (acknowledged delivery) to clients that ask for it.' },
  dedupeWindow: {
    default: 600_000,
    unit: 'ms',
    min: 0,
    help: 'For so long the server knows a publish again that carries the key of an earlier one (dedupe extension); 0 turns it off.',
  },
  maxDedupe: { default: 100_000, unit: 'keys', min: 1, help: 'Keys that are remembered in memory; the oldest go.' },
  timesync: { default: true, help: 'Answer the timesync extension.' },
  timestamp: { default: false, help: 'Put a timestamp on every message sent (timestamp extension).' },
  activity: {
    default: 'off',
    oneOf: ['off', 'client', 'client-server'],
    help: 'What counts as activity of a session: what it sent, or also what it was sent; off for no limit.',
  },
  maxInactivity: {
    default: 0,
    unit: 'ms',
    min: 0,
    help: 'With activity: a session idle for longer is disconnected at its next /meta/connect; 0 is no limit.',
  },
} as const satisfies Record<string, OptionRow>

export type EngineOptions = OptionsOf<typeof engineOptions>

/** CometD's prefixes for one transport, the more specific first (protocol reference 8). */
const PREFIXES: Readonly<Record<Transport, readonly string[]>> = {
  websocket: ['ws.'],
  'long-polling': ['long-polling.json.', 'long-polling.'],
  'callback-polling': ['long-polling.jsonp.', 'long-polling.'],
}
const PREFIX = /^(?:ws|long-polling(?:\.jsonp?)?)\./

/**
 * Checks `given` against `table` and fills what is missing with the defaults.
 *
 * @param given names from `table`, or, for rows with `perTransport`, such a name behind one of CometD's transport prefixes
 * @returns the frozen values; 0, false and '' count as values, undefined does not
 * @throws {BayeuxError} OPTION_UNKNOWN for a name that is not in the table, OPTION_INVALID for a value that fails its row
 */
export function resolve<S extends Record<string, OptionRow>>(table: S, given: Readonly<Record<string, unknown>>): OptionsOf<S> {
  const values: Record<string, unknown> = {}
  for (const [name, row] of Object.entries(table)) values[name] = row.default
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue
    if (Object.hasOwn(table, name)) values[name] = check(name, table[name]!, value)
    else check(name, prefixedRow(table, name), value)
  }
  return Object.freeze(values) as OptionsOf<S>
}

/** The values that hold on one transport: `resolve`, with the prefixed names of that transport laid over it. */
export function resolveFor<S extends Record<string, OptionRow>>(
  table: S,
  given: Readonly<Record<string, unknown>>,
  transport: Transport,
): OptionsOf<S> {
  const values: Record<string, unknown> = { ...resolve(table, given) }
  for (const [name, row] of Object.entries(table) as [string, OptionRow][]) {
    if (row.perTransport !== true) continue
    const key = PREFIXES[transport].map(prefix => prefix + name).find(prefixed => given[prefixed] !== undefined)
    if (key !== undefined) values[name] = check(key, row, given[key])
  }
  return Object.freeze(values) as OptionsOf<S>
}

/** Whether `name` is an option of `table`, bare or with a transport prefix. */
export function isOption(table: Record<string, OptionRow>, name: string): boolean {
  return Object.hasOwn(table, name) || (PREFIX.test(name) && table[name.replace(PREFIX, '')]?.perTransport === true)
}

function prefixedRow(table: Record<string, OptionRow>, name: string): OptionRow {
  if (!isOption(table, name)) throw new BayeuxError('OPTION_UNKNOWN', `unknown option ${name}`)
  return table[name.replace(PREFIX, '')]!
}

function check(name: string, row: OptionRow, value: unknown): unknown {
  const fail = (expected: string): never => {
    throw new BayeuxError('OPTION_INVALID', `option ${name} must be ${expected}`)
  }
  if (Array.isArray(row.default)) {
    if (!Array.isArray(value) || !value.every(entry => typeof entry === 'string')) return fail('a list of strings')
    if (row.min !== undefined && value.length < row.min) return fail(`a list of at least ${row.min}`)
    if (row.form !== undefined && !value.every(entry => row.form?.pattern.test(entry)))
      return fail(`a list, each ${row.form.expected}`)
    const stranger = value.find(entry => row.oneOf !== undefined && !row.oneOf.includes(entry))
    return stranger === undefined ? Object.freeze([...new Set(value)]) : fail(`a list of ${row.oneOf!.join(', ')}`)
  }
  if (typeof row.default === 'number') {
    if (typeof value !== 'number' || !Number.isSafeInteger(value))
      return fail(`a whole number${row.unit === undefined ? '' : ` of ${row.unit}`}`)
    if (row.min !== undefined && value < row.min) return fail(`at least ${row.min}`)
    if (row.max !== undefined && value > row.max) return fail(`at most ${row.max}`)
    return value
  }
  if (typeof value !== typeof row.default) return fail(`a ${typeof row.default}`)
  if (row.form !== undefined && !row.form.pattern.test(value as string)) return fail(row.form.expected)
  if (row.oneOf !== undefined && !row.oneOf.includes(value as string)) return fail(`one of ${row.oneOf.join(', ')}`)
  return value
}
