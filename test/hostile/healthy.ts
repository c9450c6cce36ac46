// Clients that mean well, while others do not: a subscriber on each transport, and a publisher.
//
// Knows: what each of them must get: every message, once, whatever else is said to the server.
// Does not know: the hostile clients.

import http from 'node:http'
import WebSocket from 'ws'
import { type HttpAnswer, request } from '../support/wire.js'

const CHANNEL = '/healthy'
/** A message that has not come by then does not come, ms. */
export const LIMIT = 5_000
/** Every message is to be there by then, ms. */
export const PROMPT = 250

interface Reply {
  readonly channel: string
  readonly successful?: boolean
  readonly clientId?: string
  readonly data?: number
}

type Listener = (n: number) => void

/** Polls for as long as it lives, by POST or by callback-polling. */
class Poller {
  clientId = ''
  left = false
  readonly #agent = new http.Agent({ keepAlive: true })
  #polling: Promise<void> = Promise.resolve()

  constructor(
    private readonly url: string,
    private readonly transport: 'long-polling' | 'callback-polling',
    private readonly got: Listener,
    private readonly fault: (error: unknown) => void,
  ) {}

  async join(subscribes: boolean): Promise<void> {
    const [reply] = await this.say({ channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: [this.transport] })
    this.clientId = reply!.clientId!
    if (subscribes) await this.say({ channel: '/meta/subscribe', subscription: CHANNEL })
    this.#polling = this.#poll()
  }

  /** @throws {Error} it was not answered with success */
  async say(message: object): Promise<Reply[]> {
    const text = JSON.stringify([{ ...message, ...(this.clientId === '' ? null : { clientId: this.clientId }) }])
    const { status, body } = await this.#request(text)
    const replies = status === 200 ? (JSON.parse(body.replace(/^\/\*\*\/cb\((.*)\)$/s, '$1')) as Reply[]) : []
    if (replies.at(-1)?.successful !== true) throw new Error(`${this.transport}: ${text} was answered ${status} ${body}`)
    for (const { channel, data } of replies) if (channel === CHANNEL && data !== undefined) this.got(data)
    return replies
  }

  async leave(): Promise<void> {
    this.left = true
    await this.say({ channel: '/meta/disconnect' })
    await this.#polling
    this.#agent.destroy()
  }

  #request(text: string): Promise<HttpAnswer> {
    const headers = { cookie: `BAYEUX_BROWSER=healthy-${this.transport}`, 'content-type': 'application/json' }
    const agent = this.#agent
    if (this.transport === 'long-polling') return request(this.url, { method: 'POST', agent, headers }, text).answer
    return request(`${this.url}?jsonp=cb&message=${encodeURIComponent(text)}`, { agent, headers }, null).answer
  }

  async #poll(): Promise<void> {
    try {
      while (!this.left) await this.say({ channel: '/meta/connect', connectionType: this.transport })
    } catch (error) {
      if (!this.left) this.fault(error)
    }
  }
}

/** A subscriber on WebSocket, which sends a connect as soon as the one before is answered. */
class Socket {
  clientId = ''
  #ws!: WebSocket
  #left = false
  #closed!: Promise<unknown>

  constructor(
    private readonly url: string,
    private readonly got: Listener,
    private readonly fault: (error: unknown) => void,
  ) {}

  join(): Promise<void> {
    const headers = { cookie: 'BAYEUX_BROWSER=healthy-websocket' }
    this.#ws = new WebSocket(this.url.replace(/^http/, 'ws'), { headers, perMessageDeflate: false })
    this.#closed = new Promise(resolve => this.#ws.on('close', resolve))
    return new Promise((resolve, reject) => {
      this.#ws.on('error', reject)
      this.#ws.on('open', () =>
        this.#say({ channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['websocket'] }),
      )
      this.#ws.on('message', data => {
        for (const reply of JSON.parse(String(data)) as Reply[]) this.#hear(reply, resolve)
      })
      this.#ws.on('close', code => {
        if (!this.#left) this.fault(new Error(`the WebSocket of a healthy client was closed with ${code}`))
      })
    })
  }

  async leave(): Promise<void> {
    this.#left = true
    this.#say({ channel: '/meta/disconnect' })
    this.#ws.close()
    await this.#closed
  }

  #hear(reply: Reply, joined: () => void): void {
    const { channel, data, successful, clientId } = reply
    if (channel === CHANNEL) return this.got(data!)
    if (successful !== true) return this.fault(new Error(`websocket: ${JSON.stringify(reply)}`))
    if (channel === '/meta/handshake') {
      this.clientId = clientId!
      this.#say({ channel: '/meta/subscribe', subscription: CHANNEL })
    } else if (channel === '/meta/subscribe') joined()
    if (channel !== '/meta/handshake' && !this.#left) this.#say({ channel: '/meta/connect', connectionType: 'websocket' })
  }

  #say(message: object): void {
    this.#ws.send(JSON.stringify([{ ...message, ...(this.clientId === '' ? null : { clientId: this.clientId }) }]))
  }
}

/** A message that is on its way to all of them. */
interface Pending {
  readonly missing: Set<string>
  readonly done: () => void
}

export class Healthy {
  /** What went wrong with any of them. */
  readonly faults: unknown[] = []
  readonly #pending = new Map<number, Pending>()
  readonly #subscribers: readonly [Poller, Poller, Socket]
  readonly #publisher: Poller
  #published = 0

  constructor(url: string) {
    const got = (who: string) => (n: number) => this.#got(who, n)
    const fault = (error: unknown): void => void this.faults.push(error)
    this.#subscribers = [
      new Poller(url, 'long-polling', got('long-polling'), fault),
      new Poller(url, 'callback-polling', got('callback-polling'), fault),
      new Socket(url, got('websocket'), fault),
    ]
    this.#publisher = new Poller(url, 'long-polling', got('publisher'), fault)
  }

  async join(): Promise<void> {
    for (const subscriber of this.#subscribers) await subscriber.join(true)
    await this.#publisher.join(false)
  }

  /** Their sessions, for others to try. */
  get clientIds(): readonly string[] {
    return this.#subscribers.map(({ clientId }) => clientId)
  }

  /**
   * Publishes one message and waits until each of them has it.
   *
   * @returns ms until the last had it
   * @throws {Error} one has it not by `LIMIT`, or something went wrong with any of them before
   */
  async check(): Promise<number> {
    const n = ++this.#published
    const missing = new Set(['long-polling', 'callback-polling', 'websocket'])
    const from = performance.now()
    let limit: NodeJS.Timeout | undefined
    const all = new Promise<void>((resolve, reject) => {
      this.#pending.set(n, { missing, done: resolve })
      limit = setTimeout(
        () => reject(new Error(`message ${n} is not there after ${LIMIT} ms: ${[...missing].join(', ')}`)),
        LIMIT,
      )
    })
    try {
      await Promise.all([all, this.#publisher.say({ channel: CHANNEL, data: n })])
    } finally {
      clearTimeout(limit)
      this.#pending.delete(n)
    }
    if (this.faults.length > 0) throw this.faults[0]
    return performance.now() - from
  }

  async leave(): Promise<void> {
    for (const each of [...this.#subscribers, this.#publisher]) await each.leave()
  }

  #got(who: string, n: number): void {
    const pending = this.#pending.get(n)
    if (pending?.missing.delete(who) !== true) return void this.faults.push(new Error(`message ${n} came to ${who} again`))
    if (pending.missing.size === 0) pending.done()
  }
}
