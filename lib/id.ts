// Random ids for sessions and browsers.
//
// Always true: characters are drawn evenly from 36; a session id has 134 random bits, of which a browser id takes the first 82.
// Source: protocol reference 3.1 (clientId), 5.5 (cookie).

import { randomFillSync } from 'node:crypto'

const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyz'
const LENGTH = 26
/** The largest multiple of 36 in a byte: greater bytes would favour the first characters. */
const EVEN = 252

const pool = Buffer.allocUnsafe(4_096)
let used = pool.length

/** 26 characters `[0-9a-z]`, from the system's random source. */
export function randomId(): string {
  let id = ''
  while (id.length < LENGTH) {
    if (used === pool.length) {
      randomFillSync(pool)
      used = 0
    }
    const byte = pool[used++]!
    if (byte < EVEN) id += ALPHABET[byte % 36]
  }
  return id
}
