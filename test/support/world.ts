// Both halves of the protocol joined in memory: an engine, clients, a network that delays and cuts, and a clock of its own.
//
// Knows: what a network does to bytes: responses are whole or lost, a socket keeps its order until it breaks.
// Does not know: what is said. Everything random comes from one seed.

import { ClientHalf } from '../../bayeux/client.js'
import type { Memory } from '../../bayeux/client-memory.js'
import type { ClientOptions, ClientSink, Lane, PeerMessage } from '../../bayeux/client-sink.js'
import {
  type ChannelRules,
  type Connection,
  type Ending,
  Engine,
  type FrozenMessage,
  type History,
  type Sink,
} from '../../bayeux/index.js'

/** A generator of numbers 0 ≤ n < 1, the same for the same seed (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

export interface Wire {
  write(texts: readonly string[]): void
  end(ending: Ending): void
  readonly writable: boolean
}

interface PlannedEvent {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

/** Everything that waits for nothing but its turn has had it. */
export const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

export class World {
  now = 1_000_000
  readonly random: () => number
  readonly engine: Engine
  readonly clients: SimulatedClient[] = []
  readonly faults: unknown[] = []
  /** Chance that a request or its response is lost, or a socket breaks, for each thing sent. */
  losses = 0
  #events: PlannedEvent[] = []
  #order = 0
  #ids = 0
  #flush = false

  constructor(
    seed: number,
    options: Readonly<Record<string, unknown>> = {},
    rules: ChannelRules = {},
    history: History | null = null,
  ) {
    this.random = generator(seed)
    this.engine = new Engine(options, rules, this.#sink(), history)
  }

  /** @param memory of what is to outlive its sessions */
  add(kind: 'http' | 'websocket', options: Partial<ClientOptions> = {}, memory: Memory | null = null): SimulatedClient {
    const client = new SimulatedClient(this, kind, options, memory)
    this.clients.push(client)
    return client
  }

  /** Something happens after `delay` ms; what is planned for one moment happens in the order of planning. @returns the way to call it off */
  plan(delay: number, run: () => void): () => void {
    const event = { at: this.now + delay, order: this.#order++, run }
    this.#events.push(event)
    return () => {
      this.#events = this.#events.filter(other => other !== event)
    }
  }

  latency(): number {
    return 1 + Math.floor(this.random() * 40)
  }

  lost(): boolean {
    return this.random() < this.losses
  }

  /** Lets time pass, moment by moment. */
  run(ms: number): void {
    const end = this.now + ms
    while (this.#moment(end)) for (let event = this.#due(); event !== undefined; event = this.#due()) this.#happen(event)
    this.now = end
  }

  /** The same; after each event, what awaits something goes on. */
  async pass(ms: number): Promise<void> {
    const end = this.now + ms
    await turn()
    while (this.#moment(end)) {
      for (let event = this.#due(); event !== undefined; event = this.#due()) {
        this.#happen(event)
        await turn()
      }
    }
    this.now = end
  }

  /** Goes on to the next moment at which something is due. @returns false: there is none up to `end` */
  #moment(end: number): boolean {
    this.#settle()
    const next = Math.min(
      this.engine.deadline,
      ...this.clients.map(client => client.deadline),
      ...this.#events.map(event => event.at),
    )
    if (next > end) return false
    this.now = Math.max(this.now, next)
    if (this.engine.deadline <= this.now) this.engine.tick(this.now)
    for (const client of this.clients) if (client.deadline <= this.now) client.tick()
    return true
  }

  /** Takes out the first event that is due. */
  #due(): PlannedEvent | undefined {
    const [first] = this.#events.filter(event => event.at <= this.now).sort((a, b) => a.at - b.at || a.order - b.order)
    this.#events = this.#events.filter(event => event !== first)
    return first
  }

  #happen(event: PlannedEvent): void {
    event.run()
    this.#settle()
  }

  #settle(): void {
    while (this.#flush) {
      this.#flush = false
      this.engine.flush(this.now)
    }
  }

  #sink(): Sink {
    const wire = (connection: Connection): Wire => connection.peer as Wire
    return {
      id: () => `session${String(++this.#ids).padStart(16, '0')}`,
      writable: connection => wire(connection).writable,
      write: (connection, head, messages, tail, together) =>
        wire(connection).write(texts(connection, head, messages, tail, together)),
      end: (connection, ending) => wire(connection).end(ending),
      pause: () => {},
      ask: () => true,
      flushSoon: () => {
        this.#flush = true
      },
      published: () => {},
      limited: () => {},
      filter: (_kind, data) => data,
      overflow: () => 'remove',
      sessionAdded: () => {},
      sessionRemoved: () => {},
      subscribed: () => {},
      unsubscribed: () => {},
      channelAdded: () => {},
      channelRemoved: () => {},
      fault: error => this.faults.push(error),
    }
  }
}

/** What leaves a server: one response over HTTP; over a socket a frame a message, and one for the replies. */
function texts(
  connection: Connection,
  head: string,
  messages: readonly FrozenMessage[],
  tail: string,
  together: boolean,
): string[] {
  const parts = [head, ...messages.map(message => message.json), tail].filter(part => part !== '')
  if (!connection.socket || together) return [`[${parts.join(',')}]`]
  return parts.map(part => `[${part}]`)
}

/** A client half with a network around it. */
export class SimulatedClient implements ClientSink {
  readonly half: ClientHalf
  readonly received: PeerMessage[] = []
  readonly gaps: string[] = []
  readonly #heard = new Map<string, unknown[]>()
  readonly settlements = new Map<string, number>()
  readonly states: string[] = []
  deadline = Number.POSITIVE_INFINITY
  #cookie: string | null = null
  #socket: SimulatedSocket | null = null
  readonly #requests: Record<Lane, SimulatedRequest | null> = { connect: null, other: null }

  constructor(
    readonly world: World,
    readonly kind: 'http' | 'websocket',
    options: Partial<ClientOptions>,
    memory: Memory | null,
  ) {
    this.half = new ClientHalf(this, kind, options, memory)
  }

  /** An input of the application or of the network. */
  do<T>(input: (half: ClientHalf, now: number) => T): T {
    const result = input(this.half, this.world.now)
    this.tick()
    return result
  }

  tick(): void {
    this.deadline = this.half.tick(this.world.now)
  }

  /** Cuts whatever carries this client now. */
  cut(): void {
    this.#socket?.break()
    for (const lane of ['connect', 'other'] as const) this.#requests[lane]?.break()
  }

  open(): void {
    const socket = new SimulatedSocket(this.world, this)
    this.#socket = socket
    this.world.plan(this.world.latency(), () => {
      if (this.#socket !== socket) return
      if (this.world.lost()) this.do((half, now) => half.failed(now))
      else {
        socket.connect()
        this.do((half, now) => half.opened(now))
      }
    })
  }

  send(text: string, lane: Lane): void {
    if (this.kind === 'websocket') return this.#socket!.send(text)
    const request = new SimulatedRequest(this.world, this, lane)
    this.#requests[lane] = request
    request.send(text, this.#cookie)
  }

  abort(lane?: Lane): void {
    if (lane === undefined) {
      this.#socket?.abandon()
      this.#socket = null
    }
    for (const each of lane === undefined ? (['connect', 'other'] as const) : [lane]) {
      this.#requests[each]?.abandon()
      this.#requests[each] = null
    }
  }

  setCookie(cookie: string): void {
    this.#cookie = cookie
  }

  message(_channel: string, message: PeerMessage, names?: readonly string[] | null): void {
    this.received.push(message)
    for (const name of names ?? []) this.heardBy(name).push(message['data'])
  }

  /** What was new to one subscription, where the server tells places. */
  heardBy(name: string): unknown[] {
    const heard = this.#heard.get(name) ?? []
    this.#heard.set(name, heard)
    return heard
  }

  reply(): void {}

  gap(channel: string): void {
    this.gaps.push(channel)
  }

  settled(id: string): void {
    this.settlements.set(id, (this.settlements.get(id) ?? 0) + 1)
  }

  failure(): void {}

  state(state: string): void {
    this.states.push(state)
  }

  random(): number {
    return this.world.random()
  }
}

/** One HTTP request: its response comes whole or not at all. */
class SimulatedRequest implements Wire {
  #connection: Connection | null = null
  #over = false
  #abandoned = false

  constructor(
    private readonly world: World,
    private readonly client: SimulatedClient,
    private readonly lane: Lane,
  ) {}

  get writable(): boolean {
    return !this.#over
  }

  send(text: string, browser: string | null): void {
    if (this.world.lost()) return this.break()
    this.world.plan(this.world.latency(), () => {
      if (this.#over || this.#abandoned) return
      const facts = { transport: 'long-polling', browser, address: 'test', http2: false, context: null } as const
      this.#connection = this.world.engine.open(facts, this)
      this.world.engine.receive(this.#connection, [text], this.world.now)
      if (this.#connection.browserIssued) this.client.setCookie(this.#connection.browser!)
    })
  }

  write(responses: readonly string[]): void {
    this.#over = true
    if (this.world.lost()) return this.#fail()
    this.world.plan(this.world.latency(), () => {
      if (!this.#abandoned) this.client.do((half, now) => half.received(responses[0]!, now, this.lane))
    })
  }

  end(): void {
    this.#over = true
    this.#fail()
  }

  /** The network breaks this request: each side learns of it in its own time. */
  break(): void {
    if (this.#over) return
    this.#over = true
    this.#fail()
    this.#tellServer()
  }

  /** The client gave it up: only the server has to learn. */
  abandon(): void {
    this.#abandoned = true
    if (this.#over) return
    this.#over = true
    this.#tellServer()
  }

  #fail(): void {
    this.world.plan(this.world.latency(), () => {
      if (!this.#abandoned) this.client.do((half, now) => half.failed(now, this.lane))
    })
  }

  #tellServer(): void {
    this.world.plan(this.world.latency(), () => {
      if (this.#connection !== null) this.world.engine.closed(this.#connection, this.world.now)
    })
  }
}

/** One WebSocket: frames keep their order, until it breaks and all that is under way is lost. */
class SimulatedSocket implements Wire {
  #connection: Connection | null = null
  #broken = false
  #up = 0
  #down = 0

  constructor(
    private readonly world: World,
    private readonly client: SimulatedClient,
  ) {}

  get writable(): boolean {
    return !this.#broken
  }

  connect(): void {
    this.#connection = this.world.engine.open(
      { transport: 'websocket', browser: null, address: 'test', http2: false, context: null },
      this,
    )
  }

  send(text: string): void {
    if (this.world.lost()) return this.break()
    this.#up = Math.max(this.#up, this.world.now + this.world.latency())
    this.world.plan(this.#up - this.world.now, () => {
      if (!this.#broken && this.#connection!.open) this.world.engine.receive(this.#connection!, [text], this.world.now)
    })
  }

  write(frames: readonly string[]): void {
    for (const frame of frames) {
      if (this.#broken) return
      if (this.world.lost()) return this.break()
      this.#down = Math.max(this.#down, this.world.now + this.world.latency())
      this.world.plan(this.#down - this.world.now, () => {
        if (!this.#broken) this.client.do((half, now) => half.received(frame, now))
      })
    }
  }

  end(): void {
    this.break()
  }

  break(): void {
    if (this.#broken) return
    this.abandon()
    this.world.plan(this.world.latency(), () => this.client.do((half, now) => half.failed(now)))
  }

  abandon(): void {
    if (this.#broken) return
    this.#broken = true
    this.world.plan(this.world.latency(), () => {
      if (this.#connection !== null) this.world.engine.closed(this.#connection, this.world.now)
    })
  }
}
