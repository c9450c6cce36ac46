// The process of a client that replays: `node replayer.js`, one JSON line for each command line on stdin.
//
// `replay` asks for all that is kept of a channel, again and again until `stop`, each time in a session of its own, and counts what comes:
// every message must be one further than the one before. It ends with the replay that is under way.

import { Caller } from './caller.js'
import { answerLines } from './lines.js'
import { MARK, numberOf, PAYLOAD_BYTES } from './payload.js'

export type ReplayCommand =
  | { readonly do: 'replay'; readonly port: number; readonly channel: string; readonly messages: number }
  | { readonly do: 'stop' }
  | { readonly do: 'result' }

export interface ReplayResult {
  /** How long each whole replay took, s. */
  readonly seconds: readonly number[]
  readonly faults: readonly string[]
}

let going = false
let replaying: Promise<ReplayResult> = Promise.resolve({ seconds: [], faults: [] })

answerLines(async line => {
  const command = JSON.parse(line) as ReplayCommand
  if (command.do === 'result') return await replaying
  going = command.do === 'replay'
  if (command.do === 'replay') replaying = replayOn(command.port, command.channel, command.messages)
  return {}
})

async function replayOn(port: number, channel: string, messages: number): Promise<ReplayResult> {
  const seconds: number[] = []
  const faults: string[] = []
  do {
    const from = performance.now()
    const fault = await replayOnce(port, channel, messages)
    if (fault !== null) faults.push(fault)
    seconds.push((performance.now() - from) / 1_000)
  } while (going && faults.length === 0)
  return { seconds, faults }
}

/** @returns what went wrong */
async function replayOnce(port: number, channel: string, messages: number): Promise<string | null> {
  let next = 0
  let end: (fault: string | null) => void = () => undefined
  const ended = new Promise<string | null>(resolve => {
    end = resolve
  })
  const heard = (bytes: Buffer, start: number, stop: number): void => {
    for (let mark = bytes.indexOf(MARK, start); mark !== -1 && mark < stop; mark = bytes.indexOf(MARK, mark + PAYLOAD_BYTES)) {
      const number = numberOf(bytes, mark)
      if (number !== next++) end(`message ${number} came where ${next - 1} was next`)
      if (next === messages) end(null)
    }
  }
  const caller = new Caller(heard, () => end(`the connection was lost after ${next} messages`))
  await caller.open(port, { replay: true })
  await caller.ask({ channel: '/meta/subscribe', subscription: channel, ext: { replay: { [channel]: -2 } } })
  const fault = await ended
  caller.end()
  return fault
}
