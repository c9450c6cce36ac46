// Policy: what is asked before something is allowed, the verdicts, and authorizers.
//
// Knows: the order of the questions about one message and what each verdict means on the wire.
// Does not know: who answers; the host may answer at once or later (`Engine.answer`).
// Source: protocol reference 3 (order of checks), 3.3, 3.5, 8 (authorizers).

import type { ChannelName } from './channel.js'
import type { Connection } from './connection.js'
import type { ErrorCode } from './errors.js'
import type { Identity } from './identity.js'
import type { Message } from './message.js'
import type { Advice } from './reply.js'
import type { Session } from './session.js'

export type Operation = 'create' | 'subscribe' | 'publish'

/**
 * One thing to be allowed or not. `channel` is null for a handshake and for a token that is to take the place of the one before.
 * `connection` is null where the server itself judges a subscription again.
 */
export interface Question {
  readonly kind: 'handshake' | 'renew' | Operation
  readonly session: Session | null
  readonly connection: Connection | null
  readonly channel: string | null
  readonly message: Message
}

/** true: allowed. false: `denied_by_security_policy`. `deny`: the reason given, put into the error field. */
export type Verdict = boolean | { readonly deny: string } | Admission

/** The answer to a handshake or a renewal, when it has more to say than yes or no. */
export interface Admission {
  readonly allow: boolean
  /** Kept on the session for the application. Where `identity` does not say another, a text is also the user's name. */
  readonly user?: unknown
  /** Who that is for channel rules and limits, and when the session ends. */
  readonly identity?: Partial<Identity>
  /** For a refusal: the error in place of `HANDSHAKE_DENIED`, and its reason. */
  readonly code?: ErrorCode
  readonly reason?: string
  /** Put into `ext` of the reply, also of a refusal. */
  readonly ext?: Readonly<Record<string, unknown>>
  /** For a refusal: stands in place of `{reconnect: 'none'}`. */
  readonly advice?: Advice
}

/** The questions about one message, asked one after the other; the first refusal ends them. */
export interface Trial {
  readonly questions: readonly Question[]
  /** The channel of each question, parsed. */
  readonly names: readonly ChannelName[]
  at: number
  /** How often the session's rights had been judged when the first of them was asked: if that changes meanwhile, all are asked again. */
  reviews: number
  /** Set by `answer`, taken by the engine when it goes on. */
  verdict: Verdict | null
}

/** 'grant' allows, 'ignore' has no opinion, `deny` refuses for all. */
export type Opinion = 'grant' | 'ignore' | { readonly deny: string }
export type Authorizer = (operation: Operation, channel: string, session: Session, message: Message) => Opinion

export const DENIED_BY_POLICY = 'denied_by_security_policy'
const DENIED_BY_NOT_GRANTING = 'denied_by_not_granting'
/** What Faye's error pattern lets through (protocol reference 3.8); a colon would move the fields of the error. */
const REASON = /[^A-Za-z0-9\-_!~()$@ /*.]/g

/** The reason why a verdict refuses, ready for the error field; null when it allows. */
export function refusal(verdict: Verdict): string | null {
  if (verdict === true) return null
  if (verdict === false) return DENIED_BY_POLICY
  if ('deny' in verdict) return clean(verdict.deny)
  return verdict.allow ? null : DENIED_BY_POLICY
}

/** A reason as it may stand in the error field. */
export function clean(reason: string): string {
  return reason.replace(REASON, '_')
}

/** Asks the authorizers of a channel and of all wildcards that cover it, `/**` first: any denial wins, one grant is needed where any stands. */
export function authorize(
  authorizers: Iterable<Authorizer>,
  operation: Operation,
  channel: string,
  session: Session,
  message: Message,
): Verdict {
  let asked = false
  let granted = false
  for (const authorizer of authorizers) {
    asked = true
    const opinion = authorizer(operation, channel, session, message)
    if (opinion === 'grant') granted = true
    else if (opinion !== 'ignore') return opinion
  }
  return !asked || granted || { deny: DENIED_BY_NOT_GRANTING }
}

/** The error that a refusal of `operation` gets, by the kind of message that asked. */
export function refusalCode(operation: Operation, subscribing: boolean): ErrorCode {
  if (operation === 'create') return subscribing ? 'CREATE_DENIED' : 'CHANNEL_CREATE_DENIED'
  return operation === 'subscribe' ? 'SUBSCRIBE_DENIED' : 'PUBLISH_DENIED'
}
