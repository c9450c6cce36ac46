// Channel rules: what an operator wants of channels, said once, from a pattern to settings, the most specific pattern first.
//
// Knows: the table of settings (a later setting is a new row), which rules are for a channel and which of them has the say.
// Does not know: what a setting does; its reader asks the channel for it.
// Source: design of channel rules; lazy channels and broadcastToPublisher are CometD's (protocol reference 3.5, 4.8).

import type { ChannelName } from './channel.js'
import { BayeuxError } from './errors.js'
import { type Grant, grantOf, isWho, WHO, type Who } from './grant.js'
import type { Retention } from './history.js'
import type { Identity } from './identity.js'
import { isObject, type Overflow } from './message.js'
import { bySpecificity, coversAll, coversChannel, meets, type Pattern, parsePattern } from './pattern.js'
import { type Binding, Guard, OPEN, Permission } from './permission.js'
import type { Operation } from './policy.js'

interface SettingRow {
  readonly default: unknown
  readonly check: (value: unknown) => boolean
  readonly expected: string
  readonly help: string
}

const isBoolean = (value: unknown): boolean => typeof value === 'boolean'
const oneOf = (values: readonly unknown[]) => ({
  check: (value: unknown): boolean => values.includes(value),
  expected: values.join(' or '),
})
const isRetention = (value: unknown): boolean => {
  if (!isObject(value) || Object.keys(value).some(key => key !== 'messages' && key !== 'age')) return false
  return [value['messages'], value['age']].every(number => Number.isSafeInteger(number) && (number as number) > 0)
}
const who = { default: 'anyone' as Who, check: isWho, expected: WHO }

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
  subscribe: {
    ...who,
    help: 'Who may subscribe. To a wildcard only who may to all that it covers. In /user/{sub}/** only whose claim sub is that segment.',
  },
  publish: { ...who, help: 'Which clients may publish; to a service channel: call it.' },
  create: { ...who, help: 'Which clients may bring the channel into being, by a first subscription or publish.' },
  subscribeAll: {
    default: 'nobody' as Who,
    check: isWho,
    expected: WHO,
    help: 'Who may subscribe to anything here, also to wildcards, whatever the rules of what they cover say.',
  },
  filter: {
    default: 'none' as 'none' | 'no-markup' | 'no-script',
    ...oneOf(['none', 'no-markup', 'no-script']),
    help: 'What is taken out of the texts in data before anybody gets them: all markup, or what a browser would run. Not for binary messages, whose texts may look like it.',
  },
  history: {
    default: false as false | Omit<Retention, 'last'>,
    check: value => value === false || isRetention(value),
    expected: 'messages (a whole number above 0) and age (ms), or false',
    help: 'What is kept of each channel for replay: so many messages, none older than age. {messages: 1000, age: 3600000}',
  },
  retain: {
    default: false as boolean,
    check: isBoolean,
    expected: 'true or false',
    help: 'A new subscriber gets the last message of the channel at once, through a wildcard that of each channel.',
  },
  conflate: {
    default: '' as string,
    check: value => typeof value === 'string',
    expected: 'the name of a field of data',
    help: 'In the queue of a session a newer message takes the place of the older one whose data has the same value of this field: its last price, not all prices.',
  },
  overflow: {
    default: 'disconnect' as Overflow,
    ...oneOf(['disconnect', 'drop-oldest', 'drop-newest', 'conflate']),
    help: "Where a session's queue is full (maxQueue, maxQueueBytes): its session ends; or the oldest message is lost that may be, or the new one; or of each channel, or value of conflate, only the newest message is kept.",
  },
} as const satisfies Record<string, SettingRow>

export type ChannelSettings = { readonly [K in keyof typeof channelSettings]: (typeof channelSettings)[K]['default'] }
export type ChannelRules = Readonly<Record<string, Partial<ChannelSettings>>>

const DEFAULTS = Object.freeze(
  Object.fromEntries(Object.entries(channelSettings).map(([name, row]) => [name, row.default])),
) as ChannelSettings

const PERMISSIONS = ['create', 'publish', 'subscribe', 'subscribeAll'] as const
type PermissionName = (typeof PERMISSIONS)[number]

/** Why somebody may or may not. */
export interface Explanation {
  readonly allowed: boolean
  readonly by: Permission | null
}

interface Rule {
  readonly pattern: Pattern
  readonly settings: Partial<ChannelSettings>
  readonly grants: Readonly<Partial<Record<PermissionName, Grant>>>
  /** Where it is among the rules: what channels of the same rules share is found by it. */
  readonly at: number
}

/** Rules as they stand in options and files, checked, compiled and sorted; asked once for each channel that comes to be. */
export class Rules {
  readonly #rules: readonly Rule[]
  /** By the rules that make them: many channels share few. */
  readonly #settings = new Map<string, ChannelSettings>()
  readonly #guards = new Map<string, Guard>()
  /** Whether any rule says who may. */
  readonly guarding: boolean
  /** Whether any rule keeps messages. */
  readonly keeping: boolean
  /** The filters that rules name. */
  readonly filters: ReadonlySet<'no-markup' | 'no-script'>

  /** @throws {BayeuxError} RULE_INVALID names the pattern or the setting that is wrong */
  constructor(rules: ChannelRules) {
    this.#rules = Object.entries(rules)
      .map(([text, settings]) => ruleOf(checkPattern(text), checkSettings(text, settings)))
      .sort((a, b) => bySpecificity(a.pattern, b.pattern))
      .map((rule, at) => ({ ...rule, at }))
    this.guarding = this.#rules.some(rule => Object.keys(rule.grants).length > 0)
    this.keeping = this.#rules.some(({ settings: { history = false, retain = false } }) => history !== false || retain)
    this.filters = new Set(this.#rules.flatMap(({ settings: { filter = 'none' } }) => (filter === 'none' ? [] : [filter])))
  }

  /** The settings of one channel: each from the most specific pattern that has it. Channels without rules share one object. */
  settingsOf(channel: ChannelName): ChannelSettings {
    const found = this.#rules.filter(rule => coversChannel(rule.pattern, channel))
    if (found.length === 0) return DEFAULTS
    const key = found.map(rule => rule.at).join()
    let settings = this.#settings.get(key)
    if (settings === undefined) {
      const inOrder = found.map(rule => rule.settings).reverse()
      settings = Object.freeze(Object.assign({}, DEFAULTS, ...inOrder) as ChannelSettings)
      this.#settings.set(key, settings)
    }
    return settings
  }

  /** What the rules say of who may do what on one channel. Channels of the same rules share one object, if there is no template in these. */
  guardOf(channel: ChannelName): Guard {
    if (!this.guarding) return OPEN
    const create = this.#first('create', channel)
    const publish = this.#first('publish', channel)
    const subscribe = channel.wild === 0 ? this.#first('subscribe', channel) : this.#subscribeWildcard(channel)
    const subscribeAll = this.#subscribeAll(channel)
    const key = [create, publish, subscribe, subscribeAll].map(rules => rules.map(rule => rule.at).join()).join(' ')
    const known = this.#guards.get(key)
    if (known !== undefined) return known
    const permissions = (name: PermissionName, rules: readonly Rule[]): Permission[] =>
      rules.map(rule => permissionOf(rule, name, channel)).filter(permission => !permission.open)
    const guard = guardFrom(
      permissions('create', create)[0] ?? null,
      permissions('publish', publish)[0] ?? null,
      permissions('subscribe', subscribe),
      permissions('subscribeAll', subscribeAll),
    )
    const all = [...create, ...publish, ...subscribe, ...subscribeAll]
    if (all.every(({ pattern }) => pattern.templates.every(template => template === null))) this.#guards.set(key, guard)
    return guard
  }

  /** Whether somebody may, and by which permission; null for none. */
  explain(operation: Operation, channel: ChannelName, identity: Identity | null): Explanation {
    const guard = this.guardOf(channel)
    const refusing = guard.decides(operation, identity)
    if (refusing !== null) return { allowed: false, by: refusing }
    const wildcard = operation === 'subscribe' && channel.wild !== 0
    const rules = wildcard ? this.#subscribeWildcard(channel) : this.#first(operation, channel)
    const permissions = rules.map(rule => permissionOf(rule, operation, channel))
    const overruled = permissions.some(permission => !permission.allows(identity))
    return { allowed: true, by: overruled ? guard.allowsAll(identity) : (permissions.at(-1) ?? null) }
  }

  /** The most specific rule that says it, if any. */
  #first(name: PermissionName, channel: ChannelName): readonly Rule[] {
    const rule = this.#rules.find(({ grants, pattern }) => grants[name] !== undefined && coversChannel(pattern, channel))
    return rule === undefined ? [] : [rule]
  }

  /** Each rule for some of what the wildcard covers, down to the first for all of it: the rules behind that one have no say. */
  #subscribeWildcard(wildcard: ChannelName): readonly Rule[] {
    const saying = this.#rules.filter(({ grants, pattern }) => grants.subscribe !== undefined && meets(pattern, wildcard))
    const last = saying.findIndex(({ pattern }) => coversAll(pattern, wildcard))
    return last === -1 ? saying : saying.slice(0, last + 1)
  }

  #subscribeAll(channel: ChannelName): readonly Rule[] {
    const covers = channel.wild === 0 ? coversChannel : coversAll
    return this.#rules.filter(({ grants, pattern }) => grants.subscribeAll !== undefined && covers(pattern, channel))
  }
}

function ruleOf(pattern: Pattern, settings: Partial<ChannelSettings>): Omit<Rule, 'at'> {
  const grants: Partial<Record<PermissionName, Grant>> = {}
  for (const name of PERMISSIONS) if (settings[name] !== undefined) grants[name] = grantOf(settings[name])
  return { pattern, settings, grants }
}

function permissionOf({ pattern, grants }: Rule, name: PermissionName, channel: ChannelName): Permission {
  const literal = channel.segments.length - (channel.wild === 0 ? 0 : 1)
  const bindings = pattern.templates.flatMap<Binding>((claim, i) =>
    claim === null ? [] : [{ claim, value: i < literal ? channel.segments[i]! : null }],
  )
  return new Permission(name, pattern.text, grants[name]!, bindings)
}

function guardFrom(
  create: Permission | null,
  publish: Permission | null,
  subscribe: readonly Permission[],
  subscribeAll: readonly Permission[],
): Guard {
  return create === null && publish === null && subscribe.length === 0
    ? OPEN
    : new Guard(create, publish, subscribe, subscribeAll)
}

function checkPattern(text: string): Pattern {
  const pattern = parsePattern(text)
  if (pattern === null) throw new BayeuxError('RULE_INVALID', `channel rule ${text}: not a broadcast or service channel pattern`)
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
