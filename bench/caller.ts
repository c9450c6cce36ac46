// A Bayeux session on a WebSocket for what the crowd's clients do not do: it reads every reply to what it publishes, or every message of a replay.

import { textFrame, WebSocketLink } from './wire/websocket.js'

interface Reply {
  readonly channel: string
  readonly clientId?: string
  readonly successful?: boolean
}

const CONNECT = Buffer.from('"/meta/connect"')
/** A reply to a connect is no longer than this. */
const LONGEST_CONNECT = 256

export class Caller {
  clientId = ''
  readonly #link = new WebSocketLink(this)
  readonly #heard: (bytes: Buffer, start: number, end: number) => void
  readonly #closed: () => void
  #connected = false
  #settle: ((reply: Reply | null) => void) | null = null

  /** @param heard takes each text message that is no answer to `ask`, `bytes[start..end)`, which are overwritten when it returns */
  constructor(heard: (bytes: Buffer, start: number, end: number) => void, closed: () => void) {
    this.#heard = heard
    this.#closed = closed
  }

  /** Makes a session. @throws {Error} the server refuses (as a rejection) */
  async open(port: number, ext: object = {}): Promise<void> {
    await this.#link.connect(port, '/cometd')
    const message = { channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['websocket'], ext }
    this.clientId = (await this.ask(message)).clientId!
    await this.ask({ channel: '/meta/connect', connectionType: 'websocket', advice: { timeout: 0 } })
    this.#connect()
  }

  /** Sends a meta message. @returns its reply. @throws {Error} that is a refusal, or the connection is lost (as a rejection) */
  async ask(message: object): Promise<Reply> {
    const answered = new Promise<Reply | null>(resolve => {
      this.#settle = resolve
    })
    this.send([JSON.stringify({ id: '1', ...message, ...(this.clientId !== '' && { clientId: this.clientId }) })])
    const reply = await answered
    if (reply?.successful !== true) throw new Error(`refused: ${JSON.stringify(reply)}`)
    return reply
  }

  send(messages: readonly string[]): void {
    this.#link.send(textFrame(`[${messages.join(',')}]`))
  }

  end(): void {
    this.#link.end()
  }

  text(bytes: Buffer, start: number, end: number): void {
    if (end - start < LONGEST_CONNECT && bytes.subarray(start, end).includes(CONNECT) && this.#connected) return this.#connect()
    const settle = this.#settle
    if (settle === null) return this.#heard(bytes, start, end)
    const reply = (JSON.parse(bytes.toString('utf8', start, end)) as Reply[]).find(({ channel }) => channel.startsWith('/meta/'))
    if (reply === undefined) return
    this.#settle = null
    settle(reply)
  }

  /** Held for its time, and then the next. */
  #connect(): void {
    this.#connected = true
    this.send([`{"channel":"/meta/connect","connectionType":"websocket","clientId":"${this.clientId}"}`])
  }

  closed(): void {
    this.#settle?.(null)
    this.#closed()
  }
}
