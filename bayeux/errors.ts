// Table of failures: what a peer, a caller or the surroundings did wrong, under one code each.
//
// Knows: the Bayeux error strings of CometD 5.0 and later, and the codes of our own API.
// Always true: code is the key that programs match on; texts may change, wire strings may not.
// Source: protocol reference 3.8; `docs/errors.md` is generated from this table.

export interface ErrorRow {
  /** The `ccc` of the Bayeux error field; null for failures that never travel. */
  readonly wire: number | null
  readonly text: string
  readonly help: string
}

export const errors = {
  CHANNEL_MISSING: {
    wire: 400,
    text: 'channel_missing',
    help: 'The message has no channel, or an unsubscribe names a channel that does not exist.',
  },
  SESSION_UNKNOWN: {
    wire: 402,
    text: 'session_unknown',
    help: 'The session expired, never was, or belongs to another browser. Only a /meta/connect gets advice with it.',
  },
  TOKEN_MISSING: {
    wire: 401,
    text: 'token_missing',
    help: 'The server asks for a token (tokenRequired) and the handshake had none.',
  },
  TOKEN_REFUSED: {
    wire: 401,
    text: 'token_refused',
    help: 'The token is not taken; the argument says why: invalid, expired, not_yet_valid, unknown_key, revoked, other_user, not_newer.',
  },
  TOKEN_EXPIRES: {
    wire: 401,
    text: 'token_expires',
    help: 'The token of the session is over, or will be soon: the advice is to handshake again, with a new one.',
  },
  KEYS_UNAVAILABLE: {
    wire: 503,
    text: 'keys_unavailable',
    help: 'The token cannot be verified, as tokenJwksUrl does not answer; the advice says when to try again.',
  },
  HANDSHAKE_DENIED: { wire: 403, text: 'handshake_denied', help: 'The policy refused the handshake.' },
  SUBSCRIPTION_MISSING: {
    wire: 403,
    text: 'subscription_missing',
    help: 'The field subscription is absent, null or an empty array.',
  },
  SUBSCRIPTION_INVALID: {
    wire: 403,
    text: 'subscription_invalid',
    help: 'An entry of the field subscription is not a channel name; nothing was subscribed.',
  },
  TOO_MANY_SUBSCRIPTIONS: {
    wire: 403,
    text: 'too_many_subscriptions',
    help: 'The session would have more than maxSubscriptions; nothing was subscribed.',
  },
  SUBSCRIBE_FAILED: {
    wire: 403,
    text: 'subscribe_failed',
    help: 'The session went away while its subscription was processed.',
  },
  UNSUBSCRIBE_FAILED: { wire: 403, text: 'unsubscribe_failed', help: 'A meta channel cannot be unsubscribed from.' },
  CHANNEL_CREATE_DENIED: {
    wire: 403,
    text: 'channel_create_denied',
    help: 'A publish would have created a channel that may not be; the reason is the argument.',
  },
  CREATE_DENIED: {
    wire: 403,
    text: 'create_denied',
    help: 'A subscribe would have created a channel that may not be; the reason is the argument.',
  },
  SUBSCRIBE_DENIED: {
    wire: 403,
    text: 'subscribe_denied',
    help: 'The policy or an authorizer refused the subscription; its reason is the argument.',
  },
  PUBLISH_DENIED: {
    wire: 403,
    text: 'publish_denied',
    help: 'The policy or an authorizer refused the publish; its reason is the argument.',
  },
  MESSAGE_DELETED: { wire: 404, text: 'message_deleted', help: 'An extension or a listener of the server vetoed the message.' },
  CHANNEL_INVALID: {
    wire: 405,
    text: 'channel_invalid',
    help: 'The channel breaks the grammar, or is longer than maxChannelLength.',
  },
  MESSAGE_ID_INVALID: {
    wire: 405,
    text: 'message_id_invalid',
    help: 'The message id is neither letters and digits nor a whole number.',
  },
  RATE_LIMITED: {
    wire: 429,
    text: 'rate_limited',
    help: 'The session sends faster than maxMessageRate or maxByteRate, or its address handshakes faster than maxHandshakeRate; the advice says how long to pause.',
  },
  TOO_MANY_SESSIONS: {
    wire: 429,
    text: 'too_many_sessions',
    help: 'The limit in the argument is reached: maxSessions, maxAddressSessions, maxBrowserSessions, maxUserSessions.',
  },
  OVERLOADED: {
    wire: 503,
    text: 'overloaded',
    help: 'The server is short of memory and takes no new sessions or channels; the advice says when to try again.',
  },

  DEDUPE_KEY_INVALID: { wire: 400, text: 'dedupe_key_invalid', help: 'ext.dedupe.key is a text of 1 to 128 characters.' },
  HISTORY_FAILED: {
    wire: 503,
    text: 'history_failed',
    help: 'The message could not be kept in the history of its channel, and nobody got it. The log has the reason; publish it again.',
  },
  HISTORY_UNREADABLE: {
    wire: 503,
    text: 'history_unreadable',
    help: 'What was asked for of the history on disk cannot be read: it is damaged. The log has the reason.',
  },
  HISTORY_QUERY_INVALID: {
    wire: 400,
    text: 'history_query_invalid',
    help: 'A call of /service/history asks for what is no channel, no position or no limit; the text of the answer says which.',
  },
  DRAINING: {
    wire: 503,
    text: 'draining',
    help: 'The server is about to stop and takes no new sessions; the advice says when to try again, here or where a balancer leads.',
  },

  OPTION_UNKNOWN: { wire: null, text: 'option_unknown', help: 'No option has this name.' },
  OPTION_INVALID: { wire: null, text: 'option_invalid', help: 'The value of an option has the wrong type or is out of range.' },
  RULE_INVALID: {
    wire: null,
    text: 'rule_invalid',
    help: 'A channel rule has a pattern, a setting or a value that does not exist.',
  },
  CHANNEL_NAME_INVALID: {
    wire: null,
    text: 'channel_name_invalid',
    help: 'The server side was given a channel name that breaks the grammar.',
  },
  DATA_INVALID: { wire: null, text: 'data_invalid', help: 'The server side was given data that JSON cannot carry.' },
  SESSION_GONE: { wire: null, text: 'session_gone', help: 'The server side used a session that has ended.' },
  CONFIG_UNREADABLE: {
    wire: null,
    text: 'config_unreadable',
    help: 'The file given with --config cannot be read or is not YAML.',
  },
  HISTORY_UNUSABLE: {
    wire: null,
    text: 'history_unusable',
    help: 'The directory of historyDir cannot be used; the text says why.',
  },
  PORT_TAKEN: { wire: null, text: 'port_taken', help: 'Another program listens on the host and port already.' },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof errors

/** A failure of the caller or of the surroundings. Match on `code`; `message` is for people. */
export class BayeuxError extends Error {
  override readonly name = 'BayeuxError'
  constructor(
    readonly code: ErrorCode,
    detail = '',
    options?: ErrorOptions,
  ) {
    super(detail === '' ? errors[code].help : detail, options)
  }
}

/** The Bayeux `error` field: `402::session_unknown`, `403:denied_by_security_policy:publish_denied`. */
export function wireError(code: ErrorCode, reason = ''): string {
  const row = errors[code]
  return `${row.wire}:${reason}:${row.text}`
}
