// CometD's client extensions.
//
// Knows: what each adds to messages and reads from them. Of ack and reload the client half and the link do the work;
// what is registered here turns it on.
// Source: CometD's reference manual, "Extensions"; protocol reference 7.1 to 7.6.

import { decodeZ85, encodeZ85 } from '../../../bayeux/binary.js'
import type { Storage } from '../surroundings.js'
import type { Message } from './types.js'

/** What extensions use of their client. */
export interface Owner {
  reload?: ((config?: ReloadConfiguration) => void) | undefined
  getURL(): string
  setTimeout(act: () => void, ms: number): unknown
  /** @internal */
  _leave(): void
}

export class Extension {
  cometd: Owner | null = null

  registered(_name: string, cometd: Owner): void {
    this.cometd = cometd
  }

  unregistered(): void {
    this.cometd = null
  }

  incoming(message: Message): Message {
    return message
  }

  outgoing(message: Message): Message {
    return message
  }
}

/** Asks for acknowledged delivery: nothing is lost with a connection, nothing comes twice. Set `cometd.ackEnabled` to false to go without. */
export class AckExtension extends Extension {}

/** Bytes travel as text and are bytes again where they arrive, an `ArrayBuffer` there. */
export class BinaryExtension extends Extension {
  override incoming(message: Message): Message {
    if (isBinary(message) && typeof message.data?.data === 'string') message.data.data = Z85.decode(message.data.data)
    return message
  }

  override outgoing(message: Message): Message {
    // A copy: the application's own object stays as it is.
    if (isBinary(message)) message.data = { ...message.data, data: Z85.encode(message.data.data) }
    return message
  }
}

function isBinary({ channel, ext }: Message): boolean {
  return !channel.startsWith('/meta/') && Boolean(ext?.['binary'])
}

/** An array of numbers, an `ArrayBuffer`, or a view of one. */
export type Bytes = readonly number[] | ArrayBuffer | ArrayBufferView

export const Z85 = {
  /** @throws {Error} not bytes */
  encode(bytes: Bytes): string {
    if (ArrayBuffer.isView(bytes)) return encodeZ85(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    if (bytes instanceof ArrayBuffer || Array.isArray(bytes)) return encodeZ85(new Uint8Array(bytes))
    throw new Error(`Cannot Z85 encode ${bytes}`)
  },
  decode(text: string): ArrayBuffer {
    return decodeZ85(text).buffer as ArrayBuffer
  },
}

/** Adds the time of sending to every message. */
export class TimeStampExtension extends Extension {
  override outgoing(message: Message): Message {
    message.timestamp = new Date().toUTCString()
    return message
  }
}

/** Keeps the difference to the server's clock. */
export class TimeSyncExtension extends Extension {
  readonly #maxSamples: number
  #samples: [lag: number, offset: number][] = []
  #lag = 0
  #offset = 0

  constructor(configuration?: { readonly maxSamples?: number }) {
    super()
    this.#maxSamples = configuration?.maxSamples ?? 10
  }

  override unregistered(): void {
    super.unregistered()
    this.#samples = []
    this.#lag = this.#offset = 0
  }

  override incoming(message: Message): Message {
    const sync = message.ext?.['timesync'] as { tc?: number; ts?: number; p?: number } | undefined
    if (!message.channel.startsWith('/meta/') || sync === undefined) return message
    const lag = (Date.now() - Number(sync.tc) - Number(sync.p)) / 2
    const offset = Number(sync.ts) - Number(sync.tc) - lag
    if (!Number.isFinite(offset)) return message
    this.#samples.push([lag, offset])
    if (this.#samples.length > this.#maxSamples) this.#samples.shift()
    const mean = (index: 0 | 1): number =>
      Math.round(this.#samples.reduce((sum, sample) => sum + sample[index], 0) / this.#samples.length)
    this.#lag = mean(0)
    this.#offset = mean(1)
    return message
  }

  override outgoing(message: Message): Message {
    if (message.channel.startsWith('/meta/'))
      message.ext = { ...message.ext, timesync: { tc: Date.now(), l: this.#lag, o: this.#offset } }
    return message
  }

  /** The server's clock minus ours, ms. */
  getTimeOffset(): number {
    return this.#offset
  }

  /** One way, ms. */
  getNetworkLag(): number {
    return this.#lag
  }

  getServerTime(): number {
    return Date.now() + this.#offset
  }

  getServerDate(): Date {
    return new Date(this.getServerTime())
  }

  /** Calls back when the server's clock shows that time. @returns for the client's `clearTimeout` */
  setTimeout(callback: () => void, atServerTimeOrDate: number | Date): unknown {
    return this.cometd?.setTimeout(callback, Math.max(0, Number(atServerTimeOrDate) - this.getServerTime()))
  }
}

export interface ReloadConfiguration {
  /** The key in `sessionStorage` [org.cometd.reload]. */
  readonly name?: string
}

interface Kept {
  readonly url: string
  readonly handshakeResponse: Message | null
  readonly session: string
}

/** The session lives on over a reload of the page: call `cometd.reload()` when the page is about to go. */
export class ReloadExtension extends Extension {
  #name = 'org.cometd.reload'
  #response: Message | null = null

  constructor(configuration?: ReloadConfiguration) {
    super()
    this.configure(configuration)
  }

  configure(configuration?: ReloadConfiguration): void {
    if (typeof configuration?.name === 'string') this.#name = configuration.name
  }

  /** The handshake reply of the session that goes on. */
  get response(): Message | null {
    return this.#response
  }

  override registered(name: string, cometd: Owner): void {
    super.registered(name, cometd)
    cometd.reload = configuration => {
      this.configure(configuration)
      cometd._leave()
    }
  }

  override unregistered(): void {
    if (this.cometd !== null) this.cometd.reload = undefined
    super.unregistered()
  }

  override incoming(message: Message): Message {
    if (message.channel === '/meta/handshake' && message.successful) this.#response = message
    return message
  }

  /** @internal The page's own storage under the name of this extension, with the handshake reply beside the session. */
  _storage(storage: Storage): Storage {
    return {
      getItem: () => {
        const kept = JSON.parse(storage.getItem(this.#name) ?? 'null') as Kept | null
        if (kept === null || kept.url !== this.cometd?.getURL()) return null
        this.#response = kept.handshakeResponse
        return kept.session
      },
      setItem: (_key, session) => {
        const kept: Kept = { url: this.cometd?.getURL() ?? '', handshakeResponse: this.#response, session }
        storage.setItem(this.#name, JSON.stringify(kept))
      },
      removeItem: () => storage.removeItem(this.#name),
    }
  }
}
