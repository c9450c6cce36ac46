// What may be said in the chat: names, rooms and texts as people type them, judged once and brought into one form.
//
// Knows: the form and the length of each value that a page sends, and the table of refusals.
// Does not know: who is here, which rooms there are (room.ts).

/** What the chat refuses, and the sentence that a page may show. */
export const refusals = {
  nick_invalid: 'A name has 1 to 24 letters, digits, spaces, dots, dashes or underscores, and begins with a letter or digit.',
  nick_taken: 'Somebody here already has this name.',
  key_invalid: 'The key of a person is 16 to 64 letters, digits, dashes or underscores.',
  not_entered: 'Say your name first.',
  room_invalid: 'A room has 1 to 32 small letters, digits or dashes, and begins and ends with a letter or digit.',
  too_many_rooms: 'There are too many rooms already.',
  not_member: 'Join the room first.',
  text_invalid: 'A message has 1 to 2,000 characters.',
  too_fast: 'That was a lot at once. Wait a moment.',
  person_unknown: 'Nobody here has this name.',
} as const satisfies Record<string, string>
export type Refusal = keyof typeof refusals

/** A request that the chat refuses: the fault of the page or of the person at it, never ours. */
export class ChatError extends Error {
  override readonly name = 'ChatError'
  constructor(readonly code: Refusal) {
    super(refusals[code])
  }
}

const NICK = /^[\p{L}\p{N}][\p{L}\p{M}\p{N} ._-]*$/u
const KEY = /^[A-Za-z0-9_-]{16,64}$/
const ROOM = /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/
const TAG = /^[A-Za-z0-9]{1,32}$/
const MAX_NICK = 24
const MAX_TEXT = 2_000

/** A JSON object as a page sent it; anything else is read as an empty one, whose members then are refused one by one. */
export function fields(data: unknown): Readonly<Record<string, unknown>> {
  return typeof data === 'object' && data !== null && !Array.isArray(data) ? (data as Record<string, unknown>) : {}
}

/** @returns the name with its blanks tidied @throws {ChatError} nick_invalid */
export function nickOf(value: unknown): string {
  const nick = typeof value === 'string' && value.length <= 200 ? value.normalize('NFKC').replace(/\s+/gu, ' ').trim() : ''
  if ([...nick].length > MAX_NICK || !NICK.test(nick)) throw new ChatError('nick_invalid')
  return nick
}

/** Names that look alike but for capitals are one name. */
export function sameNick(nick: string): string {
  return nick.normalize('NFKC').toLowerCase()
}

/** @throws {ChatError} key_invalid */
export function keyOf(value: unknown): string {
  if (typeof value !== 'string' || !KEY.test(value)) throw new ChatError('key_invalid')
  return value
}

/** A room's name is a slug, so that it is one segment of a channel. @throws {ChatError} room_invalid */
export function roomOf(value: unknown): string {
  if (typeof value !== 'string' || !ROOM.test(value)) throw new ChatError('room_invalid')
  return value
}

/** @returns the text without outer blanks and control characters; line ends stay @throws {ChatError} text_invalid */
export function textOf(value: unknown): string {
  if (typeof value !== 'string' || value.length > 4 * MAX_TEXT) throw new ChatError('text_invalid')
  const text = value
    .replace(/\r\n?/g, '\n')
    .replace(/[^\P{Cc}\n\t]/gu, '')
    .trim()
  if (text === '' || [...text].length > MAX_TEXT) throw new ChatError('text_invalid')
  return text
}

/** The page's own mark of a message, by which it knows it again; '' for none or for one that is not well formed. */
export function tagOf(value: unknown): string {
  return typeof value === 'string' && TAG.test(value) ? value : ''
}
