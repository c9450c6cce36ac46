// Flags of the commands that are not those of the server: one table is the check and the help. And channels as words of a command.
//
// Does not know: what the values mean.

import { BayeuxError, type ChannelName, parseChannel } from '../../bayeux/index.js'

export interface Flag {
  /** What stands for the value in the help. */
  readonly value: string
  readonly help: string
  /** May be given several times. */
  readonly many?: true
}

export interface Values<Name extends string> {
  get(name: Name): readonly string[] | undefined
}

export interface Given<Name extends string> {
  readonly values: Values<Name>
  /** What stands without a flag, in order. */
  readonly words: readonly string[]
}

/**
 * Reads `--name value` and `--name=value`.
 *
 * @throws {BayeuxError} OPTION_UNKNOWN, OPTION_INVALID, with one line that names the flag
 */
export function readFlags<Name extends string>(argv: readonly string[], flags: Readonly<Record<Name, Flag>>): Given<Name> {
  const values = new Map<Name, string[]>()
  const words: string[] = []
  for (let i = 0; i < argv.length; i++) {
    const [, flag, joined] = /^--([^=]+)(?:=(.*))?$/s.exec(argv[i]!) ?? []
    if (flag === undefined) {
      words.push(argv[i]!)
      continue
    }
    if (!Object.hasOwn(flags, flag)) throw new BayeuxError('OPTION_UNKNOWN', `unknown flag --${flag}`)
    const name = flag as Name
    const value = joined ?? argv[++i]
    if (value === undefined || value === '') throw new BayeuxError('OPTION_INVALID', `flag --${name} needs a value`)
    const seen = values.get(name)
    if (seen === undefined) values.set(name, [value])
    else if (flags[name].many) seen.push(value)
    else throw new BayeuxError('OPTION_INVALID', `flag --${name} is given twice`)
  }
  return { values, words }
}

export function flagLines(flags: Readonly<Record<string, Flag>>): string {
  return Object.entries(flags)
    .map(([name, { value, help }]) => `  --${name} <${value}>\n      ${help}`)
    .join('\n')
}

/** @throws {BayeuxError} CHANNEL_NAME_INVALID */
export function channelOf(word: string): ChannelName {
  const name = parseChannel(word)
  if (name === null || name.kind === 'meta')
    throw new BayeuxError('CHANNEL_NAME_INVALID', `${word} is not a broadcast or service channel`)
  return name
}
