// One shape a class: whatever a session, a connection or a message goes through, V8 sees the same fields in the same places, so that hot
// paths stay monomorphic. V8 itself is asked.

import { setFlagsFromString } from 'node:v8'
import t from 'tap'
import type { Connection } from '../../bayeux/connection.js'
import { Engine, type FrozenMessage, type Json, type Session, type Transport } from '../../bayeux/index.js'
import { flushIfDue, openWire, RecordingSink } from '../support/recording.js'

setFlagsFromString('--allow-natives-syntax')
const sameShape = new Function('a', 'b', 'return %HaveSameMap(a, b)') as (a: object, b: object) => boolean

/** Lives of several kinds on one engine; what they have made, by class. */
function lives(
  engine: Engine,
  sink: RecordingSink,
  said: Json[],
  from: number,
): { sessions: Session[]; connections: Connection[] } {
  const connections: Connection[] = []
  const sessions: Session[] = []
  const live = (transport: Transport, ack: boolean, now: number): void => {
    const socket = transport === 'websocket' ? openWire(engine, transport, 'browser') : null
    const say = (message: object): Json => {
      const { connection } = socket ?? openWire(engine, transport, 'browser')
      connections.push(connection)
      engine.receive(connection, [JSON.stringify([{ id: '1', ...message }])], now)
      return said.at(-1)!
    }
    const clientId = say({ channel: '/meta/handshake', ext: { ack } })['clientId'] as string
    sessions.push(engine.server.session(clientId)!)
    say({ channel: '/meta/subscribe', clientId, subscription: ['/a', '/lazy/b'] })
    say({ channel: '/meta/connect', clientId, advice: { timeout: 0, interval: 100 } })
    say({ channel: '/meta/connect', clientId })
    say({ channel: '/lazy/b', clientId, data: 1 })
    say({ channel: '/a', clientId, data: 1 })
    flushIfDue(engine, sink, now)
    say({ channel: '/meta/connect', clientId, ext: { ack: 1 } })
  }
  for (let i = 0; i < 8; i++) {
    live('websocket', false, from + 10 * i + 0.5)
    live('long-polling', false, from + 10 * i + 2)
    live('long-polling', true, from + 10 * i + 3.25)
    live('callback-polling', false, from + 10 * i + 4)
  }
  sessions.push(engine.server.addLocal('local', () => undefined))
  return { sessions, connections }
}

t.test('sessions, connections and messages each have one shape', t => {
  const said: Json[] = []
  const messages: FrozenMessage[] = []
  const sink = new RecordingSink({
    written: ({ head, replies }) => said.push(...(head === null ? [] : [head]), ...replies),
    published: message => messages.push(message),
  })
  const engine = new Engine({ maxSessionsPerBrowser: -1 }, { '/lazy/**': { lazy: 50 } }, sink)
  lives(engine, sink, said, 1_000) // V8 learns what the fields hold
  const { sessions, connections } = lives(engine, sink, said, 5_000)
  engine.server.publish('/a', { of: 'the server' }, {}, null, 9_000.75)
  for (const [name, all] of Object.entries({ sessions, connections, messages })) {
    const others = all.filter(each => !sameShape(each, all.at(-1)!))
    t.equal(others.length, 0, `${all.length} ${name}`)
    t.ok(all.length > 20, 'and there are some')
  }
  t.notOk(sameShape({ a: 1 }, { b: 1 }), 'V8 would say so')
  t.end()
})
