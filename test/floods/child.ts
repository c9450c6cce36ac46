// How the parts of a flood test talk: one process starts others and asks them; each answers its questions one after the other.
//
// Knows: Node's channel between processes, which leaves a server's stdout to its log.
// Always true: a child ends with its parent.

import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

type Answer = { readonly answer: unknown } | { readonly error: string }

/** A script beside this one, in a process of its own. */
export class Child {
  readonly #process: ChildProcess
  readonly #waiting: { resolve(answer: never): void; reject(error: Error): void }[] = []

  /**
   * @param script name of a file of this folder
   * @param flags of Node
   */
  constructor(
    private readonly script: string,
    args: readonly string[] = [],
    flags: readonly string[] = [],
  ) {
    this.#process = fork(fileURLToPath(new URL(script, import.meta.url)), args, {
      execArgv: [...flags],
      env: { ...process.env, NODE_OPTIONS: '' }, // tap's own hooks would be measured too
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#process.on('message', (message: Answer) => {
      const waiting = this.#waiting.shift()
      if ('error' in message) waiting?.reject(new Error(message.error))
      else waiting?.resolve(message.answer as never)
    })
    this.#process.on('exit', () => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(`${script} ended`))
    })
  }

  get pid(): number {
    return this.#process.pid!
  }

  /** @throws {Error} what went wrong there, or that it has ended (as a rejection) */
  ask<T>(question: object): Promise<T> {
    if (!this.#process.connected) return Promise.reject(new Error(`${this.script} has ended`))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#process.send(question)
    })
  }

  async end(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const ended = new Promise(resolve => this.#process.once('exit', resolve))
    this.#process.kill('SIGKILL')
    await ended
  }
}

/** Answers the parent's questions, in their order. */
export function answerParent<Q>(answer: (question: Q) => Promise<unknown>): void {
  let before = Promise.resolve()
  process.on('message', (question: Q) => {
    before = before.then(async () => {
      const said: Answer = await answer(question).then(
        value => ({ answer: value }),
        (error: unknown) => ({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
      )
      process.send?.(said)
    })
  })
  process.once('disconnect', () => process.exit())
}
