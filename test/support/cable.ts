// A way to a server that can be cut and mended, can hold back what is said, and can lead to another server: as networks and restarts do.
//
// Knows: bytes and sockets. Does not know: HTTP, WebSocket, messages.
// Always true: nothing passes while it is cut; its address stays the same for its life.

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { Teardown } from './server.js'

export class Cable {
  readonly #server: Server = createServer({ noDelay: true }, near => this.#join(near))
  readonly #pairs = new Set<readonly [near: Socket, far: Socket]>()
  #port: number
  #cut = false
  #held = false
  #deaf = false

  private constructor(port: number) {
    this.#port = port
  }

  /** Lays one from a free port of 127.0.0.1 to the server of a URL, until the test is over. */
  static async lay(t: Teardown, target: string): Promise<Cable> {
    const cable = new Cable(Number(new URL(target).port))
    await new Promise<void>(resolve => cable.#server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => {
      cable.cut()
      return new Promise<void>(resolve => cable.#server.close(() => resolve()))
    })
    return cable
  }

  /** `http://127.0.0.1:PORT/` */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`
  }

  /** Breaks all connections; until `mend` new ones break too. */
  cut(): void {
    this.#cut = true
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy()
  }

  /** @param target where it leads from now on, if not to the server as before */
  mend(target?: string): void {
    if (target !== undefined) this.#port = Number(new URL(target).port)
    this.#cut = this.#deaf = false
  }

  /** From now on what the clients say waits, on all connections, until `release`. */
  hold(): void {
    this.#held = true
    for (const [near] of this.#pairs) near.pause()
  }

  release(): void {
    this.#held = false
    for (const [near] of this.#pairs) near.resume()
  }

  /** From now on what the server says is lost, until `mend`. */
  deafen(): void {
    this.#deaf = true
  }

  #join(near: Socket): void {
    if (this.#cut) {
      near.destroy()
      return
    }
    const far = connect({ port: this.#port, host: '127.0.0.1', noDelay: true })
    const pair = [near, far] as const
    this.#pairs.add(pair)
    near.on('data', chunk => far.write(chunk))
    far.on('data', chunk => this.#deaf || near.write(chunk))
    for (const socket of pair) {
      socket.on('error', () => {}) // 'close' follows
      socket.on('close', () => {
        this.#pairs.delete(pair)
        for (const other of pair) other.destroy()
      })
    }
    if (this.#held) near.pause()
  }
}
