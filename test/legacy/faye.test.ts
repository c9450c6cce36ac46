// The Faye 1.4 client against the running server, on long-polling and on WebSocket, and in a talk with a CometD client.
//
// Knows: what a Faye client must see at each step of its life.
// Does not know: how a client is driven (drivers/faye.ts, drivers/cometd.ts).
// Source: protocol reference 3, 4.5 and 9.5.

import t from 'tap'
import { startServer } from '../support/server.js'
import { Driver, type Rule } from './run.js'

t.setTimeout(90_000)

function rules(transport: string, prefix: string): Rule[] {
  const chat = `${prefix}/chat`
  return [
    {
      step: 'handshake',
      rule: 'the reply names the version, a fresh clientId, this transport and full advice',
      seen: {
        successful: true,
        version: '1.0',
        clientId: true,
        offersTransport: true,
        advice: { reconnect: 'retry', interval: 0, timeout: 30_000 },
      },
    },
    {
      step: 'connect',
      rule: 'the session of an HTTP handshake goes on over this transport',
      seen: { successful: true, connectionType: transport },
    },
    {
      step: 'subscribe',
      rule: 'the reply echoes the subscription',
      seen: { channel: '/meta/subscribe', successful: true, subscription: chat },
    },
    {
      step: 'publish',
      rule: 'the publisher gets one reply and, as a subscriber, one copy in front of it',
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
        heard: {
          exact: ['/room/one'],
          star: ['/room/one', '/room/end'],
          deep: ['/room/one', '/room/one/more', '/room/end'],
        },
        times: [0, 1, 1, 1],
      },
    },
    { step: 'array', rule: 'an array of subscriptions is in force for each entry', seen: [[1], [1]] },
    {
      step: 'order',
      rule: 'fifty messages of another client arrive in their order',
      seen: Array.from({ length: 50 }, (_, n) => n),
    },
    {
      step: 'several',
      rule: 'several publishes of one moment arrive in order, each with its reply',
      seen: { delivered: [1, 2, 3], replies: [true, true, true] },
    },
    {
      step: 'unsubscribe',
      rule: 'after the reply nothing more arrives',
      seen: { reply: { channel: '/meta/unsubscribe', successful: true, subscription: chat }, after: 0 },
    },
    {
      step: 'service',
      rule: 'the answer on a service channel reaches its sender without a subscription; to subscribe to it succeeds and changes nothing',
      seen: { delivered: [{ n: 1 }, { n: 2 }], heard: [{ n: 2 }] },
    },
    { step: 'server publish', rule: 'what the server publishes arrives as what clients publish', seen: [{ from: 'server' }] },
    { step: 'lazy', rule: 'a lazy message arrives when its time is up, while the connect is held', seen: ['no hurry'] },
    {
      step: 'forget',
      rule: 'a lost session ends in one new handshake, all subscriptions again, and the same transport',
      seen: {
        refused: {
          channel: '/meta/connect',
          successful: false,
          error: '402::session_unknown',
          advice: { reconnect: 'handshake', interval: 0 },
        },
        handshake: true,
        handshakes: 1,
        newSession: true,
        resubscribed: true,
        sameTransport: true,
        delivered: ['again'],
      },
    },
    { step: 'disconnect', rule: 'is answered, and ends the client', seen: { reply: 'successful', sentAfterwards: [] } },
    {
      step: 'kick',
      rule: 'the held connect ends with advice none, and the client sends nothing more',
      seen: { notices: [{ channel: '/meta/disconnect', successful: true }], reconnect: 'none', sentAfterwards: [] },
    },
    { step: 'twice', rule: 'no message came twice in the whole life of the client', seen: [] },
  ]
}

t.test('Faye clients live a whole life on this server', async t => {
  const { url, bayeux } = await startServer(t, { channels: { '/lazy/**': { lazy: 50 } } })
  t.jobs = 2
  await Promise.all(
    ['long-polling', 'websocket'].map(transport =>
      t.test(`faye 1.4.3 on ${transport}`, { buffered: true }, async t => {
        const prefix = `/faye/${transport}`
        await new Driver(t, 'faye', [transport, url, prefix]).holds(t, rules(transport, prefix))
      }),
    ),
  )
  const { sessions, subscriptions, queued, held } = bayeux.stats()
  t.same(
    { sessions, subscriptions, queued, held },
    { sessions: 0, subscriptions: 0, queued: 0, held: 0 },
    'they leave nothing behind',
  )
})

t.test('a CometD client on WebSocket and a Faye client on long-polling talk both ways', async t => {
  const { url, bayeux } = await startServer(t)
  const cometd = new Driver(t, 'cometd', ['cometd', 'websocket', 'plain', url, '/talk', 'pair'], true)
  const faye = new Driver(t, 'faye', ['long-polling', url, '/talk', 'pair'], true)
  const drivers = [cometd, faye]
  for (const step of ['ready', 'heard']) {
    await Promise.all(drivers.map(driver => driver.reported(step)))
    if (step === 'ready') for (const driver of drivers) driver.tell('go')
  }
  for (const driver of drivers) driver.dismiss('done')
  const said = (from: string): object[] => [1, 2, 3, 4, 5].map(n => ({ from, n }))
  await t.test('the CometD client', t =>
    cometd.holds(t, [
      {
        step: 'ready',
        rule: 'subscribes',
        seen: { channel: '/meta/subscribe', successful: true, subscription: '/talk/to-cometd' },
      },
      { step: 'heard', rule: 'hears all that the Faye client says, in order', seen: said('faye') },
      { step: 'disconnect', rule: 'leaves', seen: { channel: '/meta/disconnect', successful: true } },
    ]),
  )
  await t.test('the Faye client', t =>
    faye.holds(t, [
      {
        step: 'ready',
        rule: 'subscribes',
        seen: { channel: '/meta/subscribe', successful: true, subscription: '/talk/to-faye' },
      },
      { step: 'heard', rule: 'hears all that the CometD client says, in order', seen: said('cometd') },
      { step: 'disconnect', rule: 'leaves', seen: 'successful' },
    ]),
  )
  t.equal(bayeux.stats().sessions, 0, 'both sessions are gone')
})
