// guard: what rules, tokens and limits cost a delivery. They are looked at when a session begins, subscribes or publishes, so a delivery should
// not notice: the same load as in cpu, on the same server with all of it switched on and with all of it off.

import { METRICS } from '../measure.js'
import { conclude } from '../result.js'
import type { Settings } from '../settings.js'
import { costs } from './cpu.js'

const REPETITIONS = 9

export async function guard(settings: Settings): Promise<void> {
  const { cpu, delivered, lost, doubled, reordered } = METRICS
  const about =
    'The load of cpu, on Perihelion with nothing to check, and with a token for each session, rules for each operation, and all limits counted.'
  const both: Settings = { ...settings, peers: ['perihelion', 'perihelion-guarded'] }
  conclude(settings, about, await costs(both, [cpu, delivered, lost, doubled, reordered], REPETITIONS, () => null))
}
