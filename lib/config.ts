// Configuration of the command: flags over environment over file over defaults, all read from the option tables.
//
// Knows: how an option is spelled as a flag (`--max-interval`), a variable (`PERIHELION_MAX_INTERVAL`) and a key (`maxInterval`).
// Does not know: what an option does.
// Always true: a name or value that the tables do not have is refused with one line that says which.

import { readFileSync } from 'node:fs'
import { parse, YAMLParseError } from 'yaml'
import { BayeuxError, type ChannelRules, isOption, type OptionRow, resolve, resolveFor, TRANSPORTS } from '../bayeux/index.js'
import { serveOptions } from './options.js'

export interface Config {
  /** Given values by option name; what is missing has its default. */
  readonly options: Readonly<Record<string, unknown>>
  readonly channels: ChannelRules
}

const PREFIXES = ['ws.', 'long-polling.json.', 'long-polling.jsonp.', 'long-polling.'] as const
const VARIABLE = 'PERIHELION_'
/** What Kubernetes puts into every container beside a Service that is called perihelion. */
const KUBERNETES = /^PERIHELION_(?:SERVICE_(?:HOST|PORT)|PORT_\d+_)/

/** `maxInterval` as a flag: `max-interval`; a transport prefix stays in front. */
export function flagOf(name: string): string {
  return name.replace(/(?<=[a-z0-9])[A-Z]|(?<=[A-Z])[A-Z](?=[a-z])/g, letter => `-${letter}`).toLowerCase()
}

/** `maxInterval` as an environment variable: `PERIHELION_MAX_INTERVAL`. */
export function variableOf(name: string): string {
  return VARIABLE + flagOf(name).replace(/[-.]/g, '_').toUpperCase()
}

/**
 * Reads what the operator wants.
 *
 * @param argv flags: `--name value`, `--name=value`; a switch may stand alone or as `--no-name`; a list is comma-separated
 * @throws {BayeuxError} OPTION_UNKNOWN, OPTION_INVALID, RULE_INVALID, CONFIG_UNREADABLE, with one line that names the culprit
 */
export function readConfig(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): Config {
  const flags = readFlags(argv)
  const file = flags.get('config') ?? env[`${VARIABLE}CONFIG`]
  flags.delete('config')
  const fromFile = file === undefined ? {} : readFile(String(file))
  const { channels: rules, ...fileOptions } = fromFile
  const channels = rules ?? {}
  if (typeof channels !== 'object' || Array.isArray(channels))
    throw new BayeuxError('RULE_INVALID', `${file}: channels must be a map of rules`)
  for (const name of Object.keys(fileOptions))
    if (!isOption(serveOptions, name)) throw new BayeuxError('OPTION_UNKNOWN', `${file}: unknown key ${name}`)
  const options: Record<string, unknown> = { ...fileOptions, ...readEnvironment(env), ...Object.fromEntries(flags) }
  resolve(serveOptions, options)
  for (const transport of TRANSPORTS) resolveFor(serveOptions, options, transport)
  return { options, channels: channels as ChannelRules }
}

/** Every name that an option may have: its own, and behind each transport prefix where one transport may have its own value. */
function names(): Map<string, OptionRow> {
  const all = new Map<string, OptionRow>()
  for (const [name, row] of Object.entries(serveOptions) as [string, OptionRow][]) {
    all.set(name, row)
    if (row.perTransport === true) for (const prefix of PREFIXES) all.set(prefix + name, row)
  }
  return all
}

function readFlags(argv: readonly string[]): Map<string, unknown> {
  const byFlag = new Map([...names()].map(([name, row]) => [flagOf(name), { name, row }]))
  const flags = new Map<string, unknown>()
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i]!
    if (!argument.startsWith('--'))
      throw new BayeuxError('OPTION_UNKNOWN', 'a value without a flag; one with blanks needs quotes') // it may be a secret
    const equals = argument.indexOf('=')
    const flag = argument.slice(2, equals === -1 ? undefined : equals)
    let text = equals === -1 ? undefined : argument.slice(equals + 1)
    const negated = flag.startsWith('no-') && !byFlag.has(flag) ? byFlag.get(flag.slice(3)) : undefined
    const option = flag === 'config' ? { name: 'config', row: { default: '', help: '' } } : (byFlag.get(flag) ?? negated)
    if (option === undefined) throw new BayeuxError('OPTION_UNKNOWN', `unknown flag --${flag}`)
    const isSwitch = typeof option.row.default === 'boolean'
    if (negated !== undefined && (!isSwitch || text !== undefined))
      throw new BayeuxError('OPTION_UNKNOWN', `unknown flag --${flag}`)
    if (text === undefined && isSwitch && !/^(?:true|false)$/.test(argv[i + 1] ?? ''))
      text = negated === undefined ? 'true' : 'false'
    text ??= argv[++i]
    if (text === undefined) throw new BayeuxError('OPTION_INVALID', `flag --${flag} needs a value`)
    flags.set(option.name, typed(text, option.row, `flag --${flag}`))
  }
  return flags
}

function readEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, unknown> {
  const byVariable = new Map([...names()].map(([name, row]) => [variableOf(name), { name, row }]))
  const options: Record<string, unknown> = {}
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(VARIABLE) || variable === `${VARIABLE}CONFIG` || text === undefined) continue
    if (KUBERNETES.test(variable) || /^(?:tcp|udp|sctp):\/\//.test(text)) continue
    const option = byVariable.get(variable)
    if (option === undefined) throw new BayeuxError('OPTION_UNKNOWN', `unknown variable ${variable}`)
    options[option.name] = typed(text, option.row, variable)
  }
  return options
}

function readFile(file: string): Record<string, unknown> {
  let content: unknown
  try {
    content = parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw new BayeuxError('CONFIG_UNREADABLE', `cannot read ${file}: ${faultOf(cause)}`, { cause })
  }
  if (content === null) return {}
  if (typeof content !== 'object' || Array.isArray(content))
    throw new BayeuxError('CONFIG_UNREADABLE', `${file}: must be a map of options`)
  return content as Record<string, unknown>
}

/** Text of a flag or variable as the type of its row. */
function typed(text: string, row: OptionRow, where: string): unknown {
  if (Array.isArray(row.default)) return text === '' ? [] : text.split(',').map(entry => entry.trim())
  if (typeof row.default === 'number') {
    if (!/^-?\d+$/.test(text))
      throw new BayeuxError('OPTION_INVALID', `${where} must be a whole number, not ${JSON.stringify(text)}`)
    return Number(text)
  }
  if (typeof row.default === 'boolean') {
    if (text !== 'true' && text !== 'false')
      throw new BayeuxError('OPTION_INVALID', `${where} must be true or false, not ${JSON.stringify(text)}`)
    return text === 'true'
  }
  return text
}

/** What is wrong with a file, without anything of what stands in it. */
function faultOf(error: unknown): string {
  if (error instanceof YAMLParseError) return `no YAML at line ${error.linePos?.[0].line ?? 1} (${error.code})`
  return error instanceof Error && 'syscall' in error ? error.message : 'no YAML'
}
