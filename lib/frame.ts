// WebSocket text frames, made once and written to many sockets.
//
// Knows: the header of an unfragmented, unmasked text frame as a server sends it (RFC 6455, 5.2).
// Does not know: compression; with it, frames cannot be shared and `ws` makes them.

const TEXT_FINAL = 0x81

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
