// What goes wrong, as the application gets it.
//
// Knows: the Bayeux error in a reply, and how a sentence is made of it.

import type { PeerMessage } from '../../bayeux/client-sink.js'
import type { LineFailure } from './line.js'

/**
 * What the codes mean is in docs/client.md: those of the client half (`clientFailures`), and the client's own:
 * `CLOSED`: not sent, until connect is called again. `OUTBOX_FULL`: `maxQueue` messages wait to be sent already. `BACKLOG_FULL`: the loop over a subscription
 * fell `maxBacklog` messages behind. `BINARY_INVALID`: a binary message came whose text is not Z85.
 */
export type ClientErrorCode = LineFailure | 'BACKLOG_FULL' | 'BINARY_INVALID'

/**
 * A message or the connection failed. Match on `code`.
 *
 * `status` and `text` are the Bayeux error of the server's reply, such as 403 and `publish_denied` of `403::publish_denied`;
 * null and '' where there is none.
 */
export class ClientError extends Error {
  override readonly name = 'ClientError'
  readonly status: number | null
  readonly text: string

  constructor(
    readonly code: ClientErrorCode,
    /** The server's error, or what the network said; may be ''. */
    readonly detail = '',
    /** The server's reply, if there was one. */
    readonly reply: PeerMessage | null = null,
  ) {
    const error = typeof reply?.['error'] === 'string' ? reply['error'] : detail
    super(error === '' ? code : `${code}: ${error}`)
    const [, status, text] = /^(\d{3}):[^:]*:(.*)$/s.exec(error) ?? []
    this.status = status === undefined ? null : Number(status)
    this.text = text ?? ''
  }
}
