// Channel names: what is one, of which kind, with which wildcard.
//
// Knows: the lexical rule of CometD (wider than the Bayeux grammar) and the structure of wildcards and templates.
// Does not know: which channels exist (tree.ts), who may use them (policy.ts).
// Source: protocol reference 1.1 to 1.3.

export type ChannelKind = 'meta' | 'service' | 'broadcast'

/** 0 a plain name, 1 ends in `*` (one segment), 2 ends in `**` (one or more segments). */
export type Wild = 0 | 1 | 2

export interface ChannelName {
  /** Without trailing slash and blanks: the key under which the channel is kept. */
  readonly name: string
  readonly segments: readonly string[]
  readonly kind: ChannelKind
  readonly wild: Wild
}

const LEXICAL = /^\/[A-Za-z0-9 !#$()*+\-./@_{~}]+$/
const TEMPLATE = /^\{.+\}$/

/**
 * Judges and classifies a channel name once, so that inner code can trust it.
 *
 * @param text as the client wrote it; one trailing slash and trailing blanks are tolerated
 * @param maxLength in characters
 * @param lexical false to skip the check of characters (`validateMessageFields: false`)
 * @param maxSegments how many it may have
 * @returns null when the name is lexically or structurally bad
 */
export function parseChannel(
  text: string,
  maxLength = 1_024,
  lexical = true,
  maxSegments = Number.POSITIVE_INFINITY,
): ChannelName | null {
  if (text.length > maxLength || text.length < 2 || text.charCodeAt(0) !== 47) return null
  if (lexical && !LEXICAL.test(text)) return null
  let name = text.trimEnd()
  const kind = kindOf(name)
  if (name === '/meta/' || name === '/service/') return { name, segments: [name.slice(1, -1), ''], kind, wild: 0 } // not the broadcast channels `/meta`, `/service`
  if (name.endsWith('/')) name = name.slice(0, -1).trimEnd()
  const segments = name.slice(1).split('/')
  if (segments.length > maxSegments) return null
  const last = segments.length - 1
  let templates = false
  for (let i = 0; i <= last; i++) {
    const segment = segments[i]!
    if (segment === '' || (i < last && (segment === '*' || segment === '**'))) return null
    templates ||= TEMPLATE.test(segment)
  }
  const wild = wildOf(segments[last]!)
  if (templates && wild !== 0) return null
  return { name, segments, kind, wild }
}

/** The kind of a name: `/meta/…` and `/service/…` by their prefix, all else broadcast (`/meta` and `/service` themselves too). */
export function kindOf(text: string): ChannelKind {
  if (text.startsWith('/meta/')) return 'meta'
  return text.startsWith('/service/') ? 'service' : 'broadcast'
}

function wildOf(segment: string): Wild {
  return segment === '*' ? 1 : segment === '**' ? 2 : 0
}

/** Whether `pattern` covers the plain name `channel`: equal, or by its wildcard. */
export function covers(pattern: ChannelName, channel: ChannelName): boolean {
  if (pattern.wild === 0 || pattern.name === channel.name) return pattern.name === channel.name
  const fixed = pattern.segments.length - 1
  if (channel.segments.length <= fixed) return false
  if (pattern.wild === 1 && (channel.segments.length !== fixed + 1 || channel.wild !== 0)) return false
  for (let i = 0; i < fixed; i++) if (pattern.segments[i] !== channel.segments[i]) return false
  return true
}

/** The five channels of the protocol itself. */
export const META_CHANNELS: ReadonlyMap<string, ChannelName> = new Map(
  ['/meta/handshake', '/meta/connect', '/meta/subscribe', '/meta/unsubscribe', '/meta/disconnect'].map(name => [
    name,
    parseChannel(name)!,
  ]),
)
