// websocket transport: one text message is one envelope, both ways.
//
// Knows: frames, closing, back-pressure, idle sockets. `ws` reads, answers pings and closes; ready frames are written past it to the socket,
// which is safe while compression is off.
// Does not know: what the messages mean, which session the socket has.
// Always true: after a close has begun nothing is written; a delivery's frame is made once, whoever gets it.
// Source: protocol reference 6.

import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RawData, WebSocket } from 'ws'
import { BROWSER_ID_LENGTH, type Connection, type Ending, type FrozenMessage } from '../bayeux/index.js'
import { FrameBatch, frameOf, textFrame } from './frame.js'
import { type Host, LONGEST_TIMER, type Peer } from './host.js'
import { randomId } from './id.js'
import type { PollingContext } from './polling.js'

/** A socket with more unsent bytes than this gets no deliveries and is not read until it drains; messages wait in the session's bounded queue. */
const HIGH_WATER = 1_048_576
/** How often sockets are looked at within `ws.idleTimeout`: one that is silent is closed at most a tenth of it late. */
const LOOKS = 10
/** So many times as long may one write take. */
const SLOW = 4
/** So much is read of one socket before others have their turn, bytes: Node would read two MiB, of hundreds of thousands of frames. */
const TURN = 65_536
/** More frames that say nothing (pings, pongs, keep-alives) within so many ms are an attack. */
const MANY_NOTHINGS = 5_000
const NOTHINGS_TIME = 10_000
/** What is tolerated and says nothing: empty text, null, and Faye's keep-alive (DEV-8). */
const NOTHING = /^\s*(?:null|\[\s*\])?\s*$/

const CLOSINGS: Readonly<Record<Ending, readonly [code: number, reason: string]>> = {
  malformed: [1011, 'malformed envelope'],
  too_deep: [1011, 'nested too deep'],
  too_many_keys: [1011, 'too many keys'],
  failed: [1011, 'server error'],
  too_many_messages: [1009, 'too many messages'],
  superseded: [1000, 'superseded'],
  destroyed: [1000, 'Destroy'],
  removed: [1000, 'session removed'],
  rate_limited: [1008, 'rate limited'],
  going_away: [1001, 'going away'],
}

const PEER = Symbol('peer')
type Peered = { [PEER]: SocketPeer }

/** All Bayeux sockets of one server. */
export class WebSockets {
  readonly #peers = new Set<SocketPeer>()
  readonly #issued = new WeakMap<IncomingMessage, { readonly browser: string; readonly secure: boolean }>()
  /** Looks for silent sockets; one timer for all, as one for each would take a tenth of a session's memory. */
  #looking: NodeJS.Timeout | undefined
  readonly host: Host
  readonly batch = new FrameBatch()
  readonly messagesPerFrame: number
  readonly maxMessageSize: number

  /** @param maxMessageSize in bytes */
  constructor(
    readonly server: PollingContext,
    maxMessageSize: number,
  ) {
    this.host = server.host
    this.maxMessageSize = maxMessageSize
    this.messagesPerFrame = server.options['ws.messagesPerFrame']
    const idleTimeout = server.options['ws.idleTimeout']
    if (idleTimeout > 0)
      this.#looking = setInterval(() => this.#look(), Math.min(LONGEST_TIMER, Math.ceil(idleTimeout / LOOKS))).unref()
  }

  /** Takes over a socket that was upgraded. Nothing of its request stays alive: neither Node's nor Fastify's half, nor a listener that holds them. */
  accept(ws: WebSocket, request: FastifyRequest, reply: FastifyReply): void {
    const { server } = this
    ws.removeAllListeners('error')
    const socket: Socket | undefined = request.raw.socket // `injectWS` has none
    if (socket !== undefined) reply.raw.detachSocket(socket)
    const peer = new SocketPeer(this, ws, socket ?? null, server.tokenIn(request.headers))
    peer.connection = this.host.open(
      {
        transport: 'websocket',
        browser: server.cookie.read(request.headers.cookie),
        issued: this.#issued.get(request.raw)?.browser ?? null,
        address: request.ip ?? '', // `injectWS` has none
        http2: false,
        context: server.context(request),
      },
      peer,
    )
    this.#peers.add(peer)
    ;(ws as WebSocket & Peered)[PEER] = peer
    ws.on('message', onMessage)
    ws.on('ping', onNothing)
    ws.on('pong', onNothing)
    ws.on('close', onClose)
    ws.on('error', onError)
    if (socket === undefined) return
    ;(socket as Socket & Peered)[PEER] = peer
    socket.on('data', onData)
  }

  /** A browser that has no cookie gets one with the answer to its upgrade, since its session may have to go on over HTTP. Others send no origin. */
  greet(request: FastifyRequest): void {
    const { origin, cookie } = request.headers
    if (origin === undefined || this.server.cookie.read(cookie) !== null) return
    this.#issued.set(request.raw, { browser: randomId().slice(0, BROWSER_ID_LENGTH), secure: request.protocol === 'https' })
  }

  /** Adds to the headers of the answer to an upgrade. */
  sign(headers: string[], request: IncomingMessage): void {
    const issued = this.#issued.get(request)
    if (issued !== undefined) headers.push(`Set-Cookie: ${this.server.cookie.header(issued.browser, issued.secure)}`)
  }

  forget(peer: SocketPeer): void {
    this.#peers.delete(peer)
  }

  /** Closes all sockets: the server is going away. */
  close(): void {
    clearInterval(this.#looking)
    for (const peer of this.#peers) peer.close(1001, 'going away')
  }

  #look(): void {
    for (const peer of this.#peers) peer.look()
  }
}

class SocketPeer implements Peer {
  connection!: Connection
  /** Where ready frames are written; null where `ws` must make them, for compression or for want of a socket. */
  readonly #ready: Socket | null
  #turnBytes = 0
  /** Frames that said nothing, and since when they are counted. */
  #nothings = 0
  #nothingsFrom = performance.now()
  /** Bytes that had come or left at the last look, and how many looks have found the same. */
  #moved = 0
  #silentLooks = 0

  constructor(
    private readonly sockets: WebSockets,
    private readonly ws: WebSocket,
    private readonly socket: Socket | null,
    readonly token: string | null,
  ) {
    this.#ready = ws.extensions === '' ? socket : null
  }

  get writable(): boolean {
    return this.ws.readyState === this.ws.OPEN && this.socket?.writable !== false
  }

  receive(data: RawData): void {
    // `ws` has the same limit, unless the application registered it with limits of its own
    if ((data as Buffer).length > this.sockets.maxMessageSize) {
      this.tooBig()
      return this.close(1009, 'message too big')
    }
    const text = String(data)
    if (text.length < 16 && NOTHING.test(text)) return this.nothing()
    if (this.connection.open) this.sockets.host.receive(this.connection, [text])
  }

  /** A frame has come that says nothing. */
  nothing(): void {
    if (++this.#nothings <= MANY_NOTHINGS) return
    const now = performance.now()
    const tooFast = now - this.#nothingsFrom < NOTHINGS_TIME
    this.#nothings = 0
    this.#nothingsFrom = now
    if (!tooFast || !this.writable) return
    this.sockets.host.limited('maxMessageRate', this.connection.address)
    this.end('rate_limited')
  }

  /** Bytes were read. Who sends on and on after a close is cut. */
  took(bytes: number): void {
    this.#turnBytes += bytes
    if (this.#turnBytes < TURN) return
    this.#turnBytes = 0
    if (!this.writable) return this.ws.terminate()
    this.ws.pause()
    setImmediate(() => this.#read())
  }

  write(_connection: Connection, head: string, messages: readonly FrozenMessage[], tail: string, together: boolean): void {
    if (!this.writable) return
    const texts = (head === '' ? 0 : 1) + (tail === '' ? 0 : 1)
    if (together) this.#text(`[${[...messages.map(message => message.json), tail].filter(json => json !== '').join(',')}]`)
    else if (texts === 0) this.#messages(messages)
    else if (texts === 1 && messages.length === 0) this.#text(`[${head}${tail}]`)
    else {
      this.socket?.cork()
      this.#frames(head, messages, tail)
      this.socket?.uncork()
    }
    if (this.socket !== null && !this.connection.congested && this.#unsent > HIGH_WATER) this.#waitForDrain()
  }

  /** Bytes that are written and have not left. `ws` itself has some only where it makes the frames. */
  get #unsent(): number {
    return this.#ready === null ? this.ws.bufferedAmount : this.#ready.writableLength
  }

  tooBig(): void {
    this.sockets.host.limited('maxMessageSize', this.connection.address)
  }

  end(ending: Ending): void {
    const [code, reason] = CLOSINGS[ending]
    this.close(code, reason)
  }

  close(code: number, reason: string): void {
    this.ws.close(code, reason)
  }

  pause(): void {
    this.#read()
  }

  /** Closes the socket when nothing has moved on it for `ws.idleTimeout`. */
  look(): void {
    if (this.socket === null) return
    const moved = this.socket.bytesRead + this.socket.bytesWritten - this.socket.writableLength
    this.#silentLooks = moved === this.#moved ? this.#silentLooks + 1 : 0
    this.#moved = moved
    // what is on its way to a slow client is seen to move only when all of it has left
    if (this.#silentLooks >= LOOKS * (this.socket.writableLength > 0 ? SLOW : 1)) this.close(1000, 'idle')
  }

  /** Reads on unless the engine has too much waiting, or the peer takes nothing: its replies would pile up. */
  #read(): void {
    if (this.connection.paused || this.connection.congested) this.ws.pause()
    else this.ws.resume()
  }

  lost(): void {
    this.sockets.forget(this)
    this.sockets.host.lost(this.connection)
  }

  #frames(head: string, messages: readonly FrozenMessage[], tail: string): void {
    if (head !== '') this.#text(`[${head}]`)
    this.#messages(messages)
    if (tail !== '') this.#text(`[${tail}]`)
  }

  /** All in one write. */
  #messages(messages: readonly FrozenMessage[]): void {
    const { messagesPerFrame: perFrame, batch } = this.sockets
    const isReady = perFrame === 1 && this.#ready !== null
    if (isReady && messages.length > 1 && batch.write(this.#ready, messages)) return
    const isOne = messages.length <= perFrame
    if (!isOne) this.socket?.cork()
    for (let i = 0; i < messages.length; i += perFrame) {
      if (isReady) this.#ready.write(frameOf(messages[i]!))
      else this.#text(envelopeOf(messages.slice(i, i + perFrame)))
    }
    if (!isOne) this.socket?.uncork()
  }

  #text(text: string): void {
    if (this.#ready === null) this.ws.send(text, () => this.#relieve())
    else this.#ready.write(textFrame(text))
  }

  #waitForDrain(): void {
    const { host } = this.sockets
    host.engine.congested(this.connection, true)
    this.#read()
    this.#ready?.once('drain', () => this.#relieve())
  }

  /** Something has left. Where `ws` compresses, its socket may never be full and drain: what it has sent is then the sign. */
  #relieve(): void {
    if (!this.connection.congested || this.#unsent > HIGH_WATER) return
    this.sockets.host.engine.congested(this.connection, false)
    this.#read()
  }
}

function envelopeOf(messages: readonly FrozenMessage[]): string {
  return `[${messages.map(message => message.json).join(',')}]`
}

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  const peer = (this as WebSocket & Peered)[PEER]
  if (isBinary) peer.nothing()
  else peer.receive(data)
}

function onNothing(this: WebSocket): void {
  ;(this as WebSocket & Peered)[PEER].nothing()
}

function onData(this: Socket, chunk: Buffer): void {
  ;(this as Socket & Peered)[PEER].took(chunk.length)
}

function onClose(this: WebSocket): void {
  ;(this as WebSocket & Peered)[PEER].lost()
}

/** A broken frame or socket: `ws` closes it with the right code and says so with 'close'. */
function onError(this: WebSocket, error: NodeJS.ErrnoException): void {
  if (error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') (this as WebSocket & Peered)[PEER].tooBig()
}
