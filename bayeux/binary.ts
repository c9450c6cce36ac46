// binary extension: bytes as Z85 text inside `data`.
//
// Knows: the text form of any number of bytes and the layout of a binary message. The server forwards such messages as they are;
// this is for applications that read or send them.
// Source: protocol reference 7.4.

import { extOf, isObject, type Message } from './message.js'

const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#'
/** The content of one binary message. `last` is false for all but the final chunk. */
export interface BinaryData {
  readonly bytes: Uint8Array
  readonly last: boolean
  readonly meta?: Readonly<Record<string, unknown>>
}

/** Bytes to Z85; a last group of n < 4 bytes gives n + 1 digits. */
export function encodeZ85(bytes: Uint8Array): string {
  return regroup(bytes, 4, 256, 0, 5, 85)
    .map(digit => ALPHABET[digit])
    .join('')
}

/** Z85 to bytes. @throws {RangeError} a character outside the alphabet, or a group that no bytes give */
export function decodeZ85(text: string): Uint8Array {
  const digits = [...text].map(digit => (ALPHABET.indexOf(digit) + 1 || Number.NaN) - 1)
  return Uint8Array.from(regroup(digits, 5, 85, 84, 4, 256))
}

/** Each `size` digits of one base as `most` digits of another; a last group of fewer is filled with `pad`, and gives as many fewer. */
function regroup(digits: ArrayLike<number>, size: number, base: number, pad: number, most: number, other: number): number[] {
  const all: number[] = []
  for (let i = 0; i < digits.length; i += size) {
    let value = 0
    for (let j = i; j < i + size; j++) value = value * base + (digits[j] ?? pad)
    const group: number[] = []
    for (let j = 0; j < most; j++) {
      group.unshift(value % other)
      value = Math.floor(value / other)
    }
    const left = Math.min(0, digits.length - i - size) + most
    if (value !== 0 || left === 0) throw new RangeError(`not Z85 at ${i}`)
    all.push(...group.slice(0, left))
  }
  return all
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
