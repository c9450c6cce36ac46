// Bundles the client for browsers, into <folder>/lib/browser/: `node scripts/bundle.mjs dist`. The server hands them out (lib/scripts.ts).
import { build } from 'esbuild'

const folder = process.argv[2] ?? 'dist'
const bundles = [
  { entry: 'browser', outfile: 'client.js', format: 'iife' },
  { entry: 'index', outfile: 'client.mjs', format: 'esm' },
  { entry: 'browser-durable', outfile: 'client-durable.js', format: 'iife' },
  { entry: 'browser-shared', outfile: 'client-shared.js', format: 'iife' },
  { entry: 'cometd/script', outfile: 'cometd.js', format: 'iife' },
  { entry: 'cometd/index', outfile: 'cometd.mjs', format: 'esm' },
]
await Promise.all(
  bundles.map(({ entry, outfile, ...kind }) =>
    build({
      ...kind,
      entryPoints: [`lib/client/${entry}.ts`],
      outfile: `${folder}/lib/browser/${outfile}`,
      bundle: true,
      minify: true,
      platform: 'browser',
      target: 'es2022',
      legalComments: 'none',
      tsconfigRaw: {},
    }),
  ),
)
