// A page around a client, in a World: fetch, WebSockets, alarms, a store, the page's own events; in memory and in the world's time.
//
// Knows: what a browser does with requests and sockets, how the network and a captive portal may treat them.
// Does not know: the client. The server is the world's engine, unless `answer` speaks in its place.
// Always true: `left` names all that a closed client must have given back.

import type { Connection } from '../../bayeux/index.js'
import type { PageEvent, Socket, Storage, Surroundings } from '../../lib/client/surroundings.js'
import type { Wire, World } from './world.js'

type Json = Record<string, unknown>
export type Way = 'http' | 'websocket'

/** An answer that is no Bayeux: a status, or a text. */
export interface Bare {
  readonly status?: number
  readonly text?: string
}

export interface SentEnvelope {
  readonly way: Way
  readonly messages: readonly Json[]
  readonly init: RequestInit | null
}

export class Page implements Surroundings {
  /** `open`: as it should. `refused`: closes instead. `hangs`: nothing comes. `mute`: opens, then nothing comes. `forbidden`: cannot even be made. */
  sockets: 'open' | 'refused' | 'hangs' | 'mute' | 'forbidden' = 'open'
  http: 'up' | 'down' | 'hangs' = 'up'
  latency: () => number = () => 1
  /** Answers in the server's place: messages; or what is none; 'silence'; undefined leaves it to the server. */
  answer: (messages: Json[], way: Way) => readonly unknown[] | Bare | 'silence' | undefined = () => undefined
  /** What the network makes of a text on its way down; over HTTP the first, and a failure where there is none. */
  bend: (text: string, way: Way) => readonly string[] = text => [text]
  jitter = 0.5
  readonly storage: Storage | null = new Store()
  readonly sent: SentEnvelope[] = []
  readonly made: PageSocket[] = []
  readonly urls: string[] = []
  readonly #alarms = new Set<() => void>()
  readonly #requests = new Set<PageRequest>()
  readonly #listeners = new Set<(event: PageEvent) => void>()
  cookie: string | null = null

  constructor(readonly world: World) {}

  now(): number {
    return this.world.now
  }

  random(): number {
    return this.jitter
  }

  after(ms: number, ring: () => void): () => void {
    const off = this.world.plan(ms, () => {
      this.#alarms.delete(off)
      ring()
    })
    this.#alarms.add(off)
    return () => {
      this.#alarms.delete(off)
      off()
    }
  }

  listen(heard: (event: PageEvent) => void): () => void {
    this.#listeners.add(heard)
    return () => void this.#listeners.delete(heard)
  }

  fetch(url: string, init: RequestInit): Promise<Response> {
    this.urls.push(url)
    const request = new PageRequest(this, init)
    this.#requests.add(request)
    return request.response.finally(() => this.#requests.delete(request))
  }

  readonly openSocket = (url: string): Socket => {
    this.urls.push(url)
    if (this.sockets === 'forbidden') throw new Error('WebSockets are forbidden here')
    const socket = new PageSocket(this)
    this.made.push(socket)
    return socket
  }

  /** The machine sleeps, or the page is hidden: nothing rings, nothing comes. */
  sleep(ms: number): void {
    this.world.now += ms
  }

  tell(event: PageEvent): void {
    for (const heard of [...this.#listeners]) heard(event)
  }

  /** The page goes, without a word to anybody but the store. @returns the next one of its tab */
  reload(): Page {
    this.tell('leave')
    for (const off of [...this.#alarms]) off()
    for (const request of this.#requests) request.forget()
    for (const socket of this.open) socket.close()
    this.#listeners.clear()
    this.after = () => () => {}
    this.fetch = () => new Promise(() => {})
    const { storage, sockets, http, latency, answer, bend, jitter, cookie, random } = this
    return Object.assign(new Page(this.world), { storage, sockets, http, latency, answer, bend, jitter, cookie, random })
  }

  /** The sockets that the client has not closed, and the server has not either. */
  get open(): PageSocket[] {
    return this.made.filter(({ state }) => state !== 'closed')
  }

  get left(): Json {
    return {
      alarms: this.#alarms.size,
      requests: this.#requests.size,
      listeners: this.#listeners.size,
      sockets: this.open.length,
    }
  }

  /** Channels of the envelopes sent since the last look, by transport. */
  log(): string[] {
    const sent = this.sent.splice(0)
    return sent.map(({ way, messages }) => `${way} ${messages.map(({ channel }) => channel).join(' ')}`)
  }
}

export const NOTHING_LEFT = { alarms: 0, requests: 0, listeners: 0, sockets: 0 }

/** What one wire to the engine and one to the test's own answers have in common. */
abstract class PageWire implements Wire {
  protected connection: Connection | null = null
  abstract readonly way: Way
  abstract readonly writable: boolean

  constructor(protected readonly page: Page) {}

  abstract write(texts: readonly string[]): void
  abstract end(): void
  protected abstract bare(answer: Bare): void

  protected arrive(text: string, init: RequestInit | null): void {
    const { page } = this
    const { world } = page
    const messages = JSON.parse(text) as Json[]
    page.sent.push({ way: this.way, messages, init })
    const answer = page.answer(messages, this.way)
    if (answer === 'silence') return
    if (Array.isArray(answer)) return this.write([JSON.stringify(answer)])
    if (answer !== undefined) return this.bare(answer as Bare)
    const transport = this.way === 'http' ? 'long-polling' : this.way
    this.connection ??= world.engine.open({ transport, browser: page.cookie, address: 'test', http2: false, context: null }, this)
    if (!this.connection.open) return
    world.engine.receive(this.connection, [text], world.now)
    if (this.connection.browserIssued && this.way === 'http') page.cookie = this.connection.browser
  }

  protected gone(): void {
    if (this.connection?.open) this.page.world.engine.closed(this.connection, this.page.world.now)
  }
}

class PageRequest extends PageWire {
  readonly way = 'http'
  readonly response: Promise<Response>
  #resolve!: (response: Response) => void
  #reject!: (error: Error) => void
  #over = false

  constructor(page: Page, init: RequestInit) {
    super(page)
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    init.signal?.addEventListener('abort', () => {
      this.#reject(new Error('aborted'))
      this.#end()
    })
    if (page.http === 'hangs') return
    page.world.plan(page.latency(), () => {
      if (this.#over) return
      if (page.http === 'up') this.arrive(String(init.body), init)
      else if (page.http === 'down') this.end()
    })
  }

  get writable(): boolean {
    return !this.#over
  }

  write(texts: readonly string[]): void {
    const [text] = this.page.bend(texts[0]!, this.way)
    if (text === undefined) this.end()
    else this.bare({ text })
  }

  protected bare({ status = 200, text = '' }: Bare): void {
    this.page.world.plan(this.page.latency(), () =>
      this.#resolve({ status, text: async () => text, body: null } as unknown as Response),
    )
  }

  end(): void {
    this.page.world.plan(this.page.latency(), () => {
      this.#reject(new Error('the network is down'))
      this.#end()
    })
  }

  #end(): void {
    this.#over = true
    this.gone()
  }

  /** Nobody is there any more to be told. */
  forget(): void {
    this.#resolve = this.#reject = () => {}
    this.#end()
  }
}

export class PageSocket extends PageWire implements Socket {
  readonly way = 'websocket'
  onopen: ((event: never) => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  onclose: ((event: { code: number; reason: string }) => void) | null = null
  onerror: ((event: { message?: string }) => void) | null = null
  state: 'new' | 'open' | 'closed' = 'new'
  #up = 0
  #down = 0
  readonly #mute: boolean

  constructor(page: Page) {
    super(page)
    const { sockets } = page
    this.#mute = sockets === 'mute'
    if (sockets === 'hangs') return
    page.world.plan(page.latency(), () => {
      if (this.state === 'closed') return
      if (sockets === 'refused') return this.end()
      this.state = 'open'
      this.onopen?.({} as never)
    })
  }

  get writable(): boolean {
    return this.state === 'open'
  }

  send(text: string): void {
    if (this.state !== 'open') throw new Error(`the socket is ${this.state}`)
    this.#up = Math.max(this.#up, this.page.world.now + this.page.latency())
    this.page.world.plan(this.#up - this.page.world.now, () => {
      if (this.state === 'open' && !this.#mute) this.arrive(text, null)
    })
  }

  write(texts: readonly string[]): void {
    for (const text of texts) for (const bent of this.page.bend(text, this.way)) this.bare({ text: bent })
  }

  /** A frame of the server. */
  bare({ text = '' }: Bare): void {
    this.#down = Math.max(this.#down, this.page.world.now + this.page.latency())
    this.page.world.plan(this.#down - this.page.world.now, () => {
      if (this.state === 'open') this.onmessage?.({ data: text })
    })
  }

  close(): void {
    this.state = 'closed'
    this.page.world.plan(this.page.latency(), () => this.gone())
  }

  /** The server or the network closes it. */
  end(): void {
    if (this.state === 'closed') return
    this.close()
    this.onerror?.({})
    this.onclose?.({ code: 1006, reason: '' })
  }
}

class Store implements Storage {
  readonly items = new Map<string, string>()
  getItem(key: string): string | null {
    return this.items.get(key) ?? null
  }
  setItem(key: string, value: string): void {
    this.items.set(key, value)
  }
  removeItem(key: string): void {
    this.items.delete(key)
  }
}
