// profile: where the CPU time of one server goes at a fixed rate; the functions with the most self time, and a .cpuprofile for DevTools.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { conditions, describe, inArena, warmupOf } from '../measure.js'
import { RESULTS } from '../result.js'
import type { Settings } from '../settings.js'

const RATE = 20_000
const SHOWN = 25

/** What of a CPU profile is read here. */
interface Profile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

export async function profile(settings: Settings): Promise<void> {
  const rate = settings.rate ?? RATE
  const window = 1000 * (settings.seconds ?? 8)
  const peer = settings.peers.length === 1 ? settings.peers[0]! : 'perihelion'
  for (const transport of settings.transports ?? (['websocket', 'long-polling'] as const)) {
    const under = conditions(settings, transport, 1_000)
    await inArena({ peer, ...under }, async arena => {
      await arena.open()
      await arena.load({ rate, warmup: 0, window: warmupOf(peer, settings.quick), burst: 10 })
      const profile = (await arena.profiled(() => arena.load({ rate, warmup: 500, window, burst: 10 }))) as Profile
      const folder = join(RESULTS, 'profiles')
      const file = join(folder, `${peer}-${transport}.cpuprofile`)
      mkdirSync(folder, { recursive: true })
      writeFileSync(file, JSON.stringify(profile))
      console.log(`\n${peer}, ${describe(under)}, ${rate.toLocaleString('en')} deliveries/s: self time (${file})`)
      for (const [name, share] of shares(profile, functionOf).slice(0, SHOWN)) console.log(percent(share, name))
      console.log('by part')
      for (const [name, share] of shares(profile, partOf)) console.log(percent(share, name))
    })
  }
}

type Frame = Profile['nodes'][number]['callFrame']

/** Names by their share of the time in which the process did something. */
function shares({ nodes, samples, timeDeltas }: Profile, nameOf: (frame: Frame) => string): [name: string, share: number][] {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, callFrame.functionName === '(idle)' ? null : nameOf(callFrame)]))
  const times = new Map<string, number>()
  let busy = 0
  for (const [i, sample] of samples.entries()) {
    const name = names.get(sample)
    if (name == null) continue
    busy += timeDeltas[i]!
    times.set(name, (times.get(name) ?? 0) + timeDeltas[i]!)
  }
  return [...times].map(([name, time]): [string, number] => [name, time / busy]).sort((a, b) => b[1] - a[1])
}

function functionOf({ functionName, url, lineNumber }: Frame): string {
  if (url === '') return functionName
  return `${functionName || '(anonymous)'}  ${url.replace(/^.*\/(?=node_modules\/|bayeux\/|lib\/)/, '')}:${lineNumber + 1}`
}

/** Whose code it is: a package, Node, the system, or a part of ours. */
function partOf({ functionName, url }: Frame): string {
  if (functionName === '(garbage collector)') return 'garbage collector'
  if (url === '') return 'native (system calls, V8)'
  if (url.startsWith('node:')) return `Node: ${url.slice(5).split('/').slice(0, 2).join('/')}`
  return (
    /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url.slice(url.lastIndexOf('node_modules/')))?.[1] ??
    /(bayeux|lib|bench)\/[^/]*$/.exec(url)?.[1] ??
    url
  )
}

const percent = (share: number, name: string): string => `${(100 * share).toFixed(1).padStart(6)} %  ${name}`
