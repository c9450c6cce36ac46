// Outbox: messages that are published once, in their order, whatever happens to connections, sessions, server and page.
//
// Knows: what waits, what is on its way, when to say it again; what is kept beyond the page.
// Does not know: sessions and transports; it is an extension of a client, and publishes by it.
// Always true: messages are first said in the order of `publish`; one whose fate is not known is said again, with its key, before any behind it.
// Source: guarantee G5; docs/delivery.md.

import type { PeerMessage } from '../../bayeux/client-sink.js'
import type { Client, ClientExtension } from './client.js'
import { ClientError } from './error.js'

/** One message that waits. */
export interface OutboxEntry {
  readonly key: string
  readonly channel: string
  readonly data: unknown
}

/** What keeps an outbox beyond its page. It may fail: then the outbox ends with the page. */
export interface OutboxStore {
  /** @returns what the page before left, in the order in which it was put; and the publisher's id, '' for none */
  load(): Promise<{ readonly publisher: string; readonly entries: readonly OutboxEntry[] }>
  name(publisher: string): Promise<void>
  put(entry: OutboxEntry): Promise<void>
  remove(key: string): Promise<void>
}

export interface OutboxOptions {
  /** By default the outbox goes with the page. `indexedDbStore` keeps it. */
  readonly store?: OutboxStore | null
  /** Messages that may wait [10,000]. */
  readonly max?: number
}

/** What is said at once, in one envelope, before the first of it is answered: messages, and characters of JSON. */
const WINDOW = 64
const WINDOW_SIZE = 16_000
/** About what a message has beside its data. */
const ENVELOPE = 150
const UNKNOWN: ReadonlySet<string> = new Set(['TIMEOUT', 'CONNECTION_FAILED', 'REPLY_MISSING', 'SESSION_LOST'])

interface Waiting {
  readonly entry: OutboxEntry
  resolve(reply: PeerMessage): void
  reject(error: unknown): void
}

/**
 * `const outbox = new Outbox(client)` before `connect`, then `outbox.publish(channel, data)`.
 *
 * With a server that has no dedupe extension each message is said once: one of unknown fate is rejected, as by `client.publish`.
 */
export class Outbox implements ClientExtension {
  readonly #client: Client
  readonly #store: OutboxStore | null
  readonly #max: number
  /** Fulfilled when what the page before left is there. */
  readonly #loaded: Promise<void>
  #publisher = randomKey()
  #waiting: Waiting[] = []
  #sent = 0
  #dedupes = false

  constructor(client: Client, { store = null, max = 10_000 }: OutboxOptions = {}) {
    this.#client = client
    this.#store = store
    this.#max = max
    this.#loaded = this.#load()
    client.registerExtension('dedupe', this)
    client.on('state', ({ state }) => {
      if (state === 'connected') this.#pump()
      if (state === 'closed') this.#drop()
    })
  }

  /** Messages that wait or are on their way. */
  get size(): number {
    return this.#waiting.length
  }

  /** To be awaited before `connect` where a store keeps the outbox: the publisher's id goes with the handshake. */
  get loaded(): Promise<void> {
    return this.#loaded
  }

  /** @returns the server's reply; rejected with a `ClientError`: refused, closed, or `OUTBOX_FULL` */
  publish(channel: string, data: unknown): Promise<PeerMessage> {
    if (this.#waiting.length >= this.#max) return Promise.reject(new ClientError('OUTBOX_FULL'))
    const entry = { key: randomKey(), channel, data: JSON.parse(JSON.stringify(data)) as unknown }
    void this.#store?.put(entry).catch(() => {})
    const settled = this.#add(entry)
    this.#pump()
    return settled
  }

  outgoing(message: Record<string, unknown>): void {
    if (message['channel'] === '/meta/handshake')
      message['ext'] = { ...(message['ext'] as object | undefined), dedupe: { publisher: this.#publisher } }
  }

  incoming(message: Record<string, unknown>): void {
    if (message['channel'] === '/meta/handshake')
      this.#dedupes = (message['ext'] as { dedupe?: unknown } | undefined)?.dedupe === true
  }

  #add(entry: OutboxEntry): Promise<PeerMessage> {
    return new Promise((resolve, reject) => this.#waiting.push({ entry, resolve, reject }))
  }

  async #load(): Promise<void> {
    try {
      const left = await this.#store?.load()
      if (left === undefined) return
      if (left.publisher === '') await this.#store?.name(this.#publisher)
      else this.#publisher = left.publisher
      const younger = this.#waiting
      this.#waiting = []
      for (const entry of left.entries) this.#add(entry).catch(() => {}) // who waited for it is gone
      this.#waiting.push(...younger)
      this.#pump()
    } catch {
      // without a store, then
    }
  }

  /** Says what may be said now, in one envelope: of what is in several, the second might arrive without the first. */
  #pump(): void {
    if (this.#client.state !== 'connected' || this.#sent > 0 || this.#waiting.length === 0) return
    this.#client.batch(() => this.#say())
  }

  #say(): void {
    for (let size = 0; this.#sent < Math.min(WINDOW, this.#waiting.length) && size < WINDOW_SIZE; ) {
      const waiting = this.#waiting[this.#sent++]!
      const { key, channel, data } = waiting.entry
      size += JSON.stringify(data).length + channel.length + ENVELOPE
      const ext = this.#dedupes ? { ext: { dedupe: { key } } } : undefined
      this.#client.publish(channel, data, ext).then(
        reply => this.#settled(waiting, () => waiting.resolve(reply)),
        (error: unknown) => {
          const again = this.#dedupes && error instanceof ClientError && UNKNOWN.has(error.code)
          if (again) this.#ended()
          else this.#settled(waiting, () => waiting.reject(error))
        },
      )
    }
  }

  #settled(waiting: Waiting, settle: () => void): void {
    const at = this.#waiting.indexOf(waiting)
    if (at === -1) return
    this.#waiting.splice(at, 1)
    void this.#store?.remove(waiting.entry.key).catch(() => {})
    settle()
    this.#ended()
  }

  /** When all that was said has an end, the next are said: those of unknown fate first, as they are in front. */
  #ended(): void {
    if (this.#sent > 0) this.#sent--
    this.#pump()
  }

  /** Closed: what waits stays in the store, if there is one. */
  #drop(): void {
    const waiting = this.#waiting
    this.#waiting = []
    this.#sent = 0
    for (const { reject } of waiting) reject(new ClientError('DISCONNECTED'))
  }
}

/** 128 random bits and more. */
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(26)), byte => (byte % 36).toString(36)).join('')
}

/** Keeps an outbox in IndexedDB, under a name; one page at a time should use a name. */
export function indexedDbStore(name = 'perihelion-outbox'): OutboxStore {
  const opened = new Promise<IDBDatabase>((resolve, reject) => {
    const request = indexedDB.open(name, 1)
    request.onupgradeneeded = () => {
      request.result.createObjectStore('entries', { autoIncrement: true }).createIndex('key', 'key', { unique: true })
      request.result.createObjectStore('names')
    }
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  const ask = async <T>(
    names: string[],
    mode: IDBTransactionMode,
    act: (transaction: IDBTransaction) => IDBRequest<T>,
  ): Promise<T> => {
    const transaction = (await opened).transaction(names, mode)
    const request = act(transaction)
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve(request.result)
      transaction.onerror = transaction.onabort = () => reject(transaction.error)
    })
  }
  return {
    async load() {
      const publisher = (await ask(['names'], 'readonly', transaction => transaction.objectStore('names').get('publisher'))) as
        | string
        | undefined
      const entries = (await ask(['entries'], 'readonly', transaction =>
        transaction.objectStore('entries').getAll(),
      )) as OutboxEntry[]
      return { publisher: publisher ?? '', entries }
    },
    async name(publisher) {
      await ask(['names'], 'readwrite', transaction => transaction.objectStore('names').put(publisher, 'publisher'))
    },
    async put(entry) {
      await ask(['entries'], 'readwrite', transaction => transaction.objectStore('entries').put(entry))
    },
    async remove(key) {
      const found = await ask(['entries'], 'readonly', transaction => transaction.objectStore('entries').index('key').getKey(key))
      if (found !== undefined)
        await ask(['entries'], 'readwrite', transaction => transaction.objectStore('entries').delete(found))
    },
  }
}
