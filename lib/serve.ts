// The command `serve`: one process that listens, with logs, health and a clean end.
//
// Knows: how the parts are put together from a configuration. Does not know: what an application adds (`extend`).

import proxyAddr from '@fastify/proxy-addr'
import type { FastifyInstance } from 'fastify'
import { BayeuxError, type ChannelRules, isOption, resolve } from '../bayeux/index.js'
import { type Config, readConfig } from './config.js'
import type { Trust } from './direct.js'
import { addLimits, build, followTls, tlsOf } from './listen.js'
import { listenOptions, pluginOptions, serveOptions } from './options.js'
import { emptyError, perihelion } from './plugin.js'
import { refuse } from './polling.js'

const HEALTH = '/healthz'
const READY = '/readyz'
/** What closing takes beyond `drainTimeout` at most, ms: sockets that do not answer are cut before. */
const GRACE = 2_000

export interface ServeExtension {
  /** Adds routes, services and listeners before the server listens. */
  readonly extend?: (app: FastifyInstance) => Promise<void> | void
  /** Whether long-polling goes past Fastify's hooks (see the plugin's option). By default where nothing extends the server. */
  readonly direct?: boolean
  /** Rules of its channels; those of the configuration for the same patterns win. */
  readonly channels?: ChannelRules
}

/**
 * Runs the command until SIGTERM or SIGINT; SIGHUP takes over the channel rules of the configuration file. A wrong flag, key or value ends the process with one line and code 2, a port that is taken with code 1.
 *
 * @param argv flags, without the program's name
 * @returns the application, listening
 */
export async function main(argv: readonly string[], extension: ServeExtension = {}): Promise<FastifyInstance> {
  try {
    const config = readConfig(argv, process.env)
    const app = await start(config, extension)
    const stop = (): void => {
      const { drainTimeout } = resolve(serveOptions, config.options)
      setTimeout(() => process.exit(0), drainTimeout + GRACE).unref()
      void app.close().then(() => process.exit(0))
    }
    process.on('SIGHUP', () => void reload(app, argv, extension.channels))
    process.once('SIGTERM', stop)
    process.once('SIGINT', stop)
    return app
  } catch (error) {
    if (!(error instanceof BayeuxError)) throw error
    process.stderr.write(`perihelion: ${error.message}\n`)
    return process.exit(error.code === 'PORT_TAKEN' || error.code === 'HISTORY_UNUSABLE' ? 1 : 2)
  }
}

/** Takes over the channel rules of the configuration as it is now; what else has changed waits for the next start. */
async function reload(app: FastifyInstance, argv: readonly string[], own?: ChannelRules): Promise<void> {
  try {
    await app.bayeux.channels({ ...own, ...readConfig(argv, process.env).channels })
    app.log.info('took over the channel rules from the configuration')
  } catch (error) {
    app.log.error({ err: error }, 'the configuration cannot be used; the channel rules before stay')
  }
}

/** Builds the application of a configuration and lets it listen. @throws {BayeuxError} see `readConfig`, and PORT_TAKEN */
export async function start(
  config: Config,
  { extend, direct = extend === undefined, channels }: ServeExtension = {},
): Promise<FastifyInstance> {
  const listen = resolve(serveOptions, config.options)
  const { host, port, trustProxy, path } = listen
  if (path === HEALTH || path === READY)
    throw new BayeuxError('OPTION_INVALID', `option path must not be ${path}, which tells the server's health`)
  const trust = trustOf(trustProxy)
  const tls = tlsOf(listen)
  const app = build(listen, tls, trust)
  app.setErrorHandler(emptyError)
  app.addHook('onRequest', (request, reply, done) => {
    if (request.is404)
      refuse(reply, 404) // before its body is read, which may be a megabyte
    else done()
  })
  app.setNotFoundHandler((_request, reply) => refuse(reply, 404))
  const options = Object.fromEntries(
    Object.entries(config.options).filter(([name]) => isOption(pluginOptions, name) && !isOption(listenOptions, name)),
  )
  const rules = { ...channels, ...config.channels }
  await app.register(perihelion, { ...options, channels: rules, direct: direct && { trustProxy: trust } })
  addLimits(app, listen, listen.trusted)
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

/** Whether an address is one of the proxies'; null where there are none. @throws {BayeuxError} OPTION_INVALID */
function trustOf(proxies: readonly string[]): Trust | null {
  try {
    return proxies.length === 0 ? null : proxyAddr.compile([...proxies])
  } catch (cause) {
    throw new BayeuxError('OPTION_INVALID', `option trustProxy: ${(cause as Error).message}`, { cause })
  }
}

/** `/healthz`: the process answers. `/readyz`: it takes clients; 503 once it is about to stop. */
function addHealth(app: FastifyInstance): void {
  app.get(HEALTH, async () => ({ status: 'ok' }))
  app.get(READY, async (_request, reply) => {
    const status = app.bayeux.draining ? 'closing' : app.bayeux.overloaded ? 'overloaded' : 'ready'
    reply.code(status === 'ready' ? 200 : 503)
    return { status, sessions: app.bayeux.sessionCount, ...(app.bayeux.historyFailed ? { history: 'failed' } : null) }
  })
}
