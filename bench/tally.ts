// The exact account of what was published and what each user got: lost, doubled, reordered, and how late.
//
// Knows: who is in which room, and of each membership the number that must come next.
// Always true: messages of a room are numbered from 0 in the order of their publication by each speaker; those of different speakers may
// swap on their way to the server, so only two messages of one speaker in one room can be out of order.

import { Histogram } from './histogram.js'
import { numberOf, roomOf, sentAt } from './payload.js'

const NOT_MEMBER = 0xff
/** How many of a room's latest messages remember their speaker. */
const REMEMBERED = 4096

export interface Account {
  readonly expected: number
  readonly received: number
  readonly lost: number
  readonly doubled: number
  readonly reordered: number
  /** Deliveries of a room to a user who is not in it. */
  readonly strays: number
}

export class Tally {
  /** By the kind of client: user n is of kind n modulo their number. */
  readonly latencies: readonly Histogram[]
  received = 0
  /** Only deliveries of messages sent within this window (ms of `performance.now()`) count for `latencies`. */
  windowFrom = 0
  windowTo = Number.POSITIVE_INFINITY
  firstAt = 0
  lastAt = 0
  expected = 0
  doubled = 0
  reordered = 0
  strays = 0

  readonly #rooms: number
  readonly #perUser: number
  readonly #slots: Uint8Array
  readonly #members: Int32Array
  readonly #sent: Int32Array
  readonly #speakers: Uint16Array
  /** By membership: the number that comes next, and those that came before their turn. */
  readonly #next: Int32Array
  readonly #early = new Map<number, Set<number>>()

  /** @param memberships rooms of each user, all of one length */
  constructor(rooms: number, memberships: readonly (readonly number[])[], kinds: number) {
    this.latencies = Array.from({ length: kinds }, () => new Histogram())
    this.#rooms = rooms
    this.#perUser = memberships[0]?.length ?? 0
    this.#slots = new Uint8Array(memberships.length * rooms).fill(NOT_MEMBER)
    this.#members = new Int32Array(rooms)
    this.#sent = new Int32Array(rooms)
    this.#speakers = new Uint16Array(rooms * REMEMBERED)
    this.#next = new Int32Array(memberships.length * this.#perUser)
    for (const [user, joined] of memberships.entries()) {
      for (const [slot, room] of joined.entries()) {
        this.#slots[user * rooms + room] = slot
        this.#members[room]!++
      }
    }
  }

  /** Notes a publication. @returns the message's number in its room */
  sent(room: number, speaker: number): number {
    const number = this.#sent[room]!++
    this.#speakers[room * REMEMBERED + (number % REMEMBERED)] = speaker
    this.expected += this.#members[room]!
    return number
  }

  /** Notes a delivery, whose payload begins at `mark`. */
  heard(user: number, bytes: Uint8Array, mark: number): void {
    const now = performance.now()
    const at = sentAt(bytes, mark)
    if (this.firstAt === 0) this.firstAt = now
    this.lastAt = now
    if (at >= this.windowFrom && at < this.windowTo) this.latencies[user % this.latencies.length]!.add(now - at)
    const room = roomOf(bytes, mark)
    const slot = this.#slots[user * this.#rooms + room]
    if (slot === undefined || slot === NOT_MEMBER) {
      this.strays++
      return
    }
    const membership = user * this.#perUser + slot
    const number = numberOf(bytes, mark)
    this.received++
    if (number === this.#next[membership] && this.#early.size === 0) this.#next[membership] = number + 1
    else this.#irregular(membership, room, number)
  }

  account(): Account {
    const { expected, received, doubled, reordered, strays } = this
    return { expected, received, lost: expected - (received - doubled), doubled, reordered, strays }
  }

  get complete(): boolean {
    return this.received - this.doubled >= this.expected
  }

  #irregular(membership: number, room: number, number: number): void {
    const next = this.#next[membership]!
    let early = this.#early.get(membership)
    if (number < next || early?.has(number) === true) {
      this.doubled++
      return
    }
    if (early !== undefined) {
      const speaker = this.#speakerOf(room, number)
      for (const other of early) if (other > number && this.#speakerOf(room, other) === speaker) this.reordered++
    }
    if (number !== next) {
      if (early === undefined) {
        early = new Set()
        this.#early.set(membership, early)
      }
      early.add(number)
      return
    }
    let after = number + 1
    if (early !== undefined) {
      while (early.delete(after)) after++
      if (early.size === 0) this.#early.delete(membership)
    }
    this.#next[membership] = after
  }

  #speakerOf(room: number, number: number): number {
    return this.#speakers[room * REMEMBERED + (number % REMEMBERED)]!
  }
}
