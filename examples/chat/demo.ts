// What the demo adds to a server: the pages, the chat's service and an echo.
//
// Does not know: flags, sockets, signals (`main` of the library).
import type { FastifyInstance } from 'fastify'
import { BayeuxError } from '../../lib/index.js'
import { pages } from './pages.js'
import { chatService } from './service.js'

/**
 * Adds the pages at `/`, the chat's service, and `/service/echo`, which answers its sender with the same data.
 *
 * @throws {BayeuxError} OPTION_INVALID the Bayeux server itself is at `/`
 */
export async function extend(app: FastifyInstance): Promise<void> {
  if (app.bayeux.path === '/')
    throw new BayeuxError('OPTION_INVALID', 'the chat has its pages at /: give the server another --path')
  chatService(app.bayeux)
  app.bayeux.service('/service/echo', data => data)
  await pages(app, app.bayeux.path)
}
