// A real listening server for tests, with the services that drive a client into its corners.

import Fastify, { type FastifyInstance } from 'fastify'
import { type Bayeux, fastifyOptions, type PerihelionOptions, perihelion, ServiceError } from '../../lib/index.js'

export interface TestServer {
  /** `http://127.0.0.1:PORT/cometd` */
  readonly url: string
  readonly app: FastifyInstance
  readonly bayeux: Bayeux
}

/** What of a tap test is used here. */
export interface Teardown {
  teardown(close: () => Promise<void>): void
}

/** Listens on a port of 127.0.0.1, by default a free one, until the test is over. `extend` adds routes before. */
export async function startServer(
  t: Teardown,
  options: PerihelionOptions = {},
  extend?: (app: FastifyInstance) => Promise<void> | void,
  port = 0,
): Promise<TestServer> {
  const app: FastifyInstance = Fastify({ ...fastifyOptions, forceCloseConnections: true })
  await app.register(perihelion, options)
  addTestServices(app.bayeux)
  await extend?.(app)
  const origin = await app.listen({ port, host: '127.0.0.1' })
  t.teardown(() => app.close())
  return { url: `${origin}${options.path ?? '/cometd'}`, app, bayeux: app.bayeux }
}

export function addTestServices(bayeux: Bayeux): void {
  bayeux.service('/service/echo', data => data)
  bayeux.service('/service/fail', () => {
    throw new ServiceError({ error: 'refused' })
  })
  bayeux.service('/service/kick', (_data, session) => session.disconnect())
  bayeux.service('/service/forget', (_data, session) => session.expire())
  bayeux.service('/service/publish', data => {
    const { channel, data: content } = data as { channel: string; data: unknown }
    bayeux.publish(channel, content)
  })
}
