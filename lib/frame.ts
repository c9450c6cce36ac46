// WebSocket text frames, made once and written to many sockets.
//
// Knows: the header of an unfragmented, unmasked text frame as a server sends it (RFC 6455, 5.2).
// Does not know: compression; with it, frames cannot be shared and `ws` makes them.
// Always true: a delivery is framed by the first socket that needs it alone, and shared; the same deliveries to several sockets are put together once;
// what a socket was given stays as it is until it has left.

import { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { TLSSocket } from 'node:tls'
import type { FrozenMessage } from '../bayeux/index.js'

const TEXT_FINAL = 0x81
/** Beyond so many bytes it costs less to write frames one by one than to copy them into one piece. */
const LARGEST_BATCH = 65_536
/** Bytes of the memory that batches are put together in. */
const SLAB = 2 * LARGEST_BATCH
/** Up to so many bytes a batch gets memory of its own, which is Node's pool for such. */
const SMALL = 2_048
const LARGEST_HEADER = 10
const OPENING = 0x5b // [
const CLOSING = 0x5d // ]
/** In the place of a frame: the message was in a batch once. */
const BATCHED = Buffer.alloc(0)

/** The frame that carries one delivery, ready to be written. */
export function frameOf(message: FrozenMessage): Uint8Array {
  if (message.frame === null || message.frame === BATCHED) message.frame = textFrame(`[${message.json}]`)
  return message.frame
}

/**
 * Frames of several deliveries in one piece of memory, for one write. Members of one room often wait for the same several, one after the other.
 *
 * They are put together in a slab that the next batch overwrites when they have left. Memory of its own for each would be outside of the heap,
 * where V8 counts it and collects the whole heap for it. For the same reason a message gets a frame of its own only when it is in a second batch.
 */
export class FrameBatch {
  #messages: readonly FrozenMessage[] | null = null
  #bytes: Uint8Array = Buffer.alloc(0)
  #slab = Buffer.alloc(0)
  #start = 0
  #end = 0
  /** The bytes for those who read them later, or where they are few: a few that wait are not to hold a whole slab. */
  #lasting: Uint8Array | null = null

  /** @returns whether they are written; not when they are too long to be copied */
  write(socket: Writable, messages: readonly FrozenMessage[]): boolean {
    if ((this.#messages === null || !sameAs(messages, this.#messages)) && !this.#put(messages)) return false
    if (this.#bytes.length > SMALL && takesAtOnce(socket)) {
      socket.write(this.#bytes)
      if (socket.writableLength > 0) this.#start = this.#end // not all of it: the rest is read later
    } else {
      this.#lasting ??= Buffer.from(this.#bytes)
      socket.write(this.#lasting)
    }
    return true
  }

  #put(messages: readonly FrozenMessage[]): boolean {
    this.#messages = null
    if (this.#slab.length - this.#start < LARGEST_BATCH) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB)
      this.#start = 0
    }
    let at = this.#start
    const limit = at + LARGEST_BATCH
    for (let i = 0; i < messages.length; i++) {
      const message = messages[i]!
      if (message.frame === null) {
        message.frame = BATCHED
        const length = Buffer.byteLength(message.json)
        if (at + LARGEST_HEADER + length + 2 > limit) return false
        at = putHeader(this.#slab, at, length + 2)
        this.#slab[at++] = OPENING
        at += this.#slab.write(message.json, at, 'utf8')
        this.#slab[at++] = CLOSING
      } else {
        const frame = frameOf(message)
        if (at + frame.length > limit) return false
        this.#slab.set(frame, at)
        at += frame.length
      }
    }
    this.#messages = messages
    this.#lasting = null
    this.#bytes = this.#slab.subarray(this.#start, at)
    this.#end = at
    return true
  }
}

/** Whether the system has what is written when `write` returns, or as much as it has room for. TLS reads it later. */
function takesAtOnce(socket: Writable): boolean {
  return socket instanceof Socket && !(socket instanceof TLSSocket) && socket.writableLength === 0 && socket.writableCorked === 0
}

function sameAs(some: readonly FrozenMessage[], others: readonly FrozenMessage[]): boolean {
  if (some.length !== others.length) return false
  for (let i = some.length - 1; i >= 0; i--) if (some[i] !== others[i]) return false
  return true
}

/** The whole frame for `text`, ready to be written. */
export function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text)
  const header = headerLength(length)
  const frame = Buffer.allocUnsafe(header + length)
  putHeader(frame, 0, length)
  frame.write(text, header, 'utf8')
  return frame
}

function headerLength(length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : LARGEST_HEADER
}

/** Writes the header of a frame of so many bytes. @returns where it ends */
function putHeader(frame: Buffer, at: number, length: number): number {
  frame[at] = TEXT_FINAL
  if (length < 126) frame[at + 1] = length
  else if (length < 65_536) {
    frame[at + 1] = 126
    frame.writeUInt16BE(length, at + 2)
  } else {
    frame[at + 1] = 127
    frame.writeUInt32BE(Math.floor(length / 0x1_0000_0000), at + 2)
    frame.writeUInt32BE(length >>> 0, at + 6)
  }
  return at + headerLength(length)
}
