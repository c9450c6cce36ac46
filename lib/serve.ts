// The command `serve`: one process that listens, with logs, health and a clean end.
//
// Knows: how the parts are put together from a configuration. Does not know: what an application adds (`extend`).

import type { Server as TlsServer } from 'node:tls'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import { pino } from 'pino'
import { BayeuxError, isOption, resolve } from '../bayeux/index.js'
import { type Config, readConfig } from './config.js'
import { listenOptions, pluginOptions, serveOptions } from './options.js'
import { emptyError, fastifyOptions, perihelion } from './plugin.js'
import { refuse } from './polling.js'
import { TlsFiles } from './tls.js'

const HEALTH = '/healthz'
const READY = '/readyz'
/** A client that has not come through TLS by then is cut, ms. */
const HANDSHAKE_TIMEOUT = 10_000

export interface ServeExtension {
  /** Adds routes, services and listeners before the server listens. */
  readonly extend?: (app: FastifyInstance) => Promise<void> | void
  /** Whether long-polling goes past Fastify's hooks (see the plugin's option). By default where nothing extends the server. */
  readonly direct?: boolean
}

/**
 * Runs the command until SIGTERM or SIGINT; a wrong flag, key or value ends the process with one line and code 2, a port that is taken with code 1.
 *
 * @param argv flags, without the program's name
 * @returns the application, listening
 */
export async function main(argv: readonly string[], extension: ServeExtension = {}): Promise<FastifyInstance> {
  try {
    const app = await start(readConfig(argv, process.env), extension)
    const stop = (): void => {
      void app.close().then(() => process.exit(0))
    }
    process.once('SIGTERM', stop)
    process.once('SIGINT', stop)
    return app
  } catch (error) {
    if (!(error instanceof BayeuxError)) throw error
    process.stderr.write(`perihelion: ${error.message}\n`)
    return process.exit(error.code === 'PORT_TAKEN' ? 1 : 2)
  }
}

/** Builds the application of a configuration and lets it listen. @throws {BayeuxError} see `readConfig`, and PORT_TAKEN */
export async function start(
  config: Config,
  { extend, direct = extend === undefined }: ServeExtension = {},
): Promise<FastifyInstance> {
  const { host, port, tlsCert, tlsKey, trustProxy, logLevel, path } = resolve(serveOptions, config.options)
  if (path === HEALTH || path === READY)
    throw new BayeuxError('OPTION_INVALID', `option path must not be ${path}, which tells the server's health`)
  const tls = tlsCert === '' && tlsKey === '' ? null : new TlsFiles(tlsCert, tlsKey)
  const loggerInstance: FastifyBaseLogger = pino({ level: logLevel })
  const app: FastifyInstance = Fastify({
    ...fastifyOptions,
    https: tls === null ? null : { ...fastifyOptions.http, handshakeTimeout: HANDSHAKE_TIMEOUT, ...tls.read() },
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }), // a line for each long poll says nothing and its URL may hold a JSONP message
    childLoggerFactory: logger => logger, // nothing is logged for each request, so none needs a logger of its own
    trustProxy,
    forceCloseConnections: 'idle',
  })
  app.setErrorHandler(emptyError)
  app.setNotFoundHandler((_request, reply) => refuse(reply, 404))
  const options = Object.fromEntries(
    Object.entries(config.options).filter(([name]) => isOption(pluginOptions, name) && !isOption(listenOptions, name)),
  )
  await app.register(perihelion, { ...options, channels: config.channels, direct: direct && { trustProxy } })
  addHealth(app)
  await extend?.(app)
  if (tls !== null) followTls(app, tls)
  try {
    await app.listen({ host, port, listenTextResolver: address => `listening on ${address}${path}` })
  } catch (cause) {
    await app.close()
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'EADDRINUSE')
      throw new BayeuxError('PORT_TAKEN', `port ${port} on ${host} is taken by another program`, { cause })
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EACCES')
      throw new BayeuxError('OPTION_INVALID', `cannot listen on ${host}:${port} (${code})`, { cause })
    throw cause
  }
  return app
}

/** A renewed certificate is taken over without a restart. */
function followTls(app: FastifyInstance, tls: TlsFiles): void {
  const end = tls.follow(app.server as unknown as TlsServer, error => {
    if (error === null) app.log.info('took over the TLS certificate from its files')
    else app.log.error({ err: error }, 'the TLS certificate in the files cannot be used; the one before stays')
  })
  app.addHook('onClose', async () => end())
}

/** `/healthz`: the process answers. `/readyz`: it takes clients; 503 once it is about to stop. */
function addHealth(app: FastifyInstance): void {
  let closing = false
  app.addHook('preClose', async () => {
    closing = true
  })
  app.get(HEALTH, async () => ({ status: 'ok' }))
  app.get(READY, async (_request, reply) => {
    reply.code(closing ? 503 : 200)
    return { status: closing ? 'closing' : 'ready', sessions: app.bayeux.stats().sessions }
  })
}
