// Channel rules: what an operator wants of channels, said once, from a pattern to settings, the most specific pattern first.
//
// Knows: the table of settings (a later setting is a new row), which patterns cover a channel and which of them comes first.
// Does not know: what a setting does; its reader asks the channel for it.
// Source: design of channel rules; lazy channels and broadcastToPublisher are CometD's (protocol reference 3.5, 4.8).

import { type ChannelName, covers, parseChannel } from './channel.js'
import { BayeuxError } from './errors.js'
import { isObject } from './message.js'

interface SettingRow {
  readonly default: unknown
  readonly check: (value: unknown) => boolean
  readonly expected: string
  readonly help: string
}

const isBoolean = (value: unknown): boolean => typeof value === 'boolean'

export const channelSettings = {
  lazy: {
    default: false as boolean | number,
    check: value => isBoolean(value) || (Number.isSafeInteger(value) && (value as number) >= 0),
    expected: 'true, false or a whole number of ms',
    help: 'Messages may wait for company, at most so many ms; true for maxLazyTimeout, 0 sends them at once.',
  },
  broadcastToPublisher: {
    default: true as boolean,
    check: isBoolean,
    expected: 'true or false',
    help: 'A publisher that is subscribed to the channel gets its own messages.',
  },
  persistent: {
    default: false as boolean,
    check: isBoolean,
    expected: 'true or false',
    help: 'The channel stays when nobody uses it.',
  },
} as const satisfies Record<string, SettingRow>

export type ChannelSettings = { readonly [K in keyof typeof channelSettings]: (typeof channelSettings)[K]['default'] }
export type ChannelRules = Readonly<Record<string, Partial<ChannelSettings>>>

const DEFAULTS = Object.freeze(
  Object.fromEntries(Object.entries(channelSettings).map(([name, row]) => [name, row.default])),
) as ChannelSettings

/** Rules as they stand in options and files, checked and sorted; asked once for each channel that comes to be. */
export class Rules {
  readonly #rules: readonly { readonly pattern: ChannelName; readonly settings: Partial<ChannelSettings> }[]

  /** @throws {BayeuxError} RULE_INVALID names the pattern or the setting that is wrong */
  constructor(rules: ChannelRules) {
    this.#rules = Object.entries(rules)
      .map(([text, settings]) => ({ pattern: checkPattern(text), settings: checkSettings(text, settings) }))
      .sort((a, b) => a.pattern.wild - b.pattern.wild || b.pattern.segments.length - a.pattern.segments.length)
  }

  /** The settings of one channel: each from the most specific pattern that has it. Channels without rules share one object. */
  settingsOf(channel: ChannelName): ChannelSettings {
    const found = this.#rules.filter(rule => covers(rule.pattern, channel)).map(rule => rule.settings)
    return found.length === 0 ? DEFAULTS : Object.freeze(Object.assign({}, DEFAULTS, ...found.reverse()) as ChannelSettings)
  }
}

function checkPattern(text: string): ChannelName {
  const pattern = parseChannel(text)
  if (pattern === null || pattern.kind === 'meta')
    throw new BayeuxError('RULE_INVALID', `channel rule ${text}: not a broadcast or service channel pattern`)
  return pattern
}

function checkSettings(pattern: string, settings: unknown): Partial<ChannelSettings> {
  if (!isObject(settings)) throw new BayeuxError('RULE_INVALID', `channel rule ${pattern}: settings must be a map`)
  for (const [name, value] of Object.entries(settings)) {
    if (!Object.hasOwn(channelSettings, name))
      throw new BayeuxError('RULE_INVALID', `channel rule ${pattern}: unknown setting ${name}`)
    const row: SettingRow = channelSettings[name as keyof ChannelSettings]
    if (!row.check(value)) throw new BayeuxError('RULE_INVALID', `channel rule ${pattern}: ${name} must be ${row.expected}`)
  }
  return { ...settings }
}
