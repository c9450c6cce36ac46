// What is judged and made without looking at anything else: channel names, messages, replies, options, rules, extensions' values.

import t from 'tap'
import { binaryMessage, binaryOf, decodeZ85, encodeZ85 } from '../../bayeux/binary.js'
import { covers, kindOf, parseChannel } from '../../bayeux/channel.js'
import { BayeuxError, errors, wireError } from '../../bayeux/errors.js'
import { FrozenMessage, freezePublished, IMPATIENT, isMessageId, type Message, parseEnvelope } from '../../bayeux/message.js'
import { engineOptions, isOption, resolve, resolveFor } from '../../bayeux/options.js'
import { refusal } from '../../bayeux/policy.js'
import { type Advice, Reply } from '../../bayeux/reply.js'
import { type ChannelRules, Rules } from '../../bayeux/rules.js'
import { Session, TRANSITIONS } from '../../bayeux/session.js'
import { timestampOf } from '../../bayeux/timestamp.js'
import { answerTimesync, timesyncOf } from '../../bayeux/timesync.js'

const name = (text: string) => parseChannel(text)!

t.test('channel: the characters of CometD, and the structure of wildcards', t => {
  for (const text of [
    '/a',
    '/a/b.c',
    '/a b',
    '/!#$()*+-.@_{~}',
    '/foo*',
    '/foo/***',
    '/a/*',
    '/a/**',
    '/*',
    '/**',
    '/{id}/x',
    '/a/',
    '/__proto__',
    '/A/a/0',
  ])
    t.ok(parseChannel(text), text)
  for (const text of [
    '',
    '/',
    'a',
    '//',
    '//a',
    '/a//b',
    '/a//',
    '/*/a',
    '/**/a',
    '/a/*/b',
    '/{id}/*',
    '/{id}/**',
    '/é',
    '/a%',
    '/a&b',
    '/a:b',
    '/a,b',
    '/a;b',
    '/a=b',
    '/a?b',
    '/a[b',
    '/a\\b',
    '/a^b',
    '/a|b',
    '/a`b',
    '/a"b',
    "/a'b",
    '/a<b',
    '/a\tb',
    '/a\n',
    '/ ',
    '/\u0000',
  ])
    t.equal(parseChannel(text), null, JSON.stringify(text))
  t.equal(parseChannel(`/${'x'.repeat(1_023)}`)?.name.length, 1_024)
  t.equal(parseChannel(`/${'x'.repeat(1_024)}`), null, 'longer than maxChannelLength')
  t.equal(parseChannel('/é', 10, false)?.name, '/é', 'without the check of characters')
  t.equal(parseChannel('/é//', 10, false), null, 'but never without structure')
  t.match(parseChannel('/a/b/'), { name: '/a/b', segments: ['a', 'b'], wild: 0 }, 'one trailing slash is spelling')
  t.match(parseChannel('/a/b  '), { name: '/a/b' }, 'and so are blanks at the end')
  t.match([name('/a/*'), name('/a/**'), name('/a/***'), name('/a*')], [{ wild: 1 }, { wild: 2 }, { wild: 0 }, { wild: 0 }])
  t.end()
})

t.test('channel: meta and service by their first segment, /meta and /service themselves are broadcast', t => {
  t.same(['/meta/x', '/meta/', '/service/x', '/meta', '/service', '/metal/x', '/a/meta/x'].map(kindOf), [
    'meta',
    'meta',
    'service',
    'broadcast',
    'broadcast',
    'broadcast',
    'broadcast',
  ])
  t.end()
})

t.test('channel: what a pattern covers', t => {
  const cases: [pattern: string, covered: string[], not: string[]][] = [
    ['/a', ['/a', '/a/'], ['/a/b', '/b']],
    ['/a/*', ['/a/b', '/a/*'], ['/a', '/a/b/c', '/b/b', '/a/**']],
    ['/a/**', ['/a/b', '/a/b/c', '/a/*', '/a/**'], ['/a', '/b/c']],
    ['/*', ['/a', '/*'], ['/a/b', '/**']],
    ['/**', ['/a', '/a/b/c', '/*'], []],
    ['/foo*', ['/foo*'], ['/foox', '/foo/x']],
  ]
  for (const [pattern, covered, not] of cases) {
    for (const channel of covered) t.ok(covers(name(pattern), name(channel)), `${pattern} covers ${channel}`)
    for (const channel of not) t.notOk(covers(name(pattern), name(channel)), `${pattern} does not cover ${channel}`)
  }
  t.end()
})

t.test('message: an envelope is an object or an array of objects, within its limits', t => {
  const parse = (...texts: string[]) => parseEnvelope(texts, 1_000, 32, 100)
  t.same(parse('{"a":1}'), [{ a: 1 }])
  t.same(parse('[{"a":1},{}]', '{"b":2}'), [{ a: 1 }, {}, { b: 2 }], 'the texts of a form in order')
  for (const text of ['', '[]', '{', 'null', '5', '"x"', 'true', '[5]', '[null]', '[[{}]]', '[{},5]', '{}{}', '\ufeff{}'])
    t.equal(parse(text), 'malformed', text)
  t.same(parse('{}', '[]'), [{}])
  t.equal(parse('{}', '{'), 'malformed')
  const many = (count: number): string => `[${Array.from({ length: count }, () => '{}').join()}]`
  t.equal(parse(many(1_000)).length, 1_000)
  t.equal(parse(many(1_001)), 'too_many_messages')
  t.equal(parse(many(999), '{}', '{}'), 'too_many_messages')
  const deep = (levels: number, open: string, close: string): string =>
    `[{"x":${open.repeat(levels - 2)}${close.repeat(levels - 2)}}]`
  t.equal(typeof parse(deep(32, '[', ']')), 'object', '32 levels, the envelope included')
  t.equal(parse(deep(33, '[', ']')), 'too_deep')
  t.equal(parse(`[${'{"x":'.repeat(32)}1${'}'.repeat(32)}]`), 'too_deep')
  t.equal(parse(`${'['.repeat(5_000)}${']'.repeat(5_000)}`), 'too_deep', 'and no stack overflows')
  t.equal(parse(`${'['.repeat(50)}${']'.repeat(50)}`), 'malformed')
  t.equal(parse(`{"x":${'['.repeat(5_000)}${']'.repeat(5_000)}}`), 'too_deep')
  t.equal(parse(`[{"__proto__":${'['.repeat(40)}${']'.repeat(40)}}]`), 'too_deep', 'also below a key called __proto__')
  t.end()
})

t.test('message: a long text is refused for its depth before it is parsed, and for nothing else', t => {
  const parse = (text: string) => parseEnvelope([text], 1_000, 8, 10_000)
  const open = '[{"a":'.repeat(20)
  const close = '}]'.repeat(20)
  const strings = [open, '\\"', '\\\\', `\\\\\\"${open}`, '\\u0022', `]}]}${open}`, '"}],[{"a":[[[[[["']
  const texts = [
    ...strings.map(text => `[{"x":"${text}"},{"x":[[[[["${text}"]]]]]}]`),
    ...strings.map(text => `{"${text}":[[[[[[1]]]]]]}`),
    ...strings.map(text => `[{"x":"${text}","y":[[[[[[1]]]]]]}]`),
    `[{"x":"${open}`,
    `${open}1${close}`,
    `[${open}1${close}]`,
    `{"x":${open}1${close}}`,
    '[{"x":[[[[[1]]]]]},{"x":[[[[[[1]]]]]]}]',
    '[{"x":[[[[[[[1]]]]]]]}]',
  ]
  for (const text of texts) {
    const [short, padded] = [parse(text), parse(text.padEnd(4_000))]
    if (short === 'malformed') t.ok(padded === 'malformed' || padded === 'too_deep', text)
    else t.same(padded, short, text)
  }
  t.ok(texts.filter(text => Array.isArray(parse(text))).length >= strings.length, 'many of them are not too deep')
  t.equal(parse(`${'['.repeat(9)}${' '.repeat(4_000)}`), 'too_deep')
  t.equal(parse(`${'['.repeat(8)}${' '.repeat(4_000)}`), 'malformed')
  const closed = `[${'[],'.repeat(1_000)}[]]`
  t.ok(Array.isArray(parse(`{"x":${closed}}`)), 'a thousand side by side are not deep')
  t.end()
})

t.test('message: what is an id', t => {
  for (const id of ['0', 'a', 'Z9', 0, 77, '12345678901234567890123']) t.ok(isMessageId(id, true), String(id))
  for (const id of ['', 'a-b', ' 1', 'é', '<a>', 1.5, IMPATIENT, 1e300, true, {}, [], ['1']])
    t.notOk(isMessageId(id, true), JSON.stringify(id))
  t.ok(isMessageId('a-b', false), 'characters are not looked at without validateMessageFields')
  t.notOk(isMessageId({}, false), 'the type is')
  t.end()
})

t.test('message: a delivery has what the publisher wrote, but not what would command or confuse its readers', t => {
  const [message] = parseEnvelope(
    [
      '{"channel":"/x","id":"1","clientId":"c","advice":{},"successful":true,"error":"e","data":{"a":"\\u2028"},"ext":{"k":1},"other":[1],"constructor":2}',
    ],
    9,
    9,
    99,
  ) as [Message]
  t.same(JSON.parse(freezePublished(message, '/a', IMPATIENT, null).json), {
    channel: '/a',
    data: { a: '\u2028' },
    ext: { k: 1 },
    other: [1],
    constructor: 2,
  })
  const stamped = freezePublished({ channel: '/a', data: 0, timestamp: 'mine' }, '/a', IMPATIENT, 'ours')
  t.same(JSON.parse(stamped.json), { channel: '/a', data: 0, timestamp: 'ours' })
  t.equal(freezePublished({ channel: '/a' }, '/a', IMPATIENT, null).json, '{"channel":"/a"}', 'no data stays no data')
  t.equal(({} as Message)['polluted'], undefined)
  const frozen = new FrozenMessage('/a', '{"channel":"/a","data":1}', IMPATIENT)
  t.same(frozen.message, { channel: '/a', data: 1 })
  t.equal(frozen.message, frozen.message, 'parsed once')
  t.end()
})

t.test('reply: the JSON written by hand is that of the object', t => {
  const advice: Advice = { reconnect: 'retry', interval: 0, timeout: 30_000 }
  const requests: Message[] = [
    { channel: '/meta/connect', id: '1' },
    { channel: '/meta/connect', id: 0 },
    { channel: '/a "b" \u2028 é', id: '"<>' },
    { channel: '/a' },
    { id: '1' },
    {},
    { channel: 5, id: {} },
    { channel: '/meta/subscribe', id: '1', subscription: ['/a', { x: 1 }] },
    { channel: '/meta/subscribe', id: '1', subscription: null },
    { channel: '/a', id: '1', subscription: '/b' },
  ]
  for (const request of requests) {
    for (const shape of Array.from({ length: 64 }, (_, bits) => bits)) {
      const reply = new Reply(request)
      if ((shape & 1) > 0) reply.fail('PUBLISH_DENIED', 'a "reason"')
      if ((shape & 2) > 0) reply.advice = advice
      if ((shape & 4) > 0) reply.ext = { ack: 1 }
      if ((shape & 8) > 0) reply.extra = { clientId: 'x', version: '1.0' }
      if ((shape & 16) > 0) reply.timesync = { clientTime: 1, lag: null, offset: 0, receivedAt: 5 }
      const timestamp = (shape & 32) > 0 ? 'now' : null
      const json = reply.toJson(9, timestamp)
      if (json !== JSON.stringify(reply.toMessage(9, timestamp))) t.fail(`${JSON.stringify(request)} ${shape}`)
    }
  }
  t.same(new Reply({ channel: '/meta/subscribe', id: '1', subscription: '/a' }).toMessage(0, null), {
    id: '1',
    channel: '/meta/subscribe',
    successful: true,
    subscription: '/a',
  })
  t.notOk(
    'subscription' in new Reply({ channel: '/a', id: '1', subscription: '/b' }).toMessage(0, null),
    'a publish does not echo it',
  )
  t.end()
})

t.test('errors: wire strings are CometD’s, and what is refused may say why in letters that Faye reads', t => {
  t.equal(wireError('SESSION_UNKNOWN'), '402::session_unknown')
  t.equal(wireError('PUBLISH_DENIED', 'nope'), '403:nope:publish_denied')
  const texts = Object.values(errors).flatMap(({ wire, text }) => (wire === null ? [] : [`${wire}::${text}`]))
  const COMETD = /^40[0245]::(?!dedupe|history)|^403::(?!too_many)/
  t.same(texts.filter(text => COMETD.test(text)).sort(), [
    '400::channel_missing',
    '402::session_unknown',
    '403::channel_create_denied',
    '403::create_denied',
    '403::handshake_denied',
    '403::publish_denied',
    '403::subscribe_denied',
    '403::subscribe_failed',
    '403::subscription_invalid',
    '403::subscription_missing',
    '403::unsubscribe_failed',
    '404::message_deleted',
    '405::channel_invalid',
    '405::message_id_invalid',
  ])
  t.same(
    texts.filter(text => !COMETD.test(text)).sort(),
    [
      '400::dedupe_key_invalid',
      '400::history_query_invalid',
      '401::token_expires',
      '401::token_missing',
      '401::token_refused',
      '403::too_many_subscriptions',
      '429::rate_limited',
      '429::too_many_sessions',
      '503::draining',
      '503::history_failed',
      '503::history_unreadable',
      '503::keys_unavailable',
      '503::overloaded',
    ],
    'and ours are of a shape that Faye reads',
  )
  t.equal(refusal(true), null)
  t.equal(refusal(false), 'denied_by_security_policy')
  t.equal(refusal({ deny: 'no: "way" é' }), 'no_ _way_ _')
  t.equal(refusal({ allow: true }), null)
  t.equal(refusal({ allow: false }), 'denied_by_security_policy')
  t.equal(new BayeuxError('SESSION_GONE').message, errors.SESSION_GONE.help)
  t.equal(new BayeuxError('SESSION_GONE', 'x').message, 'x')
  t.end()
})

t.test('options: defaults, checks and prefixes of one transport', t => {
  const options = resolve(engineOptions, { timeout: 0, ack: false, interval: undefined })
  t.match(options, { timeout: 0, ack: false, interval: 0, maxInterval: 10_000 })
  t.ok(Object.isFrozen(options))
  const bad: [given: object, code: string, message: string][] = [
    [{ timeot: 1 }, 'OPTION_UNKNOWN', 'unknown option timeot'],
    [{ toString: 1 }, 'OPTION_UNKNOWN', 'unknown option toString'],
    [{ constructor: 1 }, 'OPTION_UNKNOWN', 'unknown option constructor'],
    [{ 'ws.sweepPeriod': 1 }, 'OPTION_UNKNOWN', 'unknown option ws.sweepPeriod'],
    [{ 'xs.timeout': 1 }, 'OPTION_UNKNOWN', 'unknown option xs.timeout'],
    [{ 'ws.toString': 1 }, 'OPTION_UNKNOWN', 'unknown option ws.toString'],
    [{ timeout: '5' }, 'OPTION_INVALID', 'option timeout must be a whole number of ms'],
    [{ timeout: 1.5 }, 'OPTION_INVALID', 'option timeout must be a whole number of ms'],
    [{ timeout: Number.NaN }, 'OPTION_INVALID', 'option timeout must be a whole number of ms'],
    [{ timeout: null }, 'OPTION_INVALID', 'option timeout must be a whole number of ms'],
    [{ timeout: -1 }, 'OPTION_INVALID', 'option timeout must be at least 0'],
    [{ maxDepth: 501 }, 'OPTION_INVALID', 'option maxDepth must be at most 500'],
    [{ ack: 'yes' }, 'OPTION_INVALID', 'option ack must be a boolean'],
    [{ activity: 'server' }, 'OPTION_INVALID', 'option activity must be one of off, client, client-server'],
    [{ allowedTransports: 'websocket' }, 'OPTION_INVALID', 'option allowedTransports must be a list of strings'],
    [
      { allowedTransports: ['x'] },
      'OPTION_INVALID',
      'option allowedTransports must be a list of websocket, long-polling, callback-polling',
    ],
    [{ 'ws.timeout': -1 }, 'OPTION_INVALID', 'option ws.timeout must be at least 0'],
  ]
  for (const [given, code, message] of bad)
    t.throws(() => resolve(engineOptions, given as Record<string, unknown>), { code, message }, message)
  const given = { timeout: 1, 'ws.timeout': 2, 'long-polling.timeout': 3, 'long-polling.jsonp.timeout': 4 }
  t.equal(resolve(engineOptions, given).timeout, 1)
  t.equal(resolveFor(engineOptions, given, 'websocket').timeout, 2)
  t.equal(resolveFor(engineOptions, given, 'long-polling').timeout, 3)
  t.equal(resolveFor(engineOptions, given, 'callback-polling').timeout, 4, 'the most specific prefix')
  t.equal(resolveFor(engineOptions, { 'long-polling.json.timeout': 5, 'long-polling.timeout': 3 }, 'long-polling').timeout, 5)
  t.equal(resolveFor(engineOptions, { 'long-polling.json.timeout': 5 }, 'callback-polling').timeout, 30_000)
  t.ok(isOption(engineOptions, 'ws.maxInterval'))
  t.notOk(isOption(engineOptions, 'ws.maxQueue'))
  t.end()
})

t.test('rules: each setting from the most specific pattern that has it', t => {
  const rules = new Rules({
    '/**': { lazy: true, persistent: true },
    '/a/**': { lazy: 100 },
    '/a/*': { broadcastToPublisher: false },
    '/a/b': { lazy: false },
    '/a/b/**': { lazy: 200 },
  })
  t.match(rules.settingsOf(name('/x')), { lazy: true, broadcastToPublisher: true, persistent: true })
  t.match(rules.settingsOf(name('/a/c')), { lazy: 100, broadcastToPublisher: false, persistent: true })
  t.match(rules.settingsOf(name('/a/b')), { lazy: false, broadcastToPublisher: false, persistent: true })
  t.match(rules.settingsOf(name('/a/b/c')), { lazy: 200, broadcastToPublisher: true, persistent: true })
  t.match(new Rules({}).settingsOf(name('/x')), { lazy: false, broadcastToPublisher: true, persistent: false })
  const bad: [rules: object, message: string][] = [
    [{ a: {} }, 'channel rule a: not a broadcast or service channel pattern'],
    [{ '/meta/x': {} }, 'channel rule /meta/x: not a broadcast or service channel pattern'],
    [{ '/a': 5 }, 'channel rule /a: settings must be a map'],
    [{ '/a': { lasy: true } }, 'channel rule /a: unknown setting lasy'],
    [{ '/a': { toString: true } }, 'channel rule /a: unknown setting toString'],
    [{ '/a': { lazy: -1 } }, 'channel rule /a: lazy must be true, false or a whole number of ms'],
    [{ '/a': { persistent: 'yes' } }, 'channel rule /a: persistent must be true or false'],
  ]
  for (const [rule, message] of bad) t.throws(() => new Rules(rule as ChannelRules), { code: 'RULE_INVALID', message }, message)
  t.end()
})

t.test('session: only what TRANSITIONS has can happen', t => {
  const events = ['handshake', 'refuse', 'connect', 'remove'] as const
  for (const [state, next] of Object.entries(TRANSITIONS)) {
    for (const event of events) {
      const session = new Session('id', null, 'websocket', '', null, false, true)
      session.state = state as Session['state']
      const expected = (next as Record<string, string>)[event]
      if (expected === undefined) t.throws(() => session.transit(event), RangeError, `${state}: ${event}`)
      else {
        session.transit(event)
        t.equal(session.state, expected, `${state}: ${event}`)
      }
    }
  }
  t.end()
})

t.test('binary: Z85 of any length, both ways', t => {
  const vectors: [bytes: number[], text: string][] = [
    [[], ''],
    [[0], '00'],
    [[255], '@@'],
    [[0, 0], '000'],
    [[1, 2], '0rJ'],
    [[1, 2, 3], '0rJu'],
    [[0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b], 'HelloWorld'],
    [[1, 2, 3, 4, 5], '0rJua1P'],
    [[255, 255, 255, 255], '%nSc0'],
  ]
  for (const [bytes, text] of vectors) {
    t.equal(encodeZ85(Uint8Array.from(bytes)), text, JSON.stringify(bytes))
    t.same([...decodeZ85(text)], bytes)
  }
  for (let length = 0; length < 40; length++) {
    const bytes = Uint8Array.from({ length }, (_, index) => (index * 37 + length * 101) % 256)
    t.same(decodeZ85(encodeZ85(bytes)), bytes, `${length} bytes`)
  }
  for (const text of ['0', '000000', '"0', 'a b', '#####', 'é0'])
    t.throws(() => decodeZ85(text), RangeError, JSON.stringify(text))
  t.same(binaryMessage({ bytes: Uint8Array.of(1, 2), last: true, meta: { n: 1 } }), {
    data: { data: '0rJ', last: true, meta: { n: 1 } },
    ext: { binary: {} },
  })
  t.same(binaryOf({ ...binaryMessage({ bytes: Uint8Array.of(1, 2), last: false }) }), { bytes: Uint8Array.of(1, 2), last: false })
  t.equal(binaryOf({ data: { data: '0rJ' } }), null, 'no ext.binary')
  t.equal(binaryOf({ data: '0rJ', ext: { binary: {} } }), null)
  t.end()
})

t.test('timesync: what is asked, and when it is not answered', t => {
  const ask = (timesync: unknown) => timesyncOf({ ext: { timesync } }, 1_000)
  for (const odd of [undefined, null, 5, [], {}, { tc: 'x' }, { tc: null }]) t.equal(ask(odd), null, JSON.stringify(odd))
  t.same(answerTimesync(null, ask({ tc: 900 })!, 1_300), { timesync: { tc: 900, ts: 1_000, p: 300 } })
  t.same(answerTimesync({ ack: 1 }, ask({ tc: 900, l: 0, o: 0 })!, 1_000), {
    ack: 1,
    timesync: { tc: 900, ts: 1_000, p: 0, a: -100 },
  })
  t.same(answerTimesync(null, ask({ tc: 1_022, l: 2, o: 0 })!, 1_000), null, '24 ms is near enough')
  t.match(answerTimesync(null, ask({ tc: 1_023, l: 2, o: 0 })!, 1_000), { timesync: { a: 25 } }, '25 ms is not')
  t.match(answerTimesync(null, ask({ tc: 973, l: 2, o: 0 })!, 1_000), { timesync: { a: -25 } })
  t.match(answerTimesync(null, ask({ tc: 1_000.4, l: 0, o: 0 })!, 999), { timesync: { p: 0, a: 0 } }, 'whole, and never negative')
  t.end()
})

t.test('timestamp: the form of CometD’s server', t => {
  t.equal(timestampOf(Date.UTC(2026, 10, 22, 1, 19, 41)), 'Sun Nov 22 01:19:41 GMT 2026')
  t.equal(timestampOf(0), 'Thu Jan 01 00:00:00 GMT 1970')
  t.end()
})
