// The pieces in which a request body comes, put together.
//
// Knows: how many bytes may come, and in how many pieces; the same for frames, whose pieces `ws` puts together. Does not know: what a body means (body.ts), how a refusal is answered.
// Always true: it takes at most twice the memory of its bytes, however small the pieces are; a body in one piece is not copied.

import type { Readable } from 'node:stream'

/** A piece costs as much as a hundred bytes or so: beyond the first ones, so many bytes must come with each on average. */
const FREE_PIECES = 1_000
const BYTES_EACH = 64
/** The same for fragments. */
const FREE_FRAGMENTS = 64
const BYTES_FRAGMENT = 1_024

/** How many pieces a body, or a WebSocket frame, of at most `limit` bytes may come in. */
export function mostPieces(limit: number): number {
  return FREE_PIECES + Math.ceil(limit / BYTES_EACH)
}

/** How many fragments a WebSocket message of at most `limit` bytes may have: each can keep all that was read with it in memory, 64 KiB. */
export function mostFragments(limit: number): number {
  return FREE_FRAGMENTS + Math.ceil(limit / BYTES_FRAGMENT)
}

type Refused = 'too_large' | 'crumbs'

const NOTHING = Buffer.alloc(0)

export class Pieces {
  #body: Buffer = NOTHING
  #bytes = 0
  #count = 0

  /** @param limit in bytes */
  constructor(private readonly limit: number) {}

  /** Takes the next piece. @returns why the body is to be refused, null for no reason; then nothing more may be added */
  add(piece: Buffer): Refused | null {
    const at = this.#bytes
    this.#bytes += piece.length
    this.#count++
    if (this.#bytes > this.limit) return 'too_large'
    if (this.#count > mostPieces(this.#bytes)) return 'crumbs'
    if (this.#count === 1) {
      this.#body = piece
      return null
    }
    if (this.#body.length < this.#bytes) {
      const larger = Buffer.allocUnsafe(Math.min(this.limit, 2 * this.#bytes))
      larger.set(this.#body.subarray(0, at))
      this.#body = larger
    }
    this.#body.set(piece, at)
    return null
  }

  /** All that was added. */
  body(): Buffer {
    return this.#body.subarray(0, this.#bytes)
  }
}

/**
 * Reads a body to its end, or until it is refused.
 *
 * @param payload of buffers, or of texts where a hook of the application has put a stream of its own in place of the request
 * @param limit in bytes
 */
export function gather(payload: Readable, limit: number, done: (refused: Refused | 'broken' | null, body: Buffer) => void): void {
  const pieces = new Pieces(limit)
  const end = (refused: Refused | 'broken' | null): void => {
    payload.off('data', take).off('end', through).off('error', fail)
    done(refused, pieces.body())
  }
  const take = (piece: Buffer | string): void => {
    const refused = pieces.add(typeof piece === 'string' ? Buffer.from(piece) : piece)
    if (refused !== null) end(refused)
  }
  const through = (): void => end(null)
  const fail = (): void => end('broken')
  payload.on('data', take).on('end', through).on('error', fail)
}
