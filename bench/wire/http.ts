// An HTTP/1.1 client on one keep-alive connection that knows only what a benchmark needs: one request at a time, bodies by length or in chunks.

import type { Socket } from 'node:net'
import { open, type Reader } from './socket.js'

const NOTHING = Buffer.alloc(0)
const HEADER_END = Buffer.from('\r\n\r\n')
const LENGTH = Buffer.from('\r\nContent-Length: ')
const OK = Buffer.from('HTTP/1.1 200')

export interface ResponseReader {
  /** Takes one response, head `bytes[0..start)` and body `bytes[start..end)`, which are overwritten when this returns. */
  response(ok: boolean, bytes: Buffer, start: number, end: number): void
  closed(): void
}

export class HttpLink implements Reader {
  #socket!: Socket
  #rest: Buffer = NOTHING
  #busy = false
  readonly #outbox: string[] = []

  constructor(private readonly reader: ResponseReader) {}

  async connect(port: number): Promise<void> {
    this.#socket = await open(port, this)
  }

  /** Sends a request as soon as those before it are answered. */
  send(request: string): void {
    if (this.#busy) this.#outbox.push(request)
    else {
      this.#busy = true
      this.#socket.write(request, 'latin1')
    }
  }

  end(): void {
    this.#socket.destroy()
  }

  closed(): void {
    this.reader.closed()
  }

  read(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    while (bytes.length > 0) {
      const read = this.#response(bytes)
      if (read === 0) break
      bytes = bytes.subarray(read)
    }
    this.#rest = bytes.length === 0 ? NOTHING : Buffer.from(bytes)
  }

  /** Reads one response. @returns how many bytes it took; 0 when it is not complete */
  #response(bytes: Buffer): number {
    const headEnd = bytes.indexOf(HEADER_END)
    if (headEnd === -1) return 0
    const ok = bytes.compare(OK, 0, OK.length, 0, OK.length) === 0
    const start = headEnd + 4
    const lengthAt = bytes.indexOf(LENGTH)
    if (lengthAt === -1 || lengthAt > headEnd) return this.#unusual(ok, bytes, start)
    let length = 0
    for (let i = lengthAt + LENGTH.length; bytes[i]! >= 48; i++) length = length * 10 + bytes[i]! - 48
    if (bytes.length < start + length) return 0
    this.#answered(ok, bytes, start, start + length)
    return start + length
  }

  #answered(ok: boolean, bytes: Buffer, start: number, end: number): void {
    this.#busy = false
    this.reader.response(ok, bytes, start, end)
    if (!this.#busy && this.#outbox.length > 0) this.send(this.#outbox.shift()!)
  }

  /** A response whose length is spelled otherwise, or that comes in chunks. */
  #unusual(ok: boolean, bytes: Buffer, start: number): number {
    const head = bytes.toString('latin1', 0, start)
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)
    if (length !== null) {
      const end = start + Number(length[1])
      if (bytes.length < end) return 0
      this.#answered(ok, bytes, start, end)
      return end
    }
    if (!/\r\ntransfer-encoding: *chunked/i.test(head)) throw new Error(`a response without a length: ${head}`)
    const parts = [bytes.subarray(0, start)]
    for (let at = start; ; ) {
      const line = bytes.indexOf('\r\n', at, 'latin1')
      if (line === -1) return 0
      const size = Number.parseInt(bytes.toString('latin1', at, line), 16)
      const next = line + 2 + size + 2
      if (bytes.length < next) return 0
      at = next
      if (size === 0) {
        const whole = Buffer.concat(parts)
        this.#answered(ok, whole, start, whole.length)
        return next
      }
      parts.push(bytes.subarray(line + 2, line + 2 + size))
    }
  }
}

/** A whole request. @param body ASCII; @param headers lines, each ended by CRLF */
export function postRequest(port: number, path: string, body: string, headers = ''): string {
  return (
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\n${headers}` +
    `Content-Length: ${body.length}\r\n\r\n${body}`
  )
}
