// long-polling and callback-polling: one HTTP request is one connection, its response carries everything.
//
// Knows: which requests are Bayeux, what an answer looks like on the wire, how a lost request is noticed.
// Does not know: what the messages mean; the engine decides what is answered and when.
// Always true: a status other than 200 has an empty body; nothing is sent before the answer.
// Source: protocol reference 5.

import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeader, ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Connection, Ending, FrozenMessage, Transport } from '../bayeux/index.js'
import { messageFields, readBody } from './body.js'
import { callbackOf, callbackScript } from './callback.js'
import type { BrowserCookie } from './cookie.js'
import type { Host, Peer } from './host.js'
import type { TransportOptions } from './options.js'
import type { Origins } from './origin.js'

const JSON_TYPE = 'application/json;charset=UTF-8'
const SCRIPT_TYPE = 'text/javascript;charset=UTF-8'
const NO_CACHE = 'no-cache, no-store'

/** Status and reason phrase of a refused envelope; the body stays empty, since some clients parse any body. */
const REFUSALS = {
  malformed: [400, 'Malformed Envelope'],
  too_deep: [400, 'Nested Too Deep'],
  too_many_keys: [400, 'Too Many Keys'],
  failed: [500, 'Internal Server Error'],
  too_many_messages: [413, 'Too Many Messages'],
  rate_limited: [429, 'Too Many Requests'],
} as const

/** No more than this do the kernel's buffers take of an answer that nobody reads, in characters. */
const LARGE = 65_536

/** Headers of an answer that no hook of the application changes. */
const OURS = new Set(['content-type', 'content-length', 'cache-control'])

/** Names and values in turn: the form in which Node writes headers without another copy. */
export type HeaderList = readonly OutgoingHttpHeader[]

const PEER = Symbol('peer')
type PeerResponse = ServerResponse & { [PEER]: PollingPeer }

/** What polling needs to know of the server that it serves. */
export interface PollingContext {
  readonly host: Host
  readonly options: TransportOptions
  readonly allowed: readonly string[]
  readonly cookie: BrowserCookie
  readonly origins: Origins
  /** The token in a request's headers; null for none, or where tokens are not asked for. */
  readonly tokenIn: (headers: IncomingHttpHeaders) => string | null
  readonly context: (request: FastifyRequest) => unknown
  /** How long a client may take to read a large answer, ms. */
  readonly answerTimeout: () => number
}

/** A request that asks for an answer by polling, whoever has read it. */
export interface Arrival {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly address: string
  readonly secure: boolean
  /** What the application wants to know of it. */
  readonly context: unknown
  /** What CORS and hooks of the application add to the answer's headers; null for nothing. */
  readonly headers: HeaderList | null
}

/** Answers one request at the Bayeux path that is not a WebSocket upgrade (protocol reference 5.2). */
export function poll(server: PollingContext, request: FastifyRequest, reply: FastifyReply): void {
  const { origins, options } = server
  const { origin } = request.headers
  const query = request.method === 'GET' ? queryOf(request) : ''
  const callback = query === '' ? null : callbackOf(query, options.callbackParameter, options.callbackParameterMaxLength)
  if (callback !== null && origin === undefined && !origins.admitsCallback(request.headers, request.host))
    return refuse(reply, 403)
  const judged = origins.judge(origin, request.host)
  if (judged === 'refused') return refuse(reply, 403)
  if (judged === 'allowed') reply.headers(origins.headers(origin!, reply.getHeader('vary')))
  if (request.method === 'OPTIONS') return preflight(server, request, reply, judged === 'allowed')
  if (request.method === 'POST') {
    const texts = readBody(bodyOf(request), request.headers['content-type'] ?? '')
    return accept(server, request, reply, 'long-polling', texts, null)
  }
  if (callback === null) return refuse(reply, 400)
  accept(server, request, reply, 'callback-polling', messageFields(query), callback)
}

function accept(
  server: PollingContext,
  request: FastifyRequest,
  reply: FastifyReply,
  transport: Transport,
  texts: string[] | null,
  callback: string | null,
): void {
  if (texts === null || !server.allowed.includes(transport)) return refuse(reply, 400)
  const arrival: Arrival = {
    request: request.raw,
    response: reply.raw,
    address: request.ip ?? '', // of a client that has gone already there is none
    secure: request.protocol === 'https',
    context: server.context(request),
    headers: headerList(reply.getHeaders()),
  }
  reply.hijack()
  receive(server, arrival, transport, texts, callback)
}

/** Gives what a request carries to the engine, whose answer ends it. Nothing of the arrival but the response is kept for a held connect. */
export function receive(
  server: PollingContext,
  { request, response, address, secure, context, headers }: Arrival,
  transport: Transport,
  texts: string[],
  callback: string | null,
): void {
  const peer = new PollingPeer(server, response, callback, secure, headers)
  const browser = server.cookie.read(request.headers.cookie)
  peer.connection = server.host.open({ transport, browser, address, http2: request.httpVersionMajor > 1, context }, peer)
  server.host.receive(peer.connection, texts)
  if (peer.answered) return
  ;(response as PeerResponse)[PEER] = peer
  response.on('close', onClose)
}

function onClose(this: ServerResponse): void {
  ;(this as PeerResponse)[PEER].closed()
}

class PollingPeer implements Peer {
  answered = false
  connection!: Connection

  constructor(
    private readonly server: PollingContext,
    private readonly response: ServerResponse,
    private readonly callback: string | null,
    private readonly secure: boolean,
    private readonly headers: HeaderList | null,
  ) {}

  /** A pipelined response has no socket of its own yet; the one of its request says whether it will ever have one. */
  get writable(): boolean {
    const { response } = this
    return !this.answered && !response.headersSent && !response.destroyed && !(response.socket ?? response.req.socket)?.destroyed
  }

  /** A handshake is judged before anything is taken from its request. */
  get token(): string | null {
    return this.server.tokenIn(this.response.req.headers)
  }

  write(connection: Connection, head: string, messages: readonly FrozenMessage[], tail: string): void {
    let json = `[${head}`
    for (const message of messages) json += json.length === 1 ? message.json : `,${message.json}`
    if (tail !== '') json += json.length === 1 ? tail : `,${tail}`
    const body = this.callback === null ? `${json}]` : callbackScript(this.callback, `${json}]`)
    const headers: OutgoingHttpHeader[] = ['Content-Length', Buffer.byteLength(body), 'Cache-Control', NO_CACHE]
    if (this.callback === null) headers.push('Content-Type', JSON_TYPE)
    else headers.push('Content-Type', SCRIPT_TYPE, 'X-Content-Type-Options', 'nosniff')
    if (connection.browserIssued) headers.push('Set-Cookie', this.server.cookie.header(connection.browser!, this.secure))
    if (this.headers !== null) headers.push(...this.headers)
    this.response.writeHead(200, headers)
    this.answered = true
    if (body.length > LARGE) this.#endSlowly(body)
    else this.response.end(body)
  }

  /** A large answer may not be taken at once, or ever: as bytes it takes the least room meanwhile, and not for ever. */
  #endSlowly(body: string): void {
    const { response } = this
    const cut = setTimeout(() => response.destroy(), this.server.answerTimeout()).unref()
    response.once('close', () => clearTimeout(cut))
    response.end(Buffer.from(body))
  }

  end(ending: Ending): void {
    if (this.answered || this.response.headersSent) return
    this.answered = true
    if (ending in REFUSALS) {
      const [status, phrase] = REFUSALS[ending as keyof typeof REFUSALS]
      answerEmpty(this.response, status, phrase, ending === 'failed' ? null : this.headers) // which may be what failed
    } else {
      const phrase = ending === 'superseded' ? 'Duplicate Connect' : 'Session Removed'
      answerEmpty(this.response, this.server.options.duplicateMetaConnectHttpResponseCode, phrase, this.headers)
    }
  }

  pause(): void {
    // a request has one envelope: nothing more comes on it
  }

  /** The connection has ended under a request that is not answered. */
  closed(): void {
    if (!this.answered) this.server.host.lost(this.connection)
  }
}

/** Answers with a status and an empty body. @param phrase '' for the status's own */
export function answerEmpty(response: ServerResponse, status: number, phrase: string, others: HeaderList | null): void {
  const headers: OutgoingHttpHeader[] = ['Content-Length', 0, ...(others ?? [])]
  if (phrase === '' || response.req.httpVersionMajor > 1) response.writeHead(status, headers)
  else response.writeHead(status, phrase, headers)
  response.end()
}

/** Headers that are not ours to say, as a list. */
function headerList(headers: Readonly<Record<string, unknown>>): HeaderList | null {
  const list: OutgoingHttpHeader[] = []
  for (const name in headers) if (!OURS.has(name.toLowerCase())) list.push(name, headers[name] as OutgoingHttpHeader)
  return list.length === 0 ? null : list
}

function preflight(server: PollingContext, request: FastifyRequest, reply: FastifyReply, allowed: boolean): void {
  if (allowed && request.headers['access-control-request-method'] !== undefined) reply.headers(server.origins.preflightHeaders())
  refuse(reply, 200)
}

/** A status and nothing else. A body that nobody has read may have no end: its connection has one. */
export function refuse(reply: FastifyReply, status: number): void {
  const { raw, headers } = reply.request
  if (!raw.complete && raw.httpVersionMajor === 1 && (headers['transfer-encoding'] ?? headers['content-length'] ?? '0') !== '0')
    reply.header('Connection', 'close')
  reply.code(status).header('Content-Length', 0).send()
}

function bodyOf(request: FastifyRequest): Buffer {
  return Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
}

function queryOf(request: FastifyRequest): string {
  const url = request.raw.url ?? ''
  const mark = url.indexOf('?')
  return mark === -1 ? '' : url.slice(mark + 1)
}
