// Bundles the client for browsers, into <folder>/lib/browser/: `node scripts/bundle.mjs dist`. The server hands them out (lib/scripts.ts).
import { resolve } from 'node:path'
import { rolldown } from 'rolldown'

/** What the parts of a client say to each other may have shorter names where every byte counts. */
const INNER_NAMES =
  /^(?:role|tries|failure|received|failed|unrestored|useNext|renew|startBatch|endBatch|settled|opened|knowsAgain|spoilerOf|greeting|welcomed|extended|begun|fresh|openSocket|proved|again|kind)$/
const folder = process.argv[2] ?? 'dist'
const bundles = [
  { entry: 'browser', file: 'client.js', format: 'iife', memory: false, inner: INNER_NAMES },
  { entry: 'index', file: 'client.mjs', format: 'esm', memory: false, inner: INNER_NAMES },
  { entry: 'browser-durable', file: 'client-durable.js', format: 'iife' },
  { entry: 'durable-index', file: 'client-durable.mjs', format: 'esm' },
  { entry: 'browser-shared', file: 'client-shared.js', format: 'iife' },
  { entry: 'cometd/script', file: 'cometd.js', format: 'iife', memory: false },
  { entry: 'cometd/index', file: 'cometd.mjs', format: 'esm', memory: false },
]

/** For bundles whose clients remember nothing beyond their session. */
const NO_MEMORY = {
  name: 'no memory',
  resolveId: name => (name.endsWith('/memory.js') ? resolve('lib/client/no-memory.ts') : null),
}

await Promise.all(
  bundles.map(async ({ entry, file, format, memory = true, inner }) => {
    const bundle = await rolldown({
      input: `lib/client/${entry}.ts`,
      platform: 'browser',
      plugins: memory ? [] : [NO_MEMORY],
      tsconfig: false,
    })
    await bundle.write({
      file: `${folder}/lib/browser/${file}`,
      format,
      comments: false,
      minify: {
        compress: { target: 'es2022' },
        mangle: { toplevel: true },
        codegen: { removeWhitespace: true },
        ...(inner && { mangleProps: { include: inner } }),
      },
    })
    await bundle.close()
  }),
)
