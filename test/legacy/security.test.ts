// What tokens, rules and limits do to real legacy clients: what they should, and no more than that.
//
// Knows: what each client must see, and where the clients differ.
// Does not know: how a client is driven (drivers/security.ts, drivers/guest.ts).
// Source: protocol reference 3.7, 4.9, 9, DEV-17; guarantee G8.

import t, { type Test } from 'tap'
import type { PerihelionOptions } from '../../lib/index.js'
import { SECRET } from '../support/issuer.js'
import { startServer, type TestServer } from '../support/server.js'
import { post } from '../support/wire.js'
import { Driver, type Rule } from './run.js'

t.setTimeout(110_000)

const LIBRARIES = [
  ['cometd3', 'cometd 3.1.14'],
  ['cometd5', 'cometd 5.0.23'],
  ['cometd', 'cometd 9.0.0'],
  ['faye', 'faye 1.4.3'],
] as const

/** All clients of one process have one cookie, with which they are one browser; and one address. */
const COMMON: PerihelionOptions = { tokenSecret: SECRET, maxSessionsPerBrowser: -1 }

/** Short, so that advice comes soon. */
const TIMEOUT = 2_500

const OK = { successful: true }
const DENIED = '403:denied_by_security_policy:subscribe_denied'
const NONE = { reconnect: 'none' }
const EXPIRES = { successful: false, error: '401::token_expires', advice: { reconnect: 'handshake', interval: 0 } }

function rules(library: string, transport: string): Rule[] {
  const faye = library === 'faye'
  const header = faye || transport === 'long-polling'
  const again = faye ? 'retry' : 'handshake'
  const refused = (error: string) => ({ successful: false, error, advice: NONE })
  return [
    {
      step: 'places',
      rule: 'a rule lets in whose token has the role, wherever that is, and the others see why not',
      seen: {
        ops: OK,
        guest: { successful: false, error: DENIED },
        nobody: { successful: false, error: DENIED },
        ...(header ? { header: OK } : null),
      },
    },
    {
      step: 'wildcards',
      rule: 'a wildcard needs the right to all that it covers, and without it no secret arrives',
      seen: {
        replies: { '/secret/**': DENIED, '/secret/*': DENIED, '/**': DENIED, '/open/**': 'successful' },
        ops: ['secret'],
        guest: [],
      },
    },
    {
      step: 'bad token',
      rule: 'a token that is none is refused, and the client stops',
      seen: { reply: refused('401:invalid:token_refused'), sentAfterwards: [] },
    },
    {
      step: 'revoked',
      rule: 'a user who is revoked is told to stop, stops, and is refused when he is sent again',
      seen: { notices: [true], sentAfterwards: [], handshakes: faye ? [] : [refused('401:revoked:token_refused')] },
    },
    {
      step: 'fresh token',
      rule: 'told that its token ends, the client handshakes once, by itself, subscribes again and goes on, each message once',
      seen: { told: [EXPIRES], handshakes: [true, true], subscriptions: [true, true], distinct: true },
    },
    {
      step: 'stale token',
      rule: 'with the token that it had it gets in until that is over, is refused then, and stops',
      seen: {
        told: EXPIRES,
        handshakes: [true, true, false],
        refused: refused('401:expired:token_refused'),
        sentAfterwards: [],
        distinct: true,
      },
    },
    {
      step: 'renewed by a publish',
      rule: 'a newer token of the same user keeps the session, and no message is lost',
      seen: { left: true, other: { error: '401:other_user:token_refused' }, handshakes: 1, complete: true },
    },
    {
      step: 'renewed by each connect',
      rule: 'so do the tokens of the connects',
      seen: { left: true, handshakes: 1, complete: true },
    },
    {
      step: 'too fast',
      rule: 'what is too fast is refused with full advice; the rest arrives once',
      seen: { errors: ['429::rate_limited'], advice: { reconnect: 'retry', interval: true, timeout: TIMEOUT }, distinct: true },
    },
    {
      step: 'after the pause',
      rule: 'all is as before, in the same session, and the client is told of the usual pace',
      seen: {
        reply: OK,
        usual: { channel: '/meta/connect', successful: true, advice: { reconnect: 'retry', interval: 0, timeout: TIMEOUT } },
        handshakes: 1,
      },
    },
    {
      step: 'out and in',
      rule: 'a client whose session ends for its haste comes back by itself, in few handshakes',
      seen: { handshakes: true, few: true, distinct: true },
    },
    {
      step: 'full',
      rule: 'a full server says when to try again',
      seen: { successful: false, error: '429:maxSessions:too_many_sessions', advice: { reconnect: again, interval: true } },
    },
    { step: 'full, then room', rule: 'the client does so, not before, and gets in', seen: { waited: true } },
    {
      step: 'calm',
      rule: 'so does one that has too many handshakes',
      seen: { successful: false, error: '429::rate_limited', advice: { reconnect: again, interval: true } },
    },
    { step: 'calm, then room', rule: 'the client waits, and gets in', seen: { waited: true } },
    { step: 'leave', rule: 'all that are in can leave, and no socket stays', seen: true },
  ]
}

/** A server with one place, which is taken until `free` is called. */
async function fullServer(t: Test): Promise<{ url: string; free: () => void }> {
  const { url, bayeux } = await startServer(t, { ...COMMON, maxSessions: 1, maxInterval: 60_000 })
  await post(url, JSON.stringify([{ channel: '/meta/handshake' }]))
  return {
    url,
    free: () => {
      for (const session of bayeux.sessions()) session.disconnect()
    },
  }
}

/** Removes its users' sessions at the wish of any client. */
function revoking({ bayeux, url }: TestServer): string {
  bayeux.service('/service/revoke', user => void bayeux.revoke({ user: String(user) }))
  return url
}

/** A server that publishes a number ten times a second. */
async function ticking(t: Test, options: PerihelionOptions): Promise<string> {
  const { url, bayeux } = await startServer(t, options)
  let n = 0
  const clock = setInterval(() => bayeux.publish('/open/ticks', n++), 100)
  t.teardown(() => clearInterval(clock))
  return url
}

t.test('legacy clients get along with tokens, rules and limits', async t => {
  const access = revoking(await startServer(t, { ...COMMON, channels: { '/secret/**': { subscribe: 'role:ops' } } }))
  const brief = await ticking(t, { ...COMMON, tokenRenewal: 3_000, tokenClockTolerance: 0, timeout: TIMEOUT })
  const slow = (await startServer(t, { ...COMMON, maxMessageRate: 5, timeout: TIMEOUT })).url
  const hasty = (await startServer(t, { ...COMMON, maxMessageRate: 2, timeout: TIMEOUT })).url
  t.jobs = 4 // children at a time
  const lives: Promise<unknown>[] = []
  for (const [library, name] of LIBRARIES) {
    for (const transport of ['long-polling', 'websocket']) {
      lives.push(
        t.test(`${name} on ${transport}`, { buffered: true }, async t => {
          const full = await fullServer(t)
          const calm = (await startServer(t, { ...COMMON, maxHandshakeRate: 1 })).url
          const urls = { access, brief, slow, hasty, full: full.url, calm }
          const driver = new Driver(t, 'security', [library, transport, `/${library}/${transport}`, JSON.stringify(urls)])
          await driver.reported('full')
          full.free()
          await driver.holds(t, rules(library, transport))
        }),
      )
    }
  }
  await Promise.all(lives)
})
