// The payload of every message: 50 bytes that say which message it is and when it was sent.
//
// Layout: `~`, room (5 digits), number within the room (9), stamp in units of 10 µs (10), filler. No server writes a `~` of its own, so a
// delivery is found in whatever surrounds it by that one byte, without parsing JSON.

export const PAYLOAD_BYTES = 50
export const MARK = 0x7e
const FILLER = 'x'.repeat(PAYLOAD_BYTES - 25)
const ROOM_AT = 1
const NUMBER_AT = 6
const STAMP_AT = 15
const END_AT = 25
const STAMPS_PER_MS = 100

/** @param at ms of `performance.now()` */
export function payload(room: number, number: number, at: number): string {
  const stamp = Math.floor(at * STAMPS_PER_MS)
  return `~${String(room).padStart(5, '0')}${String(number).padStart(9, '0')}${String(stamp).padStart(10, '0')}${FILLER}`
}

export const roomOf = (bytes: Uint8Array, mark: number): number => digits(bytes, mark + ROOM_AT, mark + NUMBER_AT)
export const numberOf = (bytes: Uint8Array, mark: number): number => digits(bytes, mark + NUMBER_AT, mark + STAMP_AT)
/** @returns ms, on the clock of the process that sent it */
export const sentAt = (bytes: Uint8Array, mark: number): number => digits(bytes, mark + STAMP_AT, mark + END_AT) / STAMPS_PER_MS

function digits(bytes: Uint8Array, from: number, to: number): number {
  let value = 0
  for (let i = from; i < to; i++) value = value * 10 + bytes[i]! - 48
  return value
}
