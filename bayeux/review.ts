// Review: subscriptions judged again, because a rule, a token or a role has changed.
//
// Knows: what is asked about each (rules, authorizers, policy), and what a subscription that is no longer allowed leaves behind.
// Does not know: what changed.
// Always true: what a session may no longer have does not leave its queue; while a verdict is awaited, nothing does.
// Source: guarantee G8.

import { parseChannel } from './channel.js'
import type { Core } from './core.js'
import type { FrozenMessage } from './message.js'
import { type Question, refusal, type Verdict } from './policy.js'
import type { Session } from './session.js'
import { type Channel, isSubscribed } from './tree.js'
import { authorizersVerdict } from './trial.js'

/**
 * Judges all subscriptions of a session again and ends those that are not allowed any more.
 *
 * Their messages that are queued, or sent and not acknowledged, are dropped; also what the server delivered to this session alone on such a
 * channel. A policy that answers later holds the session's deliveries until it has.
 */
export function review(core: Core, session: Session): void {
  session.reviews++
  if (session.subscriptions === null || session.local) return
  const ended = new Set<Channel>()
  for (const channel of session.subscriptions.channels()) {
    if (session.gone) return // a listener of what ended has seen to that
    const question: Question = {
      kind: 'subscribe',
      session,
      connection: null,
      channel: channel.name,
      message: { channel: '/meta/subscribe', subscription: channel.name },
    }
    if (!mayStay(core, session, channel, question)) end(core, session, channel, ended)
  }
  purge(core, session, ended)
}

/** The verdict on a question of a review. @returns false when it is of none */
export function reviewed(core: Core, question: Question, verdict: Verdict): boolean {
  const open = core.reviews.get(question)
  if (open === undefined) return false
  core.reviews.delete(question)
  const { session, channel } = open
  if (session.gone) return true
  session.reviewing--
  if (refusal(verdict) !== null) {
    const ended = new Set<Channel>()
    end(core, session, channel, ended)
    purge(core, session, ended)
  }
  if (session.reviewing === 0 && session.urgent > 0) core.markDirty(session)
  return true
}

/** Whether a subscription is still allowed, as far as that can be said at once. */
function mayStay(core: Core, session: Session, channel: Channel, question: Question): boolean {
  if (!channel.guard.allows('subscribe', session.credential?.identity ?? null)) return false
  if (refusal(authorizersVerdict(core, 'subscribe', channel, question)) !== null) return false
  if (!core.policed.subscribe) return true
  const verdict = core.sink.ask(question)
  if (verdict !== null) return refusal(verdict) === null
  session.reviewing++
  core.reviews.set(question, { session, channel })
  return true
}

function end(core: Core, session: Session, channel: Channel, ended: Set<Channel>): void {
  if (!core.tree.unsubscribe(session, channel)) return
  ended.add(channel)
  core.sink.unsubscribed(session, channel.name)
}

/** Takes out of a session's queue what it would not get but for subscriptions that have ended. */
function purge(core: Core, session: Session, ended: ReadonlySet<Channel>): void {
  if (ended.size === 0 || session.gone) return
  const known = new Map<string, boolean>()
  const unwanted = ({ channel: text }: FrozenMessage): boolean => {
    let answer = known.get(text)
    if (answer === undefined) {
      answer = isUnwanted(core, session, text, ended)
      known.set(text, answer)
    }
    return answer
  }
  session.dropQueued(unwanted)
  session.ack?.drop(unwanted)
}

function isUnwanted(core: Core, session: Session, text: string, ended: ReadonlySet<Channel>): boolean {
  const name = parseChannel(text, Number.POSITIVE_INFINITY, false)
  if (name?.kind !== 'broadcast') return false
  const covering = core.tree.coveringName(name)
  return covering.some(channel => ended.has(channel)) && !isSubscribed(session, covering)
}
