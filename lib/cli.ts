#!/usr/bin/env node

// The command `perihelion`.

import { BayeuxError } from '../bayeux/index.js'
import { ClientError } from './client/node.js'
import { checkConfig, checkConfigUsage } from './commands/check-config.js'
import { publish, publishUsage } from './commands/publish.js'
import { subscribe, subscribeUsage } from './commands/subscribe.js'
import { makeToken, tokenUsage } from './commands/token.js'
import { main } from './serve.js'
import { usage } from './usage.js'

interface Command {
  readonly usage: () => string
  /** @returns the exit code, where it is not 0 */
  readonly run: (argv: string[]) => Promise<number | void>
}

const { env, stdin, stdout, stderr } = process
const complain = (line: string): void => void stderr.write(`perihelion: ${line}\n`)
const commands: Readonly<Record<string, Command>> = {
  serve: { usage, run: async argv => void (await main(argv)) },
  'check-config': { usage: checkConfigUsage, run: argv => print(checkConfig(argv, env)) },
  token: { usage: tokenUsage, run: argv => print(makeToken(argv, env)) },
  publish: { usage: publishUsage, run: argv => publish(argv, env, stdin, complain) },
  subscribe: { usage: subscribeUsage, run: argv => subscribe(argv, env, stdout, complain, stopped()) },
}

const [name, ...argv] = process.argv.slice(2)
const command = name !== undefined && Object.hasOwn(commands, name) ? commands[name]! : null
if (command !== null && argv.includes('--help')) stdout.write(command.usage())
else if (command !== null) await run(command)
else {
  const asked = name === undefined || name === 'help' || name === '--help'
  if (asked) stdout.write(usage())
  else complain(`unknown command ${name}; try perihelion help`)
  process.exit(asked ? 0 : 2)
}

/** What a command was given wrong ends the process with one line and code 2, what a server refuses or the network does with code 1. */
async function run({ run }: Command): Promise<void> {
  try {
    process.exitCode = (await run(argv)) ?? 0
  } catch (error) {
    if (!(error instanceof BayeuxError || error instanceof ClientError)) throw error
    complain(error.message)
    process.exitCode = error instanceof BayeuxError ? 2 : 1
  }
}

async function print(made: Promise<string>): Promise<void> {
  stdout.write(`${await made}\n`)
}

/** Aborted by the first SIGINT or SIGTERM; the second ends the process as always. */
function stopped(): AbortSignal {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  return stop.signal
}
