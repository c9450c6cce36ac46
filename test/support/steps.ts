// What may happen to an engine and its clients: the arbitraries of the property test.

import fc from 'fast-check'
import type { Transport } from '../../bayeux/index.js'

export const MAX_INTERVAL = 2_000
export const TIMES = { timeout: 1_000, maxInterval: MAX_INTERVAL, maxTimeout: 4_000, maxLazyTimeout: 300 }
export const RULES = { '/lazy/**': { lazy: 50 } }
export const PATTERNS = ['/a/b', '/a/*', '/a/**', '/**', '/lazy/x', '/lazy/*', '/c'] as const
const CHANNELS = ['/a/b', '/a/c', '/a/b/c', '/c', '/lazy/x'] as const
const KINDS = ['handshake', 'create', 'subscribe', 'publish'] as const
type Kind = (typeof KINDS)[number]

const who = fc.nat({ max: 3 })
const transport = fc.constantFrom<Transport>('websocket', 'long-polling', 'callback-polling')
const connect = fc.record(
  {
    channel: fc.constant('/meta/connect'),
    advice: fc.oneof(
      fc.record({ timeout: fc.constantFrom(0, 200, 100_000) }),
      fc.record({ interval: fc.constant(500) }),
      fc.constant({}),
    ),
    veto: fc.boolean(),
  },
  { requiredKeys: ['channel'] },
)
const message = fc.oneof(
  { weight: 3, arbitrary: fc.record({ channel: fc.constantFrom<string>(...CHANNELS) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      channel: fc.constant('/meta/subscribe'),
      subscription: fc.uniqueArray(fc.constantFrom(...PATTERNS), { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ channel: fc.constant('/meta/unsubscribe'), subscription: fc.constantFrom(...PATTERNS) }),
  },
  { weight: 1, arbitrary: connect },
)
const plain = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constant('send' as const),
      who,
      transport,
      messages: fc.array(message, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('connect' as const), who, transport, message: connect }) },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant('publish' as const), channel: fc.constantFrom(...CHANNELS), lazy: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('deliver' as const), who }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('handshake' as const), who, transport, ack: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('disconnect' as const), who, transport }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('kick' as const, 'remove' as const, 'expire' as const), who }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constantFrom('deaf' as const, 'broken' as const, 'closed' as const), who, which: fc.nat() }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('report' as const) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('answer' as const), which: fc.nat(), allow: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('advance' as const), ms: fc.constantFrom(1, 49, 50, 200, 1_000, 2_500) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('jump' as const), ms: fc.constantFrom(60, 1_500, 9_000) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('batch' as const), who, start: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('congest' as const), who, full: fc.boolean() }) },
)
/** `turn`: whether the host's turn ends with it, which lets the queues go: all of them, or one before the host looks at what came meanwhile. */
export const step = fc.record({
  what: plain,
  turn: fc.oneof(
    { weight: 4, arbitrary: fc.constant<true>(true) },
    { weight: 1, arbitrary: fc.constant<false>(false) },
    { weight: 1, arbitrary: fc.constant<'slice'>('slice') },
  ),
})
export const setting = fc.record({
  options: fc.record({
    metaConnectDeliverOnly: fc.boolean(),
    allowMessageDeliveryDuringHandshake: fc.boolean(),
    maxQueue: fc.constantFrom(4, 10_000, 10_000),
    maxSessionsPerBrowser: fc.constantFrom(1, -1),
    multiSessionInterval: fc.constantFrom(2_000, 0),
    maxProcessing: fc.constantFrom(-1, 6_000),
  }),
  /** Questions that the policy answers later. */
  later: fc.oneof(fc.constant<Kind[]>([]), fc.subarray<Kind>([...KINDS])),
  full: fc.constantFrom('drop' as const, 'remove' as const),
  /** Whether the application delivers to each new session while its handshake is processed. */
  greet: fc.boolean(),
  clients: fc.array(fc.record({ transport, ack: fc.boolean() }), { minLength: 4, maxLength: 4 }),
})
export type Step = typeof step extends fc.Arbitrary<infer T> ? T : never
export type Setting = typeof setting extends fc.Arbitrary<infer T> ? T : never
