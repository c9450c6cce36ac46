// The crowd that a flood must not disturb, in a process of its own: one publisher and subscribers on both transports.
//
// Knows: the time from each publish to each delivery, by one clock; whether every message came, once and in order.
// Does not know: how long a message stood in the kernel and how long this process waited for a core: both count as the server's.
// Its clients are those of the benchmarks. They come from other addresses than the attacker's.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, Ears } from '../../bench/client.js'
import { Histogram, type Latency } from '../../bench/histogram.js'
import { numberOf, payload, sentAt } from '../../bench/payload.js'
import { BayeuxPolling, BayeuxSocket } from '../../bench/peers/bayeux.js'
import { answerParent } from './child.js'

export type CrowdQuestion =
  | { readonly do: 'gather'; readonly port: number }
  /** From now on messages are published; `anew` forgets what was measured before. */
  | { readonly do: 'speak'; readonly anew: boolean }
  /** Nothing is published any more, and what was is awaited. */
  | { readonly do: 'hush' }
  | { readonly do: 'tell' }

export interface Heard {
  readonly websocket: Latency
  readonly polling: Latency
  /** Deliveries that did not come. */
  readonly lost: number
  /** What must not happen to anybody: a message twice or out of order, an error reply, a connection that is closed. */
  readonly faults: readonly string[]
}

/** On each transport. */
const SUBSCRIBERS = 20
/** ms between two messages. */
const INTERVAL = 20
/** What has not come after so long is lost, ms. */
const PATIENCE = 5_000
const MANY_FAULTS = 10
/** The room with this number is nobody else's. */
const ROOM = 7

class Crowd {
  readonly #websocket = new Histogram()
  readonly #polling = new Histogram()
  readonly #faults: string[] = []
  readonly #clients: Client[] = []
  /** Of each subscriber: the number of the message that is due. */
  readonly #due: number[] = []
  #publisher!: Client
  #sent = 0
  #speaking: NodeJS.Timeout | null = null

  async gather(port: number): Promise<void> {
    const target = { port, ack: false, token: null }
    const open = async (client: Client, rooms: readonly number[]): Promise<Client> => {
      await client.open(rooms)
      return client
    }
    for (let i = 0; i < 2 * SUBSCRIBERS; i++) {
      const ears = this.#ears(i, i % 2 === 0 ? this.#websocket : this.#polling)
      const client = await open(i % 2 === 0 ? new BayeuxSocket(target, ears) : new BayeuxPolling(target, ears), [ROOM])
      client.listen()
      this.#clients.push(client)
    }
    const deaf: Ears = { heard: () => this.#fault('the publisher got a message'), fault: reason => this.#fault(reason) }
    this.#publisher = await open(new BayeuxSocket(target, deaf), [])
    this.#publisher.listen()
  }

  speak(anew: boolean): void {
    if (anew) {
      this.#websocket.clear()
      this.#polling.clear()
      this.#faults.length = 0
    }
    this.#speaking ??= setInterval(() => {
      this.#publisher.publish([{ room: ROOM, text: payload(ROOM, this.#sent++, performance.now()) }])
    }, INTERVAL)
  }

  async hush(): Promise<void> {
    if (this.#speaking !== null) clearInterval(this.#speaking)
    this.#speaking = null
    for (const end = Date.now() + PATIENCE; this.#lost > 0 && Date.now() < end; ) await sleep(2)
  }

  tell(): Heard {
    const lost = this.#lost
    this.#due.fill(this.#sent)
    return {
      websocket: this.#websocket.summary(),
      polling: this.#polling.summary(),
      lost,
      faults: this.#faults.slice(),
    }
  }

  get #lost(): number {
    return this.#due.reduce((sum, due) => sum + this.#sent - due, 0)
  }

  #ears(client: number, latencies: Histogram): Ears {
    this.#due[client] = 0
    return {
      heard: (bytes, mark) => {
        const number = numberOf(bytes, mark)
        if (number !== this.#due[client]) this.#fault(`message ${number} in place of ${this.#due[client]}`)
        this.#due[client] = number + 1
        latencies.add(performance.now() - sentAt(bytes, mark))
      },
      fault: reason => this.#fault(reason),
    }
  }

  #fault(reason: string): void {
    if (this.#faults.length < MANY_FAULTS) this.#faults.push(reason)
  }
}

const crowd = new Crowd()
answerParent(async (question: CrowdQuestion) => {
  switch (question.do) {
    case 'gather':
      return await crowd.gather(question.port)
    case 'speak':
      return crowd.speak(question.anew)
    case 'hush':
      return await crowd.hush()
    case 'tell':
      return crowd.tell()
  }
})
