// How old the sessions of the process before are, whatever was done to the clock meanwhile.

import { join } from 'node:path'
import t from 'tap'
import type { SavedSession } from '../../bayeux/index.js'
import { SessionStore } from '../../lib/session-store.js'

const HOUR = 3_600_000
const MINUTE = 60_000

t.test(
  'sessions go on for ten minutes by the clock of the machine, which nobody sets; after a start of the machine by the other',
  async t => {
    const file = join(t.testdir({}), 'sessions')
    const store = new SessionStore(file)
    const sessions = [{ id: 'a' }] as unknown as SavedSession[]
    const from = { at: 100 * HOUR, up: 5 * HOUR }
    for (const [title, at, up, kept] of [
      ['a second later', from.at + 1_000, from.up + 1_000, 1],
      ['ten minutes later', from.at + 10 * MINUTE, from.up + 10 * MINUTE, 1],
      ['eleven minutes later', from.at + 11 * MINUTE, from.up + 11 * MINUTE, 0],
      ['the clock was set forward', from.at + HOUR, from.up + 1_000, 1],
      ['the clock was set back', from.at - HOUR, from.up + 1_000, 1],
      ['the clock was set back, and it is long ago', from.at - HOUR, from.up + 11 * MINUTE, 0],
      ['the machine was started anew', from.at + 2 * MINUTE, MINUTE, 1],
      ['the machine was started anew, and it is long ago', from.at + 11 * MINUTE, MINUTE, 0],
    ] as const) {
      await store.save(sessions, from)
      t.equal((await store.take({ at, up })).length, kept, title)
    }
  },
)
