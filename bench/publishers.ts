// Publishers: sessions that publish, each to a channel of its own, and read every reply.
//
// Always true: an envelope is answered when all of its messages were answered with success; anything else is a fault. A publisher has a fixed number
// of envelopes on their way, so that there is no more load than the server takes; where a rate is given, it may also have none.

import { Caller } from './caller.js'
import { Histogram, type Latency } from './histogram.js'
import { cpuSeconds } from './machine.js'
import { payload } from './payload.js'

export interface PublishOptions {
  /** What their channels' names begin with. */
  readonly under: string
  readonly publishers: number
  /** Messages in one envelope. */
  readonly batch: number
  /** Messages per second of all together; null for as many as the server takes. */
  readonly rate: number | null
  /** ms before the window opens, and how long it is open; null where it lasts until all is said, or the server is gone. */
  readonly warmup: number
  readonly window: number | null
  /** How many a publisher says at most, and how many envelopes of one may be on their way; one, if it is not said. */
  readonly messages?: number
  readonly ahead?: number
}

export interface PublishResult {
  /** Answered within the window, per second; and per second of the server's CPU time. */
  readonly rate: number
  readonly perCpu: number
  /** From sending an envelope to the reply to all of it. */
  readonly latency: Latency
  readonly serverCpu: number
  readonly generatorCpu: number
  /** By publisher: how many of its messages, those that it published first, were answered, since its beginning. */
  readonly answered: readonly number[]
  readonly faults: readonly string[]
}

const SUCCESS = Buffer.from('"successful":true')
const MANY_FAULTS = 20
const TICK_MS = 1

export class Publishers {
  readonly #callers: Publisher[] = []
  readonly #faults: string[] = []
  #latency: Histogram | null = null
  #answered = 0
  #gone = false

  constructor(
    private readonly port: number,
    private readonly server: number,
  ) {}

  async publish({
    under,
    publishers,
    batch,
    rate,
    warmup,
    window,
    messages = Number.POSITIVE_INFINITY,
    ahead = 1,
  }: PublishOptions): Promise<PublishResult> {
    this.#gone = false
    for (let i = 0; i < publishers; i++) {
      const publisher = new Publisher(i, `${under}${i}`, batch, {
        answered: ms => {
          this.#answered += batch
          this.#latency?.add(ms)
        },
        fault: reason => this.#faults.length < MANY_FAULTS && this.#faults.push(reason),
        closed: () => {
          this.#gone = true
        },
      })
      await publisher.open(this.port)
      this.#callers.push(publisher)
    }
    const stop = rate === null ? this.#flatOut(messages, ahead) : this.#paced(rate / batch)
    await sleep(warmup)
    const latency = new Histogram()
    this.#latency = latency
    const before = this.#now()
    if (window !== null) await sleep(window)
    else while (!this.#gone && this.#callers.some(caller => caller.answered < messages)) await sleep(TICK_MS)
    const after = window === null ? before : this.#now()
    this.#latency = null
    stop()
    const answered = this.#callers.map(caller => caller.answered)
    for (const caller of this.#callers.splice(0)) caller.end()
    const seconds = (after.at - before.at) / 1_000
    return {
      rate: (after.answered - before.answered) / seconds,
      perCpu: (after.answered - before.answered) / (after.server - before.server),
      latency: latency.summary(),
      serverCpu: (after.server - before.server) / seconds,
      generatorCpu: (after.own - before.own) / seconds,
      answered,
      faults: this.#faults.splice(0),
    }
  }

  #now() {
    return { at: performance.now(), answered: this.#answered, server: cpuSeconds(this.server), own: cpuSeconds(process.pid) }
  }

  /** Each says the next when it has the answer. @returns what ends that */
  #flatOut(messages: number, ahead: number): () => void {
    for (const caller of this.#callers) {
      caller.next = () => caller.said < messages && caller.say()
      for (let i = 0; i < ahead; i++) caller.next()
    }
    return () => {
      for (const caller of this.#callers) caller.next = () => undefined
    }
  }

  /** So many envelopes a second, by whoever has none on its way. @returns what ends that */
  #paced(rate: number): () => void {
    const from = performance.now()
    const idle = [...this.#callers]
    for (const caller of this.#callers) caller.next = () => idle.push(caller)
    let said = 0
    const timer = setInterval(() => {
      const due = ((performance.now() - from) / 1_000) * rate
      for (; said < due && idle.length > 0; said++) idle.shift()!.say()
    }, TICK_MS)
    return () => clearInterval(timer)
  }
}

class Publisher {
  answered = 0
  next: () => unknown = () => undefined
  said = 0
  /** When those were sent that are not answered. */
  readonly #sentAt: number[] = []
  #open = false
  readonly #caller = new Caller(
    (bytes, start, end) => this.#read(bytes, start, end),
    () => this.#open && this.tell.closed(),
  )

  constructor(
    private readonly number: number,
    private readonly channel: string,
    private readonly batch: number,
    private readonly tell: { answered(ms: number): void; fault(reason: string): void; closed(): void },
  ) {}

  async open(port: number): Promise<void> {
    await this.#caller.open(port)
    this.#open = true
  }

  say(): void {
    const { channel, number } = this
    const now = performance.now()
    this.#sentAt.push(now)
    const messages = Array.from({ length: this.batch }, () => {
      const said = this.said++
      return `{"id":"${said}","channel":"${channel}","clientId":"${this.#caller.clientId}","data":"${payload(number, said, now)}"}`
    })
    this.#caller.send(messages)
  }

  end(): void {
    this.#open = false
    this.#caller.end()
  }

  #read(bytes: Buffer, start: number, end: number): void {
    if (!this.#open) return
    let successes = 0
    for (let at = bytes.indexOf(SUCCESS, start); at !== -1 && at < end; at = bytes.indexOf(SUCCESS, at + SUCCESS.length))
      successes++
    this.answered += successes
    if (successes !== this.batch) return this.tell.fault(bytes.toString('utf8', start, end))
    this.tell.answered(performance.now() - this.#sentAt.shift()!)
    this.next()
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
