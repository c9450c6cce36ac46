// `npm run bench -- <question> [flags]`: see USAGE in settings.ts, and docs/benchmarks.md.

import { describeMachine, machineLine } from './machine.js'
import { install } from './peers/install.js'
import { chat } from './questions/chat.js'
import { churn } from './questions/churn.js'
import { clients } from './questions/clients.js'
import { cpu } from './questions/cpu.js'
import { durable } from './questions/durable.js'
import { engine } from './questions/engine.js'
import { fanout } from './questions/fanout.js'
import { guard } from './questions/guard.js'
import { historyCost } from './questions/history-cost.js'
import { idle } from './questions/idle.js'
import { profile } from './questions/profile.js'
import { replay } from './questions/replay.js'
import { retention } from './questions/retention.js'
import { saturate } from './questions/saturate.js'
import { soak } from './questions/soak.js'
import { report } from './report.js'
import { readSettings, type Settings, USAGE } from './settings.js'

const questions: Readonly<Record<string, (settings: Settings) => Promise<void>>> = {
  engine,
  idle,
  churn,
  fanout,
  cpu,
  saturate,
  chat,
  guard,
  soak,
  durable,
  replay,
  retention,
  'history-cost': historyCost,
  profile,
  clients,
}
/** These take their time, or answer with no table: they are asked by name. */
const APART = new Set(['guard', 'soak', 'profile', 'clients', 'durable', 'replay', 'retention', 'history-cost'])

/** These are about Perihelion alone, whatever peers there are. */
const OWN = new Set(['engine', 'durable', 'replay', 'retention', 'history-cost'])

async function ask(asked: Settings): Promise<void> {
  const settings = { ...asked, peers: OWN.has(asked.question) ? asked.peers : install(asked.peers) }
  const names = asked.question === 'all' ? Object.keys(questions).filter(name => !APART.has(name)) : [asked.question]
  for (const name of names) {
    console.log(`\n${name}: ${machineLine(describeMachine())}`)
    await questions[name]!({ ...settings, question: name })
  }
  if (asked.question === 'all') report(settings.quick)
}

try {
  const settings = readSettings(process.argv.slice(2))
  if (settings.question === 'report') report(settings.quick)
  else if (settings.question === 'all' || Object.hasOwn(questions, settings.question)) await ask(settings)
  else {
    process.stdout.write(USAGE)
    process.exitCode = settings.question === '' ? 0 : 2
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 2
}
