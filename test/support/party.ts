// What the property test's model knows of one session: a list of what it must get, and what was already given to it.
//
// Knows: the guarantees of delivery: order, once, with ack none lost. Does not know: the engine, wires other than those written to.
// Always true: `due` is in the order of publication and only grows; without ack, what has left is its beginning.

import assert from 'node:assert/strict'
import type { Json, Session } from '../../bayeux/index.js'
import type { Wire, Written } from './recording.js'
import { PATTERNS } from './steps.js'

/** A wildcard pattern on a plain channel, in the plainest way. */
export function covers(pattern: string, channel: string): boolean {
  if (pattern.endsWith('/**')) return channel.startsWith(pattern.slice(0, -2))
  if (!pattern.endsWith('/*')) return pattern === channel
  const before = pattern.slice(0, -1)
  return channel.startsWith(before) && !channel.slice(before.length).includes('/')
}

interface Due {
  readonly n: number
  /** When it must have left if there is a way out; -Infinity for at once. */
  readonly by: number
}

interface Told {
  readonly patterns: readonly string[]
  readonly on: boolean
  /** As of the request. */
  readonly concurrent: boolean
  /** Of the reply, if it came. */
  ok?: boolean
}

/** What the model knows of one session. */
export class Party {
  /** All that it must get, in order. */
  readonly due: Due[] = []
  /** How much of it has left at least once, and reached the client. */
  sent = 0
  reached = 0
  readonly subscriptions = new Set<string>()
  /** With ack: how much each connect reply carried, the last number that the client has, and how much it ever said to have. */
  readonly carried = new Map<number, number>([[0, 0]])
  acknowledges = 0
  acknowledged = 0
  noticed = false
  /** The last of its own messages that was published. */
  published = 0
  doomed = false
  /** A connection of it is gone, of which messages may still wait for a verdict. */
  unsettled = false
  lastConnectReply = Number.NEGATIVE_INFINITY
  /** What it asked for, and was told, of its subscriptions, by the place in the conversation. */
  readonly told = new Map<number, Told>()

  constructor(
    readonly session: Session,
    readonly ack: boolean,
  ) {}

  expect(n: number, by: number): void {
    if (!this.session.gone && !this.doomed) this.due.push({ n, by })
  }

  /** It is given messages, which must be the next ones due. `written`: with what; null for a session that lives in the server. */
  take(messages: readonly Json[], written: Written | null, requests: readonly Request[], deliverOnly: boolean): void {
    const { session } = this
    assert(!this.noticed || messages.length === 0, 'a message after the notice of the end')
    const notice = messages.at(-1)?.['channel'] === '/meta/disconnect'
    if (notice) {
      assert(session.gone, 'notice of an end that is none')
      this.noticed = true
    }
    const given = (notice ? messages.slice(0, -1) : messages).map(message => (message['data'] as { n: number }).n)
    if (written === null) return this.#next(given)
    const connects = this.#connects(written, requests)
    if (!session.gone) this.#mayLeave(given, written, requests.length === 0, deliverOnly && connects.length === 0)
    const number = numberOf(connects.at(-1)?.reply ?? written.head)
    if (this.ack && number !== null) return this.#numbered(given, number, written, connects)
    assert(!this.ack || session.gone || given.length === 0, 'messages without a number')
    this.#next(given)
  }

  /** What the client was told of its subscriptions is what the server has, as far as the replies arrived. */
  checkView(): void {
    const view = new Map<string, boolean | 'unknown'>()
    for (const { patterns, on, ok, concurrent } of this.told.values())
      for (const pattern of patterns) if (ok !== false) view.set(pattern, ok === undefined || concurrent ? 'unknown' : on)
    for (const pattern of PATTERNS) {
      const seen = view.get(pattern) ?? false
      if (seen !== 'unknown') assert.equal(this.subscriptions.has(pattern), seen, `the client was told otherwise of ${pattern}`)
    }
  }

  #next(given: readonly number[]): void {
    for (const n of given) assert.equal(n, this.due[this.sent++]?.n, 'not the message that is due')
  }

  /** The successful connects that are answered with it. */
  #connects({ replies }: Written, requests: readonly Request[]): { readonly reply: Json; readonly request: Request }[] {
    return replies.flatMap((reply, i) => {
      const request = requests[i + requests.length - replies.length]!
      const connect = request.message['channel'] === '/meta/connect' && request.party === this
      return connect && reply['successful'] === true ? [{ reply, request }] : []
    })
  }

  #mayLeave(given: readonly number[], { wire, head }: Written, alone: boolean, withoutConnect: boolean): void {
    if (given.length > 0 && head === null) assert(!withoutConnect, 'connect-only delivery without a connect')
    if (!alone) return
    assert.equal(this.session.batchDepth, 0, 'a batch did not hold its messages back')
    assert(!wire.connection.congested, 'more for a socket that is full')
  }

  /** With ack: all that is unacknowledged comes with each connect reply, under its number. */
  #numbered(
    given: readonly number[],
    number: number,
    { head, heard, together }: Written,
    connects: readonly { readonly reply: Json; readonly request: Request }[],
  ): void {
    const { due } = this
    assert(together || head !== null || given.length === 0, 'messages and their number apart')
    const start = due.length - given.length
    const rest = due.slice(start).map(({ n }) => n)
    assert.deepEqual(given, rest, 'not all that is unacknowledged, in order')
    assert(start <= this.acknowledged, 'unacknowledged messages are lost')
    for (const { request } of connects) assert(start >= request.claims, 'an acknowledged message was sent again')
    for (const each of [...connects.map(({ reply }) => reply), head]) {
      const carried = numberOf(each)
      if (carried === null) continue
      assert(!this.carried.has(carried), 'a number was used twice')
      this.carried.set(carried, due.length)
    }
    this.sent = due.length
    if (!heard) return
    this.acknowledges = number
    this.reached = due.length
  }
}

export interface Request {
  readonly seq: number
  readonly message: Json
  readonly wire: Wire
  readonly party: Party | null
  /** With ack: how much of its messages this connect says to have. */
  readonly claims: number
  /** Sent while others of its session waited on another connection, so that their order is open. */
  readonly concurrent: boolean
  /** A newer message may have taken the place of this held connect. */
  superseded: boolean
}

/** The ack number in a connect reply, or in a handshake reply that carries messages. */
function numberOf(reply: Json | null): number | null {
  const ack = (reply?.['ext'] as { ack?: number | true | { batch: number } } | undefined)?.ack
  return typeof ack === 'object' ? ack.batch : typeof ack === 'number' ? ack : null
}
