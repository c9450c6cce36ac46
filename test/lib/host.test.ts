// The host: what of its clock outlives it.

import t from 'tap'
import type { SavedSession } from '../../bayeux/index.js'
import { Host, type Observer } from '../../lib/host.js'

const DAY = 86_400_000

t.test('the time that a session has left is the same in the next process, though the clock was set meanwhile', t => {
  const observer = { sessionAdded: () => {} } as unknown as Observer
  const made = (): Host => Object.assign(new Host({}, {}, 1_000), { observer })
  const saved = (expiresAt: number | null): SavedSession[] => [
    {
      ...{ id: 'one', browser: null, transport: 'long-polling', address: '192.0.2.1', connected: true, deliverOnly: false },
      ...{ broadcastToPublisher: true, timeout: null, interval: null, maxInterval: null, told: null, mark: 0, subscriptions: [] },
      ...{ queue: [], ack: null, form: 'plain', replays: [], epoch: null, publisher: null, tellsDropped: false, dropped: 0 },
      identity: { user: 'ana', roles: [], claims: {}, tokenId: null, expiresAt },
    },
  ]
  const real = Date.now
  t.teardown(() => {
    Date.now = real
  })
  for (const step of [0, DAY, -DAY]) {
    const first = made()
    t.equal(first.restore(saved(real() + 60_000)), 1)
    Date.now = () => real() + step
    const [session] = first.save()
    const left = session!.identity!.expiresAt! - Date.now()
    Date.now = real
    t.ok(left > 50_000 && left <= 60_100, `${left} ms`)
    const second = made()
    t.equal(second.restore(saved(null)), 1)
    t.equal(second.save()[0]!.identity!.expiresAt, null)
    first.close()
    second.close()
  }
  t.end()
})
