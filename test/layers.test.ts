// Imports point one way: bayeux ← lib ← examples; and only lib knows Node.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'

const IMPORT =
  /^\s*(?:import|export)\b[^'"]*?from\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]/gm
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  bayeux: ['bayeux'],
  lib: ['bayeux', 'lib'],
  examples: ['lib', 'examples'],
}
/** What bayeux may use of others: it runs in browsers too. */
const PURE = ['lru-cache']

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.ts'))
    .map(file => join(folder, file))
}

/** Modules that a file imports: relative ones as paths from the root. */
function importsOf(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(IMPORT)].map(([, from, dynamic, bare]) => {
    const module = (from ?? dynamic ?? bare)!
    return module.startsWith('.') ? normalize(join(dirname(file), module)) : module
  })
}

for (const [layer, allowed] of Object.entries(LAYERS)) {
  t.test(`${layer} imports of the project only ${allowed.join(' and ')}`, t => {
    const files = sources(layer)
    t.not(files.length, 0)
    for (const file of files) {
      const inside = importsOf(file).filter(module => /^(?:bayeux|lib|examples|test|bench|\.\.)\//.test(module))
      t.same(
        inside.filter(module => !allowed.includes(module.split('/')[0]!)),
        [],
        file,
      )
    }
    t.end()
  })
}

t.test('bayeux has no I/O: nothing of Node, no timer, clock or randomness of its own', t => {
  for (const file of sources('bayeux')) {
    const modules = importsOf(file).filter(module => !module.startsWith('bayeux/'))
    t.same(
      modules.filter(module => !PURE.includes(module)),
      [],
      file,
    )
    const code = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
    t.notMatch(
      code,
      /\b(?:setTimeout|setInterval|setImmediate|Math\.random|Date\.now|performance\.now|new Date\(\)|process\.|require\(|crypto\.)/,
      file,
    )
  }
  t.end()
})

t.test('the client uses of the project only the client half and its helpers, and of Node nothing but in node.ts', t => {
  for (const file of sources('lib/client')) {
    const others = importsOf(file).filter(module => !/^(?:lib\/client|bayeux)\//.test(module))
    t.same(others, file.endsWith('/node.ts') ? ['ws'] : [], file)
  }
  t.end()
})

t.test('examples use only what lib/index.ts names', t => {
  for (const file of sources('examples'))
    t.same(
      importsOf(file).filter(module => module.startsWith('lib/') && module !== 'lib/index.js'),
      [],
      file,
    )
  t.end()
})

t.test('what docs/delivery.md says is shown by a test that exists', t => {
  const rows = [...readFileSync('docs/delivery.md', 'utf8').matchAll(/^\| .+ \| .+ \| `(test\/.+?)` \| (.+) \|$/gm)]
  t.ok(rows.length > 20)
  for (const [, file, title] of rows) t.ok(readFileSync(file!, 'utf8').includes(`'${title}'`), `${file}: ${title}`)
  t.end()
})
