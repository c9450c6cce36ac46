// long-polling and callback-polling: one HTTP request is one connection, its response carries everything.
//
// Knows: which requests are Bayeux, what an answer looks like on the wire, how a lost request is noticed.
// Does not know: what the messages mean; the engine decides what is answered and when.
// Always true: a status other than 200 has an empty body; nothing is sent before the answer.
// Source: protocol reference 5.

import type { OutgoingHttpHeader, ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Connection, Ending, FrozenMessage, Transport } from '../bayeux/index.js'
import { messageFields, readBody } from './body.js'
import { callbackOf, callbackScript } from './callback.js'
import { type BrowserCookie, readCookie } from './cookie.js'
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
  failed: [500, 'Internal Server Error'],
  too_many_messages: [413, 'Too Many Messages'],
} as const

/** Headers of an answer that no hook of the application changes. */
const OURS = new Set(['content-type', 'content-length', 'cache-control'])

/** What polling needs to know of the server that it serves. */
export interface PollingContext {
  readonly host: Host
  readonly options: TransportOptions
  readonly allowed: readonly string[]
  readonly cookie: BrowserCookie
  readonly origins: Origins
  readonly context: (request: FastifyRequest) => unknown
}

/** Answers one request at the Bayeux path that is not a WebSocket upgrade (protocol reference 5.2). */
export function poll(server: PollingContext, request: FastifyRequest, reply: FastifyReply): void {
  const { origin } = request.headers
  const judged = server.origins.judge(origin, request.host)
  if (judged === 'refused') return refuse(reply, 403)
  if (judged === 'allowed') reply.headers(server.origins.headers(origin!, reply.getHeader('vary')))
  if (request.method === 'OPTIONS') return preflight(server, request, reply, judged === 'allowed')
  if (request.method === 'POST')
    return receive(server, request, reply, 'long-polling', readBody(bodyOf(request), request.headers['content-type'] ?? ''), null)
  const query = queryOf(request)
  const callback =
    request.method === 'GET'
      ? callbackOf(query, server.options.callbackParameter, server.options.callbackParameterMaxLength)
      : null
  if (callback === null) return refuse(reply, 400)
  receive(server, request, reply, 'callback-polling', messageFields(query), callback)
}

function receive(
  server: PollingContext,
  request: FastifyRequest,
  reply: FastifyReply,
  transport: Transport,
  texts: string[] | null,
  callback: string | null,
): void {
  if (texts === null || !server.allowed.includes(transport)) return refuse(reply, 400)
  const peer = new PollingPeer(server, reply, callback, request.protocol === 'https')
  const connection = server.host.open(
    {
      transport,
      browser: readCookie(request.headers.cookie, server.cookie.name),
      address: request.ip,
      http2: request.raw.httpVersionMajor > 1,
      context: server.context(request),
    },
    peer,
  )
  reply.hijack()
  server.host.receive(connection, texts)
  if (!peer.answered) reply.raw.once('close', () => peer.answered || server.host.lost(connection))
}

class PollingPeer implements Peer {
  answered = false
  readonly #raw: ServerResponse

  constructor(
    private readonly server: PollingContext,
    private readonly reply: FastifyReply,
    private readonly callback: string | null,
    private readonly secure: boolean,
  ) {
    this.#raw = reply.raw
  }

  get writable(): boolean {
    return !this.answered && !this.#raw.destroyed && !this.#raw.socket?.destroyed
  }

  write(connection: Connection, head: string, messages: readonly FrozenMessage[], tail: string): void {
    let json = `[${head}`
    for (const message of messages) json += json.length === 1 ? message.json : `,${message.json}`
    if (tail !== '') json += json.length === 1 ? tail : `,${tail}`
    const body = this.callback === null ? `${json}]` : callbackScript(this.callback, `${json}]`)
    // names and values in turn: the form in which Node writes headers without another copy
    const headers: OutgoingHttpHeader[] = ['Content-Length', Buffer.byteLength(body), 'Cache-Control', NO_CACHE]
    if (this.callback === null) headers.push('Content-Type', JSON_TYPE)
    else headers.push('Content-Type', SCRIPT_TYPE, 'X-Content-Type-Options', 'nosniff')
    if (connection.browserIssued) headers.push('Set-Cookie', this.server.cookie.header(connection.browser!, this.secure))
    const others = this.reply.getHeaders() // what CORS and hooks of the application have set
    for (const name in others) if (!OURS.has(name.toLowerCase())) headers.push(name, others[name] as OutgoingHttpHeader)
    this.answered = true
    this.#raw.writeHead(200, headers)
    this.#raw.end(body)
  }

  end(ending: Ending): void {
    if (this.answered) return
    this.answered = true
    if (ending in REFUSALS) {
      const [status, phrase] = REFUSALS[ending as keyof typeof REFUSALS]
      this.#empty(status, phrase)
    } else
      this.#empty(
        this.server.options.duplicateMetaConnectHttpResponseCode,
        ending === 'superseded' ? 'Duplicate Connect' : 'Session Removed',
      )
  }

  pause(): void {
    // a request has one envelope: nothing more comes on it
  }

  #empty(status: number, phrase: string): void {
    const headers = { ...this.reply.getHeaders(), 'Content-Length': 0 } as Record<string, string | number>
    if (this.#raw.req.httpVersionMajor > 1) this.#raw.writeHead(status, headers)
    else this.#raw.writeHead(status, phrase, headers)
    this.#raw.end()
  }
}

function preflight(server: PollingContext, request: FastifyRequest, reply: FastifyReply, allowed: boolean): void {
  if (allowed && request.headers['access-control-request-method'] !== undefined) reply.headers(server.origins.preflightHeaders())
  refuse(reply, 200)
}

/** A status and nothing else. */
export function refuse(reply: FastifyReply, status: number): void {
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
