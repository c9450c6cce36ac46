// An engine that is driven by hand: a clock, clients that say one message at a time, and all that came of it.
//
// Does not know: what is right; the test does.

import type { ChannelRules } from '../../bayeux/index.js'
import {
  Engine,
  type History,
  type Json,
  type Question,
  type RemovalReason,
  type Session,
  type Transport,
  type Verdict,
} from '../../bayeux/index.js'
import { flushIfDue, openWire, RecordingSink, runTo, type Wire, type Written } from './recording.js'

export class Drive {
  now = 1_000_000
  readonly engine: Engine
  readonly sink: RecordingSink
  /** Names of the limits that held, in order. */
  readonly limited: string[] = []
  readonly removed: RemovalReason[] = []
  readonly unsubscribed: string[] = []
  /** Questions that `answer` left open. */
  readonly open: Question[] = []
  /** What the policy says; null leaves it open. By default all is allowed. */
  answer: (question: Question) => Verdict | null = () => true
  readonly clients: Client[] = []

  constructor(options: Readonly<Record<string, unknown>> = {}, rules: ChannelRules = {}, history: History | null = null) {
    this.sink = new RecordingSink({
      written: written => this.clients.find(client => client.has(written.wire))?.got(written),
      ended: (wire, ending) => this.clients.find(client => client.has(wire))?.endings.push(ending),
      asked: question => {
        const verdict = this.answer(question)
        if (verdict === null) this.open.push(question)
        return verdict
      },
      limited: limit => this.limited.push(limit),
      sessionRemoved: (_session, reason) => this.removed.push(reason),
      unsubscribed: (_session, channel) => this.unsubscribed.push(channel),
    })
    this.engine = new Engine(options, rules, this.sink, history)
  }

  /** Lets `ms` pass. */
  pass(ms: number): void {
    runTo(this.engine, this.sink, this.now, this.now + ms, now => {
      this.now = now
    })
  }

  publish(channel: string, data: unknown): void {
    this.engine.server.publish(channel, data, {}, null, this.now)
    flushIfDue(this.engine, this.sink, this.now)
  }

  verdict(verdict: Verdict): void {
    this.engine.answer(this.open.shift()!, verdict, this.now)
    flushIfDue(this.engine, this.sink, this.now)
  }

  /** A client that has handshaken and made its first connect. */
  client(transport: Transport = 'websocket', facts: Partial<Who> = {}): Client {
    const client = this.stranger(transport, facts)
    client.handshake()
    client.say({ channel: '/meta/connect' })
    return client
  }

  stranger(transport: Transport = 'websocket', facts: Partial<Who> = {}): Client {
    const client = new Client(this, transport, { address: '192.0.2.1', browser: null, ...facts })
    this.clients.push(client)
    return client
  }
}

export interface Who {
  readonly address: string
  readonly browser: string | null
}

export class Client {
  id = ''
  /** What was delivered, in order; and the data of it. */
  readonly messages: Json[] = []
  readonly data: unknown[] = []
  readonly replies: Json[] = []
  readonly endings: string[] = []
  readonly #wires: Wire[] = []

  constructor(
    private readonly drive: Drive,
    readonly transport: Transport,
    private readonly who: Who,
  ) {}

  /** Its browser's cookie. */
  get cookie(): string {
    return this.who.browser ?? `of ${this.drive.clients.indexOf(this)}`
  }

  get session(): Session {
    return this.drive.engine.server.session(this.id)!
  }

  handshake(more: object = {}): Json {
    const reply = this.say({ channel: '/meta/handshake', ...more })
    if (typeof reply['clientId'] === 'string') this.id = reply['clientId']
    return reply
  }

  /** @returns the last reply that has come when this is through; of a connect that is held, that is an older one */
  say(...messages: object[]): Json {
    this.#send(JSON.stringify(messages.map(message => ({ id: '1', clientId: this.id, ...message }))))
    return this.replies.at(-1) ?? {}
  }

  /** Says a message that is written as no `JSON.stringify` does. */
  raw(json: string): void {
    this.#send(`${json.slice(0, -1)},"id":"1","clientId":"${this.id}"}`)
  }

  #send(text: string): void {
    const { engine, sink } = this.drive
    engine.receive(this.#wire().connection, [text], this.drive.now)
    flushIfDue(engine, sink, this.drive.now)
  }

  /** The connection of its last message breaks. */
  cut(): void {
    const wire = this.#wires.at(-1)!
    wire.state = 'done'
    this.drive.engine.closed(wire.connection, this.drive.now)
  }

  has(wire: Wire): boolean {
    return this.#wires.includes(wire)
  }

  got({ head, messages, replies }: Written): void {
    if (head !== null) this.replies.push(head)
    this.messages.push(...messages)
    this.data.push(...messages.map(message => message['data']))
    this.replies.push(...replies)
  }

  #wire(): Wire {
    const last = this.#wires.at(-1)
    if (this.transport === 'websocket' && last !== undefined && last.state === 'open') return last
    const wire = openWire(this.drive.engine, this.transport, this.cookie, this.who.address)
    this.#wires.push(wire)
    return wire
  }
}
