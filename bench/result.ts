// What a question answers with: tables and charts that print, JSON and RESULTS.md alike are made of.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Transport } from './client.js'
import { describeMachine, type Machine } from './machine.js'
import { type PeerName, peerOf } from './peers/index.js'
import type { Settings } from './settings.js'

export interface Metric {
  readonly key: string
  readonly label: string
  readonly digits: number
}

export interface Row {
  readonly peer: PeerName
  readonly values: Readonly<Record<string, number>>
}

/** Figures of several peers under the same conditions. Those of `ratioOf` are also given as ratios. */
export interface Table {
  readonly title: string
  readonly metrics: readonly Metric[]
  readonly ratioOf: string
  /** Whose figure is the physical limit; null where there is none. */
  readonly bare: PeerName | null
  readonly rows: readonly Row[]
}

export interface Series {
  readonly name: string
  /** Its colour's number, so that a server has the same one in every chart; its place in the chart where it has none. */
  readonly colour?: number
  readonly points: readonly (readonly [x: number, y: number])[]
}

export interface Chart {
  readonly title: string
  readonly x: string
  readonly y: string
  readonly logarithmic: boolean
  readonly series: readonly Series[]
}

export interface Result {
  readonly question: string
  /** The one that the question was narrowed to; null for all that it asks of by itself. */
  readonly transport: Transport | null
  /** What was asked, in one paragraph. */
  readonly about: string
  readonly command: string
  readonly machine: Machine
  readonly versions: Readonly<Record<string, string>>
  readonly tables: readonly Table[]
  readonly charts: readonly Chart[]
}

export const RESULTS = join('bench', 'results')

/** Where results are kept; those of quick runs are not to be quoted and stay apart. */
export const folderOf = (quick: boolean): string => (quick ? join(RESULTS, 'quick') : RESULTS)

/** Puts the pieces together, prints the tables and keeps it all as JSON. */
export function conclude(
  { question, quick, transports }: Settings,
  about: string,
  tables: readonly Table[],
  charts: readonly Chart[] = [],
): Result {
  const names = new Set(tables.flatMap(table => table.rows.map(row => row.peer)))
  const versions = Object.fromEntries([...names].map(name => [name, peerOf(name).version()]))
  const command = `npm run bench -- ${process.argv.slice(2).join(' ')}`
  const transport = transports?.length === 1 ? transports[0]! : null
  const result: Result = { question, transport, about, command, machine: describeMachine(), versions, tables, charts }
  for (const table of tables) console.log(`\n${text(table)}`)
  mkdirSync(folderOf(quick), { recursive: true })
  writeFileSync(join(folderOf(quick), `${nameOf(result)}.json`), `${JSON.stringify(result, null, 1)}\n`)
  return result
}

/** What is asked of one transport alone is kept beside what is asked of both. */
export const nameOf = ({ question, transport }: Result): string => (transport === null ? question : `${question}-${transport}`)

export function readResults(folder: string): Result[] {
  const files = existsSync(folder) ? readdirSync(folder).filter(name => name.endsWith('.json')) : []
  if (files.length === 0) throw new Error(`nothing in ${folder}: ask a question first`)
  return files.sort().map(name => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Result)
}

/** Head and lines of a table, its ratios last. */
export function cells(table: Table): string[][] {
  const { metrics, rows, ratioOf, bare } = table
  const figureOf = (name: PeerName): number => rows.find(row => row.peer === name)?.values[ratioOf] ?? Number.NaN
  const label = metrics.find(metric => metric.key === ratioOf)!.label
  const head = ['', ...metrics.map(metric => metric.label)]
  const alone = rows.length === 1
  if (bare !== null && !alone) head.push(`${label}: × bare`)
  if (!alone) head.push(`${label}: × Perihelion`)
  const lines = rows.map(({ peer, values }) => {
    const line = [peerOf(peer).title, ...metrics.map(({ key, digits }) => figure(values[key], digits))]
    if (bare !== null && !alone) line.push(figure(values[ratioOf]! / figureOf(bare), 2))
    if (!alone) line.push(figure(values[ratioOf]! / figureOf('perihelion'), 2))
    return line
  })
  return [head, ...lines]
}

export function text(table: Table): string {
  const lines = cells(table)
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map(line => line[column]!.length)))
  const padded = lines.map(line =>
    line.map((cell, i) => (i === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[i]!))).join('  '),
  )
  return [table.title, ...padded].join('\n')
}

export function figure(value: number | undefined, digits: number): string {
  if (value === undefined || !Number.isFinite(value)) return '–'
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
