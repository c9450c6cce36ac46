// report: RESULTS.md with its charts, and the table in README.md, from what the questions have left in results/. That of quick runs stays
// beside their own results.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { NODE_FLAGS } from './arena.js'
import { GLANCE, glance, LINES } from './glance.js'
import { machineLine } from './machine.js'
import { type Chart, cells, folderOf, nameOf, type Result, readResults, type Table } from './result.js'
import { draw } from './svg.js'

const FILE = join('bench', 'RESULTS.md')
const README = 'README.md'
const BEGIN = '<!-- benchmarks -->'
const END = '<!-- /benchmarks -->'
const INTRODUCTION = `# Results

Written by \`npm run bench -- report\` from \`bench/results/*.json\`; what is measured and how is in [docs/benchmarks.md](../docs/benchmarks.md).
The server has one core for itself and the generator another; servers that are Node programs start with \`${NODE_FLAGS.join(' ')}\`. The servers
take turns; where they do so several times over (three times in cpu and fanout), figures are medians, and lost, doubled and reordered deliveries
are sums. A ratio compares with the figure above or below it in the same table and the same run; figures of different machines do not compare.
`

export function report(quick: boolean): void {
  const folder = folderOf(quick)
  const file = quick ? join(folder, 'RESULTS.md') : FILE
  const charts = join(folder, 'charts')
  const results = readResults(folder)
  mkdirSync(charts, { recursive: true })
  const picture: Draw = (chart, name) => {
    writeFileSync(join(charts, name), draw(chart))
    return `![${chart.title}: ${chart.y} against ${chart.x}](${relative(dirname(file), join(charts, name))})\n`
  }
  const table = glance(results)
  const summary = table.length === 1 ? [] : [`## At a glance\n\n${grid(table)}\n\n${GLANCE}\n`]
  writeFileSync(file, [INTRODUCTION, ...summary, ...results.map(result => chapter(result, picture))].join('\n'))
  if (!quick) intoReadme(table, results)
  console.log(
    `${file}: ${results.map(({ question }) => question).join(', ')}; ${table.length - 1} of ${LINES.length} figures at a glance`,
  )
}

/** Writes a chart to a file of that name. @returns what shows it in Markdown */
type Draw = (chart: Chart, name: string) => string

function chapter(result: Result, picture: Draw): string {
  const { question, transport, about, command, machine, versions, tables, charts } = result
  const servers = Object.entries(versions).map(([name, version]) => (version.startsWith(name) ? version : `${name}: ${version}`))
  const pictures = charts.map((chart, i) => picture(chart, `${nameOf(result)}-${i + 1}.svg`))
  return [
    `## ${question}${transport === null ? '' : ` on ${transport}`}\n`,
    `${about}\n`,
    `\`${command.trim()}\` on ${machineLine(machine)}. Servers: ${servers.join(', ')}.\n`,
    ...pictures,
    ...tables.filter(table => table.rows.length > 0).map(markdown),
  ].join('\n')
}

function markdown(table: Table): string {
  return `### ${table.title}\n\n${grid(cells(table))}\n`
}

function grid([head, ...lines]: readonly (readonly string[])[]): string {
  const row = (line: readonly string[]): string => `| ${line.join(' | ')} |`
  return [row(head!), row(head!.map((_, i) => (i === 0 ? '---' : '--:'))), ...lines.map(row)].join('\n')
}

/** Puts the table, one chart and the machine between the markers of the README, if it has them and there are figures. */
function intoReadme(table: readonly string[][], results: readonly Result[]): void {
  const readme = readFileSync(README, 'utf8')
  const [from, to] = [readme.indexOf(BEGIN), readme.indexOf(END)]
  if (from === -1 || to < from || table.length === 1) return
  const chart = results.find(({ question }) => question === 'chat')?.charts[0]
  const file = join(folderOf(false), 'charts', 'chat-1.svg')
  const parts = [
    BEGIN,
    grid(table),
    `${GLANCE}\nThe machine: ${machineLine(results[0]!.machine)}. All figures, with more servers, rates and crowds, are in [bench/RESULTS.md](bench/RESULTS.md).`,
    ...(chart === undefined ? [] : [`![${chart.title}: ${chart.y} against ${chart.x}](${file})`]),
    END,
  ]
  writeFileSync(README, readme.slice(0, from) + parts.join('\n\n') + readme.slice(to + END.length))
}
