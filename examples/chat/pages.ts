// The pages of the chat: their files, the client libraries they load, and the headers that keep them safe.
//
// Knows: where pages and libraries lie, which page needs which policy.
// Does not know: Bayeux; the pages learn its path from /config.json.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'

/** No inline script or style, nothing from elsewhere. The clients' timers run in a worker made of a blob, since tabs in the background are slowed down; tabs may share one of ours. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "worker-src 'self' blob:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** Dojo 1.6 reads its modules, and JSON, with eval. */
const DOJO_POLICY = POLICY.replace("script-src 'self'", "script-src 'self' 'unsafe-eval'")

/**
 * Serves the chat at `/`, and Dojo under `/vendor/`; the other client libraries are the Bayeux server's own.
 *
 * @param bayeuxPath where the Bayeux server answers, told to the pages
 */
export async function pages(app: FastifyInstance, bayeuxPath: string): Promise<void> {
  await app.register(async child => {
    child.addHook('onSend', async (request, reply) => {
      reply.header('x-content-type-options', 'nosniff')
      reply.header('referrer-policy', 'same-origin')
      reply.header('content-security-policy', request.url.split('?')[0] === '/dojo.html' ? DOJO_POLICY : POLICY)
    })
    child.get('/config.json', async () => ({ bayeux: bayeuxPath }))
    await child.register(fastifyStatic, { root: publicDirectory(), prefix: '/', wildcard: false })
    for (const name of ['dojo', 'dojox']) {
      await child.register(fastifyStatic, {
        root: packageDirectory(name),
        prefix: `/vendor/${name}/`,
        decorateReply: false,
        index: false,
        maxAge: '1h',
        allowedPath: path => path.endsWith('.js'),
      })
    }
  })
}

/** The pages are not compiled: they stay in the source tree, beside which this file runs compiled too (dist/examples/chat). */
function publicDirectory(): string {
  const here = dirname(fileURLToPath(import.meta.url))
  const beside = join(here, 'public')
  return existsSync(beside) ? beside : join(here, '../../../examples/chat/public')
}

function packageDirectory(name: string): string {
  return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`))
}
