// What the generator expects of a client, whatever protocol it speaks, and how a delivery is found in what it reads.

import { MARK, PAYLOAD_BYTES } from './payload.js'

export type Transport = 'websocket' | 'long-polling'

/** One message to be published. */
export interface Post {
  readonly room: number
  readonly text: string
}

/** Who listens to a client. */
export interface Ears {
  /** A delivery whose payload begins at `mark`. */
  heard(bytes: Buffer, mark: number): void
  /** Something that must not happen: an error reply, a lost connection. */
  fault(reason: string): void
}

/** What all clients of one run share. */
export interface Target {
  readonly port: number
  /** Ask for acknowledged delivery. */
  readonly ack: boolean
  /** To handshake with; null for none. */
  readonly token: string | null
}

export interface Client {
  /** Makes a session, in these rooms. From then on deliveries may come. @throws {Error} the server refuses (as a rejection) */
  open(rooms: readonly number[]): Promise<void>
  /** Waits for messages as long as the session lives: holds a connect, or does nothing where the protocol has none. */
  listen(): void
  /** Publishes messages together, after those before. */
  publish(posts: readonly Post[]): void
  /** Ends the session as the protocol wants it, then the connection. */
  close(): Promise<void>
  /** Drops the connection without a word. */
  drop(): void
}

export type ClientClass = new (target: Target, ears: Ears) => Client

export const roomName = (room: number): string => `/room/${room}`

/** What all clients have in common: one connection, in which they find deliveries, and which must not end before they end it. */
export abstract class Hearing {
  protected abstract readonly link: { end(): void }
  #ended = false
  /** Where the first delivery was found the last time, from the beginning of its text: most likely it is there again. */
  #hint = -1

  constructor(
    protected readonly target: Target,
    protected readonly ears: Ears,
  ) {}

  drop(): void {
    this.#ended = true
    this.link.end()
  }

  closed(): void {
    if (!this.#ended) this.ears.fault('the server closed a connection')
  }

  /** Finds all deliveries in `bytes[start..end)`. @returns whether there were any */
  protected hear(bytes: Buffer, start: number, end: number): boolean {
    let mark = start + this.#hint
    if (mark < start || mark >= end || bytes[mark] !== MARK) mark = nextMark(bytes, start, end)
    if (mark === -1) return false
    this.#hint = mark - start
    while (mark !== -1) {
      this.ears.heard(bytes, mark)
      mark = nextMark(bytes, mark + PAYLOAD_BYTES, end)
    }
    return true
  }
}

function nextMark(bytes: Buffer, start: number, end: number): number {
  for (let i = start; i < end; i++) if (bytes[i] === MARK) return i
  return -1
}
