#!/usr/bin/env node

// The command `perihelion`.

import { BayeuxError } from '../bayeux/index.js'
import { checkConfig, checkConfigUsage } from './commands/check-config.js'
import { makeToken, tokenUsage } from './commands/token.js'
import { main } from './serve.js'
import { usage } from './usage.js'

const [command, ...argv] = process.argv.slice(2)
const helpWanted = argv.includes('--help')
if (command === 'serve') {
  if (helpWanted) process.stdout.write(usage())
  else await main(argv)
} else if (command === 'check-config') {
  if (helpWanted) process.stdout.write(checkConfigUsage())
  else await print(checkConfig(argv, process.env))
} else if (command === 'token') {
  if (helpWanted) process.stdout.write(tokenUsage())
  else await print(makeToken(argv, process.env))
} else {
  const asked = command === undefined || command === 'help' || command === '--help'
  if (asked) process.stdout.write(usage())
  else process.stderr.write(`perihelion: unknown command ${command}; try perihelion help\n`)
  process.exit(asked ? 0 : 2)
}

/** Writes what a command makes; what it was given wrong ends the process with one line and code 2. */
async function print(made: Promise<string>): Promise<void> {
  try {
    process.stdout.write(`${await made}\n`)
  } catch (error) {
    if (!(error instanceof BayeuxError)) throw error
    process.stderr.write(`perihelion: ${error.message}\n`)
    process.exitCode = 2
  }
}
