// idle: what a session costs that only waits: resident memory of the server after collection, and its CPU.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Arena } from '../arena.js'
import { cpuSeconds } from '../machine.js'
import { BOTH, compare, conditions, describe } from '../measure.js'
import { bareOf } from '../peers/index.js'
import { conclude, type Table } from '../result.js'
import type { Settings } from '../settings.js'

const USERS = 10_000
/** The share of the sessions that load the code and give the heap its first size; the figure is of those after them. */
const FIRST = 0.2

export async function idle(settings: Settings): Promise<void> {
  const seconds = settings.seconds ?? (settings.quick ? 5 : 40) // longer than a long poll, so that its renewal is in it
  const tables: Table[] = []
  for (const transport of settings.transports ?? BOTH) {
    const under = conditions(settings, transport, settings.quick ? 5_000 : USERS, 100, 1)
    console.error(describe(under))
    const rows = await compare(settings, under, async (arena, _peer, before) => {
      const first = Math.ceil(under.users * FIRST)
      await arena.open(first)
      const some = await lowest(arena)
      await arena.open()
      const all = await lowest(arena)
      const cpu = before[0]?.['cpu'] ?? (await cpuOf(arena, seconds)) / under.users
      return { bytes: (all - some) / (under.users - first) / 1024, all: all / 2 ** 20, cpu }
    })
    const metrics = [
      { key: 'bytes', label: 'KiB/session', digits: 1 },
      { key: 'all', label: 'whole server MiB', digits: 0 },
      { key: 'cpu', label: 'CPU µs/s/session', digits: 1 },
    ]
    tables.push({ title: `${describe(under)}, idle`, metrics, ratioOf: 'bytes', bare: bareOf(transport), rows })
  }
  conclude(
    settings,
    'What the last four fifths of the sessions add to resident memory, after collection; then the CPU that waiting takes.',
    tables,
  )
}

/** @returns µs of CPU time that the server uses in a second; the wait is long, and once for each peer is enough */
async function cpuOf(arena: Arena, seconds: number): Promise<number> {
  const before = cpuSeconds(arena.serverPid)
  await sleep(seconds * 1000)
  return (1e6 * (cpuSeconds(arena.serverPid) - before)) / seconds
}

/** Resident memory once it does not fall any more: pages are given back some time after they are free. */
async function lowest(arena: Arena): Promise<number> {
  let low = Number.POSITIVE_INFINITY
  for (let i = 0; i < 5; i++) {
    low = Math.min(low, await arena.collect())
    await sleep(300)
  }
  return low
}
