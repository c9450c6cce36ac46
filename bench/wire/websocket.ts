// A WebSocket client that knows only what a benchmark needs: text frames, pings, the end.
//
// Frames are masked with a fixed key, as a client's must be; compression is not offered.

import type { Socket } from 'node:net'
import { open, type Reader } from './socket.js'

const KEY = [0x37, 0xfa, 0x21, 0x3d]
const NOTHING = Buffer.alloc(0)
const HEADER_END = Buffer.from('\r\n\r\n')
const PONG = maskedFrame(0xa, '')
const TEXT = 1
const CLOSE = 8
const PING = 9

export interface TextReader {
  /** Takes one text message, `bytes[start..end)`, which is overwritten when this returns. */
  text(bytes: Buffer, start: number, end: number): void
  closed(): void
}

export class WebSocketLink implements Reader {
  #socket!: Socket
  #rest: Buffer = NOTHING
  #upgraded: ((status: string) => void) | null = null

  constructor(private readonly reader: TextReader) {}

  /** @throws {Error} the server does not upgrade (as a rejection) */
  async connect(port: number, path: string): Promise<void> {
    this.#socket = await open(port, this)
    const status = new Promise<string>(resolve => {
      this.#upgraded = resolve
    })
    this.#socket.write(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
    )
    const line = await status
    if (!line.includes(' 101 ')) throw new Error(`upgrade refused: ${line}`)
  }

  send(frame: Buffer): void {
    this.#socket.write(frame)
  }

  end(): void {
    this.#socket.destroy()
  }

  closed(): void {
    this.#upgraded?.('closed')
    this.reader.closed()
  }

  read(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    if (this.#upgraded !== null) {
      const end = bytes.indexOf(HEADER_END)
      if (end !== -1) {
        const upgraded = this.#upgraded
        this.#upgraded = null
        upgraded(bytes.toString('latin1', 0, bytes.indexOf(13)))
        at = end + 4
      }
    }
    if (this.#upgraded === null) at = this.#frames(bytes, at)
    this.#rest = at === bytes.length ? NOTHING : Buffer.from(bytes.subarray(at))
  }

  /** Reads all whole frames from `at` on. @returns where the first unfinished one begins */
  #frames(bytes: Buffer, from: number): number {
    let at = from
    while (bytes.length - at >= 2) {
      let length = bytes[at + 1]! & 0x7f
      let start = at + 2
      if (length >= 126) {
        start += length === 126 ? 2 : 8
        if (bytes.length < start) break
        length = length === 126 ? bytes.readUInt16BE(at + 2) : bytes.readUIntBE(at + 4, 6)
      }
      if (bytes.length < start + length) break
      const opcode = bytes[at]! & 0x0f
      at = start + length
      if (opcode === TEXT) this.reader.text(bytes, start, at)
      else if (opcode === PING) this.send(PONG)
      else if (opcode === CLOSE) this.end()
    }
    return at
  }
}

export function textFrame(text: string): Buffer {
  return maskedFrame(TEXT, text)
}

function maskedFrame(opcode: number, text: string): Buffer {
  const length = Buffer.byteLength(text)
  const start = length < 126 ? 6 : 8
  if (length > 0xffff) throw new RangeError('the generator sends no frames beyond 64 KiB')
  const frame = Buffer.allocUnsafe(start + length)
  frame[0] = 0x80 | opcode
  if (start === 6) frame[1] = 0x80 | length
  else {
    frame[1] = 0xfe
    frame.writeUInt16BE(length, 2)
  }
  for (let i = 0; i < 4; i++) frame[start - 4 + i] = KEY[i]!
  frame.write(text, start)
  for (let i = 0; i < length; i++) frame[start + i]! ^= KEY[i & 3]!
  return frame
}
