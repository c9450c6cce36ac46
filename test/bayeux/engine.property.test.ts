// Random interleavings of several clients on one engine: order kept, each message once, nothing left behind.
//
// The model is a list for each session: what it must get, in the order of publication. All that the engine writes is held against it.
// `SEED=n` runs another series, `RUNS=n` a longer one; a failure prints its seed and the shortest series of steps that fails.

import fc from 'fast-check'
import t from 'tap'
import { Simulation } from '../support/simulation.js'
import { type Setting, type Step, setting, step } from '../support/steps.js'

const SEED = Number(process.env['SEED'] ?? 20_261_124)
const RUNS = Number(process.env['RUNS'] ?? 2_000)

const quiet: Setting = {
  options: {
    metaConnectDeliverOnly: false,
    allowMessageDeliveryDuringHandshake: false,
    maxQueue: 10_000,
    maxSessionsPerBrowser: 1,
    multiSessionInterval: 2_000,
    maxProcessing: -1,
  },
  later: [],
  full: 'drop',
  greet: false,
  clients: Array.from({ length: 4 }, () => ({ transport: 'websocket', ack: false })),
}
const socket = (...messages: object[]): Step['what'] => ({ op: 'send', who: 0, transport: 'websocket', messages }) as Step['what']
const polling = (...messages: object[]): Step['what'] =>
  ({ op: 'send', who: 0, transport: 'long-polling', messages }) as Step['what']
const connect = { channel: '/meta/connect' }
const subscribe = (...subscription: string[]): object => ({ channel: '/meta/subscribe', subscription })
const remove: Step['what'] = { op: 'remove', who: 0 }
const handshake: Step['what'] = { op: 'handshake', who: 0, transport: 'websocket', ack: false }
const advance: Step['what'] = { op: 'advance', ms: 1_000 }
const allow: Step['what'] = { op: 'answer', which: 0, allow: true }

/** Series of steps that failed once, and that chance finds seldom. */
const found: readonly (readonly [Setting['later'], readonly Step['what'][]])[] = [
  // what was queued left only with the next message, once a connect was held on a new socket
  [[], [polling(subscribe('/a/b'), connect), { op: 'publish', channel: '/a/b', lazy: false }, socket(connect)]],
  // a connect of a removed session was held for ever, when a lazy message waited, or when its socket went to another session
  [
    [],
    [
      socket(subscribe('/**')),
      socket(connect),
      { op: 'publish', channel: '/lazy/x', lazy: false },
      socket(connect),
      remove,
      advance,
    ],
  ],
  [[], [socket(connect), polling(connect), remove, handshake, advance, advance]],
  // it was answered on the socket that another session had by then
  [
    [],
    [
      socket(subscribe('/**')),
      socket(connect),
      { op: 'publish', channel: '/lazy/x', lazy: false },
      socket(connect),
      remove,
      handshake,
      advance,
    ],
  ],
  // one envelope overtook those that waited for a verdict, and the connect that it held was dropped
  [
    ['subscribe'],
    [socket(subscribe('/a/b'), { channel: '/a/b' }), polling(connect), polling(connect), socket(connect), allow, advance],
  ],
  // a message whose channel was swept while it waited for its verdict reached nobody
  [
    ['publish'],
    [
      { op: 'publish', channel: '/lazy/x', lazy: false },
      advance,
      { op: 'jump', ms: 1_500 },
      handshake,
      { ...handshake, who: 1 },
      socket({ channel: '/lazy/x' }),
      advance,
      { ...socket(subscribe('/lazy/*')), who: 1 } as Step['what'],
      allow,
      advance,
    ],
  ],
]

t.test('clients in random interleavings each get what is theirs, in order and once, and leave nothing behind', t => {
  const steps = fc.array(step, { minLength: 1, maxLength: 80, size: 'max' })
  const property = fc.property(setting, steps, (given, steps) => {
    const simulation = new Simulation(given)
    for (const [i, { transport, ack }] of given.clients.entries()) {
      simulation.handshake(simulation.clients[i]!, transport, ack)
      simulation.answerAll()
    }
    for (const each of steps) simulation.do(each)
    simulation.end()
  })
  const examples = found.map(([later, series]): [Setting, Step[]] => [
    { ...quiet, later: [...later] },
    series.map(what => ({ what, turn: true })),
  ])
  t.doesNotThrow(() => fc.assert(property, { seed: SEED, numRuns: RUNS, includeErrorInReport: true, examples }))
  t.end()
})
