// Floods of names: subscriptions of one client, and channels that nobody has heard of.

import type { Attack, Flood, Outcome } from '../flood.js'
import type { Line } from '../line.js'
import { openSocket, REFUSED, type Speaker, socketSpeaker, speakOn, TAKEN } from '../words.js'
import { cutAll, exchange } from './drive.js'

/** Names in one envelope. */
const TOGETHER = 100
/** What a session may send at once, and segments of the deepest names, by default. */
const BURST = 2_000
const DEEPEST = 16
/** A handshake that was refused is tried again after so long, ms. */
const PAUSE = 20

const counted = (line: Line) => ({ taken: line.count(TAKEN), refused: line.count(REFUSED) })

const names = (from: number, count = TOGETHER): string[] => Array.from({ length: count }, (_, i) => `/flood/${from + i}`)

async function subscriptions(port: number, size: number): Promise<Attack> {
  const { line, say } = await socketSpeaker(port, [TAKEN, REFUSED])
  for (let from = 0; from < size && !line.closed; from += TOGETHER)
    await exchange(line, say([{ channel: '/meta/subscribe', subscription: names(from) }]), 1)
  return { counts: counted(line), release: () => cutAll([line]) }
}

/** Publishes to names that are new each time, as fast as they are answered. @param prefix of the names, without its last slash */
async function publishes(port: number, size: number, prefix: string): Promise<Attack> {
  const { line, say } = await socketSpeaker(port, [TAKEN, REFUSED])
  await publish(line, say, 0, size, prefix)
  return { counts: counted(line), release: () => cutAll([line]) }
}

async function publish(line: Line, say: Speaker['say'], from: number, to: number, prefix: string): Promise<void> {
  for (let at = from; at < to && !line.closed; at += TOGETHER) {
    const messages = Array.from({ length: TOGETHER }, (_, i) => ({ channel: `${prefix}/${at + i}`, data: 1 }))
    await exchange(line, say(messages), TOGETHER)
  }
}

/** The same within the limits: each session publishes what it may at once, then the next one is made, as fast as sessions may be made. */
async function sessionsThatPublish(port: number, size: number): Promise<Attack> {
  const line = await openSocket(port, [TAKEN, REFUSED])
  for (let from = 0; from < size; from += BURST) {
    const say = await nextSession(line)
    await publish(line, say, from, Math.min(size, from + BURST), '/flood')
  }
  return { counts: counted(line), release: () => cutAll([line]) }
}

async function nextSession(line: Line): Promise<Speaker['say']> {
  for (;;) {
    try {
      return (await speakOn(line)).say
    } catch (error) {
      if (!String(error).includes('429')) throw error
      await new Promise(resolve => setTimeout(resolve, PAUSE))
    }
  }
}

async function comeAndGo(port: number, size: number): Promise<Attack> {
  const { line, say } = await socketSpeaker(port, [TAKEN, REFUSED])
  for (let from = 0; from < size && !line.closed; from += TOGETHER) {
    const subscription = names(from)
    await exchange(
      line,
      say([
        { channel: '/meta/subscribe', subscription },
        { channel: '/meta/unsubscribe', subscription },
      ]),
      2,
    )
  }
  return { counts: counted(line), release: () => cutAll([line]) }
}

/** Sessions that subscribe to as many names as they may, each as deep as it may be, with nothing in common. */
async function deep(port: number, size: number): Promise<Attack> {
  const line = await openSocket(port, [TAKEN, REFUSED])
  const rest = '/x'.repeat(DEEPEST - 1)
  for (let from = 0; from < size; from += 10 * TOGETHER) {
    const say = await nextSession(line)
    for (let at = from; at < from + 10 * TOGETHER; at += TOGETHER) {
      const subscription = Array.from({ length: TOGETHER }, (_, i) => `/${at + i}${rest}`)
      await exchange(line, say([{ channel: '/meta/subscribe', subscription }]), 1)
    }
  }
  return { counts: counted(line), release: () => cutAll([line]) }
}

const newSubscriptions = ({ before, height }: Outcome): number => height.stats.subscriptions - before.stats.subscriptions
const newChannels = ({ before, height }: Outcome): number => height.stats.channels - before.stats.channels

export const channelFloods: readonly Flood[] = [
  {
    name: 'subscriptions',
    title: 'subscriptions of one client',
    server: 'usual',
    size: 100_000,
    bound: 64,
    attack: subscriptions,
    check: outcome => ({
      'a thousand were taken': newSubscriptions(outcome) === 1_000,
      'all others were refused': outcome.counts['refused'] === outcome.size / TOGETHER - 10,
      'the limit is counted': outcome.limits['maxSubscriptions'] === outcome.counts['refused'],
    }),
  },
  {
    name: 'subscriptions-held',
    title: 'the same, and all are held',
    server: 'lifted',
    size: 100_000,
    bound: 192,
    held: newSubscriptions,
    attack: subscriptions,
    check: outcome => ({ 'all are held': newSubscriptions(outcome) === outcome.size }),
  },
  {
    name: 'subscriptions-deep',
    title: 'subscriptions to names of 16 segments, by sessions of 1,000',
    server: 'usual',
    size: 50_000,
    bound: 512,
    held: newSubscriptions,
    attack: deep,
    check: outcome => ({ 'all are held': newSubscriptions(outcome) === outcome.size }),
  },
  {
    name: 'names',
    title: 'new names, one publish to each, by sessions within their rates',
    server: 'usual',
    size: 1_000_000,
    bound: 512,
    held: newChannels,
    attack: sessionsThatPublish,
    check: ({ counts, size }) => ({ 'all were taken': counts['taken']! >= size }),
  },
  {
    name: 'names-lifted',
    title: 'the same by one session',
    server: 'lifted',
    size: 1_000_000,
    bound: 512,
    held: newChannels,
    attack: (port, size) => publishes(port, size, '/flood'),
    check: ({ counts, size }) => ({ 'all were taken': counts['taken']! >= size }),
  },
  {
    name: 'names-come-and-go',
    title: 'new names, subscribed and left at once',
    server: 'lifted',
    size: 1_000_000,
    bound: 512,
    attack: comeAndGo,
    check: ({ counts, size }) => ({ 'all were taken': counts['taken']! >= (2 * size) / TOGETHER }),
  },
  {
    name: 'names-refused',
    title: 'new names where nobody may create any',
    server: 'lifted',
    size: 1_000_000,
    bound: 96,
    attack: (port, size) => publishes(port, size, '/refused'),
    check: outcome => ({
      'all were refused': outcome.counts['refused'] === outcome.size,
      'none was made': newChannels(outcome) === 0,
    }),
  },
]
