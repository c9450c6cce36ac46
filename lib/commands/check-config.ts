// The command `check-config`: whether a configuration holds, and what somebody may do on channels by its rules, and why.
//
// Knows: its flags, how an answer is written. Does not know: rules and tokens themselves.
// Source: guarantee G8; policies and authorizers are code and are not asked.

import { BayeuxError, type Explanation, type Identity, isObject, isOption, Rules, resolve } from '../../bayeux/index.js'
import { readConfig } from '../config.js'
import { serveOptions, tokenOptions } from '../options.js'
import { TlsFiles } from '../tls.js'
import { TokenError, Tokens } from '../token.js'
import { channelOf } from './flags.js'

const OPERATIONS = ['subscribe', 'publish', 'create'] as const

export function checkConfigUsage(): string {
  return `perihelion check-config [--config file.yaml] [flags of serve] [--claims <json> | --token <jwt>] [--channel <channel> ...]

Says whether the configuration holds, and what by its channel rules somebody may do on these channels, and why.

  --claims <json>
      The claims of a token, such as '{"sub":"alice","roles":["ops"]}'. Default: nobody that is known.
  --channel <channel>
      A channel or wildcard; may be given several times.
  --token <jwt>
      A signed token, which is verified with the keys of the configuration.
`
}

/** @returns lines for people. @throws {BayeuxError} with one line that names what is wrong */
export async function checkConfig(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  now = Date.now(),
): Promise<string> {
  const { claims, token, channels, rest } = split(argv)
  const config = readConfig(rest, env)
  const { tlsCert, tlsKey } = resolve(serveOptions, config.options)
  if (tlsCert !== '' || tlsKey !== '') new TlsFiles(tlsCert, tlsKey).read()
  const given = Object.entries(config.options).filter(([name]) => isOption(tokenOptions, name))
  const settings = resolve(tokenOptions, Object.fromEntries(given))
  const tokens = new Tokens(settings)
  const rules = new Rules(config.channels)
  const names = channels.map(channelOf)
  const identity = token === null ? identityIn(claims, tokens) : await verified(token, tokens, now)
  const lines = [`the configuration holds: ${count(Object.keys(config.channels).length, 'channel rule')}`]
  if (names.length > 0) lines.push(`as ${described(identity)}`)
  for (const name of names) {
    lines.push('', name.name)
    for (const operation of OPERATIONS)
      lines.push(`  ${operation.padEnd(9)}  ${reason(rules.explain(operation, name, identity))}`)
  }
  return lines.join('\n')
}

interface Asked {
  readonly claims: string | null
  readonly token: string | null
  readonly channels: readonly string[]
  /** Flags of `serve`. */
  readonly rest: readonly string[]
}

function split(argv: readonly string[]): Asked {
  const own = { claims: [] as string[], token: [] as string[], channel: [] as string[] }
  const rest: string[] = []
  for (let i = 0; i < argv.length; i++) {
    const [, name, joined] = /^--(claims|token|channel)(?:=(.*))?$/s.exec(argv[i]!) ?? []
    if (name === undefined) {
      rest.push(argv[i]!)
      continue
    }
    const value = joined ?? argv[++i]
    if (value === undefined || value === '') throw new BayeuxError('OPTION_INVALID', `flag --${name} needs a value`)
    own[name as keyof typeof own].push(value)
  }
  if (own.claims.length + own.token.length > 1)
    throw new BayeuxError('OPTION_INVALID', 'flags --claims and --token: one of them, once')
  return { claims: own.claims[0] ?? null, token: own.token[0] ?? null, channels: own.channel, rest }
}

function identityIn(json: string | null, tokens: Tokens): Identity | null {
  if (json === null) return null
  let claims: unknown
  try {
    claims = JSON.parse(json)
  } catch {
    claims = null
  }
  if (!isObject(claims)) throw new BayeuxError('OPTION_INVALID', 'flag --claims must be a JSON object')
  try {
    return tokens.identityOf(claims)
  } catch (error) {
    return refuse('--claims', error)
  }
}

async function verified(token: string, tokens: Tokens, now: number): Promise<Identity> {
  if (!tokens.enabled) throw new BayeuxError('OPTION_INVALID', 'flag --token: the configuration has no key to verify it with')
  return tokens.verify(token, now).catch((error: unknown) => refuse('--token', error))
}

function refuse(flag: string, error: unknown): never {
  if (error instanceof TokenError) throw new BayeuxError('OPTION_INVALID', `flag ${flag}: ${error.message}`)
  throw error
}

function described(identity: Identity | null): string {
  if (identity === null) return 'nobody that is known'
  const { user, roles } = identity
  const named = user === null ? 'somebody without a name' : `user ${printable(user)}`
  return `${named}${roles.length === 0 ? '' : `, roles ${roles.map(printable).join(', ')}`}`
}

/** A text of somebody else's on one line of a terminal. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, '?')
}

function reason({ allowed, by }: Explanation): string {
  const rule = by === null ? 'no rule says who may' : `${by.setting} of ${by.pattern}: ${by.grant.text}`
  return `${allowed ? 'yes' : 'no '}  ${rule}`
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}
