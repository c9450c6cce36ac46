// Outbox: what is published outlives its page. Each message is done once, in order, whatever happens to connections, sessions, server and page.
//
// Knows: what waits, what is kept beyond the page, what has become of it.
// Does not know: when something is said again (the client does that), sessions, transports.
// Always true: messages are first said in the order of `publish`, and those that a page before left come first; one is forgotten when the server has
// answered it, or when its fate cannot be known.
// Source: guarantee G5; docs/delivery.md.

import type { PeerMessage } from '../../bayeux/client-sink.js'
import type { Client, ClientExtension } from './client.js'
import { ClientError, type ClientErrorCode } from './error.js'
import type { Extra } from './line.js'
import { randomId } from './memory.js'

/** One message that waits. */
export interface OutboxEntry {
  readonly key: string
  readonly channel: string
  /** JSON, or a Uint8Array. */
  readonly data: unknown
}

/** What keeps an outbox beyond its page. It may fail: then the outbox ends with the page. */
export interface OutboxStore {
  /** @returns what the page before left, in the order in which it was put; and the publisher's id, '' for none */
  load(): Promise<{ readonly publisher: string; readonly entries: readonly OutboxEntry[] }>
  /** Keeps the publisher's id, unless another page has done so meanwhile. @returns the one that is kept */
  name(publisher: string): Promise<string>
  put(entry: OutboxEntry): Promise<void>
  remove(key: string): Promise<void>
}

/** What an outbox needs of a client: any `Client` will do. */
export interface OutboxClient extends Pick<Client, 'state' | 'on' | 'registerExtension'> {
  publish(channel: string, data: unknown, extra?: Extra): Promise<PeerMessage>
}

/** Messages that are on their way at a time. */
const WINDOW = 256
/** The client is closed, or was: it was not said, or what became of it will show when it is said again. */
const LATER: ReadonlySet<ClientErrorCode> = new Set([
  'DISCONNECTED',
  'CLOSED',
  'OUTBOX_FULL',
  'KICKED',
  'STOPPED',
  'TYPE_UNSUPPORTED',
])

interface Waiting {
  readonly entry: OutboxEntry
  /** Once the store has it, or has failed. */
  readonly kept: Promise<void>
  said: boolean
  resolve(reply: PeerMessage): void
  reject(error: unknown): void
}

/**
 * `const outbox = await Outbox.open(client, indexedDbStore())` before `connect`, then `outbox.publish(channel, data)`.
 *
 * With a server that has no dedupe extension each message is said once: one of unknown fate is rejected, as by `client.publish`.
 */
export class Outbox implements ClientExtension {
  readonly #client: OutboxClient
  readonly #store: OutboxStore
  readonly #max: number
  readonly #publisher = randomId()
  /** The id in the store; null without a store. */
  #kept: string | null = null
  readonly #waiting = new Map<string, Waiting>()
  #onTheWay = 0

  private constructor(client: OutboxClient, store: OutboxStore, max: number) {
    this.#client = client
    this.#store = store
    this.#max = max
  }

  /**
   * Takes over what the page before left.
   *
   * @param max messages that may wait
   * @throws {TypeError} the client is connected already, or has an outbox
   */
  static async open(client: OutboxClient, store: OutboxStore, max = 10_000): Promise<Outbox> {
    if (client.state !== 'closed') throw new TypeError('an outbox is opened before `connect`')
    const outbox = new Outbox(client, store, max)
    client.registerExtension('outbox', outbox)
    await outbox.#load()
    client.on('state', ({ state }) => {
      if (state === 'connecting') outbox.#pump()
    })
    outbox.#pump()
    return outbox
  }

  /** Messages that wait or are on their way. */
  get size(): number {
    return this.#waiting.size
  }

  /**
   * @returns the server's reply; rejected with a `ClientError`: refused, `OUTBOX_FULL`, of unknown fate; or the client was closed: then it
   *   is said after the next `connect`, in this page or, where the store keeps it, in another
   */
  publish(channel: string, data: unknown): Promise<PeerMessage> {
    if (this.#waiting.size >= this.#max) return Promise.reject(new ClientError('OUTBOX_FULL'))
    const copy: unknown = data instanceof Uint8Array ? data.slice() : JSON.parse(JSON.stringify(data))
    const entry = { key: randomId(), channel, data: copy }
    const settled = this.#add(
      entry,
      this.#store.put(entry).catch(() => {}),
    )
    this.#pump()
    return settled
  }

  outgoing(message: Record<string, unknown>): void {
    if (message['channel'] !== '/meta/handshake') return
    const ext = message['ext'] as { readonly dedupe?: object } | undefined
    // Without a store the client's own: it outlives a reload of the page, with the session.
    const dedupe = this.#kept === null ? { publisher: this.#publisher, ...ext?.dedupe } : { publisher: this.#kept }
    message['ext'] = { ...ext, dedupe }
  }

  #add(entry: OutboxEntry, kept: Promise<void>): Promise<PeerMessage> {
    return new Promise((resolve, reject) => this.#waiting.set(entry.key, { entry, kept, said: false, resolve, reject }))
  }

  async #load(): Promise<void> {
    try {
      const { publisher, entries } = await this.#store.load()
      this.#kept = publisher === '' ? await this.#store.name(this.#publisher) : publisher
      for (const entry of entries) this.#add(entry, Promise.resolve()).catch(() => {}) // who waited for it is gone
    } catch {
      // without a store, then
    }
  }

  #pump(): void {
    for (const waiting of this.#waiting.values()) {
      if (this.#onTheWay >= WINDOW) return
      if (!waiting.said) this.#say(waiting)
    }
  }

  #say(waiting: Waiting): void {
    const { key, channel, data } = waiting.entry
    waiting.said = true
    this.#onTheWay++
    this.#client.publish(channel, data, { ext: { dedupe: { key } } }).then(
      reply => this.#settled(waiting, () => waiting.resolve(reply)),
      (error: unknown) => {
        const later = error instanceof ClientError && LATER.has(error.code)
        if (!later) return this.#settled(waiting, () => waiting.reject(error))
        this.#onTheWay--
        waiting.said = false
        waiting.reject(error)
      },
    )
  }

  #settled({ entry, kept }: Waiting, settle: () => void): void {
    this.#onTheWay--
    this.#waiting.delete(entry.key)
    kept.then(() => this.#store.remove(entry.key)).catch(() => {})
    settle()
    this.#pump()
  }
}

/** Keeps an outbox in IndexedDB, under a name. */
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
  opened.catch(() => {}) // `ask` tells
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
      const before = await ask(['names'], 'readwrite', transaction => {
        const names = transaction.objectStore('names')
        const named = names.get('publisher') as IDBRequest<string | undefined>
        named.onsuccess = () => {
          if (named.result === undefined) names.put(publisher, 'publisher')
        }
        return named
      })
      return before ?? publisher
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
