// Hostile Bayeux: sound JSON whose messages break the protocol, or use it against others.
//
// Each row goes over every transport. The numbers are those of the vectors of the protocol reference, section 10.

import { brief, type Case, HEALTHY, OWN } from './case.js'
import { onEachTransport, type Right } from './envelope.js'

type Row = readonly [name: string, messages: unknown, right: Right, deliveries?: readonly unknown[]]

const handshake = { channel: '/meta/handshake', id: '1', version: '1.0', supportedConnectionTypes: ['long-polling', 'websocket'] }
const connect = { channel: '/meta/connect', id: '2', clientId: OWN, connectionType: 'long-polling' }
const subscribe = { channel: '/meta/subscribe', id: '3', clientId: OWN, subscription: '/bayeux/a' }
const unsubscribe = { ...subscribe, channel: '/meta/unsubscribe' }
const publish = { channel: '/bayeux/a', id: '4', clientId: OWN, data: { x: 1 } }
const service = { channel: '/service/none', id: '5', clientId: OWN, data: 1 }
const disconnect = { channel: '/meta/disconnect', id: '6', clientId: OWN }
const all = { connect, subscribe, unsubscribe, publish, service, disconnect }
/** Whatever is not an object, and some that are. */
const VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  '',
  ' ',
  'x',
  '0',
  'true',
  [],
  [null],
  [[]],
  {},
  { a: 1 },
  { toString: 1 },
  { length: 1 },
  '__proto__',
]

const MISSING = '400::channel_missing'
const UNKNOWN = '402::session_unknown'
const BAD_CHANNEL = '405::channel_invalid'
const BAD_ID = '405::message_id_invalid'
const NO_SUBSCRIPTION = '403::subscription_missing'
const BAD_SUBSCRIPTION = '403::subscription_invalid'
const denied = (what: string): string => `403:denied_by_security_policy:${what}_denied`

/** Names that break the grammar: its characters (1.1), then its structure (1.2, DEV-3). */
const BAD_NAMES = [
  ...[
    '',
    '/',
    'a',
    'a/b',
    'meta/connect',
    ' /a',
    '\\a',
    '/café',
    '/a?b',
    '/a%20',
    '/a%2fb',
    '/a:b',
    '/a,b',
    '/a"b',
    "/a'b",
    '/a\\b',
    '/a|b',
  ],
  ...[
    '/a^b',
    '/a[b]',
    '/a;b',
    '/a=b',
    '/a&b',
    '/a`b',
    '/a<b>',
    '/a\u0000',
    '/a\n',
    '/a\tb',
    '/a\u007f',
    '/a\u00a0',
    '/a\u2028',
    '/ａ',
    '/😀',
  ],
  ...[
    '/\ud800',
    '/\u202eb',
    '/a\u0301',
    '/\u{1d11e}',
    '//',
    '///',
    '//a',
    '/a//',
    '/a//b',
    '/a/b//c',
    '/a/*/b',
    '/a/**/b',
    '/*/a',
    '/**/a',
  ],
  ...['/**/*', '/*/**', '/t/{id}/*', '/{a}/**', `/${'x'.repeat(1_024)}`, '/x'.repeat(600), '/'.repeat(900)],
]
/** Strange, but channels. */
const GOOD_NAMES = [
  ...[
    '/a b',
    '/!#$()+-.@_{~}',
    '/foo*',
    '/foo/***',
    '/a/',
    '/a ',
    '/.',
    '/..',
    '/../..',
    '/-',
    '/0',
    '/{x}',
    '/{}',
    '/ a',
    '/META/connect',
    '/meta',
  ],
  ...[
    '/service',
    '/metadata',
    '/services/x',
    '/__proto__',
    '/a/__proto__',
    '/constructor',
    '/toString/valueOf',
    '/hasOwnProperty',
    '/a/*',
    '/**',
  ],
  ...['/*', '/a/**', '/__proto__/*', `/${'x'.repeat(1_023)}`, '/x'.repeat(512)],
]

function* handshakes(): Generator<Row> {
  const alone = [
    [{ channel: '/meta/handshake' }, '2, 3, 5: with nothing but its channel'],
    [{ ...handshake, version: '2.0' }, '4: of another version'],
    [{ ...handshake, supportedConnectionTypes: ['flash'] }, '6: with an unknown type'],
    [{ ...handshake, minimumVersion: '5.0' }, '7: of a later minimum'],
    [{ ...handshake, clientId: OWN }, '10: with a clientId'],
    [{ ...handshake, clientId: HEALTHY }, '10: with the clientId of another browser'],
    [{ ...handshake, id: null }, 'without an id, said as null'],
    [{ ...handshake, subscription: '/a', data: 1, successful: false, error: 'x' }, 'with the fields of other messages'],
    [{ ...handshake, ext: { ack: 'true' } }, '164: that asks for ack with a text'],
    [{ ...handshake, ext: { ack: { enabled: true } } }, '164: that asks for ack with an object'],
    [{ ...handshake, ext: { replay: 'x', timesync: null, binary: 5, __proto__x: 1 } }, 'with strange extensions'],
  ] as const
  for (const [message, name] of alone) yield [`handshake ${name}`, message, ['ok']]
  for (const field of ['version', 'minimumVersion', 'supportedConnectionTypes', 'ext', 'advice', 'clientId', 'connectionType'])
    for (const value of VALUES)
      yield [`handshake, ${field} ${brief(JSON.stringify(value))}`, { ...handshake, [field]: value }, ['ok']]
  const company = Object.entries({
    ...all,
    handshake,
    'an empty message': {},
    'a message on no channel': { ...publish, channel: 5 },
  })
  for (const [name, other] of company) {
    yield [`11, 13: a handshake before ${name}`, [handshake, other], 'refused']
    yield [`12: a handshake after ${name}`, [other, handshake], 'refused']
  }
  yield [
    'a handshake in the midst of 100 publishes',
    [...Array(50).fill(publish), handshake, ...Array(50).fill(publish)],
    'refused',
  ]
}

function* sessions(): Generator<Row> {
  const strangers = [
    ...VALUES,
    'nobody',
    `${OWN} `,
    ` ${OWN}`,
    `${OWN}x`,
    [OWN],
    { id: OWN },
    `${OWN}\u0000`,
    HEALTHY,
    'x'.repeat(10_000),
    'constructor',
  ]
  for (const [name, message] of Object.entries(all)) {
    yield [`36, 37, 74, 101: ${name} without a clientId`, { ...message, clientId: undefined }, [UNKNOWN]]
    for (const stranger of strangers)
      yield [`36, 39, 101: ${name}, clientId ${brief(JSON.stringify(stranger))}`, { ...message, clientId: stranger }, [UNKNOWN]]
  }
  yield [
    '102: own, nobody’s, another’s',
    [publish, { ...publish, clientId: undefined }, { ...publish, clientId: HEALTHY }],
    ['ok', UNKNOWN, UNKNOWN],
  ]
  yield ['103: nobody’s first', [{ ...publish, clientId: 'nobody' }, publish], [UNKNOWN, UNKNOWN]]
  yield ['another’s first', [{ ...connect, clientId: HEALTHY }, publish, disconnect], [UNKNOWN, UNKNOWN, UNKNOWN]]
  yield ['112: publish, disconnect, publish', [publish, disconnect, publish], ['ok', 'ok', UNKNOWN]]
  yield [
    '113: disconnect, then everything',
    [disconnect, connect, subscribe, unsubscribe, publish, disconnect],
    ['ok', ...Array(5).fill(UNKNOWN)],
  ]
  yield ['a healthy client is disconnected by a stranger', { ...disconnect, clientId: HEALTHY }, [UNKNOWN]]
  yield ['91: validation before the session', { clientId: 'zzz', id: '5' }, [MISSING]]
  yield ['validation before the session, of the channel', { channel: '//', clientId: 'zzz' }, [BAD_CHANNEL]]
  yield ['validation before the session, of the id', { ...publish, clientId: 'zzz', id: '' }, [BAD_ID]]
  yield ['validation of the channel before that of the id', { ...publish, channel: 'x', id: '' }, [BAD_CHANNEL]]
}

function* channelsAndIds(): Generator<Row> {
  for (const channel of BAD_NAMES) yield [`92, 93: publish to ${brief(channel)}`, { ...publish, channel }, [BAD_CHANNEL]]
  for (const channel of GOOD_NAMES) yield [`95, 96: publish to ${brief(channel)}`, { ...publish, channel }, ['ok']]
  for (const value of VALUES.filter(each => typeof each !== 'string' && each !== null))
    yield [`93: channel ${JSON.stringify(value)}`, { ...publish, channel: value }, [BAD_CHANNEL]]
  yield ['91: no channel', { ...publish, channel: undefined }, [MISSING]]
  yield ['91: the channel null', { ...publish, channel: null }, [MISSING]]
  for (const channel of [
    '/meta/foo',
    '/meta/',
    '/meta/*',
    '/meta/**',
    '/meta/Connect',
    '/meta/publish',
    '/meta/unsuccessful',
    '/meta/connect/x',
  ])
    yield [`94: publish to ${channel}`, { ...publish, channel }, [denied('channel_create')]]
  for (const channel of ['/meta/connect/', '/meta/handshake/', '/meta/subscribe '])
    yield [`publish to ${channel}, which is not quite the channel`, { ...publish, channel }, [denied('publish')]]
  for (const channel of ['/service/none', '/service/', '/service/**', '/service/a/b', '/service/__proto__'])
    yield [`97: publish to ${channel}`, { ...publish, channel }, ['ok']]
  const badIds = [
    true,
    false,
    [],
    {},
    ['1'],
    { a: 1 },
    -1,
    1.5,
    1e21,
    '',
    'a-b',
    '<a>',
    ' ',
    '1 ',
    'é',
    'a.b',
    '\u0000',
    '１',
    '"',
    'a\n',
    'x'.repeat(257),
  ]
  for (const [name, message] of Object.entries({ publish, connect, subscribe }))
    for (const id of badIds) yield [`90: ${name}, id ${brief(JSON.stringify(id))}`, { ...message, id }, [BAD_ID]]
  for (const id of [null, 0, 77, '0', 'A9z', 'x'.repeat(256), 9007199254740991])
    yield [`88, 89: id ${brief(JSON.stringify(id))}`, { ...publish, id }, ['ok']]
}

function* subscriptions(): Generator<Row> {
  for (const name of BAD_NAMES) {
    yield [`61, 66, 69: subscribe ${brief(name)}`, { ...subscribe, subscription: name }, [BAD_SUBSCRIPTION]]
    yield [`unsubscribe ${brief(name)}`, { ...unsubscribe, subscription: [name] }, [BAD_SUBSCRIPTION]]
    yield [
      `58: subscribe to ${brief(name)} among others`,
      { ...subscribe, subscription: ['/ok', name, '/ok2'] },
      [BAD_SUBSCRIPTION],
    ]
  }
  for (const name of GOOD_NAMES) yield [`67, 68, 70, 71: subscribe ${brief(name)}`, { ...subscribe, subscription: name }, ['ok']]
  for (const [of, message] of Object.entries({ subscribe, unsubscribe })) {
    for (const value of [
      0,
      -1,
      true,
      false,
      {},
      { a: 1 },
      { length: 1, 0: '/a' },
      [null],
      [5],
      [['/a']],
      [{}],
      ['/a', null],
      ['/a', 5, '/b'],
    ])
      yield [`61: ${of} ${JSON.stringify(value)}`, { ...message, subscription: value }, [BAD_SUBSCRIPTION]]
    for (const value of [undefined, null, []])
      yield [`57, 60: ${of} ${JSON.stringify(value)}`, { ...message, subscription: value }, [NO_SUBSCRIPTION]]
  }
  yield ['62: subscribe /meta/connect', { ...subscribe, subscription: '/meta/connect' }, [denied('subscribe')]]
  for (const name of ['/meta/foo', '/meta/*', '/meta/**', '/meta/'])
    yield [`63: subscribe ${name}`, { ...subscribe, subscription: name }, [denied('create')]]
  yield [
    '59: subscribe to a meta channel among others',
    { ...subscribe, subscription: ['/ok', '/meta/connect', '/ok2'] },
    [denied('subscribe')],
  ]
  for (const name of ['/service/foo', '/service/**', '/service/'])
    yield [`65: subscribe ${name}`, { ...subscribe, subscription: name }, ['ok']]
  yield ['79: unsubscribe /meta/connect', { ...unsubscribe, subscription: '/meta/connect' }, ['403::unsubscribe_failed']]
  for (const name of ['/meta/foo', '/never/was', '/service/never', '/never/*', '/__proto__/never'])
    yield [`78: unsubscribe ${name}`, { ...unsubscribe, subscription: name }, [MISSING]]
  yield ['77: unsubscribe twice', [subscribe, unsubscribe, unsubscribe], ['ok', 'ok', 'ok']]
  yield ['2,000 times the same', { ...subscribe, subscription: Array(2_000).fill('/bayeux/a') }, ['ok']]
  const others = (length: number) => Array.from({ length }, (_, i) => `/bayeux/many/${i}`)
  yield ['900 others', { ...subscribe, subscription: others(900) }, ['ok']]
  yield ['2,000 others', { ...subscribe, subscription: others(2_000) }, ['403::too_many_subscriptions']]
  yield ['500 levels', { ...subscribe, subscription: `${'/a'.repeat(500)}/**` }, ['ok']]
  const wide = [
    { ...subscribe, subscription: ['/w/*', '/w/**', '/w/x', '/**'] },
    { ...publish, channel: '/w/x' },
  ]
  yield ['75: four patterns that match', wide, ['ok', 'ok'], [{ channel: '/w/x', data: { x: 1 } }]]
}

function* publishes(): Generator<Row> {
  const echo = (name: string, more: object, seen: object): Row => [
    name,
    [subscribe, { ...publish, ...more }],
    ['ok', 'ok'],
    [{ channel: '/bayeux/a', data: { x: 1 }, ...seen }],
  ]
  yield echo(
    '87: advice, successful and error are for nobody else',
    { advice: { reconnect: 'none' }, successful: false, error: '402::x' },
    {},
  )
  yield echo(
    '87: unknown fields travel',
    { ext: { a: 1 }, timestamp: 'x', bar: [null], subscription: '/x' },
    { ext: { a: 1 }, timestamp: 'x', bar: [null], subscription: '/x' },
  )
  yield echo('an ext that is none', { ext: 'x' }, { ext: 'x' })
  yield echo('a reply in disguise', { id: '4', successful: true, clientId: OWN }, {})
  for (const data of [null, 0, false, '', [], [1, 2], { channel: '/meta/connect', clientId: 'x' }])
    yield echo(`85: data ${JSON.stringify(data)}`, { data }, { data })
  yield ['86: no data', [subscribe, { ...publish, data: undefined }], ['ok', 'ok'], [{ channel: '/bayeux/a' }]]
  yield [
    '81: publish, unsubscribe, publish',
    [subscribe, publish, unsubscribe, publish],
    ['ok', 'ok', 'ok', 'ok'],
    [{ channel: '/bayeux/a', data: { x: 1 } }],
  ]
  yield ['200 publishes', Array(200).fill(publish), Array(200).fill('ok')]
  yield ['to 900 channels', Array.from({ length: 900 }, (_, i) => ({ channel: `/b/${i}`, clientId: OWN })), Array(900).fill('ok')]
}

function* connects(): Generator<Row> {
  for (const field of ['connectionType', 'ext', 'data', 'subscription', 'version'])
    for (const value of VALUES)
      yield [`27: connect, ${field} ${brief(JSON.stringify(value))}`, { ...connect, [field]: value }, ['ok']]
  for (const field of ['timeout', 'interval'])
    for (const value of [...VALUES, '5', 1e300, -5]) {
      const advice = { timeout: 0, [field]: value } // the first connect is not held, whatever it asks for
      yield [`20, 24 to 26: connect, advice.${field} ${brief(JSON.stringify(value))}`, { ...connect, advice }, ['ok']]
    }
  for (const value of VALUES) yield [`25: connect, advice ${brief(JSON.stringify(value))}`, { ...connect, advice: value }, ['ok']]
  for (const ext of [
    { ack: 'x' },
    { ack: {} },
    { ack: -1 },
    { ack: 1e300 },
    { timesync: 5 },
    { timesync: { tc: 'x', l: null, o: [] } },
    { timesync: [] },
  ])
    yield [`connect, ext ${JSON.stringify(ext)}`, { ...connect, ext }, ['ok']]
  yield ['31: connect in company', [publish, connect, subscribe], ['ok', 'ok', 'ok']]
  const atOnce = { ...connect, advice: { timeout: 0 } } // on WebSocket a second one would be held
  yield ['32: two connects', [atOnce, atOnce], ['ok', 'ok']]
  yield ['100 connects', Array(100).fill(atOnce), Array(100).fill('ok')]
  yield ['180: connect and subscribe, as Faye', [atOnce, subscribe], ['ok', 'ok']]
}

export function* bayeuxCases(): Generator<Case> {
  for (const rows of [handshakes, sessions, channelsAndIds, subscriptions, publishes, connects])
    for (const [name, messages, right, deliveries] of rows())
      yield* onEachTransport('bayeux', name, JSON.stringify(messages), right, deliveries)
}
