// Compiles the program of README.md as a user's project would: against the package's own types, with every library checked.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'

const program = /```ts\n(.*?)```/s.exec(readFileSync('README.md', 'utf8'))[1]
mkdirSync('build/readme', { recursive: true })
writeFileSync('build/readme/program.ts', program)
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
const { status, stdout } = spawnSync('./node_modules/.bin/tsc', [...flags, 'build/readme/program.ts'], { encoding: 'utf8' })
process.stdout.write(stdout)
process.exit(status ?? 1)
