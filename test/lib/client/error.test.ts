// What an application reads in an error.

import t from 'tap'
import { ClientError } from '../../../lib/client/error.js'

t.test('the Bayeux error of the reply, or of the detail, is taken apart', t => {
  const rows: [detail: string, error: unknown, message: string, status: number | null, text: string][] = [
    ['', undefined, 'REFUSED', null, ''],
    ['no network', undefined, 'REFUSED: no network', null, ''],
    ['403::publish_denied', undefined, 'REFUSED: 403::publish_denied', 403, 'publish_denied'],
    ['/a', '403:a reason:subscribe_denied', 'REFUSED: 403:a reason:subscribe_denied', 403, 'subscribe_denied'],
    [
      '',
      '400::The replayId {82} you provided: was invalid.\nSo',
      'REFUSED: 400::The replayId {82} you provided: was invalid.\nSo',
      400,
      'The replayId {82} you provided: was invalid.\nSo',
    ],
    ['x', 5, 'REFUSED: x', null, ''],
  ]
  for (const [detail, error, message, status, text] of rows) {
    const reply = { channel: '/a', ...(error === undefined ? null : { error }) }
    const made = new ClientError('REFUSED', detail, error === undefined ? null : reply)
    t.match(made, { message, status, text, code: 'REFUSED', name: 'ClientError', detail })
    t.ok(made instanceof Error)
  }
  t.end()
})
