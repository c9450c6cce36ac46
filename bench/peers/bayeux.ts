// Bayeux clients for all Bayeux servers: one over WebSocket, one over long-polling. They do what CometD's and Faye's clients do on the wire:
// handshake, subscribe, a first connect that returns at once, then connect after connect.
//
// Knows: the client's half of the protocol as far as a well-behaved client needs it.
// Always true: while deliveries come, nothing is parsed as JSON and the next connect is bytes that were made before (but with ack).

import { type Client, type Ears, Hearing, type Post, roomName, type Target } from '../client.js'
import { HttpLink, postRequest } from '../wire/http.js'
import { textFrame, WebSocketLink } from '../wire/websocket.js'

interface Reply {
  readonly channel: string
  readonly successful?: boolean
  readonly clientId?: string
  readonly error?: string
}

const PATH = '/cometd'
const ALL_TYPES = ['websocket', 'long-polling']
const META_CONNECT = Buffer.from('/meta/connect')
const REFUSED = Buffer.from('"successful":false')

/** The messages of a session. */
class Wording {
  clientId = ''

  constructor(
    private readonly connectionType: string,
    private readonly ack: boolean,
    private readonly token: string | null,
  ) {}

  handshake(): string {
    const message = { id: '1', channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ALL_TYPES }
    const ext = { ...(this.ack && { ack: true }), ...(this.token !== null && { token: this.token }) }
    return JSON.stringify([this.ack || this.token !== null ? { ...message, ext } : message])
  }

  subscribe(rooms: readonly number[]): string {
    const subscription = rooms.map(roomName)
    return JSON.stringify([{ id: '2', channel: '/meta/subscribe', clientId: this.clientId, subscription }])
  }

  /** @param acknowledged what was received last, with acks; @param advice of the first connect */
  connect(acknowledged: number, advice?: { readonly timeout: number }): string {
    const message = { id: '3', channel: '/meta/connect', clientId: this.clientId, connectionType: this.connectionType }
    return JSON.stringify([{ ...message, ...(advice && { advice }), ...(this.ack && { ext: { ack: acknowledged } }) }])
  }

  publish(posts: readonly Post[]): string {
    const parts = posts.map(
      (post, i) => `{"id":"p${i}","channel":"${roomName(post.room)}","clientId":"${this.clientId}","data":"${post.text}"}`,
    )
    return `[${parts.join(',')}]`
  }

  disconnect(): string {
    return JSON.stringify([{ id: '4', channel: '/meta/disconnect', clientId: this.clientId }])
  }
}

function checked(reply: Reply | undefined): Reply {
  if (reply?.successful !== true) throw new Error(`refused: ${JSON.stringify(reply)}`)
  return reply
}

/** The number that a connect reply acknowledges by; -1 for none. */
function ackNumber(text: string): number {
  return Number(/"ack":(\d+)/.exec(text)?.[1] ?? -1)
}

export class BayeuxSocket extends Hearing implements Client {
  protected readonly link = new WebSocketLink(this)
  readonly #words: Wording
  /** While the session is made and ended: who waits for which reply. */
  readonly #awaited = new Map<string, (reply: Reply | undefined) => void>()
  #connect: Buffer = Buffer.alloc(0)
  #acknowledged = 0
  #listening = false

  constructor(target: Target, ears: Ears) {
    super(target, ears)
    this.#words = new Wording('websocket', target.ack, target.token)
  }

  async open(rooms: readonly number[]): Promise<void> {
    await this.link.connect(this.target.port, PATH)
    const { clientId } = checked(await this.#ask('/meta/handshake', this.#words.handshake()))
    this.#words.clientId = clientId!
    const subscribed = rooms.length === 0 ? null : this.#ask('/meta/subscribe', this.#words.subscribe(rooms))
    const connected = this.#ask('/meta/connect', this.#words.connect(0, { timeout: 0 }))
    if (subscribed !== null) checked(await subscribed)
    checked(await connected)
    this.#connect = textFrame(this.#words.connect(0))
  }

  listen(): void {
    this.#listening = true
    this.#sendConnect()
  }

  publish(posts: readonly Post[]): void {
    this.link.send(textFrame(this.#words.publish(posts)))
  }

  async close(): Promise<void> {
    this.#listening = false
    checked(await this.#ask('/meta/disconnect', this.#words.disconnect()))
    this.drop()
  }

  text(bytes: Buffer, start: number, end: number): void {
    const found = this.hear(bytes, start, end)
    if (!found || this.target.ack) this.#replies(bytes.subarray(start, end))
  }

  override closed(): void {
    for (const settle of this.#awaited.values()) settle(undefined)
    super.closed()
  }

  #replies(bytes: Buffer): void {
    if (this.#awaited.size > 0) {
      for (const reply of JSON.parse(bytes.toString()) as Reply[]) {
        const settle = this.#awaited.get(reply.channel)
        this.#awaited.delete(reply.channel)
        settle?.(reply)
      }
      return
    }
    if (bytes.includes(REFUSED)) return this.ears.fault(bytes.toString())
    if (!this.#listening || !bytes.includes(META_CONNECT)) return
    if (this.target.ack) this.#acknowledged = ackNumber(bytes.toString('latin1'))
    this.#sendConnect()
  }

  #sendConnect(): void {
    this.link.send(this.target.ack ? textFrame(this.#words.connect(this.#acknowledged)) : this.#connect)
  }

  #ask(channel: string, text: string): Promise<Reply | undefined> {
    return new Promise(resolve => {
      this.#awaited.set(channel, resolve)
      this.link.send(textFrame(text))
    })
  }
}

export class BayeuxPolling extends Hearing implements Client {
  protected readonly link = new HttpLink(this)
  readonly #words: Wording
  #settle: ((body: string, head: string) => void) | null = null
  #connect = ''
  #cookie = ''
  #acknowledged = 0
  #listening = false

  constructor(target: Target, ears: Ears) {
    super(target, ears)
    this.#words = new Wording('long-polling', target.ack, target.token)
  }

  async open(rooms: readonly number[]): Promise<void> {
    await this.link.connect(this.target.port)
    const { clientId } = await this.#ask(this.#words.handshake())
    this.#words.clientId = clientId!
    if (rooms.length > 0) await this.#ask(this.#words.subscribe(rooms))
    await this.#ask(this.#words.connect(0, { timeout: 0 }))
    this.#connect = this.#request(this.#words.connect(0))
  }

  listen(): void {
    this.#listening = true
    this.#sendConnect()
  }

  /** A client that publishes must not listen: over HTTP it would need a second connection. */
  publish(posts: readonly Post[]): void {
    this.link.send(this.#request(this.#words.publish(posts)))
  }

  /** While a connect is held on its own connection, the disconnect goes over another, as in any HTTP client. */
  async close(): Promise<void> {
    const messenger = this.#listening ? new BayeuxPolling(this.target, this.ears) : this
    if (this.#listening) {
      this.#listening = false
      messenger.#cookie = this.#cookie
      await messenger.link.connect(this.target.port)
    }
    await messenger.#ask(this.#words.disconnect())
    messenger.drop()
    this.drop()
  }

  response(ok: boolean, bytes: Buffer, start: number, end: number): void {
    if (!ok) this.ears.fault(bytes.toString('latin1', 0, end))
    const settle = this.#settle
    if (settle !== null) {
      this.#settle = null
      return settle(bytes.toString('utf8', start, end), bytes.toString('latin1', 0, start))
    }
    const found = this.hear(bytes, start, end)
    if (!found && bytes.subarray(start, end).includes(REFUSED)) return this.ears.fault(bytes.toString('utf8', start, end))
    if (!this.#listening) return
    if (this.target.ack) this.#acknowledged = ackNumber(bytes.toString('latin1', start, end))
    this.#sendConnect()
  }

  override closed(): void {
    this.#settle?.('[]', '')
    super.closed()
  }

  #sendConnect(): void {
    this.link.send(this.target.ack ? this.#request(this.#words.connect(this.#acknowledged)) : this.#connect)
  }

  #request(body: string): string {
    return postRequest(this.target.port, PATH, body, this.#cookie)
  }

  #ask(body: string): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.#settle = (json, head) => {
        try {
          const cookie = /\r\nset-cookie: *([^;\r]+)/i.exec(head)
          if (cookie !== null) this.#cookie = `Cookie: ${cookie[1]}\r\n`
          const replies = JSON.parse(json) as Reply[]
          resolve(checked(replies.find(reply => reply.channel.startsWith('/meta/'))))
        } catch (error) {
          reject(error)
        }
      }
      this.link.send(this.#request(body))
    })
  }
}
