// Compiles the programs of README.md and docs/client.md as a user's project would: against the package's own types, with every library checked.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'

mkdirSync('build/readme', { recursive: true })
const files = ['README.md', 'docs/client.md'].map(page => {
  const programs = [...readFileSync(page, 'utf8').matchAll(/```ts\n(.*?)```/gs)].map(([, program]) => program)
  const file = `build/readme/${page.replace(/\W/g, '-')}.ts`
  writeFileSync(file, `${programs.join('\n')}\ndeclare function show(what: unknown): void\n`)
  return file
})
const flags = [
  '--ignoreConfig',
  '--strict',
  '--noEmit',
  '--module',
  'nodenext',
  '--target',
  'es2023',
  '--skipLibCheck',
  'false',
  '--types',
  'node',
]
const { status, stdout } = spawnSync('./node_modules/.bin/tsc', [...flags, ...files], { encoding: 'utf8' })
process.stdout.write(stdout)
process.exit(status ?? 1)
