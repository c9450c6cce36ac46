// One session for all tabs of an origin: a line whose session lives in a SharedWorker. The worker's side is hub.ts.
//
// Knows: what tab and worker say to each other, what to do where there is no such worker.
// Does not know: the API (client.ts), sessions and transports (link.ts).
// Always true: what the application asked for before the worker spoke is done by whoever does it in the end: the worker, or a session of this page's own.

import { usableChannels } from '../../bayeux/client.js'
import { Memory } from '../../bayeux/client-memory.js'
import { type ClientState, NEVER, type PeerMessage } from '../../bayeux/client-sink.js'
import { extOf } from '../../bayeux/message.js'
import type { Extra, Line, LineEvents, LineFailure, Settings, TokenSource, TransportName } from './line.js'
import { Link } from './link.js'
import type { Surroundings } from './surroundings.js'

/** What a tab asks for. `number` is the tab's own, for the answer. */
export type Wish =
  /** `token`: true to be asked for it. */
  | readonly ['join', token: string | boolean]
  /** Held by the tab; released when it is gone. */
  | readonly ['lock', name: string]
  | readonly ['start' | 'wake' | 'leave' | 'gone']
  | readonly ['subscribe' | 'unsubscribe', number: string, channel: string, extra: Extra | undefined]
  | readonly ['publish' | 'call', number: string, target: string, data: unknown, extra: Extra]
  | readonly ['batch', wishes: readonly Wish[]]
  | readonly ['token', token: string | null, why?: string]

/** What the worker tells. */
export type News =
  | readonly [
      'state',
      state: ClientState,
      clientId: string | null,
      transport: TransportName | null,
      offset: number | null,
      why?: LineFailure | undefined,
      detail?: string | undefined,
    ]
  | readonly ['message', message: PeerMessage, names: readonly string[]]
  | readonly ['reply', message: PeerMessage]
  | readonly ['gap', channel: string, dropped: number]
  | readonly ['settled', number: string, code: LineFailure | null, reply: PeerMessage | null]
  | readonly ['unrestored', channel: string, code: LineFailure, reply: PeerMessage | null]
  | readonly ['failure', code: LineFailure, detail: string]
  | readonly ['token' | 'left']
  /** Released when the worker is gone. */
  | readonly ['lock', name: string]

/** How long the worker may take to speak, and to say that a tab has left, ms. */
const PATIENCE = 5_000

export class SharedLine implements Line {
  state: ClientState = 'new'
  clientId: string | null = null
  transport: TransportName | null = null
  offset: number | null = null
  readonly #on: LineEvents
  readonly #around: Surroundings
  readonly #token: TokenSource | undefined
  readonly #settings: Settings
  readonly #another: () => SharedWorker | null
  #port!: MessagePort
  /** Whose fate the worker has not told. */
  readonly #pending = new Map<string, Wish>()
  /** Said to the worker while it has not spoken. */
  #unheard: Wish[] | null = null
  #batches = 0
  #batch: Wish[] = []
  #numbers = 0
  /** Where no worker speaks: the session, and the number of each message by its id there. */
  #alone: Link | null = null
  readonly #ids = new Map<string, string>()
  readonly #wanted = new Set<string>()
  /** Of this tab alone: the worker may die, and another begins where this one was. */
  readonly #memory = new Memory('')
  #deaf: () => void = () => {}
  /** Calls off the alarm: the worker is silent, or does not say that this tab has left. */
  #heardInTime: () => void = () => {}

  /** @param another makes a worker in the place of one that died; null where none can be had any more */
  constructor(
    worker: SharedWorker,
    settings: Settings,
    token: TokenSource | undefined,
    around: Surroundings,
    on: LineEvents,
    another: () => SharedWorker | null = () => null,
  ) {
    this.#on = on
    this.#around = around
    this.#token = token
    this.#settings = settings
    this.#another = another
    this.#meet(worker)
  }

  #meet(worker: SharedWorker): void {
    const { port } = worker
    this.#unheard = []
    this.#port = port
    port.onmessage = ({ data }) => {
      if (this.#unheard !== null) this.#heardInTime()
      this.#unheard = null
      this.#hear(data)
    }
    const alone = (): void => {
      if (port === this.#port) this.#goAlone()
    }
    worker.onerror = alone
    this.#heardInTime = this.#around.after(PATIENCE, alone)
    this.#say(['join', typeof this.#token === 'function' ? true : (this.#token ?? false)])
    this.#lock()
  }

  /** The worker has died, as it does with the tab in whose process it was. The session died with it: another one, with all that was wanted. */
  #revive(): void {
    if (this.state === 'disconnecting') return this.#left()
    const pending = [...this.#pending]
    this.#pending.clear()
    const worker = this.#another()
    if (worker === null) {
      this.#unheard = []
      this.#goAlone()
    } else this.#meet(worker)
    if (this.state === 'new' || this.state === 'closed') return
    this.#say(['start'])
    const wanted = new Set(this.#wanted)
    for (const [number, wish] of pending) {
      if (wish[0] !== 'subscribe' && wish[0] !== 'unsubscribe') this.#on.settled(number, 'CONNECTION_FAILED', null)
      else {
        wanted.delete(wish[2])
        this.#ask(number, wish)
      }
    }
    for (const channel of wanted) this.#resume(channel)
  }

  /** Subscribes again, behind what this tab has heard. */
  #resume(channel: string): void {
    const place = this.#memory.placeOf(channel)
    const number = this.#number()
    this.#ask(number, ['subscribe', number, channel, place === null ? undefined : { ext: { replay: { [channel]: place } } }])
  }

  start(): void {
    if (this.state !== 'new' && this.state !== 'closed') return
    this.state = 'handshaking'
    this.#deaf = this.#around.listen(event => {
      if (event === 'back') {
        this.#lock()
        this.#say(['start'])
        for (const channel of this.#wanted) this.#resume(channel)
      } else this.#say([event === 'wake' ? 'wake' : 'gone'])
    })
    this.#say(['start'])
  }

  subscribe(channel: string, extra?: Extra): string | null {
    usableChannels(channel)
    this.#wanted.add(channel)
    return this.#send(number => ['subscribe', number, channel, extra])
  }

  unsubscribe(channel: string, extra?: Extra): string | null {
    this.#wanted.delete(channel)
    this.#memory.forget(channel)
    return this.#send(number => ['unsubscribe', number, channel, extra])
  }

  publish(channel: string, data: unknown, extra?: Extra): string | null {
    usableChannels(channel)
    return this.#sendData('publish', channel, data, extra)
  }

  call(target: string, data: unknown, extra?: Extra): string | null {
    return this.#sendData('call', target, data, extra)
  }

  startBatch(): void {
    this.#batches++
  }

  endBatch(): void {
    if (--this.#batches > 0 || this.#batch.length === 0) return
    const wishes = this.#batch
    this.#batch = []
    this.#say(['batch', wishes])
  }

  disconnect(): void {
    if (this.state === 'closed' || this.state === 'disconnecting') return
    this.state = 'disconnecting'
    this.#on.state('disconnecting')
    this.#say(['leave'])
    if (this.#unheard === null && this.#alone === null) this.#heardInTime = this.#around.after(PATIENCE, () => this.#left())
  }

  /** The lock tells the worker when this tab is gone, however it goes. */
  #lock(): void {
    const locks = globalThis.navigator?.locks
    if (locks === undefined) return
    const name = `perihelion ${this.#around.random()}`
    const hold = (): Promise<never> => {
      this.#say(['lock', name])
      return new Promise(() => {}) // never lets go
    }
    locks.request(name, hold).catch(() => {}) // forbidden: then the page that leaves must do
  }

  #say(wish: Wish): void {
    if (this.#alone !== null) return this.#do(wish, this.#alone)
    this.#unheard?.push(wish)
    this.#port.postMessage(wish)
  }

  /** There is no worker: its work is done here. */
  #goAlone(): void {
    const wishes = this.#unheard
    if (wishes === null || this.#alone !== null) return
    this.#unheard = this.#port.onmessage = null
    this.#heardInTime()
    this.#port.postMessage(['gone'] satisfies Wish)
    this.#deaf() // the link listens itself
    const link = new Link(this.#settings, this.#token, this.#around, {
      ...this.#on,
      settled: (id, code, reply) => {
        this.#on.settled(this.#ids.get(id)!, code, reply)
        this.#ids.delete(id)
      },
      outgoing: () => {}, // seen already
      state: (_state, ...why) => {
        this.#hear(['state', link.state, link.clientId, link.transport, link.offset, ...why])
        if (link.state === 'closed') this.#left()
      },
    })
    this.#alone = link
    for (const wish of wishes) this.#do(wish, link)
  }

  #do(wish: Wish, link: Link): void {
    switch (wish[0]) {
      case 'start':
        return link.start()
      case 'leave':
        return link.disconnect()
      case 'batch':
        link.startBatch()
        for (const inner of wish[1]) this.#do(inner, link)
        return link.endBatch()
      case 'subscribe':
      case 'unsubscribe':
        return this.#sent(wish[1], link[wish[0]](wish[2], wish[3]))
      case 'publish':
      case 'call':
        return this.#sent(wish[1], link[wish[0]](wish[2], wish[3], wish[4]))
    }
  }

  #sent(number: string, id: string | null): void {
    if (id === null) this.#on.settled(number, 'OUTBOX_FULL', null)
    else this.#ids.set(id, number)
  }

  #number(): string {
    return String(++this.#numbers)
  }

  #send(wish: (number: string) => Wish): string | null {
    if (this.state === 'closed' || this.state === 'disconnecting') return null
    const number = this.#number()
    this.#ask(number, wish(number))
    return number
  }

  #ask(number: string, wish: Wish): void {
    if (wish[0] === 'subscribe') this.#memory.ask(wish[2], number)
    if (this.#alone === null) this.#pending.set(number, wish)
    if (this.#batches > 0) this.#batch.push(wish)
    else this.#say(wish)
  }

  #sendData(kind: 'publish' | 'call', target: string, data: unknown, extra: Extra | undefined): string | null {
    const channel = kind === 'publish' ? target : `/service/${target.replace(/^\//, '')}`
    const message: Record<string, unknown> = { ...extra, channel, data }
    this.#on.outgoing(message)
    const { channel: _channel, data: changed, ...rest } = JSON.parse(JSON.stringify(message)) as Record<string, unknown>
    return this.#send(number => [kind, number, target, changed, rest])
  }

  #hear(news: News): void {
    const on = this.#on
    switch (news[0]) {
      case 'state': {
        const [, state, clientId, transport, offset, ...why] = news
        Object.assign(this, { clientId, transport, offset })
        if (this.state === 'new' || this.state === 'closed' || this.state === 'disconnecting') return
        if (state === 'new') return
        this.state = state
        if (state === 'closed') this.#forget()
        return on.state(state, ...why)
      }
      case 'message':
        return this.#deliver(news[1], news[2])
      case 'reply': {
        const reply = on.incoming(news[1])
        return typeof reply?.channel === 'string' ? on.reply(reply) : undefined
      }
      case 'gap':
        return on.gap?.(news[1], news[2])
      case 'settled':
        this.#began(news[1], news[3])
        this.#pending.delete(news[1])
        return on.settled(news[1], news[2], news[3])
      case 'unrestored':
        this.#wanted.delete(news[1])
        this.#memory.forget(news[1])
        return on.unrestored(news[1], news[2], news[3])
      case 'failure':
        return on.failure(news[1], news[2])
      case 'left':
        return this.#left()
      case 'lock':
        return this.#watch(news[1], this.#port)
      case 'token':
        void this.#tellToken()
    }
  }

  /** The worker has told of gaps by itself. */
  #began(number: string, reply: PeerMessage | null): void {
    const wish = this.#pending.get(number)
    if (wish?.[0] === 'subscribe')
      this.#memory.begun({ id: number, channels: [wish[2]] }, (reply && extOf(reply)) ?? {}, () => {})
  }

  #deliver(delivery: PeerMessage, told: readonly string[]): void {
    const names = this.#memory.fresh(told, extOf(delivery) ?? {}, NEVER) ?? told
    const message = names.length === 0 ? null : this.#on.incoming(delivery)
    if (typeof message?.channel === 'string') this.#on.message(message, names)
  }

  /** @param name of the lock that the worker holds as long as it lives */
  #watch(name: string, port: MessagePort): void {
    const gone = (): void => {
      if (port === this.#port && this.#alone === null) this.#revive()
    }
    navigator.locks.request(name, gone).catch(() => {}) // this page is gone itself
  }

  async #tellToken(): Promise<void> {
    try {
      this.#say(['token', typeof this.#token === 'function' ? await this.#token() : null])
    } catch (error) {
      this.#say(['token', null, String(error)])
    }
  }

  #left(): void {
    if (this.state !== 'disconnecting') return
    this.state = 'closed'
    this.clientId = null
    this.#heardInTime()
    this.#forget()
    this.#on.state('closed', 'DISCONNECTED')
  }

  #forget(): void {
    this.#wanted.clear()
    this.#memory.clear()
    this.#deaf()
  }
}
