// WebSocket as bytes: frames that are written as one likes, the server's read back strictly, and what RFC 6455 says to a series of frames.
//
// Knows: what every frame of the server must look like; `rightAnswer` is the specification in its plainest form.
// Does not know: what the messages mean.
// Source: RFC 6455, 5.2 to 5.5, 7.4, 8.1; protocol reference 6.2, 6.3.

import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import { COOKIE } from './requests.js'

export const TEXT = 1
export const BINARY = 2
export const CONTINUATION = 0
export const CLOSING = 8
export const PING = 9
export const PONG = 10

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
/** An upgrade; `headers` stand in place of those that make it one. */
export function upgrade(headers = `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n`, path = '/cometd'): Buffer {
  return Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: x\r\n${COOKIE}Connection: Upgrade\r\nUpgrade: websocket\r\n${headers}\r\n`,
    'latin1',
  )
}

export interface Frame {
  readonly final: boolean
  readonly opcode: number
  readonly payload: Buffer
}

/** How a frame is written other than it should be. */
interface Crookedly {
  /** The three reserved bits. */
  readonly reserved?: number
  readonly masked?: boolean
  /** Another length than is true. */
  readonly length?: number | bigint
  /** Bytes that the length takes: 1, 3 or 9. */
  readonly lengthBytes?: 1 | 3 | 9
}

const MASK = Buffer.from([0x12, 0x34, 0x56, 0x78])

/** A frame as a client sends it. */
export function frame(opcode: number, payload: string | Buffer = '', final = true, crookedly: Crookedly = {}): Buffer {
  const bytes = Buffer.from(payload as string)
  const { reserved = 0, masked = true, length = bytes.length } = crookedly
  const { lengthBytes = length < 126 ? 1 : length < 65_536 ? 3 : 9 } = crookedly
  const header = Buffer.alloc(1 + lengthBytes)
  header[0] = (final ? 0x80 : 0) | (reserved << 4) | opcode
  header[1] = (masked ? 0x80 : 0) | (lengthBytes === 1 ? Number(length) : lengthBytes === 3 ? 126 : 127)
  if (lengthBytes === 3) header.writeUInt16BE(Number(length), 2)
  if (lengthBytes === 9) header.writeBigUInt64BE(BigInt(length), 2)
  return masked ? Buffer.concat([header, MASK, bytes.map((byte, i) => byte ^ MASK[i % 4]!)]) : Buffer.concat([header, bytes])
}

/** A close frame. */
export function closing(code: number, reason: string | Buffer = ''): Buffer {
  return frame(CLOSING, Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason as string)]))
}

/** With these a series ends: a server that is still well answers both. */
export const FAREWELL = Buffer.concat([frame(PING, 'still there?'), closing(1000)])

/** What the server said on a socket until its end. */
export interface Heard {
  /** Of the upgrade; 101 where it is one. */
  readonly status: number
  /** The texts of its messages, in order. */
  readonly texts: readonly string[]
  /** What its pongs carried. */
  readonly pongs: readonly string[]
  /** Of its close frame; 1005 for one without, null where the connection ended without a close frame. */
  readonly code: number | null
  readonly reason: string
}

/** Reads all that the server said. All frames are whole, unfragmented, without a mask, and none follows the close frame. */
export function heardIn(said: Buffer): Heard {
  const texts: string[] = []
  const pongs: string[] = []
  let code: number | null = null
  let reason = ''
  if (said.length === 0) return { status: 0, texts, pongs, code, reason }
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(said.toString('latin1', 0, 20))?.[1])
  let at = said.indexOf('\r\n\r\n') + 4
  if (status !== 101) return { status, texts, pongs, code, reason }
  while (at < said.length) {
    assert.equal(code, null, 'a frame after the close frame')
    const first = said[at]!
    const short = said[at + 1]!
    assert(short < 0x80, 'a masked frame from the server')
    const header = short < 126 ? 2 : short === 126 ? 4 : 10
    if (at + header > said.length) break
    const length = short < 126 ? short : short === 126 ? said.readUInt16BE(at + 2) : Number(said.readBigUInt64BE(at + 2))
    if (at + header + length > said.length) break // broken off
    const payload = said.subarray(at + header, at + header + length)
    at += header + length
    if (first === 0x88) {
      code = length === 0 ? 1005 : payload.readUInt16BE(0)
      reason = payload.subarray(2).toString()
      assert(code === 1005 || mayBeSent(code), `code ${code}`)
      assert.notEqual(reason, 'server error')
    } else if (first === 0x8a) pongs.push(payload.toString('latin1'))
    else {
      assert.equal(first, 0x81, 'an unfragmented text frame')
      texts.push(payload.toString())
    }
  }
  return { status, texts, pongs, code, reason }
}

/** The messages in the texts of a server: each text is an array of one or more. */
export function messagesOf(texts: readonly string[]): unknown[] {
  return texts.flatMap(text => {
    const messages: unknown = JSON.parse(text)
    assert(Array.isArray(messages) && messages.length > 0, 'a frame without messages')
    return messages as unknown[]
  })
}

/** What RFC 6455 says to a series of frames: which text messages are in it, which pings are answered, and the code that it ends with. */
export interface RightAnswer {
  readonly texts: readonly Buffer[]
  readonly pongs: readonly string[]
  /** Null while it may go on. */
  readonly code: number | null
}

export function rightAnswer(frames: readonly Frame[]): RightAnswer {
  const texts: Buffer[] = []
  const pongs: string[] = []
  let parts: Buffer[] | null = null
  let kind = 0
  for (const { final, opcode, payload } of frames) {
    if (opcode >= 8) {
      if (!final || payload.length > 125 || opcode > PONG) return { texts, pongs, code: 1002 }
      if (opcode === PING) pongs.push(payload.toString('latin1'))
      if (opcode === CLOSING) return { texts, pongs, code: closed(payload) }
      continue
    }
    if (opcode > BINARY || (opcode === CONTINUATION) !== (parts !== null)) return { texts, pongs, code: 1002 }
    if (parts === null) {
      parts = []
      kind = opcode
    }
    parts.push(payload)
    if (!final) continue
    const whole: Buffer = Buffer.concat(parts)
    parts = null
    if (kind === BINARY) continue // ignored, as CometD does
    if (!isUtf8(whole)) return { texts, pongs, code: 1007 }
    texts.push(whole)
  }
  return { texts, pongs, code: null }
}

function closed(payload: Buffer): number {
  if (payload.length === 0) return 1005
  if (payload.length === 1) return 1002
  const code = payload.readUInt16BE(0)
  if (!mayBeSent(code)) return 1002
  return isUtf8(payload.subarray(2)) ? code : 1007
}

/** Whether an endpoint may close with this code: those of RFC 6455 and of its registry, and the two free ranges. */
export function mayBeSent(code: number): boolean {
  if (code >= 3000) return code <= 4999
  return code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006
}
