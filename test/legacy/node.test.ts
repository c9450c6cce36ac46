// The npm `cometd` client, versions 3 to 9, and this package's build of its API, against the running server: each on both transports, with
// and without the ack extension.
//
// Knows: what a client of these versions must see at each step of its life (RULES), whatever its version and transport.
// Does not know: how a client is driven (drivers/cometd.ts).
// Source: protocol reference 3, 4, 6, 7.1 and 9.3.

import t from 'tap'
import { startServer } from '../support/server.js'
import { Driver, type Rule } from './run.js'

t.setTimeout(90_000)

const VERSIONS = [
  ['cometd3', '3.1.14'],
  ['cometd4', '4.0.9'],
  ['cometd5', '5.0.23'],
  ['cometd7', '7.0.19'],
  ['cometd8', '8.0.11'],
  ['cometd', '9.0.0'],
  ['perihelion', 'of this package'],
] as const

const FULL_ADVICE = { reconnect: 'retry', interval: 0, timeout: 30_000 }

function rules(transport: string, ack: boolean, prefix: string): Rule[] {
  const chat = `${prefix}/chat`
  return [
    {
      step: 'handshake',
      rule: 'the reply names the version, a fresh clientId, this transport and full advice; ext.ack only when asked for',
      seen: { successful: true, version: '1.0', clientId: true, offersTransport: true, ack: ack || null, advice: FULL_ADVICE },
    },
    {
      step: 'connect',
      rule: 'the first connect is answered at once with full advice, the next one is held, both on this transport',
      seen: { channel: '/meta/connect', successful: true, advice: FULL_ADVICE, connectionType: [transport] },
    },
    {
      step: 'subscribe',
      rule: 'the reply echoes the subscription',
      seen: { channel: '/meta/subscribe', successful: true, subscription: chat },
    },
    {
      step: 'publish',
      rule: ack
        ? 'the publisher gets one reply and, as a subscriber, one copy'
        : 'the publisher gets one reply and, as a subscriber, one copy in front of it',
      seen: {
        reply: { channel: chat, successful: true },
        delivered: [{ text: 'hi' }],
        members: ['channel', 'data'],
        order: ['message', 'reply'],
      },
    },
    {
      step: 'wildcards',
      rule: '/* matches one segment, /** one or more, and a message comes once however many subscriptions match',
      seen: {
        star: true,
        deep: true,
        heard: {
          exact: ['/room/one'],
          star: ['/room/one', '/room/end'],
          deep: ['/room/one', '/room/one/more', '/room/end'],
        },
        times: [0, 1, 1, 1],
      },
    },
    {
      step: 'array',
      rule: 'an array of subscriptions gets one reply with the same array, and each entry is in force',
      seen: { replies: 1, successful: true, sameArray: true, delivered: [1, 1, 1], unsubscribed: true },
    },
    {
      step: 'order',
      rule: 'fifty messages of another client arrive in their order',
      seen: Array.from({ length: 50 }, (_, n) => n),
    },
    {
      step: 'unsubscribe',
      rule: 'after the reply nothing more arrives',
      seen: { reply: { channel: '/meta/unsubscribe', successful: true, subscription: chat }, after: 0 },
    },
    {
      step: 'batch',
      rule: 'the messages of a batch are done in order, each seeing the effects of those before it',
      seen: { replies: [true, true, true, true], delivered: [1, 2, 3] },
    },
    {
      step: 'call',
      rule: 'a remote call is answered with the data of the service',
      seen: { successful: true, data: { q: 1 }, channel: '/service/echo' },
    },
    { step: 'failing call', rule: 'a remote call that fails says why', seen: { successful: false, data: { error: 'refused' } } },
    {
      step: 'service',
      rule: 'the answer on a service channel reaches its sender without a subscription',
      seen: { heard: [{ n: 1 }], subscribed: false },
    },
    { step: 'server publish', rule: 'what the server publishes arrives as what clients publish', seen: [{ from: 'server' }] },
    { step: 'lazy', rule: 'a lazy message arrives when its time is up, while the connect is held', seen: ['no hurry'] },
    ...(ack ? ackRules : []),
    {
      step: 'forget',
      rule: 'the connect of a lost session is refused with advice to handshake, and the client comes back by itself',
      seen: {
        refused: {
          channel: '/meta/connect',
          successful: false,
          error: '402::session_unknown',
          advice: { reconnect: 'handshake', interval: 0 },
        },
        handshake: true,
        newSession: true,
        subscribed: true,
        delivered: ['again'],
      },
    },
    {
      step: 'disconnect',
      rule: 'is answered, with the connect still held',
      seen: {
        reply: { channel: '/meta/disconnect', successful: true },
        second: { channel: '/meta/disconnect', successful: true },
        status: 'disconnected',
      },
    },
    {
      step: 'kick',
      rule: 'the server sends a notice without id, releases the connect with advice none, and the client sends nothing more',
      seen: {
        notices: [{ channel: '/meta/disconnect', successful: true }],
        released: { reconnect: 'none' },
        status: 'disconnected',
        sentAfterwards: [],
      },
    },
    { step: 'twice', rule: 'no message came twice in the whole life of the client', seen: [] },
  ]
}

const ackRules: readonly Rule[] = [
  {
    step: 'acks',
    rule: 'each connect reply carries a number that grows, and the next connect confirms it',
    seen: { grow: true, several: true, confirmed: true },
  },
  {
    step: 'lost reply',
    rule: 'what was in a lost connect reply comes again in the same session, with all since, once and in order',
    seen: { delivered: [1, 2, 3, 4, 5, 6], sameSession: true },
  },
]

t.test('npm cometd clients live a whole life on this server', async t => {
  const { url, bayeux } = await startServer(t, { channels: { '/lazy/**': { lazy: 50 } } })
  t.jobs = 4 // children at a time
  const lives: Promise<unknown>[] = []
  for (const [version, number] of VERSIONS) {
    for (const transport of ['long-polling', 'websocket']) {
      for (const mode of ['plain', 'ack']) {
        const title = `cometd ${number} on ${transport}${mode === 'ack' ? ' with acks' : ''}`
        lives.push(
          t.test(title, { buffered: true }, async t => {
            const prefix = `/${version}/${transport}/${mode}`
            const driver = new Driver(t, 'cometd', [version, transport, mode, url, prefix])
            await driver.holds(t, rules(transport, mode === 'ack', prefix))
          }),
        )
      }
    }
  }
  await Promise.all(lives)
  const { sessions, subscriptions, queued, held } = bayeux.stats()
  t.same(
    { sessions, subscriptions, queued, held },
    { sessions: 0, subscriptions: 0, queued: 0, held: 0 },
    'they leave nothing behind',
  )
})

t.test('of two sessions of one browser one is held and the other polls, until it is alone', async t => {
  const { url, bayeux } = await startServer(t, { multiSessionInterval: 150 })
  for (const version of ['cometd3', 'cometd', 'perihelion']) {
    await t.test(version, async t => {
      await new Driver(t, 'cometd', [version, 'long-polling', 'plain', url, `/${version}`, 'tabs']).holds(t, [
        {
          step: 'two',
          rule: 'the second session is told to poll, and gets its messages all the same',
          seen: { advice: { ...FULL_ADVICE, 'multiple-clients': true, interval: 150 }, delivered: ['for the other'] },
        },
        {
          step: 'one',
          rule: 'once alone it is held as usual, and told so with full advice',
          seen: { advice: FULL_ADVICE, inOrder: true },
        },
        {
          step: 'disconnect',
          rule: 'both leave',
          seen: [
            { channel: '/meta/disconnect', successful: true },
            { channel: '/meta/disconnect', successful: true },
          ],
        },
      ])
    })
  }
  t.equal(bayeux.stats().sessions, 0, 'no session is left')
})
