// History: what is kept of channels, so that it can be replayed.
//
// Knows: the contract that every store keeps, what a place in a history is.
// Does not know: how it is stored (lib/history/), who replays what (replay.ts).
// Source: design section 5.

import type { ChannelName } from './channel.js'

/** What a channel keeps: so many messages at most, none older than `age` ms, but the `last` one at any age if that is true. */
export interface Retention {
  readonly messages: number
  readonly age: number
  readonly last: boolean
}

/** One kept message. `json` is that of its plain form, `at` epoch ms. */
export interface Entry {
  readonly position: number
  readonly channel: string
  readonly json: string
  readonly at: number
}

export interface Page {
  /** In the order of their positions. */
  readonly entries: readonly Entry[]
  /** What is covered up to here is in this page, or was in one before; reading goes on behind it. */
  readonly through: number
}

/**
 * A store of messages. Positions grow over all channels, and may skip. One that a process gave is never given by a later one, whatever became of the
 * store meanwhile: a client that goes on from a place of another life is not to find other messages behind it.
 *
 * What is asked for is given at once. A store that turns out to be damaged throws.
 */
export interface History {
  /** One life of this history: positions of another mean nothing here. */
  readonly epoch: string
  /**
   * Whether a message that was appended is safe only when `Engine.kept` says so: nobody gets it before, nor is its publisher told that it is published.
   * The store says so for all positions in turn, or why it could not keep them.
   */
  readonly durable: boolean
  /** The position given last; before the first, one that is before all that will be given. */
  readonly tip: number
  /**
   * Keeps a message.
   *
   * @param key by which the same publish is known again, also by a later process where the store is durable; null for none
   * @returns its position
   */
  append(channel: string, json: string, retention: Retention, now: number, key: string | null): number
  /** Whether a message was appended with this key before this process began, of late. */
  has(key: string): boolean
  /**
   * Messages of all channels that `pattern` covers, oldest first: those behind `after` up to `through`.
   *
   * @param most entries; there may be fewer, and `Page.through` less than asked, as it is not to take long
   * @param mostBytes characters of JSON, of all but the first of them
   */
  read(pattern: ChannelName, after: number, through: number, most: number, mostBytes: number): Page
  /** The last position of these channels that is kept no more: reading from before it has a gap. Less than any position given where everything is there. */
  floor(pattern: ChannelName): number
  /** The position of the last message kept that is older than `at`, epoch ms; 0 where there is none. */
  before(at: number): number
  /** The newest kept message of each of these channels that is `wanted`, oldest first, at most so many. */
  last(pattern: ChannelName, most: number, wanted: (channel: ChannelName) => boolean): readonly Entry[]
  /** Forgets what is too old, as far as a moment reaches. @returns when there may be more, epoch ms: `now`, if it did not get through; Infinity for never */
  trim(now: number): number
  close(): Promise<void>
}
