// What others do in the same troubles: one client listens, one publishes so many numbers, each until it is told that it is done; one trouble comes in the midst.
//
// Knows: the troubles. Does not know: servers and clients (rivals.ts).

import { rmSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { TroubledProxy } from '../../bench/proxy.js'
import { type Ears, judge, type Verdict } from './judge.js'
import { newFolder, type Rival } from './rivals.js'

/** What a server keeps a session for that is away, ms. */
const PATIENCE = 10_000
const MESSAGES = 200
/** Between two messages, and before one whose fate is not known is said again, ms. */
const PACE = 50
const AGAIN = 500
/** After a start of the server, ms. */
const LATE = 3_000
/** After the last message so much may still come, ms. */
const REST = 12_000

interface Stage {
  /** Of who listens, and of who publishes. */
  readonly ear: TroubledProxy
  readonly mouth: TroubledProxy
  again(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
}

const troubles: Record<string, { readonly at: readonly number[]; readonly act: (stage: Stage) => Promise<void> | void }> = {
  'line cut for 3 s': { at: [50], act: ({ ear }) => shut(ear, 3_000) },
  'line cut for 20 s, the session is lost': { at: [50], act: ({ ear }) => shut(ear, 20_000) },
  'server stopped (SIGTERM) and started twice': { at: [50, 120], act: stage => restart(stage, 'SIGTERM') },
  'server killed (SIGKILL) and started twice': { at: [50, 120], act: stage => restart(stage, 'SIGKILL') },
  'outcome of 5 publishes unknown': { at: [20, 50, 80, 110, 140], act: ({ mouth }) => deafen(mouth) },
}

function shut(way: TroubledProxy, ms: number): void {
  way.set('shut')
  setTimeout(() => way.set('none'), ms)
}

/** Who listens is back a little later than who publishes. */
async function restart({ ear, again }: Stage, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  ear.set('shut')
  await again(signal)
  setTimeout(() => ear.set('none'), LATE)
}

/** The next that the server says is lost, and the line breaks. */
function deafen(way: TroubledProxy): void {
  way.set('deaf')
  way.onLost = () => {
    way.onLost = () => {}
    setTimeout(() => shut(way, 300), 50)
  }
}

/** All troubles, one after the other, each with servers and clients of its own. */
export async function* beside(rival: Rival): AsyncGenerator<readonly [trouble: string, verdict: Verdict]> {
  for (const name of Object.keys(troubles)) yield [name, await one(rival, name)]
}

async function one(rival: Rival, name: string): Promise<Verdict> {
  const { at, act } = troubles[name]!
  const folder = newFolder()
  let { child, url } = await rival.start(folder, PATIENCE)
  const ear = await TroubledProxy.open(url)
  const mouth = await TroubledProxy.open(url)
  const again = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    const ended = new Promise(resolve => child.once('exit', resolve))
    child.kill(signal)
    await ended
    ;({ child, url } = await rival.start(folder, PATIENCE))
    for (const way of [ear, mouth]) way.lead(url)
  }
  const ears: Ears = { heard: [], gaps: new Set() }
  await rival.listen(ear.url, ears)
  const publish = await rival.publisher(mouth.url)
  const said = new Set<number>()
  for (let n = 0; n < MESSAGES; n++) {
    if (at.includes(n)) void act({ ear, mouth, again })
    for (;;) {
      const done = await publish(n).then(
        () => true,
        () => false,
      )
      if (done) break
      await pause(AGAIN)
    }
    said.add(n)
    await pause(PACE)
  }
  const until = performance.now() + REST + (name.includes('20 s') ? 20_000 : 0)
  while (performance.now() < until && new Set(ears.heard).size < MESSAGES) await pause(100)
  await pause(1_000)
  child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
  return judge([ears], said)
}
