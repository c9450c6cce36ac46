// Runs a driver in a child process and asserts what it reports, step by step.
//
// Knows: the JSON lines of drivers/steps.ts, and that a client which left nothing open lets its process end by itself.
// Does not know: what the steps are about (the tables in the tests do).
// Always true: a step that was not reported, or not expected, is a failure; no child outlives its test.

import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Test } from 'tap'

/** What a step must have seen, and the rule this states. */
export interface Rule {
  readonly step: string
  readonly rule: string
  readonly seen: unknown
}

interface Line {
  readonly step: string
  readonly seen?: unknown
  readonly failed?: string
  readonly state?: unknown
}

/** A client that is done may take this long to close its sockets and end, ms. */
const LINGER = 3_000
/** A whole run; the driver's own waits end earlier, with a better text. */
const LIFETIME = 45_000

/** A driver that runs. */
export class Driver {
  readonly lines: Line[] = []
  /** Ends when the process has: its exit code, null for one that had to be killed. */
  readonly ended: Promise<number | null>
  private readonly child: ChildProcess
  private readonly noise: string[] = []
  private readonly watchers = new Set<() => void>()
  private over = false
  private lastLineAt = 0
  private endedAt = 0

  /**
   * @param t kills the process at its end, should it still run
   * @param script name in test/legacy/drivers, without extension
   * @param led keeps stdin open, for `tell`
   */
  constructor(t: Test, script: string, args: readonly string[], led = false) {
    this.child = spawn(process.execPath, [join('build', 'test', 'legacy', 'drivers', `${script}.js`), ...args], {
      stdio: [led ? 'pipe' : 'ignore', 'pipe', 'pipe'],
      timeout: LIFETIME,
      killSignal: 'SIGKILL',
    })
    t.teardown(() => this.child.kill('SIGKILL'))
    let rest = ''
    this.child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      const parts = (rest + chunk).split('\n')
      rest = parts.pop() ?? ''
      for (const part of parts) this.take(part)
    })
    this.child.stderr?.setEncoding('utf8').on('data', (chunk: string) => this.noise.push(chunk))
    this.ended = new Promise(resolve => {
      this.child.on('close', code => {
        this.over = true
        this.endedAt = Date.now()
        this.touch()
        resolve(code)
      })
    })
  }

  /** Waits for a step to be reported; resolves also when the process ends without it. */
  reported(step: string): Promise<void> {
    return new Promise(resolve => {
      const look = (): void => {
        if (!this.over && !this.lines.some(line => line.step === step)) return
        this.watchers.delete(look)
        resolve()
      }
      this.watchers.add(look)
      look()
    })
  }

  tell(line: string): void {
    this.child.stdin?.write(`${line}\n`)
  }

  /** Says the last line and lets the process end. */
  dismiss(line: string): void {
    this.child.stdin?.end(`${line}\n`)
  }

  /** Waits for the end, then asserts each rule, and that nothing else was reported and nothing left open. */
  async holds(t: Test, rules: readonly Rule[]): Promise<void> {
    const code = await this.ended
    const failure = this.lines.find(line => line.failed !== undefined)
    if (failure !== undefined) {
      t.fail(`step "${failure.step}": ${failure.failed}`, { state: failure.state, stderr: this.noise.join('') })
    }
    for (const { step, rule, seen } of rules) {
      const line = this.lines.find(each => each.step === step && each.failed === undefined)
      if (line === undefined)
        t.fail(`${step}: ${rule}`, { why: 'the driver did not come to this step', stderr: this.noise.join('') })
      else t.strictSame(line.seen, seen, `${step}: ${rule}`)
    }
    t.same(
      this.lines.map(line => line.step).filter(step => !rules.some(rule => rule.step === step)),
      [],
      'every step that was reported has a rule',
    )
    t.equal(code, 0, 'exit: the client closes all it opened, so its process ends by itself', { stderr: this.noise.join('') })
    t.ok(this.endedAt - this.lastLineAt < LINGER, `exit: within ${LINGER} ms of the last step`, {
      ms: this.endedAt - this.lastLineAt,
    })
  }

  private take(text: string): void {
    try {
      this.lines.push(JSON.parse(text) as Line)
    } catch {
      this.noise.push(`${text}\n`)
    }
    this.lastLineAt = Date.now()
    this.touch()
  }

  private touch(): void {
    for (const look of [...this.watchers]) look()
  }
}
