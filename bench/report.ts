// report: RESULTS.md and its charts, from what the questions have left in results/; of quick runs, beside their own results.

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { NODE_FLAGS } from './arena.js'
import { machineLine } from './machine.js'
import { type Chart, cells, folderOf, type Result, readResults, type Table } from './result.js'
import { draw } from './svg.js'

const FILE = join('bench', 'RESULTS.md')
const INTRODUCTION = `# Results

Written by \`npm run bench -- report\` from \`bench/results/*.json\`; what is measured and how is in [docs/benchmarks.md](../docs/benchmarks.md).
The server has one core for itself and the generator another; servers that are Node programs start with \`${NODE_FLAGS.join(' ')}\`. Figures are medians over several runs, in which the servers take turns; lost,
doubled and reordered deliveries are sums over all of them. A ratio compares with the figure above or below it in the same table and the same run;
figures of different machines do not compare.
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
  writeFileSync(file, [INTRODUCTION, ...results.map(result => chapter(result, picture))].join('\n'))
  console.log(`${file}: ${results.map(({ question }) => question).join(', ')}`)
}

/** Writes a chart to a file of that name. @returns what shows it in Markdown */
type Draw = (chart: Chart, name: string) => string

function chapter({ question, about, command, machine, versions, tables, charts }: Result, picture: Draw): string {
  const servers = Object.entries(versions).map(([name, version]) => (version.startsWith(name) ? version : `${name}: ${version}`))
  const pictures = charts.map((chart, i) => picture(chart, `${question}-${i + 1}.svg`))
  return [
    `## ${question}\n`,
    `${about}\n`,
    `\`${command.trim()}\` on ${machineLine(machine)}. Servers: ${servers.join(', ')}.\n`,
    ...pictures,
    ...tables.filter(table => table.rows.length > 0).map(markdown),
  ].join('\n')
}

function markdown(table: Table): string {
  const [head, ...lines] = cells(table)
  const row = (line: readonly string[]): string => `| ${line.join(' | ')} |`
  return [`### ${table.title}\n`, row(head!), row(head!.map((_, i) => (i === 0 ? '---' : '--:'))), ...lines.map(row), ''].join(
    '\n',
  )
}
