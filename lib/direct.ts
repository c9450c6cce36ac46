// The direct road of long-polling: POSTs are taken off the server before Fastify sees them, and answered with nothing but Node's own request
// and response, which then are all that a held connect keeps alive.
//
// Knows: which requests may take it, how a body is read with a limit, what a proxy in front says of its client.
// Does not know: hooks of the application, which do not see these requests; that is why the road is opened by whoever knows that there are none.
// Always true: an answer is the same, header for header, as on the road through Fastify (the transcripts are played on both).
// Source: protocol reference 5.2 to 5.4.

import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import proxyAddr from '@fastify/proxy-addr'
import { readBody } from './body.js'
import { Pieces } from './pieces.js'
import { answerEmpty, type HeaderList, type PollingContext, receive } from './polling.js'

/** Shared by all that have none. */
const NO_HEADERS = {}
const NO_RAW_HEADERS: string[] = []

/** Whether the `hop`th sender of a request, the nearest being 0, is a proxy of ours; the form of Fastify's `trustProxy`. */
export type Trust = (address: string, hop: number) => boolean

type RequestListener = (request: IncomingMessage, response: ServerResponse) => void

/** A POST whose body is still coming. */
class Reading {
  readonly pieces: Pieces

  constructor(
    readonly road: DirectRoad,
    readonly response: ServerResponse,
    limit: number,
  ) {
    this.pieces = new Pieces(limit)
  }
}

const READING = Symbol('reading')
type ReadRequest = IncomingMessage & { [READING]: Reading | null }

export class DirectRoad {
  #open = true

  /**
   * @param path where the server is mounted, prefixes of the application included
   * @param bodyLimit in bytes
   * @param trust the proxies whose X-Forwarded headers are believed; null for none
   */
  constructor(
    private readonly server: PollingContext,
    private readonly path: string,
    private readonly bodyLimit: number,
    private readonly trust: Trust | null,
    private readonly fault: (error: unknown) => void,
  ) {}

  /** Steps in front of the listeners that a server has for requests now. They get what the direct road does not take. */
  install(server: Server): void {
    const others = server.listeners('request') as RequestListener[]
    for (const other of others) server.removeListener('request', other)
    server.prependListener('request', (request, response) => {
      if (this.#open && this.#takes(request)) this.#read(request, response)
      else for (const other of others) other.call(server, request, response)
    })
  }

  /** From now on Fastify gets all requests: it knows how a server says that it is closing. */
  close(): void {
    this.#open = false
  }

  #takes({ method, url, httpVersionMajor }: IncomingMessage): boolean {
    const { path } = this
    if (method !== 'POST' || httpVersionMajor !== 1 || !url!.startsWith(path)) return false
    const next = url!.charCodeAt(path.length)
    return Number.isNaN(next) || next === 0x2f || next === 0x3f // the path itself, or a `/` or `?` behind it
  }

  #read(request: IncomingMessage, response: ServerResponse): void {
    if (Number(request.headers['content-length']) > this.bodyLimit) return this.refuseBody(request, response, 'too_large')
    ;(request as ReadRequest)[READING] = new Reading(this, response, this.bodyLimit)
    request.on('data', onData)
    request.on('end', onEnd)
  }

  /** The client may go on to send what is not wanted: its connection ends with the answer. */
  refuseBody(request: IncomingMessage, response: ServerResponse, why: 'too_large' | 'crumbs'): void {
    if (why === 'too_large') this.server.host.limited('maxMessageSize', this.#address(request))
    answerEmpty(response, why === 'too_large' ? 413 : 400, '', ['Connection', 'close'])
  }

  /** Answers a request whose body is complete. */
  answer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    try {
      this.#answer(request, response, body)
    } catch (error) {
      this.fault(error)
      if (!response.headersSent) answerEmpty(response, 500, '', null)
    }
  }

  #answer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const { server } = this
    const { origin } = request.headers
    const judged = server.origins.judge(origin, this.#host(request))
    if (judged === 'refused') return answerEmpty(response, 403, '', null)
    const headers: HeaderList | null = judged === 'allowed' ? Object.entries(server.origins.headers(origin!)).flat() : null
    const texts = readBody(body, request.headers['content-type'] ?? '')
    if (texts === null || !server.allowed.includes('long-polling')) return answerEmpty(response, 400, '', headers)
    const arrival = { request, response, address: this.#address(request), secure: this.#secure(request), context: null, headers }
    receive(server, arrival, 'long-polling', texts, null)
    if (!response.headersSent) slim(request)
  }

  #host(request: IncomingMessage): string {
    return (this.#proxied(request) ? last(request.headers['x-forwarded-host']) : '') || (request.headers.host ?? '')
  }

  /** The nearest address that is none of the proxies': what is farther away, anybody may have written. */
  #address(request: IncomingMessage): string {
    return (this.trust === null ? request.socket.remoteAddress : proxyAddr(request, this.trust)) ?? ''
  }

  #proxied({ socket }: IncomingMessage): boolean {
    return this.trust?.(socket.remoteAddress ?? '', 0) === true
  }

  #secure(request: IncomingMessage): boolean {
    const { headers, socket } = request
    const proto = this.#proxied(request) ? last(headers['x-forwarded-proto']) : ''
    return proto === '' ? (socket as TLSSocket).encrypted === true : proto === 'https'
  }
}

function onData(this: IncomingMessage, piece: Buffer): void {
  const request = this as ReadRequest
  const reading = request[READING]
  if (reading === null) return
  const refused = reading.pieces.add(piece)
  if (refused === null) return
  request[READING] = null
  reading.road.refuseBody(request, reading.response, refused)
}

function onEnd(this: IncomingMessage): void {
  const request = this as ReadRequest
  const reading = request[READING]
  if (reading === null) return
  request[READING] = null // a held connect keeps its request, but need not keep its body
  const { pieces, road, response } = reading
  road.answer(request, response, pieces.body())
}

/** Takes from the request of a held connect what nobody reads any more: it is a third of what the request keeps. */
function slim(request: IncomingMessage): void {
  request.removeListener('data', onData)
  request.removeListener('end', onEnd)
  request.headers = NO_HEADERS
  request.rawHeaders = NO_RAW_HEADERS
}

/** The entry that the nearest proxy has written. */
function last(header: string | string[] | undefined): string {
  return String(header ?? '')
    .split(',')
    .at(-1)!
    .trim()
}
