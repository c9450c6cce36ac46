// History queries: the remote call `/service/history`, by which a client reads what is kept without subscribing.
//
// Knows: what a query may ask for, how much one answer holds.
// Does not know: who may ask; the engine judges a query as a subscription to its channel (engine.ts).
// Source: guarantee G8; answers travel as those of services do (protocol reference 3.6).

import { type ChannelName, parseChannel } from './channel.js'
import type { Core } from './core.js'
import { deliver } from './delivery.js'
import { type ErrorCode, errors, wireError } from './errors.js'
import type { Entry } from './history.js'
import { FrozenMessage, IMPATIENT, isObject, type Message } from './message.js'
import { historyOf, reading, startOf } from './replay.js'
import type { Session } from './session.js'

const CHANNEL = '/service/history'
/** Messages of an answer: where the client does not say, and at most. */
const USUAL = 100
const MOST = 1_000
/** Bytes of the messages of an answer but for one that is larger alone: many clients take no frame of more than 64 KiB. */
const MOST_BYTES = 60_000
/** What a read through a wildcard costs its session, in messages: it looks at those of other channels too. */
const WILD_COST = 9

export interface Query {
  readonly name: ChannelName
  /** As places in `ext.replay` are; -2 for all. */
  readonly after: unknown
  readonly limit: number
}

/** Why a query fails: `text` for people. */
export interface QueryFailure {
  readonly code: ErrorCode
  readonly text: string
}

/** Whether a message is for this service: where anything is kept, and the application has not put a service of its own in its place. */
export function isQuery(core: Core, name: ChannelName): boolean {
  return name.name === CHANNEL && historyOf(core) !== null && (core.tree.find(CHANNEL)?.listeners.length ?? 0) === 0
}

/** What a message asks for; or what is wrong with that. */
export function queryOf(core: Core, { data }: Message): Query | QueryFailure {
  const { channel, after = -2, limit = USUAL } = isObject(data) ? data : {}
  const { maxChannelLength, validateMessageFields, maxChannelSegments } = core.options
  const name =
    typeof channel === 'string' ? parseChannel(channel, maxChannelLength, validateMessageFields, maxChannelSegments) : null
  if (name?.kind !== 'broadcast') return invalid('channel is a broadcast channel or a pattern of some')
  if (!Number.isSafeInteger(limit) || (limit as number) < 1 || (limit as number) > MOST)
    return invalid(`limit is a whole number from 1 to ${MOST}`)
  return { name, after, limit: limit as number }
}

/** A query that the session may not make. */
export function deniedQuery(code: ErrorCode, reason: string): QueryFailure {
  return { code, text: wireError(code, reason) }
}

function invalid(text: string): QueryFailure {
  return { code: 'HISTORY_QUERY_INVALID', text }
}

/** Delivers the answer to a query that was judged. */
export function answerQuery(core: Core, session: Session, { id }: Message, query: Query | QueryFailure, now: number): void {
  const answer = 'code' in query ? query : answerOf(core, session, query)
  const failed = typeof answer === 'object'
  const data = failed ? JSON.stringify({ error: errors[answer.code].text, text: answer.text }) : answer
  const own = typeof id === 'string' || typeof id === 'number' ? `"id":${JSON.stringify(id)},` : ''
  const json = `{"channel":"${CHANNEL}",${own}"data":${data},"successful":${!failed}}`
  core.pacer.labour(session, json.length, now)
  deliver(core, session, new FrozenMessage(CHANNEL, json, IMPATIENT), now)
}

/** @returns JSON */
function answerOf(core: Core, session: Session, { name, after, limit }: Query): string | QueryFailure {
  const history = historyOf(core)
  if (history === null) return invalid('nothing is kept any more') // the rules have changed meanwhile
  if (name.wild !== 0) core.pacer.more(session, WILD_COST)
  const found = reading(core, () => {
    const start = after === -1 ? { after: core.published, whole: true } : startOf(core, history, name, after)
    return start && { start, page: history.read(name, start.after, core.published, limit, MOST_BYTES) }
  })
  if (found === 'unreadable') return { code: 'HISTORY_UNREADABLE', text: errors.HISTORY_UNREADABLE.help }
  if (found === null) return invalid('after is a position that was given here, {id, epoch}, {at}, -1 or -2')
  const { start, page } = found
  const [messages, through] = cut(page.entries, page.through)
  const more = through < core.published
  return `{"epoch":"${history.epoch}","messages":[${messages}],"through":${through},"more":${more},"recovered":${start.whole}}`
}

/** As many entries as an answer has room for, and up to where they reach. */
function cut(entries: readonly Entry[], through: number): readonly [json: readonly string[], through: number] {
  const messages: string[] = []
  let bytes = 0
  for (const { json, position, at } of entries) {
    const message = `${json.slice(0, -1)},"position":${position},"at":${Math.round(at)}}`
    bytes += bytesOf(message)
    if (bytes > MOST_BYTES && messages.length > 0) return [messages, entries[messages.length - 1]!.position]
    messages.push(message)
  }
  return [messages, through]
}

/** In UTF-8. */
function bytesOf(text: string): number {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code >= 0x80) bytes += code < 0x800 || (code >= 0xd800 && code < 0xe000) ? 1 : 2
  }
  return bytes
}
