// The listening socket of the command: what it speaks, what it bears, and how it closes.
//
// Knows: HTTP/1.1 and HTTP/2, TLS, Node's limits and times, and which of them Fastify does not hand on.
// Does not know: what is served.
// Always true: no client keeps the server from closing, whatever it has said or not said.

import type { Server as TlsServer } from 'node:tls'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import { pino } from 'pino'
import { BayeuxError } from '../bayeux/index.js'
import { Connections } from './connections.js'
import type { Trust } from './direct.js'
import { Http2Sessions, http2Options } from './http2.js'
import type { ListenOptions } from './options.js'
import { fastifyOptions } from './plugin.js'
import { TlsFiles } from './tls.js'

/** A client that has not come through TLS by then is cut, ms. */
const HANDSHAKE_TIMEOUT = 10_000
/** Requests that do not come in full are looked for within their time so often, and at least every so many ms. */
const LOOKS = 4
const LONGEST_LOOK = 5_000
/** How long a connection may go on once the server closes: to take its last answer, or to say something at all, ms. */
const LINGER = 2_000

/** @returns null where the server speaks no TLS. @throws {BayeuxError} OPTION_INVALID */
export function tlsOf({ tlsCert, tlsKey, http2 }: ListenOptions): TlsFiles | null {
  if (tlsCert !== '' || tlsKey !== '') return new TlsFiles(tlsCert, tlsKey)
  if (http2) throw new BayeuxError('OPTION_INVALID', 'option http2 needs tlsCert and tlsKey: browsers speak it over TLS only')
  return null
}

/** The application, with a server that does not listen yet. */
export function build({ http2, logLevel }: ListenOptions, tls: TlsFiles | null, trust: Trust | null): FastifyInstance {
  const loggerInstance: FastifyBaseLogger = pino({ level: logLevel })
  const options = {
    ...fastifyOptions,
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }), // a line for each long poll says nothing and its URL may hold a JSONP message
    childLoggerFactory: (logger: FastifyBaseLogger) => logger, // nothing is logged for each request, so none needs a logger of its own
    trustProxy: trust ?? false,
    forceCloseConnections: 'idle' as const,
  }
  const https =
    tls === null ? null : { ...fastifyOptions.http, handshakeTimeout: HANDSHAKE_TIMEOUT, noDelay: true, ...tls.read() }
  if (!http2 || https === null) return Fastify({ ...options, https })
  // for its types this would be another kind of server; nothing here is
  const overHttp2 = { http2: true, http2SessionTimeout: 0 } as object
  return Fastify({ ...options, ...overHttp2, https: { ...https, ...http2Options } })
}

/** Puts limits and times on the listening socket. To be called when the plugin is registered, whose hook answers all that is held, and before the server listens. */
export function addLimits(app: FastifyInstance, listen: ListenOptions, trusted: boolean): void {
  const { maxConnections, trustProxy, http2, requestTimeout, keepAliveTimeout } = listen
  const maxAddressConnections = trusted || trustProxy.length > 0 ? 0 : listen.maxAddressConnections // all come from the proxies
  const connections = new Connections({ maxConnections, maxAddressConnections }, (limit, address) =>
    app.bayeux.limited(limit, address),
  )
  connections.install(app.server)

  const headersTimeout = Math.min(listen.headersTimeout, requestTimeout)
  const look = Math.min(LONGEST_LOOK, Math.ceil(headersTimeout / LOOKS))
  const { maxHeaderSize } = fastifyOptions.http
  // Fastify hands only some of them to Node, and with HTTP/2 none
  const times = { requestTimeout, headersTimeout, keepAliveTimeout, connectionsCheckingInterval: look }
  Object.assign(app.server, times, { maxHeaderSize, requireHostHeader: true })
  const sessions = http2 ? new Http2Sessions({ requestTimeout, keepAliveTimeout, maxAddressConnections }) : null
  sessions?.install(app.server as unknown as TlsServer)
  const looking = sessions === null ? undefined : setInterval(() => sessions.look(), look).unref()

  app.addHook('preClose', async () => {
    sessions?.close()
    const cut = setTimeout(() => connections.cut(), LINGER)
    app.server.once('close', () => {
      clearTimeout(cut)
      clearInterval(looking)
    })
  })
}

/** A renewed certificate is taken over without a restart. */
export function followTls(app: FastifyInstance, tls: TlsFiles): void {
  const end = tls.follow(app.server as unknown as TlsServer, error => {
    if (error === null) app.log.info('took over the TLS certificate from its files')
    else app.log.error({ err: error }, 'the TLS certificate in the files cannot be used; the one before stays')
  })
  app.addHook('onClose', async () => end())
}
