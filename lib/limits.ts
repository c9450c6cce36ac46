// Limits that held: counted, and logged once in a while, however often somebody runs into them.
//
// Knows: how often each limit held. Does not know: what a limit is; its name is the option's.

import type { FastifyBaseLogger } from 'fastify'

/** A limit is logged when it first holds, and then at most so often, ms. */
const PAUSE = 10_000

interface Held {
  times: number
  logged: number
  /** Of the last that ran into it. */
  address: string
  timer: NodeJS.Timeout | null
}

/** Lines that clients can cause as often as they like: so many within a pause are written, the others counted. */
const MOST_LINES = 20

export class Seldom {
  #lines = 0
  #left = 0
  #from = Number.NEGATIVE_INFINITY

  /** @param write the line, with how many were left out since the last one */
  say(write: (left: { readonly leftOut?: number }) => void, now = performance.now()): void {
    if (now - this.#from >= PAUSE) {
      this.#from = now
      this.#lines = 0
    }
    if (++this.#lines > MOST_LINES) this.#left++
    else {
      write(this.#left === 0 ? {} : { leftOut: this.#left })
      this.#left = 0
    }
  }
}

export class Limits {
  readonly #held = new Map<string, Held>()

  constructor(
    private readonly log: Pick<FastifyBaseLogger, 'warn'>,
    private readonly pause = PAUSE,
  ) {}

  /** @param name of the option */
  hit(name: string, address: string): void {
    let held = this.#held.get(name)
    if (held === undefined) {
      held = { times: 0, logged: 0, address, timer: null }
      this.#held.set(name, held)
    }
    held.times++
    held.address = address
    if (held.timer === null) this.#say(name, held)
  }

  /** How often each limit has held, by the option's name. */
  counts(): Record<string, number> {
    return Object.fromEntries([...this.#held].map(([name, { times }]) => [name, times]))
  }

  #say(name: string, held: Held): void {
    const times = held.times - held.logged
    held.logged = held.times
    this.log.warn({ limit: name, times, address: held.address }, 'limit reached')
    held.timer = setTimeout(() => {
      held.timer = null
      if (held.times > held.logged) this.#say(name, held)
    }, this.pause).unref()
  }
}
