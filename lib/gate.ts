// The gate: what a handshake, or a new token of a session, is answered: the token first, then the application's policy.
//
// Knows: where a token may stand in a message, what each failure of it is on the wire.
// Does not know: signatures (token.ts), HTTP (a peer has the token that came in headers).
// Always true: a token that does not hold is refused, also where none is needed: nobody comes in as less than he says he is. The policy is
// asked about each token, also about the newer one of a session that is there.

import { type Admission, type Identity, type Message, refusal, tokenOf, type Verdict, wholeIdentity } from '../bayeux/index.js'
import { isThenable } from './host.js'
import { TokenError, type Tokens } from './token.js'

/** What the application says to a handshake; null identity for somebody without a token. */
export type Welcome = (identity: Identity | null) => Verdict | PromiseLike<Verdict>

/** A client whose token could not be verified for want of keys tries again after so many ms. */
const KEYS_PAUSE = 5_000
const REFUSED: Admission = { allow: false, code: 'TOKEN_REFUSED', reason: 'invalid' }

export class Gate {
  /**
   * @param tokens null where no key is configured: then nobody has an identity but of the application's making
   * @param required whether a handshake without a token is refused
   */
  constructor(
    readonly tokens: Tokens | null,
    private readonly required: boolean,
  ) {}

  /** @param inHeaders the token that came with the request; null for none */
  handshake(message: Message, inHeaders: string | null, welcome: Welcome): Verdict | PromiseLike<Verdict> {
    if (this.tokens === null) return welcome(null)
    const token = tokenOf(message) ?? inHeaders
    if (token !== null) return typeof token === 'string' ? this.#enter(this.tokens, token, welcome) : REFUSED
    return this.required ? { allow: false, code: 'TOKEN_MISSING' } : welcome(null)
  }

  /** The verdict on a new token of a session that is there already. */
  renew(message: Message, welcome: Welcome): PromiseLike<Verdict> | Verdict {
    const token = tokenOf(message)
    return this.tokens === null || typeof token !== 'string' ? REFUSED : this.#enter(this.tokens, token, welcome)
  }

  /** A verdict as it holds in the moment in which it is given: while it was on its way, its token may have been revoked. */
  confirmed(verdict: Verdict): Verdict {
    if (this.tokens === null || typeof verdict !== 'object' || !('allow' in verdict) || verdict.identity === undefined)
      return verdict
    const identity = wholeIdentity(verdict.identity)
    const { sub } = identity.claims // the policy may have given him another name
    const names = [identity.user, typeof sub === 'string' ? sub : null]
    const { revocations } = this.tokens
    const revoked = names.some(user => revocations.covers({ ...identity, user }, Date.now()))
    return revoked ? { ...REFUSED, reason: 'revoked' } : verdict
  }

  async #enter(tokens: Tokens, token: string, welcome: Welcome): Promise<Verdict> {
    const found = await verified(tokens, token)
    if (!('claims' in found)) return found
    const answer = welcome(found)
    const verdict = isThenable(answer) ? ((await answer) as Verdict) : answer
    if (verdict !== true && (typeof verdict !== 'object' || verdict === null || refusal(verdict) !== null)) return verdict
    const admission = verdict === true ? null : (verdict as Admission)
    return { user: found.user, ...admission, allow: true, identity: { ...found, ...admission?.identity } }
  }
}

async function verified(tokens: Tokens, token: string): Promise<Identity | Admission> {
  try {
    return await tokens.verify(token)
  } catch (error) {
    if (!(error instanceof TokenError)) throw error
    if (error.code !== 'keys_unavailable') return { ...REFUSED, reason: error.code }
    return { allow: false, code: 'KEYS_UNAVAILABLE', advice: { reconnect: 'handshake', interval: KEYS_PAUSE } }
  }
}
