// What attackers say: requests and frames as bytes, and sessions that are made as a client makes them.

import { Line } from './line.js'

/** Texts that are counted in answers. */
export const OK = 'HTTP/1.1 200'
export const TAKEN = '"successful":true'
export const REFUSED = '"successful":false'
const SWITCHING = 'HTTP/1.1 101'

export const HANDSHAKE = '[{"channel":"/meta/handshake","version":"1.0"}]'

/** @param headers lines, each ended by CRLF */
export function request(method: string, path: string, headers: string, body = ''): string {
  const length = body === '' ? '' : `Content-Length: ${Buffer.byteLength(body)}\r\n`
  return `${method} ${path} HTTP/1.1\r\nHost: server\r\n${headers}${length}\r\n${body}`
}

export const post = (body: string, headers = ''): string => request('POST', '/cometd', headers, body)

export const TEXT = 1
export const CONTINUATION = 0
export const PING = 9
export const PONG = 10

/** A frame of a client, masked with zeros. */
export function frame(opcode: number, payload: string | Buffer, final = true, compressed = false): Buffer {
  const bytes = Buffer.from(payload)
  const { length } = bytes
  const header = Buffer.alloc(length < 126 ? 6 : length < 65_536 ? 8 : 14)
  header[0] = (final ? 0x80 : 0) | (compressed ? 0x40 : 0) | opcode
  header[1] = 0x80 | (length < 126 ? length : length < 65_536 ? 126 : 127)
  if (header.length === 8) header.writeUInt16BE(length, 2)
  if (header.length === 14) header.writeUInt32BE(length, 6)
  return Buffer.concat([header, bytes])
}

/** An upgraded socket. @throws {Error} it is not upgraded (as a rejection) */
export async function openSocket(port: number, wanted: readonly string[] = [], headers = ''): Promise<Line> {
  const line = new Line(port, wanted)
  const upgrade =
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
  const answer = await line.ask(request('GET', '/cometd', upgrade + headers), '\r\n\r\n')
  if (!answer.startsWith(SWITCHING)) throw new Error(answer)
  return line
}

/** A session and the line that it speaks on. */
export interface Speaker {
  readonly line: Line
  /** One envelope, as the bytes that go on the line. */
  say(messages: readonly object[]): Buffer | string
}

/** A session on a WebSocket. @throws {Error} it is refused (as a rejection) */
export async function socketSpeaker(port: number, wanted: readonly string[] = [], headers = ''): Promise<Speaker> {
  const line = await openSocket(port, wanted, headers)
  return await speakOn(line)
}

/** A new session on a socket that may have had another. @throws {Error} it is refused (as a rejection) */
export async function speakOn(line: Line): Promise<Speaker> {
  const clientId = idIn(await line.ask(frame(TEXT, HANDSHAKE), '}]'))
  return { line, say: messages => frame(TEXT, envelope(messages, clientId)) }
}

/** A session on a keep-alive connection. @throws {Error} it is refused (as a rejection) */
export async function pollingSpeaker(port: number, wanted: readonly string[] = []): Promise<Speaker> {
  const line = new Line(port, wanted)
  const answer = await line.ask(post(HANDSHAKE), '}]')
  const clientId = idIn(answer)
  const cookie = `Cookie: ${/Set-Cookie: ([^;]+)/.exec(answer)![1]}\r\n`
  return { line, say: messages => post(envelope(messages, clientId), cookie) }
}

function idIn(answer: string): string {
  const id = /"clientId":"([^"]+)"/.exec(answer)?.[1]
  if (id === undefined) throw new Error(`no session: ${answer}`)
  return id
}

function envelope(messages: readonly object[], clientId: string): string {
  return JSON.stringify(messages.map(message => ({ ...message, clientId })))
}
