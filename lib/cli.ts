#!/usr/bin/env node

// The command `perihelion`.

import { main } from './serve.js'
import { usage } from './usage.js'

const [command, ...argv] = process.argv.slice(2)
if (command === 'serve') {
  if (argv.includes('--help')) process.stdout.write(usage())
  else await main(argv)
} else {
  const asked = command === undefined || command === 'help' || command === '--help'
  if (asked) process.stdout.write(usage())
  else process.stderr.write(`perihelion: unknown command ${command}; try perihelion help\n`)
  process.exit(asked ? 0 : 2)
}
