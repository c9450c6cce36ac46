// A client of HTTP/2 for tests: Node's own, and one that writes frames as nobody should.

import { once } from 'node:events'
import http2 from 'node:http2'
import { connect, type TLSSocket } from 'node:tls'

export interface Answer {
  readonly status: number
  readonly headers: http2.IncomingHttpHeaders
  readonly body: string
  /** Of RST_STREAM; 0 where the stream ended well. */
  readonly code: number
}

export interface Call {
  readonly stream: http2.ClientHttp2Stream
  readonly answer: Promise<Answer>
}

/** One session of HTTP/2 with a server on 127.0.0.1. */
export class Session {
  #cookie = ''

  private constructor(readonly session: http2.ClientHttp2Session) {}

  static async open(
    t: { teardown(end: () => void): void },
    port: number,
    options: http2.SecureClientSessionOptions = {},
  ): Promise<Session> {
    const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false, ...options })
    t.teardown(() => session.destroy())
    await once(session, 'connect')
    session.on('error', () => {}) // its streams tell
    return new Session(session)
  }

  /** Begins a request, with the cookie that the server gave; without a body it stays open. */
  begin(headers: http2.OutgoingHttpHeaders, body: string | null): Call {
    const cookie = this.#cookie === '' ? {} : { cookie: this.#cookie }
    const stream = this.session.request({ ':path': '/cometd', ...cookie, ...headers }, { endStream: body === '' })
    if (body !== null && body !== '') stream.end(body)
    let text = ''
    let got: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {}
    stream.setEncoding('utf8')
    stream.on('data', chunk => {
      text += chunk
    })
    stream.on('response', answered => {
      got = answered
      this.#cookie = answered['set-cookie']?.[0]?.split(';', 1)[0] ?? this.#cookie
    })
    stream.on('error', () => {}) // its code tells
    const answer = new Promise<Answer>(resolve => {
      stream.on('close', () => resolve({ status: got[':status'] ?? 0, headers: got, body: text, code: stream.rstCode ?? 0 }))
    })
    return { stream, answer }
  }

  post(messages: readonly object[]): Call {
    return this.begin({ ':method': 'POST', 'content-type': 'application/json' }, JSON.stringify(messages))
  }

  async say(...messages: readonly object[]): Promise<Record<string, unknown>[]> {
    return JSON.parse((await this.post(messages).answer).body) as Record<string, unknown>[]
  }

  /** Handshake and first connect. @returns the clientId */
  async join(): Promise<string> {
    const [reply] = await this.say({ channel: '/meta/handshake', id: '1', supportedConnectionTypes: ['long-polling'] })
    const clientId = reply!['clientId'] as string
    await this.say({ channel: '/meta/connect', id: '2', clientId })
    return clientId
  }
}

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
export const FRAME = { headers: 1, reset: 3, settings: 4, ping: 6, continuation: 9 } as const
export const END_STREAM = 1
export const END_HEADERS = 4

export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** Headers of a request for `/cometd`, by HPACK without Huffman and without the dynamic table. */
export function requestBlock(method: 'GET' | 'POST'): Buffer {
  const text = (name: number, value: string): Buffer => Buffer.concat([Buffer.from([name, value.length]), Buffer.from(value)])
  return Buffer.concat([Buffer.from([method === 'GET' ? 0x82 : 0x83, 0x87]), text(4, '/cometd'), text(1, 'localhost')])
}

/** A connection that has said it speaks HTTP/2, and reads whatever comes. */
export async function bareSession(t: { teardown(end: () => void): void }, port: number): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] })
  t.teardown(() => void socket.destroy())
  await once(socket, 'secureConnect')
  socket.on('error', () => {})
  socket.resume()
  socket.write(Buffer.concat([Buffer.from(PREFACE), frame(FRAME.settings, 0, 0, Buffer.alloc(0))]))
  return socket
}
