// `npm run floods -- [--only name,…] [--size 1] [--strict]`: floods one server after the other and prints what it cost.
//
// `--size 0.1` makes every flood a tenth as large. `--strict` fails, too, when the crowd's p99 rises above three times its quiet value; a
// quiet value below 5 ms counts as 5 ms, since below that it is the noise of the machine that decides.

import { parseArgs } from 'node:util'
import { describeMachine, machineLine } from '../../bench/machine.js'
import { floods } from './attacks/index.js'
import { SERVERS, type ServerKind } from './flood.js'
import { complaints, inUse, mib, p99, type Result, Stage, type Tempo } from './stage.js'

/** Servers have their own defaults, but that requests must have come within 5 s. */
const TEMPO: Tempo = { options: {}, requestTimeout: 5_000, quiet: 5_000 }
const STRICT = 3
const FLOOR = 5

const { values } = parseArgs({
  options: { only: { type: 'string' }, size: { type: 'string', default: '1' }, strict: { type: 'boolean', default: false } },
})
const only = values.only?.split(',') ?? floods.map(({ name }) => name)
for (const name of only)
  if (!floods.some(flood => flood.name === name)) {
    console.error(`no flood ${name}: ${floods.map(flood => flood.name).join(', ')}`)
    process.exit(2)
  }
console.log(machineLine(describeMachine()))
const rows: string[][] = []
for (const kind of Object.keys(SERVERS) as ServerKind[]) {
  const chosen = floods.filter(({ name, server }) => server === kind && only.includes(name))
  if (chosen.length === 0) continue
  const stage = await Stage.start(kind, TEMPO)
  try {
    const quiet = await stage.quiet(TEMPO.quiet)
    console.log(`\n${kind}: quiet p99 ${ms(quiet.websocket.p99)} WebSocket, ${ms(quiet.polling.p99)} polling`)
    for (const flood of chosen) {
      const result = await stage.flood(flood, Math.max(1, Math.round(flood.size * Number(values.size))))
      const wrong = complaints(result)
      const slow = p99(result.latency) > STRICT * Math.max(FLOOR, p99(quiet))
      if (values.strict && slow) wrong.push(`p99 above ${STRICT} times the quiet value`)
      console.log(line(result), slow ? 'SLOW' : '')
      for (const text of wrong) console.log(`    not so: ${text}`)
      if (wrong.length > 0) process.exitCode = 1
      rows.push(row(result, p99(quiet)))
    }
  } finally {
    await stage.end()
  }
}
console.log(`\n${rows.map(cells => `| ${cells.join(' | ')} |`).join('\n')}`)

function ms(value: number): string {
  return `${value.toFixed(1)} ms`
}

function line({ flood, outcome, latency, rss, after, settled, freed }: Result): string {
  const held = flood.held?.(outcome) ?? 0
  const each = held === 0 ? '' : `, ${Math.round((inUse(outcome.height) - inUse(outcome.before)) / held)} bytes each`
  return [
    `  ${flood.name}: ${outcome.seconds.toFixed(1)} s, ${JSON.stringify(outcome.counts)}`,
    `    rss ${mib(rss.before)} peak ${mib(rss.peak)} after ${mib(rss.after)}, in use ${mib(inUse(outcome.before))} height ${mib(inUse(outcome.height))} after ${mib(inUse(after))}${each}`,
    `    p50/p99/max ${latency.websocket.p50}/${latency.websocket.p99}/${latency.websocket.max} ${latency.polling.p50}/${latency.polling.p99}/${latency.polling.max}; settled ${settled.toFixed(1)} s, freed ${freed.toFixed(1)} s; ${JSON.stringify(outcome.limits)}`,
  ].join('\n')
}

function row({ flood, outcome, latency, rss }: Result, quiet: number): string[] {
  return [
    flood.name,
    String(outcome.size),
    mib(rss.peak - rss.before),
    String(flood.bound),
    quiet.toFixed(1),
    p99(latency).toFixed(1),
  ]
}
