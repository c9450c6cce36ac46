// How attacks are driven: in groups whose answers are awaited, so that what waits in the server is what it is slow to do, not what was thrown
// at it.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Line } from '../line.js'

/** Sends bytes and waits for so many of the texts that the line counts. */
export async function exchange(line: Line, bytes: Buffer | string, answers: number): Promise<void> {
  const enough = line.total + answers
  line.send(bytes)
  await line.until(() => line.total >= enough)
}

/** Does `work` so many times, by all workers at once, each of whom begins with the next when he is through with one. */
export async function share<W>(workers: readonly W[], times: number, work: (worker: W) => Promise<void>): Promise<void> {
  let next = 0
  await Promise.all(
    workers.map(async worker => {
      while (next++ < times) await work(worker)
    }),
  )
}

export async function cutAll(lines: readonly Line[]): Promise<null> {
  for (const line of lines) line.cut()
  return null
}

/** How long the server may take to close lines, and how often they are tried, ms. */
const PATIENCE = 45_000
const PERIOD = 500

/**
 * Waits until the server has closed them all.
 *
 * @param probe what to write meanwhile: a line that reads nothing learns only by that
 */
export async function closedByServer(lines: readonly Line[], probe = ''): Promise<{ closed: number }> {
  for (const end = Date.now() + PATIENCE; Date.now() < end && lines.some(line => !line.closed); ) {
    if (probe !== '') for (const line of lines) line.send(probe)
    await sleep(PERIOD)
  }
  const closed = lines.filter(line => line.closed).length
  await cutAll(lines)
  return { closed }
}

export function sum(lines: readonly Line[], text: string): number {
  return lines.reduce((total, line) => total + line.count(text), 0)
}
