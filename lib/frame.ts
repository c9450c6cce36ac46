// WebSocket text frames, made once and written to many sockets.
//
// Knows: the header of an unfragmented, unmasked text frame as a server sends it (RFC 6455, 5.2).
// Does not know: compression; with it, frames cannot be shared and `ws` makes them.
// Always true: a delivery's frame is made by the first socket that needs it; that of the same deliveries to several sockets is put together once.

import type { FrozenMessage } from '../bayeux/index.js'

const TEXT_FINAL = 0x81
/** Beyond so many bytes it costs less to write frames one by one than to copy them into one piece. */
const LARGEST_BATCH = 65_536

/** The frame that carries one delivery, ready to be written. */
export function frameOf(message: FrozenMessage): Uint8Array {
  message.frame ??= textFrame(`[${message.json}]`)
  return message.frame
}

/** Frames of several deliveries in one piece of memory, for one write. Members of one room often wait for the same several, one after the other. */
export class FrameBatch {
  #messages: readonly FrozenMessage[] = []
  #bytes: Uint8Array = Buffer.alloc(0)

  /** @returns null when they are too long to be copied */
  of(messages: readonly FrozenMessage[]): Uint8Array | null {
    if (sameAs(messages, this.#messages)) return this.#bytes
    let length = 0
    for (let i = 0; i < messages.length; i++) length += frameOf(messages[i]!).length
    if (length > LARGEST_BATCH) return null
    const bytes = Buffer.allocUnsafe(length)
    for (let i = 0, at = 0; i < messages.length; i++) {
      const frame = frameOf(messages[i]!)
      bytes.set(frame, at)
      at += frame.length
    }
    this.#messages = messages
    this.#bytes = bytes
    return bytes
  }
}

function sameAs(some: readonly FrozenMessage[], others: readonly FrozenMessage[]): boolean {
  if (some.length !== others.length) return false
  for (let i = some.length - 1; i >= 0; i--) if (some[i] !== others[i]) return false
  return true
}

/** The whole frame for `text`, ready to be written. */
export function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text)
  const header = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const frame = Buffer.allocUnsafe(header + length)
  frame[0] = TEXT_FINAL
  if (header === 2) frame[1] = length
  else if (header === 4) {
    frame[1] = 126
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = 127
    frame.writeUInt32BE(Math.floor(length / 0x1_0000_0000), 2)
    frame.writeUInt32BE(length >>> 0, 6)
  }
  frame.write(text, header, 'utf8')
  return frame
}
