// The help text of the command: of `serve`, made from the option tables, and of the other commands, which have theirs.

import type { OptionRow } from '../bayeux/index.js'
import { checkConfigUsage } from './commands/check-config.js'
import { publishUsage } from './commands/publish.js'
import { subscribeUsage } from './commands/subscribe.js'
import { tokenUsage } from './commands/token.js'
import { flagOf } from './config.js'
import { serveOptions } from './options.js'

export function usage(): string {
  return `${serveUsage()}\n${checkConfigUsage()}\n${tokenUsage()}\n${publishUsage()}\n${subscribeUsage()}`
}

function serveUsage(): string {
  const rows = Object.entries(serveOptions) as [string, OptionRow][]
  const lines = rows.map(
    ([name, row]) => `  --${flagOf(name)} ${placeholder(row)}\n      ${row.help} Default: ${show(row.default)}`,
  )
  return `perihelion serve [--config file.yaml] [flags]\n\nEvery flag is also a key of the file (maxInterval) and a variable (PERIHELION_MAX_INTERVAL).\n\n${lines.join('\n')}\n`
}

function placeholder(row: OptionRow): string {
  if (row.oneOf !== undefined && !Array.isArray(row.default)) return `<${row.oneOf.filter(value => value !== '').join('|')}>`
  if (Array.isArray(row.default)) return '<list>'
  return typeof row.default === 'boolean' ? '' : `<${row.unit ?? (typeof row.default === 'number' ? 'number' : 'text')}>`
}

function show(value: OptionRow['default']): string {
  return Array.isArray(value) ? value.join(',') || 'none' : value === '' ? 'none' : String(value)
}
