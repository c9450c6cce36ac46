// Patterns of channel rules: a channel, a wildcard, or one with templates (`/user/{sub}/**`), and how they relate to channels and wildcards.
//
// Knows: which pattern covers a channel, covers all of a wildcard, or meets it somewhere, and which of two is the more specific.
// Does not know: settings; who a template stands for (permission.ts).

import { type ChannelKind, type ChannelName, parseChannel, type Wild } from './channel.js'

export interface Pattern {
  readonly text: string
  readonly segments: readonly string[]
  readonly kind: ChannelKind
  readonly wild: Wild
  /** For each fixed segment that is a template, the name in it; null for a literal. */
  readonly templates: readonly (string | null)[]
}

const TEMPLATE = /^\{(.+)\}$/

/** @returns null for what is no pattern of broadcast or service channels */
export function parsePattern(text: string): Pattern | null {
  // on the wire `{sub}` is a name like any other, and none together with a wildcard
  const plain = text.replace(/\{[^/{}]+\}(?=\/|$)/g, match => 'x'.repeat(match.length))
  const name = parseChannel(plain)
  if (name === null || name.kind === 'meta') return null
  const segments = text.slice(1, name.name.length).split('/')
  const templates = segments.slice(0, name.wild === 0 ? undefined : -1).map(segment => TEMPLATE.exec(segment)?.[1] ?? null)
  return { text: text.slice(0, name.name.length), segments, kind: name.kind, wild: name.wild, templates }
}

/** Whether a rule for `pattern` is one for this channel. A wildcard is here a name like any other: what is published to it. */
export function coversChannel(pattern: Pattern, channel: ChannelName): boolean {
  const fixed = pattern.templates.length
  const { length } = channel.segments
  if (pattern.wild === 0 ? length !== fixed : length <= fixed) return false
  if (pattern.wild === 1 && (length !== fixed + 1 || channel.wild === 2)) return false
  for (let i = 0; i < fixed; i++) if (pattern.templates[i] === null && pattern.segments[i] !== channel.segments[i]) return false
  return true
}

/** Whether a rule for `pattern` is one for every channel that a wildcard covers. */
export function coversAll(pattern: Pattern, wildcard: ChannelName): boolean {
  const [least, most] = lengths(pattern.wild, pattern.templates.length)
  const prefix = wildcard.segments.length - 1
  const [from, to] = lengths(wildcard.wild, prefix)
  if (from < least || to > most) return false
  return pattern.templates.every(
    (template, i) => template !== null || (i < prefix && pattern.segments[i] === wildcard.segments[i]),
  )
}

/** Whether some channel that a wildcard covers is one for `pattern`. No broadcast wildcard covers service channels. */
export function meets(pattern: Pattern, wildcard: ChannelName): boolean {
  if (pattern.kind !== wildcard.kind && pattern.segments[0] !== '**' && pattern.segments[0] !== '*') return false
  const [least, most] = lengths(pattern.wild, pattern.templates.length)
  const prefix = wildcard.segments.length - 1
  const [from, to] = lengths(wildcard.wild, prefix)
  if (from > most || to < least) return false
  return pattern.templates.every(
    (template, i) => template !== null || i >= prefix || pattern.segments[i] === wildcard.segments[i],
  )
}

/** Sorts the more specific first: channels before wildcards, the longer, the one with fewer templates and those farther behind. */
export function bySpecificity(a: Pattern, b: Pattern): number {
  return a.wild - b.wild || b.segments.length - a.segments.length || compare(shapeOf(a), shapeOf(b))
}

/** How many segments the channels of a pattern have, from and to. */
function lengths(wild: Wild, fixed: number): readonly [least: number, most: number] {
  return wild === 0 ? [fixed, fixed] : [fixed + 1, wild === 1 ? fixed + 1 : Number.POSITIVE_INFINITY]
}

function shapeOf({ templates }: Pattern): string {
  const shape = templates.map(template => (template === null ? '0' : '1')).join('')
  return `${String(shape.replace(/0/g, '').length).padStart(4, '0')} ${shape}`
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
