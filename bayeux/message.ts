// Messages: their shape on the wire, the checks of untrusted JSON, and freezing.
//
// Knows: what an envelope is, what a message must have before anything else looks at it, how a publish is serialized once.
// Does not know: sessions, channels that exist, transports.
// Always true: a FrozenMessage never changes, so that every queue may share it; nothing here looks a key up on a prototype.
// Source: protocol reference 2, 5.3, DEV-4, DEV-10.

/** One Bayeux message as it came off the wire: an object of any members, none of which is trusted yet. */
export interface Message {
  readonly channel?: unknown
  readonly id?: unknown
  readonly clientId?: unknown
  readonly data?: unknown
  readonly ext?: unknown
  readonly advice?: unknown
  readonly subscription?: unknown
  readonly [member: string]: unknown
}

export type Json = Readonly<Record<string, unknown>>

/** Why a whole envelope is refused: nothing of it is processed (protocol reference 5.3, 6.2). */
export type Refusal = 'malformed' | 'too_deep' | 'too_many_keys' | 'too_many_messages'

/**
 * Reads one envelope.
 *
 * @param texts JSON texts, each one message or an array of messages; several only from a form, concatenated in order
 * @param maxMessages messages in all
 * @param maxDepth levels of nesting, the array included
 * @param maxKeys members of objects and items of arrays in all
 * @returns the messages in order, at least one; or why the envelope is refused as a whole
 */
export function parseEnvelope(
  texts: readonly string[],
  maxMessages: number,
  maxDepth: number,
  maxKeys: number,
): Message[] | Refusal {
  const messages: Message[] = []
  let keys = 0
  for (const text of texts) {
    if (text.length > LONG && nestsDeeper(text, maxDepth)) return 'too_deep'
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      return 'malformed'
    }
    const batch: unknown[] = Array.isArray(value) ? value : [value]
    if (messages.length + batch.length > maxMessages) return 'too_many_messages'
    for (const message of batch) {
      if (!isObject(message)) return 'malformed'
      keys += keysIn(message, maxDepth - 1)
      if (keys === Number.POSITIVE_INFINITY) return 'too_deep'
      if (keys > maxKeys) return 'too_many_keys'
      messages.push(message)
    }
  }
  return messages.length === 0 ? 'malformed' : messages
}

/** A longer text is not parsed before it is known not to nest too deep: 64 KiB of brackets take longer than all else that long. */
const LONG = 2_048
const QUOTE = 0x22
const BACKSLASH = 0x5c

/** Whether a text that may be JSON opens more brackets than `levels` before it closes them. */
function nestsDeeper(text: string, levels: number): boolean {
  let depth = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === QUOTE) {
      i = endOfString(text, i)
      if (i === -1) return false
    } else if (code === 0x5b || code === 0x7b) {
      if (++depth > levels) return true
    } else if (code === 0x5d || code === 0x7d) depth--
  }
  return false
}

/** Where the string ends that begins at `from`; -1 if it does not. */
function endOfString(text: string, from: number): number {
  for (let end = text.indexOf('"', from + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let escapes = 0
    while (text.charCodeAt(end - 1 - escapes) === BACKSLASH) escapes++
    if (escapes % 2 === 0) return end
  }
  return -1
}

/** A JSON object: neither null, nor an array, nor a scalar. */
export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** How many members and items `value` has in all; Infinity where it nests objects and arrays more than `levels` deep. */
export function keysIn(value: object, levels: number): number {
  if (levels === 0) return Number.POSITIVE_INFINITY
  let keys = 0
  if (Array.isArray(value)) {
    keys = value.length
    for (const item of value) if (typeof item === 'object' && item !== null) keys += keysIn(item, levels - 1)
    return keys
  }
  for (const key in value) {
    keys++
    const member = (value as Json)[key]
    if (typeof member === 'object' && member !== null) keys += keysIn(member, levels - 1)
  }
  return keys
}

const MESSAGE_ID = /^[A-Za-z0-9]+$/
/** A held connect keeps its id. */
const LONGEST_ID = 256

/** Whether `id` may be a message's: none, letters and digits, or a whole number as old clients send it. */
export function isMessageId(id: unknown, validate: boolean): boolean {
  if (id === undefined || id === null) return true
  if (typeof id === 'number') return Number.isSafeInteger(id) && id >= 0
  return typeof id === 'string' && id.length <= LONGEST_ID && (!validate || MESSAGE_ID.test(id))
}

/** The `ext` of a message if it is an object, else null: any other type counts as absent. */
export function extOf(message: Message): Json | null {
  return isObject(message.ext) ? message.ext : null
}

/** The `advice` of a message if it is an object, else null. */
export function adviceOf(message: Message): Json | null {
  return isObject(message.advice) ? message.advice : null
}

/** A number of `advice` that a client may set: 0 or more, else null ("-5", "0" and the like count as absent). */
export function adviceNumber(advice: Json | null, name: 'timeout' | 'interval'): number | null {
  const value = advice === null ? undefined : advice[name]
  return typeof value === 'number' && value >= 0 && value < Number.POSITIVE_INFINITY ? value : null
}

/** What becomes of a message of this channel where a session's queue is full. */
export type Overflow = 'disconnect' | 'drop-oldest' | 'drop-newest' | 'conflate'

/** How a message may be kept waiting, and what may become of it where a session cannot keep up: of its channel's rule. */
export interface Patience {
  /** ms that it may wait for company; -1 for a message that may not. */
  readonly lazy: number
  readonly overflow: Overflow
  /** Whether a newer message of the same `topic` takes its place in a queue at any time, not just in a full one. */
  readonly conflated: boolean
  /** Messages of one topic stand for each other; null for one that stands for itself alone. */
  readonly topic: string | null
}

/** A message that waits for nobody and is not to be lost. */
export const IMPATIENT: Patience = { lazy: -1, overflow: 'disconnect', conflated: false, topic: null }

/** One delivery, serialized once and shared by every queue that it enters. All fields are set here, in this order: one shape. */
export class FrozenMessage {
  /** A transport's own ready form, made by the first that needs it: the WebSocket frame. */
  frame: Uint8Array | null = null
  /** Its place in the history; 0 for a message that is not kept. Set once, before it is delivered. */
  position = 0
  /** Whether it tells its place. */
  form: Form = 'plain'
  #message: Message | null = null
  #forms: [own: FrozenMessage | null, event: FrozenMessage | null] | null = null
  readonly lazy: number
  readonly overflow: Overflow
  readonly conflated: boolean
  readonly topic: string | null

  /**
   * @param channel as the publisher wrote it
   * @param json the whole message as JSON, without `id` and `clientId`
   * @param missing how many messages its session did not get before it, as it is told in `ext.dropped`
   */
  constructor(
    readonly channel: string,
    readonly json: string,
    { lazy, overflow, conflated, topic }: Patience,
    readonly missing = 0,
  ) {
    this.lazy = lazy
    this.overflow = overflow
    this.conflated = conflated
    this.topic = topic
  }

  /** The message with its place, as sessions of that form get it; made by the first that needs it. `at`: when it was published, epoch ms. */
  inForm(form: Form, epoch: string, at: number): FrozenMessage {
    if (form === 'plain') return this
    this.#forms ??= [null, null]
    const index = form === 'own' ? 0 : 1
    this.#forms[index] ??= this.changed(form === 'own' ? withPlace(this, epoch) : withEvent(this, at), form)
    return this.#forms[index]
  }

  /** The message with other JSON: all else stays. */
  changed(json: string, form = this.form, missing = this.missing): FrozenMessage {
    const message = new FrozenMessage(this.channel, json, this, missing)
    message.position = this.position
    message.form = form
    return message
  }

  /** The message as an object, for code in the server; made when first asked for, shared, not to be changed. */
  get message(): Message {
    this.#message ??= JSON.parse(this.json) as Message
    return this.#message
  }
}

/** How a session is told the places of messages: not at all, in `ext.replay` of each, or as Salesforce does, in `data.event`. */
export type Form = 'plain' | 'own' | 'event'

function withPlace({ json, message, position }: FrozenMessage, epoch: string): string {
  const replay = { id: position, epoch }
  if (!json.includes('"ext"')) return `${json.slice(0, -1)},"ext":{"replay":${JSON.stringify(replay)}}}`
  return JSON.stringify({ ...message, ext: { ...extOf(message), replay } })
}

function withEvent({ message, position }: FrozenMessage, at: number): string {
  const event = { replayId: position, createdDate: new Date(at).toISOString() }
  const { data } = message
  if (!isObject(data)) return JSON.stringify({ ...message, data: { event, payload: data } })
  return JSON.stringify({
    ...message,
    data: { ...data, event: { ...(isObject(data['event']) ? data['event'] : null), ...event } },
  })
}

/** What a client may not say to other clients (DEV-4): replies' members would stop or confuse them. */
const PRIVATE_MEMBERS = new Set(['channel', 'data', 'id', 'clientId', 'advice', 'successful', 'error'])

/**
 * Serializes a published message for its subscribers.
 *
 * Keeps `data`, `ext` and unknown members as they are; drops `id`, `clientId`, `advice`, `successful` and `error`.
 *
 * @param timestamp value of the `timestamp` member to put in its place; null leaves the publisher's
 */
export function freezePublished(message: Message, channel: string, patience: Patience, timestamp: string | null): FrozenMessage {
  let json = `{"channel":${JSON.stringify(channel)}`
  if (message.data !== undefined) json += `,"data":${JSON.stringify(message.data)}`
  for (const key in message) {
    if (PRIVATE_MEMBERS.has(key) || (timestamp !== null && key === 'timestamp')) continue
    json += `,${JSON.stringify(key)}:${JSON.stringify(message[key])}`
  }
  if (timestamp !== null) json += `,"timestamp":${JSON.stringify(timestamp)}`
  return new FrozenMessage(channel, `${json}}`, patience)
}

/** Serializes a message of the server's own making, whose members it answers for. */
export function freeze(message: Message & { readonly channel: string }, patience = IMPATIENT): FrozenMessage {
  return new FrozenMessage(message.channel, JSON.stringify(message), patience)
}
