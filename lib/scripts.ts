// The bundled clients as the server hands them out: `<path>/client.js` and its like, for pages without a build of their own.
//
// Knows: the bundles' bytes, plain and compressed; names that change with the content and may be kept for ever.
// Does not know: what is in them (lib/client/, made into bundles by scripts/bundle.mjs).

import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** A bundle as a page may name it in a script element. */
export interface Script {
  /** Path that changes with the content, such as `/cometd/client.4kPzq1Fw.js`: may be cached for ever. */
  readonly url: string
  /** For the attribute `integrity`. */
  readonly integrity: string
}

interface Bundle {
  readonly hashedName: string
  readonly integrity: string
  readonly etag: string
  readonly plain: Buffer
  readonly gzipped: Buffer
}

const FOLDER = fileURLToPath(new URL('browser/', import.meta.url))
const FOR_EVER = 'public, max-age=31536000, immutable'

export class Scripts {
  readonly #bundles = new Map<string, Bundle>()

  /** Reads the bundles that were made beside this file; where none were made, there are none to hand out. */
  constructor() {
    for (const name of existsSync(FOLDER) ? readdirSync(FOLDER) : []) this.#bundles.set(name, bundleOf(name))
  }

  /** @param path of the Bayeux server, with the prefix of its plugin @returns null for an unknown name */
  find(name: string, path: string): Script | null {
    const bundle = this.#bundles.get(name)
    return bundle === undefined ? null : { url: below(path, bundle.hashedName), integrity: bundle.integrity }
  }

  /** Adds a route for each bundle and its twin below `path`. */
  mount(app: FastifyInstance, path: string): void {
    for (const [name, bundle] of this.#bundles) {
      const twin = below(app.prefix + path, bundle.hashedName)
      app.get(below(path, name), { logLevel: 'warn' }, (request, reply) => {
        reply.header('cache-control', 'no-cache').header('content-location', twin)
        return answer(bundle, request, reply)
      })
      app.get(below(path, bundle.hashedName), { logLevel: 'warn' }, (request, reply) => {
        reply.header('cache-control', FOR_EVER)
        return answer(bundle, request, reply)
      })
    }
  }
}

function answer({ etag, plain, gzipped }: Bundle, { headers }: FastifyRequest, reply: FastifyReply): FastifyReply {
  const zipped = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/.test(headers['accept-encoding'] ?? '')
  const tag = `"${etag}${zipped ? '-gzip' : ''}"`
  reply
    .header('etag', tag)
    .header('vary', 'accept-encoding')
    .header('access-control-allow-origin', '*') // nothing in it is anybody's secret
    .header('cross-origin-resource-policy', 'cross-origin')
    .header('x-content-type-options', 'nosniff')
  const known = (headers['if-none-match'] ?? '').split(',').map(seen => seen.trim().replace(/^W\//, ''))
  if (known.includes(tag) || known.includes('*')) return reply.code(304).send()
  if (zipped) reply.header('content-encoding', 'gzip')
  return reply.type('text/javascript; charset=utf-8').send(zipped ? gzipped : plain)
}

function bundleOf(name: string): Bundle {
  const plain = readFileSync(`${FOLDER}${name}`)
  const etag = createHash('sha256').update(plain).digest('base64url').slice(0, 10)
  return {
    hashedName: name.replace(/(?=\.m?js$)/, `.${etag}`),
    integrity: `sha384-${createHash('sha384').update(plain).digest('base64')}`,
    etag,
    plain,
    gzipped: gzipSync(plain, { level: 9 }),
  }
}

function below(path: string, name: string): string {
  return path === '/' ? `/${name}` : `${path}/${name}`
}
