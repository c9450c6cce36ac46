// CometD's own Java client 7.0, as it comes from Maven Central, against the running server: both transports, without and with acks.
//
// Knows: what this client must see at each step of its life (RULES).
// Does not know: how it is driven (java/src/main/java/Driver.java), how its driver is built (java/jvm.ts).
// Source: protocol reference 3, 4, 6, 7.1 and 9.4.

import t from 'tap'
import { TroubledProxy } from '../../bench/proxy.js'
import { startServer } from '../support/server.js'
import { type Line, runDriver } from './java/jvm.js'
import type { Rule } from './run.js'

// The first time Maven fetches the client; afterwards all takes well under a minute.
t.setTimeout(300_000)

const FULL_ADVICE = { reconnect: 'retry', interval: 0, timeout: 30_000 }
/** 0 and on. */
const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

function rules(transport: string, ack: boolean, prefix: string): Rule[] {
  const reply = (channel: string, subscription?: string): object =>
    subscription === undefined ? { channel, successful: true } : { channel, successful: true, subscription }
  const chat = `${prefix}/chat`
  const batch = `${prefix}/batch`
  return [
    {
      step: 'handshake',
      rule: 'the reply names the version, a fresh clientId, this transport and full advice; ext.ack only when asked for',
      seen: {
        successful: true,
        version: '1.0',
        clientId: true,
        offersTransport: true,
        advice: FULL_ADVICE,
        ack: ack || null,
        transport,
      },
    },
    {
      step: 'connect',
      rule: 'the first connect is answered at once with full advice, the next one is held',
      seen: { reply: { ...reply('/meta/connect'), advice: FULL_ADVICE }, state: true },
    },
    { step: 'subscribe', rule: 'the reply echoes the subscription', seen: { reply: reply('/meta/subscribe', chat) } },
    {
      step: 'publish',
      rule: ack
        ? 'the publisher gets one reply without data and, as a subscriber, one copy'
        : 'the publisher gets one reply without data and, as a subscriber, one copy in front of it',
      seen: { reply: reply(chat), recognized: true, delivered: [{ text: 'grüße' }], order: ['message', 'reply'] },
    },
    {
      step: 'wildcards',
      rule: '/* matches one segment, /** one or more, and a message comes once however many subscriptions match',
      seen: {
        replies: ['/room/one', '/room/*', '/room/**'].map(pattern => reply('/meta/subscribe', prefix + pattern)),
        heard: {
          '/room/one': ['/room/one'],
          '/room/*': ['/room/one', '/room/end'],
          '/room/**': ['/room/one', '/room/one/more', '/room/end'],
        },
        wire: ['/room/one', '/room/one/more', '/room/end'],
      },
    },
    {
      step: 'order',
      rule: 'fifty messages of another client arrive in their order, each once',
      seen: { accepted: 50, delivered: numbers(50), heard: numbers(50) },
    },
    {
      step: 'unsubscribe',
      rule: 'after the reply nothing more arrives',
      seen: { reply: reply('/meta/unsubscribe', `${prefix}/left`), left: ['before'], kept: ['end'] },
    },
    {
      step: 'batch',
      rule: 'the messages of a batch travel together and are done in order, each seeing the effects of those before it',
      seen: {
        together: ['/meta/subscribe', batch, batch],
        replies: [reply('/meta/subscribe', batch), reply(batch), reply(batch)],
        delivered: ['one', 'two'],
      },
    },
    {
      step: 'calls',
      rule: 'a remote call is answered with the data of the service, one that fails with the reason',
      seen: {
        echo: { ...reply('/service/echo'), data: { q: [1, 'two', true] } },
        fail: { channel: '/service/fail', successful: false, data: { error: 'refused' } },
      },
    },
    {
      step: 'service',
      rule: 'what the server publishes arrives as what clients publish',
      seen: { reply: reply('/service/publish') },
    },
    ack
      ? {
          step: 'fire',
          rule: 'of 200 messages each arrives once and in order, though connections are lost with messages and with acknowledgements on the way',
          seen: { heard: [...numbers(200), 'end'], sameSession: true, handshakes: 1 },
        }
      : {
          step: 'resume',
          rule: 'what is published while the client has no connection waits for it, in the same session',
          seen: { delivered: numbers(3), sameSession: true, handshakes: 1 },
        },
    {
      step: 'loss',
      rule: 'the connect of a lost session is refused with advice to handshake, and the client comes back by itself',
      seen: {
        refused: [
          {
            channel: '/meta/connect',
            successful: false,
            error: '402::session_unknown',
            advice: { reconnect: 'handshake', interval: 0 },
          },
        ],
        newSession: true,
        handshakes: 2,
        subscribed: [reply('/meta/subscribe', `${prefix}/again`)],
        delivered: ['back'],
      },
    },
    {
      step: 'kick',
      rule: 'the server disconnects with a notice that has no id, and the client sends nothing more',
      seen: { notices: [reply('/meta/disconnect')], anyId: false, disconnected: true, handshakesAfter: 0, connectsAfter: 0 },
    },
    {
      step: 'disconnect',
      rule: 'is answered, and ends the held connect with advice none',
      seen: {
        reply: reply('/meta/disconnect'),
        ended: true,
        connect: { ...reply('/meta/connect'), advice: { reconnect: 'none' } },
      },
    },
  ]
}

t.test('the CometD Java client lives a whole life on this server', async t => {
  const { url, bayeux } = await startServer(t)
  const proxy = await TroubledProxy.open(url)
  t.teardown(() => proxy.close())

  const lines: Line[] = []
  const { code, noise } = await runDriver(t, [url, proxy.url], line => {
    if (line.cut === undefined) lines.push(line)
    else proxy.cut(line.cut, '/fire')
  })

  for (const transport of ['long-polling', 'websocket']) {
    for (const ack of [false, true]) {
      t.test(ack ? `${transport} with acks` : transport, t => {
        const run = `${transport} ${ack ? 'ack' : 'plain'}`
        for (const { step, rule, seen } of rules(transport, ack, `/java/${transport}-${ack ? 'ack' : 'plain'}`)) {
          const line = lines.find(line => line.run === run && line.step === step)
          if (line?.seen !== undefined) t.strictSame(line.seen, seen, `${step}: ${rule}`)
          else t.fail(`${step}: ${rule}`, { why: line?.failed ?? 'the driver did not come to this step', noise })
        }
        t.end()
      })
    }
  }
  t.same(
    proxy.cuts.map(({ cut }) => cut),
    ['idle', 'half', 'whole', 'idle', 'half', 'whole'],
    'the connections were really lost, in the way that was asked for',
  )
  t.ok(
    proxy.cuts.every(({ connections }) => connections > 0),
    'with each cut at least one',
    { cuts: proxy.cuts },
  )
  t.equal(code, 0, 'the driver came to its end', { noise })
  const { sessions, subscriptions, queued, held } = bayeux.stats()
  t.same(
    { sessions, subscriptions, queued, held },
    { sessions: 0, subscriptions: 0, queued: 0, held: 0 },
    'nothing is left behind',
  )
})
