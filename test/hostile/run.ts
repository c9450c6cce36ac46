// `npm run hostile -- [flags]`: see USAGE, and docs/testing.md.

import { parseArgs } from 'node:util'
import { campaign, type Outcome } from './campaign.js'
import { LEVELS, type Level } from './case.js'
import { PROMPT } from './healthy.js'

const USAGE = `npm run hostile -- [flags]

  --cases n       how many, half of them on each road (5000)
  --seed n        of all that is random; by default a new one
  --level a,b     ${LEVELS.join(', ')}
  --road a        fastify or direct: how long-polling reaches the server; by default both
  --strict        a message that reaches a healthy client later than ${PROMPT} ms is a failure
  --only 'name'   one case alone, by the name that a failure gives
`

function report(road: string, { cases, ofTables, latency, late, grown, failures }: Outcome, seconds: number): void {
  const { p50, p99, max } = latency
  console.log(
    `${road}: ${cases} cases, ${ofTables} of them of the tables, in ${seconds.toFixed(1)} s; ` +
      `healthy clients waited ${p50.toFixed(1)} ms (p50), ${p99.toFixed(1)} ms (p99), ${max.toFixed(1)} ms (worst), ${late} times more than ${PROMPT} ms; ` +
      `the heap has grown by ${grown === null ? 'an unknown amount' : `${(grown / 1_048_576).toFixed(1)} MiB`}`,
  )
  for (const failure of failures) console.log(`\nFAILED ${failure}`)
}

async function run(): Promise<void> {
  const { values } = parseArgs({
    options: {
      cases: { type: 'string', default: '5000' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      level: { type: 'string', default: LEVELS.join(',') },
      road: { type: 'string', default: 'fastify,direct' },
      strict: { type: 'boolean', default: false },
      only: { type: 'string' },
    },
  })
  const levels = values.level.split(',') as Level[]
  const roads = values.road.split(',')
  const [cases, seed] = [Number(values.cases), Number(values.seed)]
  if (!(cases > 0) || !Number.isSafeInteger(seed) || !levels.every(level => LEVELS.includes(level))) throw new Error(USAGE)
  if (!roads.every(road => road === 'fastify' || road === 'direct')) throw new Error(USAGE)
  console.log(`seed ${seed}`)
  for (const road of roads) {
    const order = {
      seed,
      levels,
      cases: Math.ceil(cases / roads.length),
      direct: road === 'direct',
      strict: values.strict,
      only: values.only ?? null,
    }
    const from = performance.now()
    const outcome = await campaign(order, done => {
      if (done % 10_000 === 0) console.log(`${road}: ${done} cases`)
    })
    report(road, outcome, (performance.now() - from) / 1000)
    if (outcome.failures.length > 0) process.exitCode = 1
  }
}

try {
  await run()
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 2
}
