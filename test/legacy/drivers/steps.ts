// The child's side of a driver: named steps, what each saw as one JSON line on stdout, and waiting with a guard.
//
// Knows: how a step is reported and how a wait that never ends turns into a clear text.
// Does not know: any client library, what the right observation is (the test judges).
// Always true: a wait polls nothing and sleeps nowhere: it looks again whenever `touch` says that something happened.

/** How long one wait may take, ms. */
export const GUARD = 20_000

let current = 'start'
const watchers = new Set<() => void>()

/** Says that something happened; every wait looks at its condition again. */
export function touch(): void {
  for (const look of [...watchers]) look()
}

/**
 * Waits for a condition that an event makes true.
 *
 * @param what names the event, for the text of the failure
 * @param condition looked at now, and after each `touch`
 * @throws {Error} the condition was still false after GUARD ms
 */
export function until(what: string, condition: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      watchers.delete(look)
      reject(new Error(`waited ${GUARD} ms in vain for ${what}`))
    }, GUARD)
    const look = (): void => {
      if (!condition()) return
      clearTimeout(timer)
      watchers.delete(look)
      resolve()
    }
    watchers.add(look)
    look()
  })
}

/** A wait for a callback: the promise of its first argument, with the same guard. */
export async function called<T>(what: string, start: (callback: (value: T) => void) => void): Promise<T> {
  const got: T[] = []
  start(value => {
    got.push(value)
    touch()
  })
  await until(what, () => got.length > 0)
  return got[0] as T
}

/** For the rare proof that nothing happens: as long as a client that did the wrong thing at once would need. */
export function quiet(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}

/** Runs one step and writes what it saw: `{"step":"publish","seen":{…}}`. */
export async function step(name: string, run: () => Promise<unknown>): Promise<void> {
  current = name
  const seen = await run()
  process.stdout.write(`${JSON.stringify({ step: name, seen })}\n`)
}

/**
 * Runs a scenario; its first failure is written as `{"step":…,"failed":…}` and ends the process with 1.
 *
 * A scenario that succeeds does not call `exit`: a socket or timer that the client still holds must keep the process alive, for the
 * test to see it.
 */
export async function scenario(run: () => Promise<void>, describe: () => unknown): Promise<void> {
  try {
    await run()
  } catch (error) {
    const failed = error instanceof Error ? (error.stack ?? error.message) : String(error)
    process.stdout.write(`${JSON.stringify({ step: current, failed, state: describe() })}\n`, () => process.exit(1))
  }
}

const lines: string[] = []
let listening = false

/** Waits for a line on stdin: how the test leads a scenario of several processes. The process lives until the test ends stdin. */
export function told(line: string): Promise<void> {
  if (!listening) {
    listening = true
    let rest = ''
    process.stdin.setEncoding('utf8')
    process.stdin.on('data', chunk => {
      const parts = (rest + chunk).split('\n')
      rest = parts.pop() ?? ''
      lines.push(...parts)
      touch()
    })
  }
  return until(`"${line}" on stdin`, () => lines.includes(line))
}
