// Plays one transcript over one transport.
//
// Knows: what of a conversation differs between transports, said here once for all transcripts:
//   WebSocket: messages and replies come as frames of their own and messages come at once, so a client's frames are read as one stream
//     (unless the block says `-- frames`); a message does not end a held connect, whose reply is then awaited at the end;
//     what is HTTP 400 or 413 is a close with 1011 or 1009; a superseded connect gets nothing.
//   callback-polling: messages come with connects only; what a transcript shows on another response is expected with the next connect.

import { difference, fill, type Json, Names, parse, Word } from './pattern.js'
import type { Address, Step, Transcript, Via } from './transcript.js'
import { type Endpoint, type Item, SETUPS, type World, type WorldMaker } from './world.js'

export const TRANSPORTS: Readonly<Record<Via, string>> = { lp: 'long-polling', cb: 'callback-polling', ws: 'websocket' }
const CLOSE_CODES: Readonly<Record<number, number>> = { 400: 1011, 413: 1009 }
const DEFAULT_TIMEOUT = 30_000

/** What went wrong, where. */
export class Mismatch extends Error {
  constructor(
    reason: string,
    readonly line: number,
    readonly expected: string,
    readonly got: unknown,
  ) {
    super(reason)
  }
}

/** The transports over which a transcript makes sense. */
export function transportsOf(transcript: Transcript): Via[] {
  const on = transcript.headers.get('on')?.[0]
  return on === undefined ? ['lp', 'cb', 'ws'] : (on.split(' ') as Via[])
}

/** @throws {Mismatch} something else came than the transcript says */
export async function play(transcript: Transcript, via: Via, makeWorld: WorldMaker): Promise<void> {
  const { headers } = transcript
  const options = Object.assign({}, ...(headers.get('options') ?? []).map(parse)) as Json
  const setups = (headers.get('with') ?? []).map(name => {
    const setup = SETUPS[name]
    if (setup === undefined) throw new RangeError(`${transcript.file}:${transcript.line}: no setup is called ${name}`)
    return setup
  })
  const browser = headers.get('browser')?.[0]?.split(' ') ?? []
  const world = await makeWorld(options, setups, browser)
  try {
    const player = new Player(transcript, via, world, options)
    const clients = headers.get('clients')?.[0] ?? 'C'
    for (const client of clients === 'none' ? [] : clients.split(' ')) await player.makeReady(client)
    for (const step of transcript.steps) if (step.only === null || step.only.includes(via)) await player.step(step)
    await player.finish()
  } finally {
    await world.close()
  }
}

class Player {
  readonly #names = new Names()
  readonly #frames: boolean
  /** On a WebSocket: the reply to a connect that messages did not end, and where it is to come. */
  readonly #owed = new Map<string, { readonly at: Endpoint; readonly reply: unknown }>()
  /** On callback-polling: messages that the next connect is to bring, by client. */
  readonly #deferred = new Map<string, unknown[]>()
  readonly #timeout: number
  #line: number

  constructor(
    readonly transcript: Transcript,
    readonly via: Via,
    readonly world: World,
    options: Json,
  ) {
    this.#frames = transcript.headers.has('frames')
    this.#timeout = Number(options['timeout'] ?? DEFAULT_TIMEOUT)
    this.#names.set('T', this.#timeout)
    this.#line = transcript.line
  }

  /** Handshakes and makes the first connect. */
  async makeReady(client: string): Promise<void> {
    const at = this.#endpoint({ client, via: null, socket: 1, cookie: null })
    const types = [TRANSPORTS[this.via]]
    const handshake = { channel: '/meta/handshake', id: 'h', version: '1.0', supportedConnectionTypes: types }
    await this.world.send(at, JSON.stringify([handshake]), this.world.cookieOf(client))
    const [reply] = await this.#next(at, '(handshake)')
    this.#names.set(client, reply!['clientId'])
    const connect = { channel: '/meta/connect', id: 'c', clientId: reply!['clientId'], connectionType: types[0] }
    await this.world.send(at, JSON.stringify([connect]), this.world.cookieOf(client))
    await this.#next(at, '(first connect)')
  }

  async step(step: Step): Promise<void> {
    this.#line = step.line
    this.#names.set('NOW', this.world.now())
    if (step.kind === 'send') await this.#send(step)
    else if (step.kind === 'act') await this.#act(step)
    else await this.#expect(step)
  }

  /** What is still owed comes, and nothing else has come. */
  async finish(): Promise<void> {
    await this.#expectNothingMore([])
    const waited = this.#owed.size > 0
    if (waited) await this.world.advance(this.#timeout)
    for (const { at, reply } of this.#owed.values()) await this.#compareStream(at, [reply])
    for (const [client, messages] of this.#deferred) {
      if (messages.length === 0) continue
      const connect = { channel: '/meta/connect', id: 'last', clientId: this.#names.get(client), advice: { timeout: 0 } }
      await this.world.send(this.#home(client), JSON.stringify([connect]), this.world.cookieOf(client))
      await this.#compareAnswer(this.#home(client), [parse('{"channel":"/meta/connect","id":"last","successful":true,...}')])
    }
    await this.#expectNothingMore(waited ? ['close'] : []) // sessions without a connect ended meanwhile
  }

  async #expectNothingMore(tolerated: readonly Item['kind'][]): Promise<void> {
    await this.world.settle()
    for (const at of this.world.endpoints()) {
      const items = this.world.inbox(at).filter(({ kind }) => !tolerated.includes(kind))
      if (items.length > 0) throw this.#mismatch(`${at.client} got more than was said`, 'nothing more', items)
    }
  }

  async #send({ address, text }: Step): Promise<void> {
    const at = this.#endpoint(address)
    const cookie = this.#cookie(address)
    if (text.startsWith('raw ')) return this.world.send(at, JSON.parse(text.slice(4)) as string, cookie)
    const content = parse(text)
    const messages = (Array.isArray(content) ? content : [content]).map(message => this.#complete(message, at))
    if (messages.some(message => message['channel'] === '/meta/connect')) this.#owed.delete(at.client)
    await this.world.send(at, JSON.stringify(Array.isArray(content) ? messages : messages[0]), cookie)
  }

  /** A message with what every client puts on it: its clientId, and on connects the connectionType. */
  #complete(message: unknown, at: Endpoint): Json {
    const filled = fill(message, this.#names) as Json
    if (typeof message !== 'object' || message === null || filled['channel'] === '/meta/handshake') return filled
    const clientId = this.#names.get(at.client)
    const usual = filled['channel'] === '/meta/connect' ? { connectionType: TRANSPORTS[at.via] } : {}
    const complete: Record<string, unknown> = { ...usual, ...(clientId === undefined ? {} : { clientId }), ...filled }
    for (const [key, value] of Object.entries(message)) if (value instanceof Word && value.text === 'absent') delete complete[key]
    return complete
  }

  async #act({ text, address }: Step): Promise<void> {
    const wait = /^(\d+) ms$/.exec(text)
    const server = /^server (publishes lazily|publishes|delivers to [A-Z]\w*|kicks|removes) (\S+)(?: (.*))?$/.exec(text)
    const client = /^(cut|opens)$/.exec(text)
    const count = /^server has (\d+) sessions?(?: and (\d+) subscriptions?)?$/.exec(text)
    const offer = /^opens offering ?(.*) and (?:is|gets) (\w+)$/.exec(text)
    if (wait !== null) await this.world.advance(Number(wait[1]))
    else if (client !== null && client[1] === 'cut') await this.world.cut(address.client)
    else if (client !== null) await this.world.openSocket(this.#endpoint(address), this.#cookie(address))
    else if (offer !== null) await this.#offer(address, offer[1]!.split(' ').filter(Boolean), offer[2]!)
    else if (count !== null) {
      const { sessions, subscriptions } = this.world.stats()
      const expected = { sessions: Number(count[1]), subscriptions: Number(count[2] ?? subscriptions) }
      if (sessions !== expected.sessions || subscriptions !== expected.subscriptions)
        throw this.#mismatch('the server counts otherwise', text, { sessions, subscriptions })
    } else if (server !== null) {
      const [, verb, what, data = ''] = server
      if (verb === 'kicks') this.world.kick(this.#names.get(what!) as string)
      else if (verb === 'removes') this.world.remove(this.#names.get(what!) as string)
      else if (verb!.startsWith('delivers'))
        this.world.deliver(this.#names.get(verb!.slice(12)) as string, what!, parse(data), {})
      else this.world.publish(what!, parse(data), verb === 'publishes' ? {} : { lazy: true })
      await this.world.settle()
    } else throw new SyntaxError(`${this.transcript.file}:${this.#line}: nobody can "${text}"`)
  }

  async #offer(address: Address, protocols: string[], expected: string): Promise<void> {
    const chosen = await this.world.openSocket(this.#endpoint(address), this.#cookie(address), protocols)
    if (chosen !== expected) throw this.#mismatch('another sub-protocol', expected, chosen)
  }

  async #expect({ address, text }: Step): Promise<void> {
    const at = this.#endpoint(address)
    if (text === 'nothing' || text === 'silence') return this.#expectNothing(at, text === 'silence')
    if (text === 'open') {
      if (!this.world.isOpen(at)) throw this.#mismatch('the socket is closed', text, [])
      return
    }
    const close = /^close (\d+)$/.exec(text)
    if (close !== null) return this.#compareItem(at, { kind: 'close', code: Number(close[1]) })
    if (/^\d+$/.test(text)) {
      const status = Number(text)
      if (at.via !== 'ws') return this.#compareItem(at, { kind: 'status', status })
      return status >= 500 ? undefined : this.#compareItem(at, { kind: 'close', code: CLOSE_CODES[status]! })
    }
    const expected = parse(text) as unknown[]
    if (at.via === 'ws' && !this.#frames) await this.#compareStream(at, expected)
    else await this.#compareAnswer(at, expected)
  }

  async #expectNothing(at: Endpoint, silence: boolean): Promise<void> {
    await this.world.settle()
    const items = this.world.inbox(at)
    const replies = items.filter(item => item.kind !== 'messages' || item.messages.some(message => 'successful' in message))
    if ((this.#frames || silence ? items : replies).length > 0) throw this.#mismatch('something came', 'nothing', items)
  }

  /** One HTTP response, or one frame. */
  async #compareAnswer(at: Endpoint, pattern: unknown[]): Promise<void> {
    const expected = at.via === 'cb' ? this.#deferring(at.client, pattern) : pattern
    const inbox = this.world.inbox(at)
    await until(this.world, () => inbox.length > 0)
    // responses of two requests may overtake one another on their way
    const fitting = inbox.findIndex(item => item.kind === 'messages' && shapeOf(item.messages) === shapeOf(expected as Json[]))
    const [item] = inbox.splice(Math.max(0, fitting), 1)
    if (item?.kind !== 'messages') throw this.#mismatch('no messages came', JSON.stringify(expected), item ?? 'nothing')
    const found = difference(expected, item.messages, this.#names)
    if (found !== null) throw this.#mismatch(found, show(expected), item.messages)
  }

  /** On callback-polling: the messages of a response without a connect are due with the next that has one. */
  #deferring(client: string, expected: unknown[]): unknown[] {
    const deferred = this.#deferred.get(client) ?? []
    const isMessage = (message: unknown): boolean =>
      typeof message === 'object' &&
      message !== null &&
      (!('successful' in message) || ('data' in message && !(message.data instanceof Word)))
    if (expected.some(message => ['/meta/connect', '/meta/handshake', '/meta/disconnect'].includes(channelOf(message)))) {
      this.#deferred.delete(client)
      return [...deferred, ...expected]
    }
    this.#deferred.set(client, [...deferred, ...expected.filter(isMessage)])
    return expected.filter(message => !isMessage(message))
  }

  /** Messages of as many frames as it takes. */
  async #compareStream(at: Endpoint, expected: readonly unknown[]): Promise<void> {
    const inbox = this.world.inbox(at)
    await this.world.settle()
    for (const [index, message] of expected.entries()) {
      const last = index === expected.length - 1
      if (inbox.length === 0 && last && channelOf(message) === '/meta/connect' && index > 0) {
        this.#owed.set(at.client, { at, reply: message })
        return
      }
      await until(this.world, () => inbox.length > 0)
      const item = inbox.shift()
      if (item?.kind !== 'messages') throw this.#mismatch('no message came', show(message), item ?? 'nothing')
      const [first, ...rest] = item.messages
      if (rest.length > 0) inbox.unshift({ kind: 'messages', messages: rest })
      const found = difference(message, first, this.#names, `[${index}]`)
      if (found !== null) throw this.#mismatch(found, show(message), first)
    }
  }

  async #compareItem(at: Endpoint, expected: Item): Promise<void> {
    const inbox = this.world.inbox(at)
    await until(this.world, () => inbox.length > 0)
    const fitting = inbox.findIndex(item => item.kind === expected.kind)
    const [item] = inbox.splice(Math.max(0, fitting), 1)
    if (JSON.stringify(item) !== JSON.stringify(expected)) throw this.#mismatch('another end', show(expected), item ?? 'nothing')
  }

  async #next(at: Endpoint, what: string): Promise<readonly Json[]> {
    const inbox = this.world.inbox(at)
    await until(this.world, () => inbox.length > 0)
    const item = inbox.shift()
    if (item?.kind !== 'messages') throw this.#mismatch(`no answer to ${what}`, what, item ?? 'nothing')
    return item.messages
  }

  #home(client: string): Endpoint {
    return { client, via: this.via, socket: 1 }
  }

  #endpoint({ client, via, socket }: Address): Endpoint {
    return { client, via: via ?? this.via, socket }
  }

  #cookie({ client, cookie }: Address): string | null {
    if (cookie === 'none') return null
    if (cookie?.startsWith('=') === true) return cookie.slice(1)
    return this.world.cookieOf(cookie ?? client)
  }

  #mismatch(reason: string, expected: string, got: unknown): Mismatch {
    return new Mismatch(reason, this.#line, expected, got)
  }
}

function channelOf(message: unknown): string {
  return String((message as Json | null)?.['channel'])
}

/** The channels of a response: enough to tell two responses apart. */
function shapeOf(messages: readonly Json[]): string {
  return messages.map(channelOf).join()
}

function show(pattern: unknown): string {
  return JSON.stringify(pattern, (_key, value: unknown) => (value instanceof Word ? value.text : value)).replaceAll(
    '"\ue000rest":true',
    '..."',
  )
}

/** Waits for what is on its way. In memory it is there at once or never. */
async function until(world: World, ready: () => boolean): Promise<void> {
  for (let tries = 0; !ready() && tries < 50; tries++) await world.settle()
}
