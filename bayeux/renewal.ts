// Renewal: a newer token of a session that is there, without a handshake.
//
// Knows: which messages may carry one, which one is taken, what the reply says of it.
// Does not know: whether a token holds (the host is asked).
// Source: decision 8.

import { userOf } from './census.js'
import type { Core } from './core.js'
import { wireError } from './errors.js'
import type { Exchange } from './exchange.js'
import { identityOf, isNewer, markOfToken } from './identity.js'
import type { Message } from './message.js'
import { identify } from './meta.js'
import { clean } from './policy.js'
import type { Reply } from './reply.js'
import type { Session } from './session.js'
import { hold, identityTrial } from './trial.js'

/**
 * A new token with any message that nobody else gets takes the place of the one before, without a new session. One that is not taken changes
 * nothing.
 *
 * @returns 'waiting' while a verdict is awaited, 'renewed' when it was taken
 */
export function renew(
  core: Core,
  exchange: Exchange,
  session: Session,
  message: Message,
  now: number,
): 'waiting' | 'renewed' | null {
  if (exchange.renewal !== null || exchange.name!.kind === 'broadcast') return null
  const mark = markOfToken(message)
  if (mark === 0 || mark === session.credential?.mark) return null
  if (exchange.trial === null) exchange.trial = identityTrial(exchange, 'renew', message)
  else if (exchange.trial.questions[0]?.kind !== 'renew') return null
  const outcome = hold(core, exchange.trial, false)
  if (outcome === 'waiting') return 'waiting'
  exchange.trial = null
  const verdict = 'verdict' in outcome ? outcome.verdict : false
  const identity = typeof verdict === 'object' && 'allow' in verdict && verdict.allow ? identityOf(verdict) : null
  if (identity === null) {
    const admission = typeof verdict === 'object' && 'allow' in verdict ? verdict : null
    exchange.renewal = { error: wireError(admission?.code ?? 'TOKEN_REFUSED', clean(admission?.reason ?? '')) }
  } else if (session.credential === null || identity.user !== userOf(session)) {
    exchange.renewal = { error: wireError('TOKEN_REFUSED', 'other_user') }
  } else if (!isNewer(identity, session.credential.identity)) {
    exchange.renewal = { error: wireError('TOKEN_REFUSED', 'not_newer') }
    session.credential.mark = mark // some clients put it into every message
  } else {
    identify(core, session, identity, mark, now)
    exchange.renewal = {
      expires: Number.isFinite(identity.expiresAt) ? Math.max(0, Math.floor(identity.expiresAt - now)) : null,
    }
    return 'renewed'
  }
  return null
}

/** What the reply says of a new token goes into its `ext`; a held connect has its reply already. */
export function answerRenewal(exchange: Exchange, reply: Reply | null): void {
  const answered = reply ?? exchange.session?.held?.reply
  if (answered != null) answered.ext = { ...answered.ext, token: exchange.renewal }
  exchange.renewal = null
}
