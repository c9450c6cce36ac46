// binary extension: bytes as Z85 text inside `data`.
//
// Knows: the text form of any number of bytes and the layout of a binary message. The server forwards such messages as they are;
// this is for applications that read or send them.
// Source: protocol reference 7.4.

import { extOf, isObject, type Message } from './message.js'

const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#'
const DIGITS = new Map([...ALPHABET].map((digit, value) => [digit, value]))

/** The content of one binary message. `last` is false for all but the final chunk. */
export interface BinaryData {
  readonly bytes: Uint8Array
  readonly last: boolean
  readonly meta?: Readonly<Record<string, unknown>>
}

/** Bytes to Z85; a last group of n < 4 bytes gives n + 1 digits. */
export function encodeZ85(bytes: Uint8Array): string {
  let text = ''
  for (let i = 0; i < bytes.length; i += 4) {
    let value = 0
    for (let j = 0; j < 4; j++) value = value * 256 + (bytes[i + j] ?? 0)
    let digits = ''
    for (let j = 0; j < 5; j++) {
      digits = ALPHABET[value % 85]! + digits
      value = Math.floor(value / 85)
    }
    text += digits.slice(0, bytes.length - i + 1)
  }
  return text
}

/** Z85 to bytes. @throws {RangeError} a character outside the alphabet, or a group that no bytes give */
export function decodeZ85(text: string): Uint8Array {
  const bytes = new Uint8Array(Math.floor((text.length * 4) / 5))
  for (let i = 0, at = 0; i < text.length; i += 5) {
    let value = 0
    for (let j = 0; j < 5; j++) {
      const digit = i + j < text.length ? DIGITS.get(text[i + j]!) : 84
      value = value * 85 + (digit ?? Number.NaN)
    }
    if (!(value <= 0xffffffff) || text.length - i === 1) throw new RangeError(`not Z85 at ${i}`)
    for (let j = 3; j >= 0 && at < bytes.length; j--) bytes[at++] = Math.floor(value / 256 ** j) % 256
  }
  return bytes
}

/** The members of a message that carries bytes: to be given to publish or deliver. */
export function binaryMessage(content: BinaryData): {
  data: Readonly<Record<string, unknown>>
  ext: Readonly<Record<string, unknown>>
} {
  const { bytes, last, meta } = content
  return { data: { data: encodeZ85(bytes), last, meta }, ext: { binary: {} } }
}

/** The bytes of a message; null when it carries none. @throws {RangeError} the text is not Z85 */
export function binaryOf(message: Message): BinaryData | null {
  const { data } = message
  if (extOf(message)?.['binary'] === undefined || !isObject(data) || typeof data['data'] !== 'string') return null
  const content = { bytes: decodeZ85(data['data']), last: data['last'] !== false }
  return isObject(data['meta']) ? { ...content, meta: data['meta'] } : content
}
