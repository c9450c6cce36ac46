// What a client remembers beyond its sessions: where each subscription is in the server's history, and by what the server knows its publishes again.
//
// Knows: what is negotiated for it, what is said of it in messages, which messages are new to which subscription, when something is missing.
// Does not know: sessions, transports, when something is said again (client.ts); what the server keeps (replay.ts, dedupe.ts).
// Always true: a place is that of a message which was given to the application, or is about to be; what comes before the reply to the last subscribe is
// not for that subscription, as it may have been sent before it was made.
// Source: guarantees G4 and G5; docs/delivery.md.

/** Of one message: `id` grows over all channels of one life of the history, which is its `epoch`. */
export interface Place {
  readonly id: number
  readonly epoch: string
}

const MOST_LOSSES = 20
/** HTTP's status, WebSocket's close code. */
const TOO_LONG = /\b(?:413|1009)\b/

type Json = Readonly<Record<string, unknown>>

/** What may break a connection. */
interface Spoiling {
  readonly id: string
  readonly channel: string
  readonly body: string
}

/** What is told to the server, as it is told. `restore`: the client asks by itself, for a subscription that there was. */
interface Telling {
  readonly id: string
  readonly channel: string
  /** Of a subscribe or unsubscribe. */
  readonly channels: readonly string[]
  /** JSON. */
  readonly ext: string
  readonly role: string
}

export class Memory {
  /** Of the keys: each page has its own, also where it goes on with the session of another. */
  readonly #mark: string
  #publisher: string
  /** By channel or pattern as it is subscribed to; null: not known yet, where the present is. */
  #places = new Map<string, Place | null>()
  /** Where it is asked to begin, not answered yet; its place is null. */
  readonly #wishes = new Map<string, unknown>()
  /** The last subscribe. */
  readonly #asked = new Map<string, string>()
  /** Subscriptions that the server has answered in this session, and with which connect reply their messages begin. */
  readonly #open = new Map<string, number>()
  /** The last message that came before that answer, and with which connect reply. */
  readonly #passed = new Map<string, readonly [Place, number]>()
  /** What the server of this session can do. */
  #tellsPlaces = false
  /** The message that was first in flight when the connection was lost last, and how often it was one after the other. */
  #lost = ''
  #losses = 0
  #dedupes = false

  /** @param publisher at random, known to nobody else: 22 to 64 letters, digits, `-`, `_` */
  constructor(publisher: string) {
    this.#publisher = this.#mark = publisher
  }

  /** What a page that is loaded after this one needs. */
  save(): Json {
    const publisher = this.#publisher
    return { publisher, places: Object.fromEntries(this.#places), told: this.#tellsPlaces, dedupes: this.#dedupes }
  }

  restore(saved: Json): void {
    this.#publisher = String(saved['publisher'] ?? this.#mark)
    this.#places = new Map(Object.entries((saved['places'] ?? {}) as Record<string, Place | null>))
    this.#tellsPlaces = saved['told'] === true
    this.#dedupes = saved['dedupes'] === true
  }

  /** The application has closed: it begins anew. */
  clear(): void {
    for (const all of this.#all()) all.clear()
  }

  /** Where a subscription is; null: not known yet. */
  placeOf(name: string): Place | null {
    return this.#places.get(name) ?? null
  }

  /** A subscription is remembered from now on; what comes before the reply is not for it. @param id of the subscribe */
  ask(name: string, id: string): void {
    this.#places.set(name, this.placeOf(name))
    this.#asked.set(name, id)
    this.#open.delete(name)
    this.#passed.delete(name)
  }

  forget(name: string): void {
    for (const all of this.#all()) all.delete(name)
  }

  #all() {
    return [this.#places, this.#wishes, this.#asked, this.#open, this.#passed]
  }

  /** What a handshake asks for, in its `ext`. */
  greeting(): Json {
    return { replay: {}, dropped: true, dedupe: { publisher: this.#publisher } }
  }

  /** @param ext of the reply to a handshake */
  welcomed(ext: Json): void {
    this.#open.clear()
    this.#tellsPlaces = typeof (ext['replay'] as { epoch?: unknown } | undefined)?.epoch === 'string'
    this.#dedupes = ext['dedupe'] === true
  }

  /**
   * What of the publishes in flight is to be given up when the connection is lost: the longest, where the server says that one is too long for it,
   * or what was first as often as that, as it may be what breaks the connection. Subscribes are asked for all the same.
   */
  spoilerOf<Sent extends Spoiling>(sent: readonly Sent[], detail: string): Sent | null {
    const [first] = sent
    if (first === undefined) return null
    this.#losses = first.id === this.#lost ? this.#losses + 1 : 1
    this.#lost = first.id
    const suspects = sent.filter(({ channel }) => this.knowsAgain(channel))
    if (TOO_LONG.test(detail)) return suspects.sort((one, other) => other.body.length - one.body.length)[0] ?? null
    return this.#losses >= MOST_LOSSES && suspects[0] === first ? first : null
  }

  /** Whether a publish may be said again when its fate is not known: the server does it once. */
  knowsAgain(channel: string): boolean {
    return this.#dedupes && !/^\/(?:meta|service)\//.test(channel)
  }

  /** Its `ext` as JSON: of a publish with a key, of a subscribe with the places where it begins. */
  extended({ id, channel, channels, ext: text, role }: Telling): string {
    const ext = JSON.parse(text) as Json
    if (this.knowsAgain(channel)) return JSON.stringify({ dedupe: { key: `${this.#mark} ${id}` }, ...ext })
    if (channel === '/meta/unsubscribe') for (const name of channels) this.forget(name) // a subscribe may have been told behind `forget`
    if (!this.#tellsPlaces || channel !== '/meta/subscribe') return text
    const wishes = ext['replay'] as Json | undefined
    const starts = channels.map(name => {
      this.ask(name, id)
      return [name, this.#startOf(name, wishes?.[name], role !== 'restore')]
    })
    return JSON.stringify({ ...ext, replay: Object.fromEntries(starts) })
  }

  /**
   * Behind the last message, or where the application wishes if that is farther back; without both with new messages.
   *
   * @param isNew the application subscribes, and so gets what is retained, too, unless it says where to begin
   */
  #startOf(name: string, wish: unknown, isNew: boolean): unknown {
    const place = this.placeOf(name)
    const known = place ?? this.#wishes.get(name)
    const start = known === -2 || (isPlace(known) && isPlace(wish) && isBehind(known, wish)) ? known : (wish ?? known)
    if (start !== undefined && start !== place) {
      this.#wishes.set(name, start)
      this.#places.set(name, null)
    }
    return isNew && place && start === place && wish === undefined ? { ...place, retained: true } : (start ?? { now: true })
  }

  /**
   * The reply to a subscribe tells where each begins, if it is the last. `gap` is told those before which something is missing.
   *
   * @returns those that are to be asked for again: their messages came before the reply, as over HTTP they may
   */
  begun({ id, channels }: Pick<Telling, 'id' | 'channels'>, ext: Json, gap: (name: string) => void): readonly string[] {
    return channels.filter(name => {
      if (this.#asked.get(name) !== id) return false
      const told = (ext['replay'] as Json | undefined)?.[name]
      const whole = (told as { recovered?: unknown } | undefined)?.recovered !== false
      if (!whole) gap(name)
      if (isPlace(told) && !(this.placeOf(name) && whole)) this.#places.set(name, { id: told.id, epoch: told.epoch })
      this.#wishes.delete(name)
      const since = Number((told as { ack?: unknown } | undefined)?.ack ?? 0)
      const [passed, batch] = this.#passed.get(name) ?? []
      const overtaken = passed && isPlace(told) && batch! >= since && !isBehind(passed, told)
      if (!overtaken) this.#open.set(name, since)
      return overtaken
    })
  }

  /**
   * @param names the channels and patterns that it may be for
   * @param batch of the connect reply that it came with, in sessions with acks; else Infinity
   * @returns those to whose subscriptions it is new; null where there is none, or the server tells no places
   */
  fresh(names: readonly string[], ext: Json, batch: number): readonly string[] | null {
    const place = ext['replay']
    if (!isPlace(place)) return null
    const known = names.filter(name => this.#places.has(name))
    if (known.length === 0) return null
    return known.filter(name => {
      const since = this.#open.get(name)
      if (since === undefined) this.#passed.set(name, [place, batch])
      if (since === undefined || batch < since) return false
      const before = this.#places.get(name)
      if (before && isBehind(place, before)) return false
      this.#places.set(name, place)
      return true
    })
  }
}

/** Whether what is at a place was heard by one who is at another. */
function isBehind(place: Place, { id, epoch }: Place): boolean {
  return place.epoch === epoch && place.id <= id
}

function isPlace(value: unknown): value is Place {
  const { id, epoch } = (value ?? {}) as Partial<Place>
  return typeof id === 'number' && typeof epoch === 'string'
}
