// HTTP/2 of the command: what a session may cost, and when it ends.
//
// Knows: sessions, their streams, and which requests are not received in full yet. Over HTTP/1.1 Node looks after all of that itself.
// Does not know: requests and answers; they pass through Fastify, as those of HTTP/1.1 that do not take the direct road.
// Always true: a stream too many, or one that comes while the server closes, is refused in the way that a client may try again.

import { constants, type SecureServerOptions, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { Server } from 'node:tls'
import { addressKey } from '../bayeux/index.js'
import { guard } from './connections.js'

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants

/**
 * Rapid reset (CVE-2023-44487), and resets that we are made to send (CVE-2025-8671): so many streams of one session may be given up young, sooner than a held connect is, within so long; one more
 * ends the session. nghttp2 would stand 1,000 at once, which keep this thread busy for 40 ms, for 44 KB, on as many connections as there are.
 */
const MAX_RAPID = 50
const YOUNG = 1_000
const RAPID_WINDOW = 10_000

/**
 * What Node is asked to hold a client to. Not here, as it cannot be set or does not matter:
 * - CONTINUATION, PING and SETTINGS floods: nghttp2 takes 8 CONTINUATION frames a block, and 1,000 answers of its own that are not read.
 * - `unknownProtocolTimeout`: with `allowHTTP1`, what does not choose h2 is HTTP/1.1.
 */
export const http2Options = {
  allowHTTP1: true, // WebSocket, and whoever knows no HTTP/2
  settings: {
    maxConcurrentStreams: 100, // the least that RFC 9113 recommends; all tabs of a browser share one session and hold a stream each
    maxHeaderListSize: 32_768, // as much as over HTTP/1.1
  },
  maxHeaderListPairs: 128,
  maxSessionMemory: 10, // MB of answers that the client does not take; from then on it gets no new streams
  maxSessionInvalidFrames: 100, // a client that means well sends none, but a proxy may hand on those of others
  maxSessionRejectedStreams: 10, // one after another, over maxConcurrentStreams, which it was told, or over maxSessionMemory
  maxOutstandingPings: 1, // we send none
  maxSettings: 16, // entries of one SETTINGS frame; seven exist
} satisfies SecureServerOptions

export interface Http2Limits {
  /** To receive one request in full, ms. */
  readonly requestTimeout: number
  /** How long a session lives on which nothing is asked and nothing moves, ms. */
  readonly keepAliveTimeout: number
  /** Requests of one remote address that are not received in full: as many as it could have over HTTP/1.1, where each takes a connection; 0 for no limit. */
  readonly maxAddressConnections: number
}

/** One remote address, for as long as it has sessions. */
class Remote {
  sessions = 0
  /** Requests that are still coming. */
  arriving = 0
  constructor(readonly key: string) {}
}

/** What is known of a session; its streams know it too. */
class State {
  /** Open streams, and since when. */
  readonly streams = new Map<ServerHttp2Stream, number>()
  /** How many were given up young in this window, and when it began. */
  rapid = 0
  windowAt = Number.NEGATIVE_INFINITY

  constructor(
    readonly owner: Http2Sessions,
    readonly session: ServerHttp2Session,
    readonly remote: Remote,
  ) {}
}

const STATE = Symbol('state')
type Known<T> = T & { [STATE]: State }

export class Http2Sessions {
  readonly #sessions = new Set<Known<ServerHttp2Session>>()
  readonly #remotes = new Map<string, Remote>()
  /** Since when the streams have been open whose requests are still coming, the oldest first. */
  readonly #arriving = new Map<ServerHttp2Stream, number>()
  #closing = false

  /** @param now ms, never less than before */
  constructor(
    private readonly limits: Http2Limits,
    private readonly now: () => number = () => performance.now(),
  ) {}

  get open(): number {
    return this.#sessions.size
  }

  /** Steps in front of the listeners that a server has for streams now. */
  install(server: Server): void {
    server.on('session', session => this.#add(session as Known<ServerHttp2Session>))
    guard(server, 'stream', stream => this.#admits(stream as Known<ServerHttp2Stream>))
  }

  /** Resets requests that have not come in full within their time. To be called again and again. */
  look(): void {
    const late = this.now() - this.limits.requestTimeout
    for (const [stream, since] of this.#arriving) {
      if (since > late) break
      this.arrived(stream as Known<ServerHttp2Stream>)
      ;(stream as Known<ServerHttp2Stream>)[STATE].streams.delete(stream) // it is we who give it up
      stream.close(NGHTTP2_CANCEL)
    }
  }

  /** Tells all clients to go; each session ends with the last answer on it. */
  close(): void {
    this.#closing = true
    for (const session of this.#sessions) {
      session.goaway(NGHTTP2_NO_ERROR)
      if (session[STATE].streams.size === 0) session.destroy()
    }
  }

  /** The request of a stream is here, or will never be. */
  arrived(stream: Known<ServerHttp2Stream>): void {
    if (this.#arriving.delete(stream)) stream[STATE].remote.arriving--
  }

  closed(stream: Known<ServerHttp2Stream>): void {
    const state = stream[STATE]
    const now = this.now()
    this.arrived(stream)
    const since = state.streams.get(stream) ?? Number.NEGATIVE_INFINITY
    const givenUp = stream.rstCode !== NGHTTP2_NO_ERROR || !stream.headersSent
    if (givenUp && now - since < YOUNG) this.#givenUp(state, now)
    state.streams.delete(stream)
    if (this.#closing && state.streams.size === 0) state.session.destroy()
  }

  #givenUp(state: State, now: number): void {
    if (now - state.windowAt >= RAPID_WINDOW) {
      state.windowAt = now
      state.rapid = 0
    }
    if (++state.rapid > MAX_RAPID) state.session.destroy(new Error('rapid reset'), NGHTTP2_ENHANCE_YOUR_CALM)
  }

  gone(session: Known<ServerHttp2Session>): void {
    const { remote } = session[STATE]
    this.#sessions.delete(session)
    if (--remote.sessions === 0) this.#remotes.delete(remote.key)
  }

  #add(session: Known<ServerHttp2Session>): void {
    if (this.#closing) return session.destroy()
    const key = addressKey(session.socket.remoteAddress ?? '')
    const remote = this.#remotes.get(key) ?? new Remote(key)
    this.#remotes.set(key, remote)
    remote.sessions++
    session[STATE] = new State(this, session, remote)
    this.#sessions.add(session)
    session.once('close', onSessionClose)
    session.setTimeout(this.limits.keepAliveTimeout)
    session.on('timeout', onTimeout)
  }

  #admits(stream: Known<ServerHttp2Stream>): boolean {
    const session = stream.session as Known<ServerHttp2Session> | undefined
    if (session === undefined) return false // it was reset in the same breath
    const state = session[STATE]
    const now = this.now()
    const whole = stream.endAfterHeaders
    if (this.#closing || (!whole && this.#isFull(state.remote))) {
      stream.on('error', ignore) // nobody else listens to it yet
      stream.close(NGHTTP2_REFUSED_STREAM)
      if (!this.#closing) this.#givenUp(state, now)
      return false
    }
    stream[STATE] = state
    state.streams.set(stream, now)
    stream.once('close', onStreamClose)
    if (whole) return true
    state.remote.arriving++
    this.#arriving.set(stream, now)
    stream.once('end', onStreamEnd)
    return true
  }

  #isFull({ arriving }: Remote): boolean {
    const { maxAddressConnections } = this.limits
    return maxAddressConnections !== 0 && arriving >= maxAddressConnections
  }
}

function onStreamEnd(this: ServerHttp2Stream): void {
  const stream = this as Known<ServerHttp2Stream>
  stream[STATE].owner.arrived(stream)
}

function onStreamClose(this: ServerHttp2Stream): void {
  const stream = this as Known<ServerHttp2Stream>
  stream[STATE].owner.closed(stream)
}

function onSessionClose(this: ServerHttp2Session): void {
  const session = this as Known<ServerHttp2Session>
  session[STATE].owner.gone(session)
}

/** Nothing has moved for `keepAliveTimeout`: the session ends, unless all that it has open is held. */
function onTimeout(this: ServerHttp2Session): void {
  const { streams } = (this as Known<ServerHttp2Session>)[STATE]
  for (const stream of streams.keys()) if (stream.headersSent) return this.destroy() // an answer that is not taken
  if (streams.size === 0) this.destroy()
}

function ignore(): void {
  // the stream's 'close' says it
}
