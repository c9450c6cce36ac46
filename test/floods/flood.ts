// What a flood is: an attack of a known size on one kind of server, and what it may cost.

import type { Look, Report } from './server.js'

/**
 * `usual` has the default limits. `lifted` is `trusted` and has high limits, so that what holds there is not only thanks to refusals.
 * `compressing` is `trusted` as well and offers permessage-deflate.
 */
export const SERVERS = {
  usual: { options: {}, channels: {} },
  lifted: {
    options: { trusted: true, maxSessions: 200_000, maxSubscriptions: 200_000, maxQueueBytes: 16_777_216 },
    channels: { '/refused/**': { create: 'nobody' } },
  },
  compressing: { options: { trusted: true, 'ws.enableExtension.permessage-deflate': true }, channels: {} },
} as const

export type ServerKind = keyof typeof SERVERS

/** What the attacker has seen, by names of its own: `made`, `refused`, `closed` and the like. */
export type Counts = Readonly<Record<string, number>>

/** An attack at its height: all is sent, and whatever can be held is held. */
export interface Attack {
  readonly counts: Counts
  /** Ends it, or waits for the server to do so. @returns what was seen in the end; null for nothing new */
  release(): Promise<Counts | null>
}

/** What a flood has come to. */
export interface Outcome {
  readonly size: number
  /** How long it took to come to its height, s. */
  readonly seconds: number
  readonly counts: Counts
  readonly before: Report
  readonly height: Report
  /** How often each limit has held meanwhile. */
  readonly limits: Look['limits']
}

export interface Flood {
  readonly name: string
  /** What is done, in a few words. */
  readonly title: string
  readonly server: ServerKind
  /** How many of what the title names. */
  readonly size: number
  /** How much of the server's resident memory may come to, beyond what it had before, MiB. The garbage of Node's young generation is in it. */
  readonly bound: number
  /** What is held at the height, if one wants to know how large it is. */
  readonly held?: (outcome: Outcome) => number
  attack(port: number, size: number): Promise<Attack>
  /** What should have come of it, with whether it did. */
  check(outcome: Outcome): Readonly<Record<string, boolean>>
}
