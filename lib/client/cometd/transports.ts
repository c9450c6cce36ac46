// Transports as pages know them: registered, looked up, derived from. The work is done by link.ts.
//
// Knows: which types there are and in which order they are wanted.
// Does not know: how messages travel, but for pages that bring their own way to send a request (`xhrSend`).
// Always true: nothing here is private to the language, since jQuery's binding derives objects from these by their prototype.

/** What a page's own `xhrSend` gets: one request, and whom to tell of its end. */
export interface Packet {
  readonly transport: Transport
  readonly url: string
  readonly sync: boolean
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** The text of the answer, or what was parsed from it. */
  onSuccess(response: unknown): void
  onError(reason: string, exception?: unknown): void
}

/** As much of an XMLHttpRequest as is asked for. */
export interface Request {
  readonly status: number
  abort(): void
}

export class Transport {
  type: string | null = null
  /** Takes the place of the configured URL. */
  url: string | undefined
  cometd: unknown = null

  /** Gives an object that has all of another, as CometD up to 7 derives. */
  static derive<T extends object>(base: T): T {
    return Object.create(base) as T
  }

  getType(): string | null {
    return this.type
  }

  getURL(): string | undefined {
    return this.url
  }

  setURL(url: string): void {
    this.url = url
  }

  registered(type: string, cometd: unknown): void {
    this.type = type
    this.cometd = cometd
  }

  unregistered(): void {
    this.type = this.cometd = null
  }

  accept(_version: string, _crossDomain: boolean, _url: string): boolean {
    return true
  }

  /** Without effect: a request given up is made again by the client itself. */
  abort(): void {}

  reset(_init: boolean): void {}

  toString(): string {
    return String(this.type)
  }
}

export class RequestTransport extends Transport {}

export class LongPollingTransport extends RequestTransport {
  /** For pages that call it from their own; unless it is overridden, requests are made with `fetch`. */
  xhrSend(packet: Packet): Request {
    const xhr = new XMLHttpRequest()
    xhr.withCredentials = true
    xhr.open('POST', packet.url, !packet.sync)
    for (const [name, value] of Object.entries(packet.headers)) xhr.setRequestHeader(name, value)
    xhr.setRequestHeader('Content-Type', 'application/json')
    xhr.onload = () => (xhr.status === 200 ? packet.onSuccess(xhr.responseText) : packet.onError(xhr.statusText))
    xhr.onabort = xhr.onerror = () => packet.onError(xhr.statusText)
    xhr.send(packet.body)
    return xhr
  }
}

export class CallbackPollingTransport extends RequestTransport {
  override accept(_version?: string, _crossDomain?: boolean, _url?: string): boolean {
    return typeof document !== 'undefined'
  }
}

export class WebSocketTransport extends Transport {
  override accept(_version?: string, _crossDomain?: boolean, _url?: string): boolean {
    return (this.cometd as { websocketEnabled?: boolean } | null)?.websocketEnabled !== false
  }
}

export class TransportRegistry {
  readonly #transports: [type: string, transport: Transport][] = []

  getTransportTypes(): string[] {
    return this.#transports.map(([type]) => type)
  }

  findTransportTypes(version: string, crossDomain: boolean, url: string): string[] {
    return this.#transports.filter(([, transport]) => transport.accept(version, crossDomain, url)).map(([type]) => type)
  }

  negotiateTransport(types: readonly string[], version: string, crossDomain: boolean, url: string): Transport | null {
    const type = this.findTransportTypes(version, crossDomain, url).find(own => types.includes(own))
    return type === undefined ? null : this.find(type)
  }

  find(type: string): Transport | null {
    return this.#transports.find(([own]) => own === type)?.[1] ?? null
  }

  /** @returns false when there is one of this type already */
  add(type: string, transport: Transport, index: number = this.#transports.length): boolean {
    if (this.find(type) !== null) return false
    this.#transports.splice(index, 0, [type, transport])
    return true
  }

  remove(type: string): Transport | null {
    const index = this.#transports.findIndex(([own]) => own === type)
    return index < 0 ? null : this.#transports.splice(index, 1)[0]![1]
  }

  /** In the place of the one of the same type. */
  replace(type: string, transport: Transport): void {
    const entry = this.#transports.find(([own]) => own === type)
    if (entry !== undefined) entry[1] = transport
  }

  clear(): void {
    this.#transports.length = 0
  }

  reset(init: boolean): void {
    for (const [, transport] of this.#transports) transport.reset(init)
  }
}
