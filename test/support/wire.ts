// Raw clients for tests: an HTTP request and a WebSocket with nothing between the test and the bytes.

import http from 'node:http'
import net from 'node:net'
import WebSocket from 'ws'

export interface HttpAnswer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

export interface HttpCall {
  readonly answer: Promise<HttpAnswer>
  /** Breaks the connection. */
  cut(): void
}

const agent = new http.Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })

/** Begins a request; the answer comes when it comes. */
export function request(url: string, options: http.RequestOptions, body: string | Buffer | null): HttpCall {
  const sent = http.request(url, { agent, ...options })
  const answer = new Promise<HttpAnswer>((resolve, reject) => {
    sent.on('error', reject)
    sent.on('response', response => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks).toString() }),
      )
    })
  })
  answer.catch(() => {}) // of a request that was cut
  sent.end(body ?? undefined)
  return { answer, cut: () => void sent.destroy() }
}

/** One POST to the end. */
export function post(url: string, body: string | Buffer, headers: http.OutgoingHttpHeaders = {}): Promise<HttpAnswer> {
  return request(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers } }, body).answer
}

/** One GET to the end. */
export function get(url: string, headers: http.OutgoingHttpHeaders = {}): Promise<HttpAnswer> {
  return request(url, { method: 'GET', headers }, null).answer
}

/** Writes bytes to the server of `url` and gives all that it answers until it closes. */
export function rawHttp(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = net.connect(Number(port), hostname, () => socket.write(bytes))
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => {
      answer += text
    })
    socket.on('error', error => (answer === '' ? reject(error) : resolve(answer)))
    socket.on('close', () => resolve(answer))
  })
}

/** A WebSocket that keeps what it gets until it is asked for. */
export class WireSocket {
  readonly frames: string[] = []
  readonly ws: WebSocket
  /** The code of its end; null while it is open. */
  code: number | null = null
  readonly closed: Promise<number>

  constructor(url: string, headers: Record<string, string> = {}, protocols: string[] = []) {
    this.ws = new WebSocket(url.replace(/^http/, 'ws'), protocols, { headers, perMessageDeflate: false })
    this.ws.on('message', data => this.frames.push(String(data)))
    this.ws.on('error', () => {})
    this.closed = new Promise(resolve =>
      this.ws.on('close', code => {
        this.code = code
        resolve(code)
      }),
    )
  }

  /** @throws {Error} the upgrade was refused */
  open(): Promise<this> {
    return new Promise((resolve, reject) => {
      this.ws.once('open', () => resolve(this))
      this.ws.once('error', reject)
    })
  }

  send(text: string): void {
    this.ws.send(text)
  }

  /** All that the server sent before now has come, or the socket is closed. */
  async roundTrip(): Promise<void> {
    if (this.ws.readyState !== WebSocket.OPEN) return
    const answered = new Promise<void>(resolve => this.ws.once('pong', () => resolve()))
    this.ws.ping()
    await Promise.race([answered, this.closed])
  }

  /** The next frame, parsed; waits up to 5 s for it. */
  async next(): Promise<unknown> {
    for (const end = Date.now() + 5_000; this.frames.length === 0; ) {
      if (Date.now() > end || this.code !== null)
        throw new Error(`no frame came${this.code === null ? '' : ` (closed ${this.code})`}`)
      await this.roundTrip()
      if (this.frames.length === 0) await new Promise(resolve => setTimeout(resolve, 2))
    }
    return JSON.parse(this.frames.shift()!)
  }

  cut(): void {
    this.ws.terminate()
  }
}
