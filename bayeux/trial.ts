// Trials: what is asked about one message: the channel rules first, then, one after the other, the policy and the authorizers.
//
// Knows: which questions a message raises, in which order, and which error its first refusal gives.
// Always true: with neither policy nor authorizers, a message that is not on a meta channel raises none.
// Source: protocol reference 3 (order of checks 5 and 6), 3.3, 3.5, DEV-11.

import { type ChannelName, META_CHANNELS } from './channel.js'
import type { Core } from './core.js'
import type { ErrorCode } from './errors.js'
import type { Exchange } from './exchange.js'
import type { Message } from './message.js'
import { OPEN } from './permission.js'
import {
  authorize,
  DENIED_BY_POLICY,
  type Operation,
  type Question,
  refusal,
  refusalCode,
  type Trial,
  type Verdict,
} from './policy.js'
import type { Session } from './session.js'

/** What a trial came to: allowed (with the last verdict), refused, or waiting for `Engine.answer`. */
export type Outcome = { readonly verdict: Verdict } | { readonly code: ErrorCode; readonly reason: string } | 'waiting'

const ALLOWED: Outcome = { verdict: true }
/** How often what a message asks for is put to the policy while that changes its mind about the session. */
const MOST_TRIALS = 3

/** The trial of a handshake, or of a new token: one question. */
export function identityTrial(exchange: Exchange, kind: 'handshake' | 'renew', message: Message): Trial {
  return {
    questions: [{ kind, session: exchange.session, connection: exchange.connection, channel: null, message }],
    names: [],
    at: 0,
    reviews: exchange.session?.reviews ?? 0,
    verdict: null,
  }
}

/** The trial of an operation on channels: for each, may it be created where it does not exist; may it be used. */
function channelTrial(
  core: Core,
  exchange: Exchange,
  message: Message,
  names: readonly ChannelName[],
  operation: 'subscribe' | 'publish',
): Trial | null {
  const { policed, tree } = core
  if (!policed.create && !policed[operation] && tree.authorizing === 0 && names.every(name => name.kind !== 'meta')) return null
  const questions: Question[] = []
  const asked: ChannelName[] = []
  const ask = (kind: Operation, name: ChannelName) => {
    questions.push({ kind, session: exchange.session, connection: exchange.connection, channel: name.name, message })
    asked.push(name)
  }
  for (const name of names) {
    if (tree.find(name.name) === undefined && !META_CHANNELS.has(name.name)) ask('create', name)
    ask(operation, name)
  }
  return { questions, names: asked, at: 0, reviews: exchange.session!.reviews, verdict: null }
}

/** What the rules refuse of an operation on channels; null for nothing. It costs nothing where no rule says who may. */
function deniedByRule(
  core: Core,
  session: Session,
  names: readonly ChannelName[],
  operation: 'subscribe' | 'publish',
): Outcome | null {
  const { tree } = core
  if (!tree.guarding) return null
  const identity = session.credential?.identity ?? null
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!
    if (name.kind === 'meta') continue // refused in any case
    const guard = tree.guardOf(name)
    if (guard === OPEN) continue
    const subscribing = operation === 'subscribe'
    if (!guard.allows('create', identity) && tree.find(name.name) === undefined)
      return { code: refusalCode('create', subscribing), reason: DENIED_BY_POLICY }
    if (!guard.allows(operation, identity)) return { code: refusalCode(operation, subscribing), reason: DENIED_BY_POLICY }
  }
  return null
}

/**
 * Asks the rules, the policy and the authorizers about an operation on channels.
 *
 * What was allowed is asked again where the session's rights were judged anew while a verdict was awaited.
 */
export function judge(
  core: Core,
  exchange: Exchange,
  message: Message,
  names: readonly ChannelName[],
  operation: 'subscribe' | 'publish',
): Outcome {
  const session = exchange.session!
  for (let tries = 0; tries < MOST_TRIALS; tries++) {
    const denied = deniedByRule(core, session, names, operation)
    if (denied !== null) return denied
    exchange.trial ??= channelTrial(core, exchange, message, names, operation)
    if (exchange.trial === null) return { verdict: true }
    const { reviews } = exchange.trial
    const outcome = hold(core, exchange.trial, operation === 'subscribe')
    if (outcome === 'waiting' || reviews === session.reviews) return outcome
    exchange.trial = null // its rights were judged anew meanwhile
  }
  return { code: refusalCode(operation, operation === 'subscribe'), reason: DENIED_BY_POLICY }
}

/** Goes on with a trial until it is decided or has to wait. */
export function hold(core: Core, trial: Trial, subscribing: boolean): Outcome {
  while (trial.at < trial.questions.length) {
    const question = trial.questions[trial.at]!
    const policy = trial.verdict ?? policyVerdict(core, question)
    if (policy === null) return 'waiting'
    trial.verdict = null
    const name = trial.names[trial.at++]
    const { kind } = question
    if (kind === 'handshake' || kind === 'renew') return { verdict: policy }
    const reason = refusal(policy) ?? refusal(authorizersVerdict(core, kind, name!, question))
    if (reason !== null) return { code: refusalCode(kind, subscribing), reason }
  }
  return ALLOWED
}

/** The default policy refuses meta channels and allows all else; the host's is asked about what is left. */
function policyVerdict(core: Core, question: Question): Verdict | null {
  if (question.channel?.startsWith('/meta/') === true) return false
  return core.policed[question.kind] ? core.sink.ask(question) : true
}

export function authorizersVerdict(core: Core, operation: Operation, name: ChannelName, question: Question): Verdict {
  if (core.tree.authorizing === 0) return true
  const authorizers = core.tree.coveringName(name).flatMap(channel => channel.authorizers)
  return authorize(authorizers, operation, name.name, question.session!, question.message)
}
