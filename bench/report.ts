// report: RESULTS.md and its charts, from what the questions have left in results/.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { machineLine } from './machine.js'
import { type Chart, cells, RESULTS, type Result, readResults, type Table } from './result.js'
import { draw } from './svg.js'

const FILE = join('bench', 'RESULTS.md')
const INTRODUCTION = `# Results

Written by \`npm run bench -- report\` from \`bench/results/*.json\`; what is measured and how is in [docs/benchmarks.md](../docs/benchmarks.md).
The server has one core for itself and the generator another. Figures are medians over several runs, in which the servers take turns; lost,
doubled and reordered deliveries are sums over all of them. A ratio compares with the figure above or below it in the same table and the same run;
figures of different machines do not compare.
`

export function report(): void {
  const results = readResults()
  mkdirSync(join(RESULTS, 'charts'), { recursive: true })
  writeFileSync(FILE, [INTRODUCTION, ...results.map(chapter)].join('\n'))
  console.log(`${FILE}: ${results.map(({ question }) => question).join(', ')}`)
}

function chapter({ question, about, command, machine, versions, tables, charts }: Result): string {
  const servers = Object.entries(versions).map(([name, version]) => (version.startsWith(name) ? version : `${name}: ${version}`))
  const pictures = charts.map((chart, i) => picture(question, chart, i))
  return [
    `## ${question}\n`,
    `${about}\n`,
    `\`${command.trim()}\` on ${machineLine(machine)}. Servers: ${servers.join(', ')}.\n`,
    ...pictures,
    ...tables.filter(table => table.rows.length > 0).map(markdown),
  ].join('\n')
}

function picture(question: string, chart: Chart, i: number): string {
  const name = `${question}-${i + 1}.svg`
  writeFileSync(join(RESULTS, 'charts', name), draw(chart))
  return `![${chart.title}: ${chart.y} against ${chart.x}](results/charts/${name})\n`
}

function markdown(table: Table): string {
  const [head, ...lines] = cells(table)
  const row = (line: readonly string[]): string => `| ${line.join(' | ')} |`
  return [`### ${table.title}\n`, row(head!), row(head!.map((_, i) => (i === 0 ? '---' : '--:'))), ...lines.map(row), ''].join(
    '\n',
  )
}
