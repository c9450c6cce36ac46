// An attacker's line: one raw connection, which sends whatever bytes it is given and only counts what it looks for in the answers.
//
// Knows: how much of what was sent has left, how often a text has come, whether the server has closed.
// Does not know: HTTP, frames, JSON; a text is counted wherever it stands.

import { connect, type Socket } from 'node:net'

/** Attackers come from here, the crowd from 127.0.0.x: what is counted by address is not counted together. */
const ADDRESS = '127.0.1.1'
/** ms. */
const PATIENCE = 30_000

export class Line {
  closed = false
  readonly #socket: Socket
  readonly #counts: Map<string, number>
  /** So many characters may be the beginning of a text that is looked for. */
  readonly #kept: number
  #rest = ''
  /** Who waits for an answer, and what has come of it. */
  #waiting: { readonly what: () => boolean; readonly done: (came: boolean) => void } | null = null
  #collected: string | null = null

  /** @param wanted texts to be counted; ASCII, at least two characters */
  constructor(port: number, wanted: readonly string[] = []) {
    this.#counts = new Map(wanted.map(text => [text, 0]))
    this.#kept = Math.max(1, ...wanted.map(text => text.length - 1))
    this.#socket = connect({ host: '127.0.0.1', port, localAddress: ADDRESS, noDelay: true })
    this.#socket.on('error', () => undefined) // 'close' says so
    this.#socket.on('close', () => {
      this.closed = true
      this.#look()
    })
    this.#socket.on('data', chunk => this.#read(chunk))
    this.#socket.on('drain', () => this.#look())
  }

  /** How often a text has come. */
  count(text: string): number {
    return this.#counts.get(text)!
  }

  /** How many of all that it looks for have come. */
  get total(): number {
    let total = 0
    for (const count of this.#counts.values()) total += count
    return total
  }

  /** @returns false when the sender should wait for `room` */
  send(bytes: Buffer | string): boolean {
    return this.closed || this.#socket.write(bytes, 'latin1')
  }

  /** Waits until what was sent has left. @returns false when the server takes nothing more: for `patience` ms, or for ever */
  async room(patience = PATIENCE): Promise<boolean> {
    const { writableHighWaterMark } = this.#socket
    return (await this.#wait(() => this.#socket.writableLength < writableHighWaterMark, patience)) && !this.closed
  }

  /** Waits for something to be true of this line, or its end. @throws {Error} it takes too long (as a rejection) */
  async until(what: () => boolean): Promise<void> {
    if (!(await this.#wait(what, PATIENCE)))
      throw new Error(`waited in vain; counted ${JSON.stringify([...this.#counts])}, last ${JSON.stringify(this.#rest)}`)
  }

  /** Sends and gives what comes, up to `end`. @throws {Error} it does not come (as a rejection) */
  async ask(bytes: Buffer | string, end: string): Promise<string> {
    this.#collected = ''
    this.send(bytes)
    await this.until(() => this.#collected?.includes(end) === true)
    const text = this.#collected
    this.#collected = null
    if (!text.includes(end)) throw new Error(`closed after ${JSON.stringify(text)}`)
    return text
  }

  /** Reads no more: what comes fills the buffers of the kernel, and then the server's. */
  deafen(): void {
    this.#socket.pause()
  }

  cut(): void {
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    const come = chunk.toString('latin1')
    if (this.#collected !== null) this.#collected += come
    const text = this.#rest + come
    for (const [wanted, count] of this.#counts) {
      let more = 0
      const from = Math.max(0, this.#rest.length - wanted.length + 1) // what lies in the rest as a whole was counted
      for (let at = text.indexOf(wanted, from); at !== -1; at = text.indexOf(wanted, at + 1)) more++
      if (more > 0) this.#counts.set(wanted, count + more)
    }
    this.#rest = text.slice(-this.#kept)
    this.#look()
  }

  #look(): void {
    if (this.#waiting !== null && (this.closed || this.#waiting.what())) this.#waiting.done(true)
  }

  #wait(what: () => boolean, patience: number): Promise<boolean> {
    if (this.closed || what()) return Promise.resolve(true)
    return new Promise(resolve => {
      const late = setTimeout(() => this.#waiting?.done(false), patience)
      this.#waiting = {
        what,
        done: came => {
          clearTimeout(late)
          this.#waiting = null
          resolve(came)
        },
      }
    })
  }
}
