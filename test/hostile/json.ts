// Hostile JSON: texts that are none, that are no envelope, or that are one and strange.
//
// Source: protocol reference 5.3, 6.2, DEV-2, DEV-8; the limits are options of the server (maxMessages, maxDepth, maxMessageSize).

import assert from 'node:assert/strict'
import { brief, type Case, OWN } from './case.js'
import { onEachTransport, type Right } from './envelope.js'
import { FAREWELL, frame, heardIn, TEXT, upgrade } from './frames.js'
import { answersIn, CLOSE, request } from './requests.js'

/** Envelopes without a message: keep-alive on WebSocket. */
const NOTHING = ['', ' ', '\n', '\t\r\n ', 'null', ' null ', '[]', '[ ]', ' [\n] ']

/** Not JSON. */
const BROKEN = [
  ...[
    '{',
    '[',
    '[{',
    '[{}',
    '{}]',
    '}',
    ']',
    '[{]',
    '{[}]',
    '[{}}',
    '[[{}]',
    '"',
    '"x',
    "'x'",
    ',',
    ':',
    '[,]',
    '{,}',
    '[{},]',
    '[,{}]',
  ],
  ...[
    '[{}],',
    '[{}][{}]',
    '[{}]{}',
    '[{} {}]',
    '[{}]x',
    'x[{}]',
    '[{}]\u0000',
    '\u0000[{}]',
    '[\u0000{}]',
    '[{}];',
    '([{}])',
    'cb([{}])',
  ],
  ...[
    'hello',
    'undefined',
    'NaN',
    'Infinity',
    '-',
    '[NaN]',
    'nul',
    'nulll',
    'True',
    '// c\n[{}]',
    '/* c */[{}]',
    '[{}]//',
    '#[{}]',
    '<a/>',
  ],
  ...[
    '[{a:1}]',
    "[{'a':1}]",
    '[{"a":1,}]',
    '[{"a"}]',
    '[{"a":}]',
    '[{:1}]',
    '[{"a":1 "b":2}]',
    '[{"a":1;"b":2}]',
    '[{"a"=1}]',
    '[{1:1}]',
  ],
  ...[
    '[{"a":01}]',
    '[{"a":1.}]',
    '[{"a":.5}]',
    '[{"a":+1}]',
    '[{"a":--1}]',
    '[{"a":1e}]',
    '[{"a":1e+}]',
    '[{"a":0x10}]',
    '[{"a":1_000}]',
  ],
  ...[
    '[{"a":1n}]',
    '[{"a":Infinity}]',
    '[{"a":-NaN}]',
    '[{"a":undefined}]',
    '[{"a":nul}]',
    '[{"a":tru}]',
    '[{"a":None}]',
    '[{"a":`x`}]',
  ],
  ...[
    '[{"a":"\t"}]',
    '[{"a":"\n"}]',
    '[{"a":"\u0000"}]',
    '[{"a":"\u001f"}]',
    '[{"a":"\\x41"}]',
    '[{"a":"\\u12"}]',
    '[{"a":"\\u{41}"}]',
  ],
  ...[
    '[{"a":"\\ud8"}]',
    '[{"a":"\\a"}]',
    '[{"a":"\\"}]',
    '[{"a":"]',
    '[{"a',
    '[{"a":"x"y"}]',
    '[{"a\n":1}]',
    '[{a"":1}]',
    '[{""a:1}]',
  ],
  ...[
    '\ufeff[{}]',
    '[{}]\ufeff',
    '[\u2028{}]',
    '[\u00a0{}]',
    '[\v{}]',
    '[\f{}]',
    '\u200b[{}]',
    '[{"a":\u20281}]',
    '［{}］',
    '[{“a”:1}]',
  ],
]

/** JSON, but neither a message nor an array of messages. */
const NO_ENVELOPE = [
  ...[
    '0',
    '5',
    '-1.5e3',
    '1e400',
    '"x"',
    '""',
    'true',
    'false',
    '[0]',
    '[null]',
    '[true]',
    '["x"]',
    '[[]]',
    '[[{}]]',
    '[[[[]]]]',
    '[null,{}]',
  ],
  ...['[{},null]', '[{},5]', '[{},"x"]', '[{},[]]', '[{},[{}]]', '["{}"]', '["/meta/handshake"]', '[{},{},{},0]'],
]

const deep = (levels: number): string => `[{"a":${'['.repeat(levels - 2)}${']'.repeat(levels - 2)}}]`
const times = (count: number, text: string): string => `[${Array(count).fill(text).join(',')}]`
const MISSING = '400::channel_missing'

const publish = (more: string): string => `[{"channel":"/json/a","clientId":"${OWN}","id":"1",${more}}]`
/** Subscribed, so that what is published comes back. */
const echoed = (more: string): string =>
  `[{"channel":"/meta/subscribe","clientId":"${OWN}","subscription":"/json/a"},{"channel":"/json/a","clientId":"${OWN}",${more}}]`
const delivery = (data: unknown): object => ({ channel: '/json/a', data })

/** JSON that is an envelope, with what becomes of it, and what is delivered. */
const STRANGE: readonly (readonly [name: string, text: string, right: Right, deliveries?: readonly unknown[]])[] = [
  ['an empty message', '{}', [MISSING]],
  ['blanks around', ' \r\n\t{ \n} ', [MISSING]],
  ['three empty messages', '[{},{},{}]', [MISSING, MISSING, MISSING]],
  ['1,000 messages', times(1_000, '{}'), Array(1_000).fill(MISSING)],
  ['1,001 messages', times(1_001, '{}'), 'too much'],
  ['1,001 nulls', times(1_001, 'null'), 'too much'],
  ['3,000 handshakes', times(3_000, '{"channel":"/meta/handshake"}'), 'too much'],
  ['32 levels', deep(32), [MISSING]],
  ['33 levels', deep(33), 'refused'],
  ['1,000 levels', deep(1_000), 'refused'],
  ['30,000 levels', deep(30_000), 'refused'],
  ['30,000 levels of objects', `[${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}]`, 'refused'],
  ['30,000 brackets that do not close', '['.repeat(30_000), 'refused'],
  ['30,000 braces that do not close', '{"":'.repeat(15_000), 'refused'],
  [
    '33 levels in a field that nobody reads',
    `[{"channel":"/meta/handshake","x":${'[['.repeat(16)}${']]'.repeat(16)}}]`,
    'refused',
  ],
  ['33 levels in the second message', `[{},${deep(33).slice(1)}`, 'refused'],
  ['a byte too many', `[{"a":"${'x'.repeat(65_537 - 10)}"}]`, 'too much'],
  ['as many bytes as may be', `[{"a":"${'x'.repeat(65_536 - 10)}"}]`, [MISSING]],
  ['few characters of many bytes', `[{"a":"${'€'.repeat(30_000)}"}]`, 'too much'],
  ['5,000 members', `[{${Array.from({ length: 5_000 }, (_, i) => `"k${i}":0`).join(',')}}]`, [MISSING]],
  ['5,000 times one member', `[{${Array(5_000).fill('"a":0').join(',')}}]`, [MISSING]],
  ['a key of 60,000 characters', `[{"${'k'.repeat(60_000)}":0}]`, [MISSING]],
  ['a number of 60,000 digits', `[{"id":${'9'.repeat(60_000)}}]`, [MISSING]],
  ['an array of 9,000 numbers', publish(`"data":[${'0,'.repeat(9_000)}0]`), ['ok']],
  ['an array of 20,000 numbers, more than maxKeys', publish(`"data":[${'0,'.repeat(20_000)}0]`), 'refused'],
  ['duplicate channels, the last counts', '[{"channel":5,"channel":"/meta/handshake"}]', ['ok']],
  ['duplicate channels, a wrong one last', '[{"channel":"/meta/handshake","channel":5}]', ['405::channel_invalid']],
  ['duplicate clientIds, a wrong one last', publish('"clientId":"nobody","data":1'), ['402::session_unknown']],
  ['a channel in __proto__', '[{"__proto__":{"channel":"/meta/handshake"}}]', [MISSING]],
  ['a clientId in __proto__', `[{"channel":"/json/a","__proto__":{"clientId":"${OWN}"},"data":1}]`, ['402::session_unknown']],
  ['a channel in constructor.prototype', '[{"constructor":{"prototype":{"channel":"/meta/handshake"}}}]', [MISSING]],
  ['successful and error in __proto__', publish('"data":1,"__proto__":{"successful":false,"error":"x"}'), ['ok']],
  ['names of prototypes as members', publish('"toString":1,"valueOf":2,"hasOwnProperty":3,"data":1'), ['ok']],
  ['toJSON as a member', echoed('"data":{"toJSON":1}'), ['ok', 'ok'], [delivery({ toJSON: 1 })]],
  ['toJSON in the message', publish('"toJSON":"x","data":1'), ['ok']],
  ['then as a member', publish('"then":{},"data":{"then":1}'), ['ok']],
  ['length as a member', '[{"length":9}]', [MISSING]],
  ['indexes as members', '{"0":{"channel":"/meta/handshake"},"length":1}', [MISSING]],
  ['an empty key', publish('"":1,"data":1'), ['ok']],
  ['lone surrogates', echoed('"data":"\\ud800x\\udc00"'), ['ok', 'ok'], [delivery('\ud800x\udc00')]],
  ['a lone surrogate as a key', publish('"\\ud800":1,"data":1'), ['ok']],
  ['NUL in a string', echoed('"data":"a\\u0000b"'), ['ok', 'ok'], [delivery('a\u0000b')]],
  ['line separators', echoed('"data":"\\u2028\u2029"'), ['ok', 'ok'], [delivery('\u2028\u2029')]],
  ['the end of a script', echoed('"data":"</script><!--]]>"'), ['ok', 'ok'], [delivery('</script><!--]]>')]],
  ['a number beyond all', echoed('"data":[1e400,-1e400,1e-400,-0]'), ['ok', 'ok'], [delivery([null, null, 0, 0])]],
  ['a number that loses its last digits', echoed('"data":9007199254740993'), ['ok', 'ok'], [delivery(9007199254740992)]],
  ['characters beyond the basic plane', echoed('"data":"😀\u{10ffff}\ufffe"'), ['ok', 'ok'], [delivery('😀\u{10ffff}\ufffe')]],
  ['escapes where none are needed', '[{"\\u0063hannel":"\\/meta\\/\\u0068andshake"}]', ['ok']],
]

/** Bytes that are no UTF-8, or no text at all, with what a POST of them is answered; on WebSocket each is 1007. */
const BYTES: readonly (readonly [name: string, bytes: Buffer, status: number])[] = [
  ['UTF-16 in place of UTF-8', Buffer.from('\ufeff[{"é":1}]', 'utf16le'), 400],
  ['UTF-16, big end first', Buffer.from('feff005b007b007d005d', 'hex'), 400],
  ['Latin 1', Buffer.from('[{"é":1}]', 'latin1'), 200],
  ['an overlong slash', Buffer.from('5b7b2261223a22c0af227d5d', 'hex'), 200],
  ['an overlong NUL', Buffer.from('5b7b2261223a22c080227d5d', 'hex'), 200],
  ['a surrogate', Buffer.from('5b7b2261223a22eda080227d5d', 'hex'), 200],
  ['beyond U+10FFFF', Buffer.from('5b7b2261223a22f4908080227d5d', 'hex'), 200],
  ['five bytes', Buffer.from('5b7b2261223a22f888808080227d5d', 'hex'), 200],
  ['a continuation alone', Buffer.from('5b7b2261223a2280227d5d', 'hex'), 200],
  ['a character that breaks off', Buffer.from('5b7b2261223a22e282227d5d', 'hex'), 200],
  ['a character that the end breaks off', Buffer.from('5b7b7d5df0', 'hex'), 400],
  ['bytes that never occur', Buffer.from('5bfeff7b7d5d', 'hex'), 400],
  ['gzip', Buffer.from('1f8b080000000000000313ab', 'hex'), 400],
  ['noise', Buffer.from('80bf90a1ffc0fe', 'hex'), 400],
]

export function* jsonCases(): Generator<Case> {
  for (const text of NOTHING) yield* onEachTransport('json', `nothing, as ${brief(text)}`, text, 'nothing')
  for (const text of BROKEN) yield* onEachTransport('json', brief(text), text, 'refused')
  for (const text of NO_ENVELOPE) yield* onEachTransport('json', brief(text), text, 'refused')
  for (const [name, text, right, deliveries] of STRANGE) yield* onEachTransport('json', name, text, right, deliveries)
  for (const [name, bytes, status] of BYTES) {
    const post = request('POST', '/cometd', CLOSE, bytes)
    yield {
      level: 'json',
      name: `json: ${name}, long-polling`,
      say: () => ({
        pieces: [post],
        after: 'close',
        judge: said =>
          only(
            status,
            answersIn(said).map(answer => answer.status),
          ),
      }),
    }
    const series = Buffer.concat([upgrade(), frame(TEXT, bytes), FAREWELL])
    yield {
      level: 'json',
      name: `json: ${name}, websocket`,
      say: () => ({ pieces: [series], after: 'close', judge: said => only(1007, [heardIn(said).code]) }),
    }
  }
}

function only(right: number, found: readonly (number | null)[]): number[] {
  assert.deepEqual(found, [right])
  return [right]
}
