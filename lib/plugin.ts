// The Fastify plugin: routes, the decorator `bayeux`, and a clean end.
//
// Knows: how the server is mounted into an application, and what must stay inside its own scope: body parsers, error answers, upgrades.
// Does not know: transports (polling.ts, websocket.ts), the API behind `bayeux` (bayeux.ts).
// Source: design of the host; protocol reference 5.1, 5.4, 6.1, 12.

import { type IncomingHttpHeaders, type IncomingMessage, METHODS, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import websocket from '@fastify/websocket'
import type {
  FastifyBaseLogger,
  FastifyError,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  FastifyServerOptions,
} from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import {
  type ChannelRules,
  type EngineOptions,
  engineOptions,
  type History,
  isOption,
  Rules,
  resolve,
  resolveFor,
  type Transport,
} from '../bayeux/index.js'
import { Bayeux } from './bayeux.js'
import { BrowserCookie, readCookie } from './cookie.js'
import { DirectRoad, type Trust } from './direct.js'
import { MarkupFilters } from './filters.js'
import { Gate } from './gate.js'
import { MemoryHistory } from './history/memory.js'
import { clock, Host } from './host.js'
import { MemoryGauge } from './memory.js'
import { pluginOptions, type TokenOptions, type TransportOptions, tokenOptions, transportOptions } from './options.js'
import { Origins } from './origin.js'
import { gather, mostFragments, mostPieces } from './pieces.js'
import { type PollingContext, poll, refuse } from './polling.js'
import { Scripts } from './scripts.js'
import { SessionStore } from './session-store.js'
import { bearerOf, MAX_LENGTH, Tokens } from './token.js'
import { WebSockets } from './websocket.js'

declare module 'fastify' {
  interface FastifyInstance {
    bayeux: Bayeux
  }
}

type ForOneTransport = {
  readonly [K in `${'ws' | 'long-polling' | 'long-polling.json' | 'long-polling.jsonp'}.${string}`]?: unknown
}

/** Options by CometD's names; see docs/options.md. */
export type PerihelionOptions = Partial<EngineOptions> &
  Partial<TransportOptions> &
  Partial<TokenOptions> &
  ForOneTransport & {
    /** Channel rules: from a channel or wildcard pattern to settings. */
    readonly channels?: ChannelRules
    /**
     * Long-polling POSTs at `path` and below it (at `/` itself where that is the path) are answered without Fastify: cheaper, and a held connect keeps less. Neither hooks of the
     * application see them, nor its own routes below `path`, nor Fastify's `trustProxy`, which is said here. Not together with `context`, which wants
     * Fastify's request. By default false.
     */
    readonly direct?: boolean | { readonly trustProxy: Trust | null }
    /** What to keep of a request for the policy (`facts.context`); by default nothing. On a WebSocket it is kept as long as the socket. */
    readonly context?: (request: FastifyRequest) => unknown
  }

/**
 * Mounts a Bayeux server at `path` and decorates the application with `bayeux`.
 *
 * @throws {BayeuxError} OPTION_UNKNOWN, OPTION_INVALID, RULE_INVALID, when the plugin is registered
 */
export const perihelion = fastifyPlugin(register, { name: 'perihelion', fastify: '5.x' })

async function register(app: FastifyInstance, options: PerihelionOptions): Promise<void> {
  const { channels = {}, direct = false, context, ...rest } = options
  const given: Readonly<Record<string, unknown>> = withoutFastifys(rest)
  resolve(pluginOptions, given)
  const own = pick(given, transportOptions)
  const settings = resolve(transportOptions, own)
  const engineSettings = resolve(engineOptions, pick(given, engineOptions))
  const { maxInterval } = resolveFor(engineOptions, pick(given, engineOptions), 'long-polling')
  const tokenSettings = resolve(tokenOptions, pick(given, tokenOptions))
  const tokens = tokensOf(tokenSettings, app.log)
  const log = app.log.child({ part: 'bayeux' })
  const history = await historyOf(settings, engineSettings.dedupeWindow, (through, error) => {
    if (error !== null) log.error({ err: error }, 'the history could not be written')
    host.kept(through, error)
  })
  const host = new Host(pick(given, engineOptions), channels, settings.policyTimeout, history)
  const server: PollingContext = {
    host,
    options: settings,
    allowed: engineSettings.allowedTransports,
    cookie: new BrowserCookie(settings),
    origins: new Origins(settings),
    tokenIn: tokens === null ? () => null : headers => tokenIn(headers, tokenSettings.tokenCookie),
    context: context ?? (() => null),
    answerTimeout: () => Math.max(app.server.requestTimeout || REQUEST_TIMEOUT, maxInterval),
  }
  const filters = new MarkupFilters()
  const scripts = new Scripts()
  await filters.load(new Rules(channels))
  app.decorate(
    'bayeux',
    new Bayeux(host, log, settings.path, new Gate(tokens, tokenSettings.tokenRequired), filters, name =>
      scripts.find(name, app.prefix + settings.path),
    ),
  )
  if (engineSettings.trusted) log.warn('trusted: limits per address and per second are lifted')

  const sockets = server.allowed.includes('websocket') ? new WebSockets(server, maxMessageSize(own, 'websocket')) : null
  const road = direct && context === undefined ? directRoad(app, server, direct, maxMessageSize(own, 'long-polling')) : null
  const gauge = new MemoryGauge(settings, level => {
    host.shed(level)
    log[level === 'ok' ? 'info' : 'warn'](
      { memory: level },
      level === 'ok' ? 'memory is enough again' : 'short of memory: new sessions are refused',
    )
  })
  gauge.start()
  app.addHook('onClose', async () => gauge.stop())
  // before the sockets' own hook, which waits until their clients have closed
  app.addHook('preClose', async () => {
    await host.drain(settings.drainTimeout)
    road?.close()
    host.close()
    sockets?.close()
  })
  const store = settings.sessionStore === '' ? null : new SessionStore(settings.sessionStore)
  if (store !== null) {
    app.addHook('onReady', async () => {
      try {
        log.info({ sessions: host.restore(await store.take()) }, 'sessions go on')
      } catch (error) {
        log.error({ err: error }, 'the sessions of the process before are lost')
      }
    })
    app.addHook('onClose', async () => {
      await store.save(host.save()).catch((error: unknown) => log.error({ err: error }, 'the sessions are lost'))
    })
  }
  app.addHook('onClose', () => history.close())
  if (sockets !== null && !app.hasDecorator('websocketServer'))
    await registerWebSocket(app, settings, maxMessageSize(own, 'websocket'))
  if (sockets !== null) app.websocketServer.on('headers', (headers, request) => sockets.sign(headers, request))
  await app.register((child, _options, done) => {
    mount(child, server, sockets, maxMessageSize(own, 'long-polling'))
    if (settings.scripts) scripts.mount(child, settings.path)
    done()
  })
}

/** Positions of a process begin behind all that one before may have given, if that gave no more a ms on average. They stay whole numbers until 2255. */
const POSITIONS_PER_MS = 1_000

/** LMDB is loaded where it is used: it is native code. @throws {BayeuxError} HISTORY_UNUSABLE */
async function historyOf(
  { historyDir, maxHistory, maxHistoryBytes }: TransportOptions,
  dedupeWindow: number,
  kept: (through: number, error: Error | null) => void,
): Promise<History> {
  const first = Math.floor(Date.now() * POSITIONS_PER_MS)
  if (historyDir === '') return new MemoryHistory({ messages: maxHistory, bytes: maxHistoryBytes }, first)
  const { LmdbHistory } = await import('./history/lmdb.js')
  return new LmdbHistory(historyDir, kept, { now: clock(), first, keyWindow: dedupeWindow })
}

/** @returns null where no key is configured */
function tokensOf(settings: TokenOptions, log: FastifyBaseLogger): Tokens | null {
  const keysFailed = (error: unknown): void => log.error({ err: error }, 'the keys of tokenJwksUrl cannot be fetched')
  const tokens = new Tokens(settings, { keysFailed })
  return tokens.enabled ? tokens : null
}

function tokenIn(headers: IncomingHttpHeaders, cookie: string): string | null {
  const token = bearerOf(headers.authorization) ?? (cookie === '' ? null : readCookie(headers.cookie, cookie))
  return token === null || token.length <= MAX_LENGTH ? token : '' // which is none that holds; a socket keeps what it came with
}

function directRoad(
  app: FastifyInstance,
  server: PollingContext,
  direct: true | { readonly trustProxy: Trust | null },
  bodyLimit: number,
): DirectRoad {
  const trustProxy = direct === true ? null : direct.trustProxy
  const path = app.prefix + server.options.path
  const road = new DirectRoad(server, path, bodyLimit, trustProxy, error => app.log.error({ err: error }, 'request failed'))
  road.install(app.server)
  return road
}

const MEDIA_TYPE = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+(?:\s*;.*)?$/

function mount(child: FastifyInstance, server: PollingContext, sockets: WebSockets | null, bodyLimit: number): void {
  child.removeAllContentTypeParsers()
  child.addContentTypeParser('*', (request, payload, done) => {
    if (request.method !== 'POST') return done(null) // nobody looks at it
    if (Number(request.headers['content-length']) > bodyLimit) return done(refusedBody('too_large'))
    gather(payload, bodyLimit, (refused, body) => (refused === null ? done(null, body) : done(refusedBody(refused))))
  })
  child.setErrorHandler((error: FastifyError, request, reply) => {
    if (error.statusCode === 413) server.host.limited('maxMessageSize', request.ip ?? '')
    emptyError(error, request, reply)
  })
  child.addHook('onRequest', (request, _reply, done) => {
    // any content type will do (protocol reference 5.3), also one that Fastify finds malformed, and none, for which it finds no body over HTTP/2
    const type = request.headers['content-type']
    if (type === undefined ? request.raw.httpVersionMajor > 1 : !MEDIA_TYPE.test(type))
      request.headers['content-type'] = 'application/octet-stream'
    done()
  })
  const { path, 'ws.protocol': protocol } = server.options
  // logged from `warn` on: the URL of a JSONP request holds its messages and its clientId
  const urls = path === '/' ? ['/', '/*'] : [path, `${path}/*`]
  // every method that Node parses gets the answer of protocol reference 5.2, not a 404 with a body; CONNECT never reaches a route
  for (const method of METHODS)
    if (method !== 'CONNECT' && !child.supportedMethods.includes(method)) child.addHttpMethod(method, { hasBody: true })
  const methods = child.supportedMethods.filter(method => method !== 'GET')
  const handler = (request: FastifyRequest, reply: FastifyReply): void => poll(server, request, reply)
  const upgrades = new WeakMap<FastifyRequest, FastifyReply>()
  for (const url of urls) {
    child.route({ method: methods, url, handler, bodyLimit, exposeHeadRoute: false, logLevel: 'warn' })
    if (sockets === null) child.route({ method: 'GET', url, handler, exposeHeadRoute: false, logLevel: 'warn' })
    else {
      child.route({
        method: 'GET',
        url,
        handler,
        exposeHeadRoute: false,
        logLevel: 'warn',
        onRequest: (request, reply, done) => {
          if (!request.ws) return done()
          upgrades.set(request, reply)
          if (!admitUpgrade(server, protocol, request, reply)) return
          sockets.greet(request)
          done()
        },
        wsHandler: (socket, request) => sockets.accept(socket, request, upgrades.get(request)!),
      })
    }
  }
}

function refusedBody(why: 'too_large' | 'crumbs' | 'broken'): Error {
  return Object.assign(new Error(why), { statusCode: why === 'too_large' ? 413 : 400 })
}

/** Refuses an upgrade from a strange page, or without the sub-protocol that is required (protocol reference 6.1). */
function admitUpgrade(server: PollingContext, protocol: string, request: FastifyRequest, reply: FastifyReply): boolean {
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map(name => name.trim())
  const refused = server.origins.judge(request.headers.origin, request.host) === 'refused'
  if (!refused && (protocol === '' || offered.includes(protocol))) return true
  refuse(reply, refused ? 403 : 400)
  return false
}

async function registerWebSocket(app: FastifyInstance, settings: TransportOptions, maxPayload: number): Promise<void> {
  const { 'ws.protocol': protocol, 'ws.enableExtension.permessage-deflate': deflate } = settings
  await app.register(websocket, {
    options: {
      maxPayload,
      maxFragments: mostFragments(maxPayload),
      maxBufferedChunks: mostPieces(maxPayload),
      perMessageDeflate: deflate,
      handleProtocols: (offered: Set<string>) => (protocol === '' ? [...offered][0]! : protocol),
    },
    errorHandler: (error, socket) => {
      app.log.error({ err: error }, 'websocket handler failed')
      socket.terminate()
    },
    preClose: done => {
      // the sockets were told to close; those that do not answer are cut
      const cut = setTimeout(() => {
        for (const socket of app.websocketServer.clients) socket.terminate()
      }, 1_000)
      app.websocketServer.close(() => {
        clearTimeout(cut)
        done()
      })
    },
  })
  app.server.prependListener('upgrade', (request, socket) => {
    if (!isNext(request, socket)) socket.destroy() // it would get neither an answer nor an end
  })
  app.websocketServer.on('wsClientError', (_error, socket) => turnAway(socket, '400 Bad Request'))
}

/** Whether the answer to an upgrade may be written now: no request before it on its connection still waits for its own. */
function isNext(request: IncomingMessage, socket: Duplex): boolean {
  const response = new ServerResponse(request)
  try {
    response.assignSocket(socket as Socket)
  } catch {
    return false
  }
  response.detachSocket(socket as Socket)
  return true
}

/** No request at the Bayeux path ends in a body that a client could take for replies (protocol reference 5.4). */
export function emptyError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const status = error.statusCode ?? 500
  if (status >= 500) request.log.error({ err: error }, 'request failed')
  if (request.raw.httpVersionMajor > 1) reply.removeHeader('connection') // Fastify's, for a body that is too large; Node would warn of it
  refuse(reply, status === 413 ? 413 : status >= 500 ? 500 : 400)
}

/** A client may take so long to send a request, and to read a large answer if its session does not outlive that, ms. */
const REQUEST_TIMEOUT = 30_000
/** How long the answer to a broken request may take to be read, ms. */
const LINGER = 2_000

/** Answers past HTTP and ends the connection. What its peer still says is thrown away, and one that does not end its side is not waited for. */
function turnAway(socket: Duplex, status: string): void {
  const limit = setTimeout(() => socket.destroy(), LINGER)
  socket.once('close', () => clearTimeout(limit))
  socket.resume() // after an upgrade nobody else reads it, and what is unread hides that it has ended
  socket.end(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`)
}

/**
 * What only Fastify's constructor can take: bad requests that never reach a route get an empty answer, and JSONP URLs of 16 KiB have room.
 * Give it to `Fastify({ ...fastifyOptions })`.
 */
export const fastifyOptions = {
  http: { maxHeaderSize: 32_768, headersTimeout: 15_000, connectionsCheckingInterval: 5_000 }, // Node would look for late requests every 30 s
  return503OnClosing: false, // clients are told to come back while their connects are answered
  requestTimeout: REQUEST_TIMEOUT, // to receive a request in full; a held connect is received, and waits as long as it likes
  frameworkErrors: (error: FastifyError, { raw }: FastifyRequest, reply: FastifyReply): void => {
    if (raw.headers.upgrade === undefined) return refuse(reply, error.statusCode ?? 400)
    reply.hijack() // no hook ends a connection that was to be upgraded where no route is reached
    turnAway(raw.socket, '400 Bad Request')
  },
  clientErrorHandler: (error: NodeJS.ErrnoException, socket: Socket): void => {
    // what comes behind a client's last request is for nobody: the answer to that request may still be on its way
    if (error.code === 'ECONNRESET' || error.code === 'HPE_CLOSED_CONNECTION' || !socket.writable) return
    if (error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT') {
      socket.destroy() // nothing can be said to it
      return
    }
    const status =
      error.code === 'HPE_HEADER_OVERFLOW'
        ? '431 Request Header Fields Too Large'
        : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
          ? '408 Request Timeout'
          : '400 Bad Request'
    turnAway(socket, status)
  },
} satisfies Partial<FastifyServerOptions> & Record<string, unknown>

/** Fastify adds its own keys to a plugin's options. */
function withoutFastifys(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { prefix: _prefix, logLevel: _logLevel, logSerializers: _logSerializers, ...rest } = options
  return rest
}

function pick(given: Readonly<Record<string, unknown>>, table: Parameters<typeof isOption>[0]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(given).filter(([name]) => isOption(table, name)))
}

function maxMessageSize(given: Readonly<Record<string, unknown>>, transport: Transport): number {
  return resolveFor(transportOptions, given, transport).maxMessageSize
}
