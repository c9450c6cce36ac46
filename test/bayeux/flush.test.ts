// Flush in slices: a turn that has more to write than time writes to those who have waited longest, and goes on when it has read.

import t from 'tap'
import { Engine, type Json } from '../../bayeux/index.js'
import { openWire, RecordingSink, type Wire, type Written } from '../support/recording.js'

const LISTENERS = 4

interface Listener {
  readonly id: string
  wire: Wire
}

/** An engine with long-polling sessions in one room, each with a held connect. */
function crowd(
  written: (written: Written) => void,
  maxSessionsPerBrowser = -1,
): {
  engine: Engine
  sink: RecordingSink
  listeners: Listener[]
  poll: (listener: Listener) => void
} {
  const replies: Json[] = []
  const sink = new RecordingSink({
    written: each => {
      replies.push(...each.replies, ...(each.head === null ? [] : [each.head]))
      if (each.messages.length > 0) written(each)
    },
  })
  const engine = new Engine({ maxSessionsPerBrowser }, {}, sink)
  const say = (message: object): Wire => {
    const wire = openWire(engine, 'long-polling', 'browser')
    engine.receive(wire.connection, [JSON.stringify([message])], 0)
    return wire
  }
  const poll = (listener: Listener): void => {
    listener.wire = say({ channel: '/meta/connect', clientId: listener.id })
  }
  const listeners = Array.from({ length: LISTENERS }, () => {
    say({ channel: '/meta/handshake' })
    const listener: Listener = { id: replies.at(-1)!['clientId'] as string, wire: null as never }
    say({ channel: '/meta/subscribe', clientId: listener.id, subscription: '/room' })
    poll(listener)
    poll(listener) // the first is answered at once
    return listener
  })
  return { engine, sink, listeners, poll }
}

t.test('a flush of so many sessions writes to those who have waited longest, and says whether others wait', t => {
  const got: Wire[] = []
  const { engine, listeners } = crowd(({ wire }) => got.push(wire))
  const wires = listeners.map(({ wire }) => wire)
  engine.server.publish('/room', 1, {}, null, 0)
  t.equal(engine.flush(0, 3), true)
  t.same(got, wires.slice(0, 3))
  t.equal(engine.flush(0, 3), false)
  t.same(got, wires)
  t.equal(engine.flush(0, 3), false, 'and nothing is left')
  t.equal(got.length, LISTENERS)
  t.end()
})

t.test('a connect that finds messages stands in line, and gets all that has come until its turn', t => {
  const got: { wire: Wire; data: unknown[] }[] = []
  const { engine, listeners, poll } = crowd(({ wire, messages }) =>
    got.push({ wire, data: messages.map(message => message['data']) }),
  )
  const [first, ...others] = listeners
  engine.server.publish('/room', 1, {}, null, 0)
  engine.flush(0, 1)
  engine.server.publish('/room', 2, {}, null, 0)
  poll(first!)
  t.equal(got.length, 1, 'it is not answered before those that waited already')
  engine.server.publish('/room', 3, {}, null, 0)
  t.equal(engine.flush(0, 3), true)
  t.same(
    got.slice(1),
    others.map(({ wire }) => ({ wire, data: [1, 2, 3] })),
  )
  t.equal(engine.flush(0, 3), false)
  t.same(got.at(-1), { wire: first!.wire, data: [2, 3] })
  poll(first!)
  engine.server.publish('/room', 4, {}, null, 0)
  engine.flush(0)
  engine.server.publish('/room', 5, {}, null, 0)
  const before = got.length
  poll(first!)
  t.equal(got.length, before, 'not within its own input')
  t.equal(engine.flush(0), false)
  t.same(got.slice(before), [{ wire: first!.wire, data: [5] }], 'but at the end of the turn, when nobody else waits')
  t.end()
})

t.test('a connect that finds messages, and its browser with its share of held ones, is answered at once', t => {
  const got: unknown[] = []
  const { engine, listeners, poll } = crowd(({ messages }) => got.push(...messages.map(message => message['data'])), 1)
  t.equal(engine.server.stats().held, 1, 'of the first; the others were told to poll')
  const last = listeners.at(-1)!
  engine.server.deliver(engine.server.session(last.id)!, '/private', 'mine', {}, 0)
  poll(last)
  t.same(got, ['mine'])
  t.equal(engine.server.stats().held, 1)
  t.end()
})

t.test('a list that never comes to its end does not grow: what is done with is dropped from its front', t => {
  const { engine, listeners, poll } = crowd(() => undefined)
  const core = engine.server['core']
  let ends = 0
  let longest = 0
  for (let i = 0; i < 5_000; i++) {
    engine.server.publish('/room', i, {}, null, 0)
    if (!engine.flush(0, 2)) ends++
    longest = Math.max(longest, core.dirty.length)
    for (const listener of listeners) if (listener.wire.state === 'done') poll(listener)
  }
  t.equal(ends, 0, 'it is the case that is meant')
  t.ok(longest < 2_000, `${longest} places`)
  engine.flush(0)
  t.equal(core.dirty.length, 0)
  t.end()
})
