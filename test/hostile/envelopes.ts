// Envelopes that nobody means well with, from one seed: wrong types in every field, names of prototypes, depth, size, broken text.
//
// Written as text, not as objects: duplicate keys, `__proto__`, 1e400 and lone surrogates must arrive as they are.

import { generator } from '../support/world.js'

const SCALARS = [
  ...[
    'null',
    'true',
    'false',
    '0',
    '-0',
    '1',
    '-1',
    '0.5',
    '1e400',
    '-1e400',
    '1e-400',
    '1e308',
    '9007199254740993',
    '253402300800000',
  ],
  ...[
    '""',
    '" "',
    '"a"',
    '"0"',
    '"true"',
    '"\\ud800"',
    '"\\udc00x"',
    '"\\u0000"',
    '"\\u2028</script>"',
    '"é\u{1f600}"',
    '"\\"\\\\"',
  ],
  ...['"__proto__"', '"constructor"', '"toString"', '"/a/b"', '"/meta/connect"', '"undefined"', '"NaN"', '"[object Object]"'],
]
const KEYS = [
  ...[
    'channel',
    'clientId',
    'id',
    'data',
    'ext',
    'advice',
    'subscription',
    'version',
    'successful',
    'error',
    'timestamp',
    'connectionType',
  ],
  ...['__proto__', 'constructor', 'prototype', 'toString', 'valueOf', 'toJSON', 'hasOwnProperty', 'length', 'then', '', 'é', '0'],
]
const CHANNELS = [
  ...Array<string>(5).fill('/meta/connect'),
  ...Array<string>(5).fill('/meta/subscribe'),
  ...Array<string>(8).fill('/a/b'),
  ...['/meta/unsubscribe', '/meta/disconnect', '/meta/handshake'],
  ...[
    '/a/b',
    '/a/c',
    '/a/b/c',
    '/a/*',
    '/a/**',
    '/**',
    '/*',
    '/service/x',
    '/service/echo',
    '/lazy/x',
    '/auth/x',
    '/a/b/',
    '/a/b  ',
  ],
]
const BAD_CHANNELS = [
  ...[
    '',
    '/',
    '//',
    '///',
    'a',
    'a/b',
    '/a//b',
    '/a/*/b',
    '/**/a',
    '/a/***',
    '/{x}/*',
    '/{x}',
    '/a b',
    '/é',
    '/a\\u0000',
    '/\\ud800',
    '/ ',
  ],
  ...[
    '/meta',
    '/meta/',
    '/meta/foo',
    '/meta/*',
    '/meta/**',
    '/service',
    '/service/',
    '/service/**',
    '/META/connect',
    '/meta/connect/',
  ],
  ...['/__proto__', '/a/__proto__', '/__proto__/**', '/constructor', '/a/constructor/*', '/toString', '/hasOwnProperty/**'],
  `/${'x'.repeat(1_023)}`,
  `/${'x'.repeat(1_024)}`,
  '/x'.repeat(512),
]
const TYPES = ['"long-polling"', '"websocket"', '"callback-polling"', '"cross-origin-long-polling"']

export class Hostile {
  readonly random: () => number
  /** Sessions that exist, or did: what messages are made to speak for. */
  readonly clients: string[] = []
  /** The session that most messages of the next envelope speak for; null for any. */
  speaker: string | null = null

  /** Messages written so far, sound or not; an envelope without any counts as one. */
  written = 0

  /** @param extremes how many of the envelopes that are spoiled are so by size or depth; they take long to parse */
  constructor(
    readonly seed: number,
    private readonly extremes = 0.12,
  ) {
    this.random = generator(seed)
  }

  below(n: number): number {
    return Math.floor(this.random() * n)
  }

  chance(of: number): boolean {
    return this.random() < of
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }

  /** The text of one envelope. */
  envelope(): string {
    const before = this.written
    const text = this.chance(0.45) ? this.batch(0.1) : this.chance(0.3) ? this.batch(0.6) : this.spoiled()
    if (this.written === before) this.written++
    return text
  }

  /** The text of an envelope that was sound JSON once, or is any JSON. */
  spoiled(): string {
    if (this.chance(this.extremes)) return this.#extreme()
    return this.chance(0.3) ? this.value(4) : this.#mutated(this.batch(this.chance(0.5) ? 0 : 0.2))
  }

  /** Messages of which each field is wrong with the chance `wrong`. */
  batch(wrong: number): string {
    if (this.chance(0.1)) return this.#message(wrong)
    const size = this.chance(0.6) ? 1 : this.below(6)
    return `[${Array.from({ length: size }, () => (this.chance(wrong / 5) ? this.value(2) : this.#message(wrong))).join(',')}]`
  }

  #message(wrong: number): string {
    this.written++
    const field = (name: string, text: string): string => `"${name}":${this.chance(wrong) ? this.value(3) : text}`
    const channel = this.chance(wrong) ? this.pick(BAD_CHANNELS) : this.pick(CHANNELS)
    const fields = [field('channel', `"${channel}"`)]
    if (this.chance(0.9)) fields.push(field('id', this.chance(0.5) ? `"${this.below(1_000)}"` : String(this.below(1_000))))
    if (this.chance(0.95)) fields.push(field('clientId', JSON.stringify(this.#client())))
    if (channel.includes('subscribe')) fields.push(field('subscription', this.#subscription(wrong)))
    if (!channel.startsWith('/meta')) fields.push(field('data', this.value(2)))
    if (this.chance(0.3))
      fields.push(field('advice', this.#members({ timeout: this.#number(), interval: this.#number() }, wrong)))
    if (this.chance(0.4)) fields.push(field('ext', this.#ext(wrong)))
    if (channel === '/meta/handshake')
      fields.push(field('supportedConnectionTypes', `[${TYPES.filter(() => this.chance(0.7)).join(',')}]`))
    if (this.chance(wrong)) fields.push(`"${this.pick(KEYS)}":${this.value(3)}`)
    return `{${fields.join(',')}}`
  }

  #client(): string {
    if (this.speaker !== null && this.chance(0.85)) return this.speaker
    return this.clients.length > 0 && this.chance(0.9)
      ? this.pick(this.clients)
      : this.pick(['', '__proto__', 'nobody', 'constructor'])
  }

  #subscription(wrong: number): string {
    const one = (): string =>
      this.chance(wrong) ? this.value(2) : `"${this.chance(0.9) ? this.pick(CHANNELS) : this.pick(BAD_CHANNELS)}"`
    return this.chance(0.5) ? one() : `[${Array.from({ length: this.below(4) }, one).join(',')}]`
  }

  #ext(wrong: number): string {
    const timesync = this.#members({ tc: this.#number(), l: this.#number(), o: this.#number() }, wrong)
    return this.#members({ ack: this.chance(0.5) ? 'true' : this.#number(), timesync, binary: '{}' }, wrong)
  }

  #members(members: Readonly<Record<string, string>>, wrong: number): string {
    const kept = Object.entries(members).filter(() => this.chance(0.6))
    return `{${kept.map(([name, text]) => `"${name}":${this.chance(wrong) ? this.value(2) : text}`).join(',')}}`
  }

  #number(): string {
    return this.pick([
      '0',
      '0',
      '1',
      '-1',
      '500',
      '3000',
      '1e400',
      '-1e400',
      '1e15',
      '0.5',
      '-0',
      '1700000000000',
      '9007199254740993',
    ])
  }

  /** JSON of any kind. */
  value(depth: number): string {
    const kind = depth === 0 ? 0 : this.below(6)
    if (kind < 3) return this.pick(SCALARS)
    const items = Array.from({ length: this.below(4) }, () => this.value(depth - 1))
    return kind === 3 ? `[${items.join(',')}]` : `{${items.map(item => `"${this.pick(KEYS)}":${item}`).join(',')}}`
  }

  #mutated(text: string): string {
    let result = text
    for (let times = 1 + this.below(3); times > 0; times--) {
      const from = this.below(result.length + 1)
      const to = Math.min(result.length, from + this.below(12))
      const replacement = this.pick([
        '',
        '',
        result.slice(from, to).repeat(2),
        this.pick(['"', '\\', '{', '}', '[', ']', ',', ':', '\u0000', 'é', '\ud800']),
        this.pick(SCALARS),
      ])
      result = this.chance(0.2) ? result.slice(0, from) : result.slice(0, from) + replacement + result.slice(to)
    }
    return result
  }

  #extreme(): string {
    const deep = this.pick([29, 30, 31, 32, 33, 1_000, 50_000])
    const client = JSON.stringify(this.#client())
    switch (this.below(6)) {
      case 0:
        return `[${Array(this.pick([999, 1_000, 1_001, 3_000]))
          .fill(this.pick(['{}', 'null', '1', '{"channel":"/a/b"}']))
          .join(',')}]`
      case 1:
        return '['.repeat(deep) + ']'.repeat(this.chance(0.5) ? deep : 0)
      case 2:
        return `[{"channel":"/a/b","clientId":${client},"id":"1","data":${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}}]`
      case 3:
        return `{"channel":"/a/b","clientId":${client},"id":"1","data":"${'\\ud800é'.repeat(this.pick([10, 5_000]))}"}`
      case 4:
        return `[{"channel":"/meta/subscribe","clientId":${client},"id":"1","subscription":[${Array(2_000).fill('"/a/b"').join(',')}]}]`
      default:
        return `[{"channel":"/meta/subscribe","clientId":${client},"id":"1","ext":${'['.repeat(deep)}${']'.repeat(deep)}}]`
    }
  }
}

/** What must be as before, whatever came: the prototypes that JSON could reach. */
export function prototypes(): string[] {
  return [Object.prototype, Array.prototype, String.prototype, Function.prototype].flatMap(prototype =>
    Reflect.ownKeys(prototype).map(key => `${prototype.constructor.name}.${String(key)}`),
  )
}
