// Serves the pages of this folder, and the clients they load from node_modules or our own build, as an ordinary web server would.
//
// Knows: which folder answers to which path.
// Does not know: Bayeux; it is added to the server under test for pages of the same origin, or stands alone for other origins.

import fastifyStatic from '@fastify/static'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'

const FOLDERS = {
  '/pages/': 'test/legacy/pages',
  '/bundles/': 'build/lib/browser',
  '/npm/cometd/': 'node_modules/cometd',
  '/npm/cometd-jquery/': 'node_modules/cometd-jquery',
  '/npm/dojo/': 'node_modules/dojo',
  '/npm/dojox/': 'node_modules/dojox',
  '/npm/jquery/': 'node_modules/jquery',
}

/** Adds the pages under `/pages/` and the packages under `/npm/`. */
export async function servePages(app: FastifyInstance): Promise<void> {
  for (const [prefix, folder] of Object.entries(FOLDERS)) {
    await app.register(fastifyStatic, { root: `${process.cwd()}/${folder}`, prefix, decorateReply: false })
  }
}

/** Starts a server of the pages alone. @returns its origin, with 127.0.0.1 as its host */
export async function startPages(t: Test): Promise<string> {
  const app = Fastify({ forceCloseConnections: true })
  await servePages(app)
  t.teardown(() => app.close())
  return app.listen({ port: 0, host: '127.0.0.1' })
}
