// Hostile WebSocket: upgrades that are none, frames that break RFC 6455, and closes of all kinds.
//
// Source: RFC 6455; protocol reference 6.1, 6.2. Every order of frames and every close code is in frames.test.ts.

import assert from 'node:assert/strict'
import { type Case, type Cast, filled, OWN, type Talk } from './case.js'
import {
  BINARY,
  CLOSING,
  CONTINUATION,
  closing,
  FAREWELL,
  frame,
  type Heard,
  heardIn,
  messagesOf,
  PING,
  PONG,
  TEXT,
  upgrade,
} from './frames.js'
import { answersIn, COOKIE } from './requests.js'

/** A message that needs no session; its reply has its id. */
const say = (id: string): string => `[{"id":"${id}"}]`
const text = (id: string): Buffer => frame(TEXT, say(id))
const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex')
const KEY = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
const V13 = 'Sec-WebSocket-Version: 13\r\n'

/** Upgrades, and the status of their answer. `half`: the connection may stay open behind it. */
const UPGRADES: readonly (readonly [name: string, bytes: Buffer, status: number, half?: true])[] = [
  ['no key', upgrade(V13), 400],
  ['a short key', upgrade(`${V13}Sec-WebSocket-Key: short\r\n`), 400],
  ['an empty key', upgrade(`${V13}Sec-WebSocket-Key:\r\n`), 400],
  ['a key that is no base 64', upgrade(`${V13}Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n`), 400],
  ['a key of 20,000 characters', upgrade(`${V13}Sec-WebSocket-Key: ${'A'.repeat(20_000)}==\r\n`), 400],
  ['two keys', upgrade(V13 + KEY + KEY), 400],
  ['no version', upgrade(KEY), 400],
  ['version 7', upgrade(`${KEY}Sec-WebSocket-Version: 7\r\n`), 400],
  ['version 13.5', upgrade(`${KEY}Sec-WebSocket-Version: 13.5\r\n`), 400],
  ['version -13', upgrade(`${KEY}Sec-WebSocket-Version: -13\r\n`), 400],
  ['two versions', upgrade(`${KEY}${V13}Sec-WebSocket-Version: 8\r\n`), 400],
  ['a sub-protocol that is none', upgrade(`${KEY}${V13}Sec-WebSocket-Protocol: ,,\r\n`), 400],
  ['sub-protocols with blanks', upgrade(`${KEY}${V13}Sec-WebSocket-Protocol: a b\r\n`), 400],
  ['one sub-protocol twice', upgrade(`${KEY}${V13}Sec-WebSocket-Protocol: a, a\r\n`), 400],
  ['a page of another origin', upgrade(`${KEY}${V13}Origin: http://evil.example\r\n`), 403],
  ['a page of no origin', upgrade(`${KEY}${V13}Origin: null\r\n`), 403],
  ['extensions that are none', upgrade(`${KEY}${V13}Sec-WebSocket-Extensions: ;;x=\r\n`), 101],
  ['another path', upgrade(KEY + V13, '/cometdx'), 404],
  ['a path that cannot be decoded', upgrade(KEY + V13, '/cometd/%zz'), 400],
  [
    'a POST',
    Buffer.from(
      upgrade(KEY + V13)
        .toString('latin1')
        .replace('GET', 'POST'),
      'latin1',
    ),
    400,
  ],
  [
    'HTTP/1.0',
    Buffer.from(
      upgrade(KEY + V13)
        .toString('latin1')
        .replace('HTTP/1.1', 'HTTP/1.0'),
      'latin1',
    ),
    101,
  ],
  [
    'to h2c',
    Buffer.from(
      upgrade(KEY + V13)
        .toString('latin1')
        .replace('websocket', 'h2c'),
      'latin1',
    ),
    400,
  ],
  [
    'to nothing',
    Buffer.from(
      upgrade(KEY + V13)
        .toString('latin1')
        .replace('websocket', ''),
      'latin1',
    ),
    400,
    true,
  ],
  [
    'to websocket and more',
    Buffer.from(
      upgrade(KEY + V13)
        .toString('latin1')
        .replace('websocket', 'websocket, h2c'),
      'latin1',
    ),
    400,
  ],
  ['with a body', Buffer.concat([upgrade(`${KEY}${V13}Content-Length: 4\r\n`), Buffer.from('[{}]')]), 101],
  ['with rubbish behind', Buffer.concat([upgrade(V13), Buffer.from('GET / HTTP/1.1\r\n\r\n')]), 400],
]

/** Frames, the ids of the messages that are answered, and the code of the server's close frame; null where the connection just ends. */
type Row = readonly [name: string, frames: readonly Buffer[], ids: readonly string[], code: number | null]

const many = (count: number, piece: Buffer): Buffer[] => Array<Buffer>(count).fill(piece)

const FRAMES: readonly Row[] = [
  ['nothing but a farewell', [], [], 1000],
  ['a binary message', [frame(BINARY, say('a')), text('b')], ['b'], 1000],
  ['an empty message', [frame(TEXT), text('b')], ['b'], 1000],
  ['an empty binary message', [frame(BINARY), text('b')], ['b'], 1000],
  ['no mask', [frame(TEXT, say('a'), true, { masked: false })], [], 1002],
  ['no mask on an empty message', [frame(TEXT, '', true, { masked: false })], [], 1002],
  ['no mask on a ping', [frame(PING, 'x', true, { masked: false })], [], 1002],
  ['no mask on a close', [frame(CLOSING, bytes('03e8'), true, { masked: false })], [], 1002],
  ['no mask on the second message', [text('a'), frame(TEXT, say('b'), true, { masked: false }), text('c')], ['a'], 1002],
  ['a mask of zeros', [Buffer.concat([bytes('818c00000000'), Buffer.from(say('a'))])], ['a'], 1000],
  ...[1, 2, 3, 4, 5, 6, 7].map(
    (bits): Row => [`reserved bits ${bits}`, [frame(TEXT, say('a'), true, { reserved: bits })], [], 1002],
  ),
  ...[1, 2, 4].map((bits): Row => [`reserved bits ${bits} on a ping`, [frame(PING, '', true, { reserved: bits })], [], 1002]),
  ...[1, 2, 4].map((bits): Row => [`reserved bits ${bits} on a close`, [frame(CLOSING, '', true, { reserved: bits })], [], 1002]),
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((code): Row => [`opcode ${code}`, [text('a'), frame(code, 'x')], ['a'], 1002]),
  ...[3, 7, 11, 15].map((code): Row => [`opcode ${code}, not final`, [frame(code, 'x', false)], [], 1002]),
  ...[CLOSING, PING, PONG].map((code): Row => [`a fragmented control frame, ${code}`, [frame(code, '', false)], [], 1002]),
  ...[CLOSING, PING, PONG].map(
    (code): Row => [`a control frame of 126 bytes, ${code}`, [frame(code, Buffer.alloc(126))], [], 1002],
  ),
  ...[CLOSING, PING, PONG].map(
    (code): Row => [`a control frame of 70,000 bytes, ${code}`, [frame(code, Buffer.alloc(70_000))], [], 1002],
  ),
  ...[PING, PONG].map(
    (code): Row => [`a control frame with a long length, ${code}`, [frame(code, 'x', true, { lengthBytes: 3 })], [], 1002],
  ),
  ['a ping of 125 bytes', [frame(PING, Buffer.alloc(125)), text('a')], ['a'], 1000],
  ['a pong that nobody asked for', [frame(PONG, 'x'), text('a')], ['a'], 1000],
  ['a continuation of nothing', [frame(CONTINUATION, say('a'))], [], 1002],
  ['a continuation of nothing, not final', [frame(CONTINUATION, say('a'), false)], [], 1002],
  ['a continuation after the end', [frame(TEXT, '[{', false), frame(CONTINUATION, '}]'), frame(CONTINUATION, 'x')], [''], 1002],
  ['a text inside a message', [frame(TEXT, '[{', false), text('a')], [], 1002],
  ['a binary message inside a text', [frame(TEXT, '[{', false), frame(BINARY, 'x')], [], 1002],
  ['a text inside a binary message', [frame(BINARY, '[{', false), text('a')], [], 1002],
  ['a message that never ends', [frame(TEXT, '[{', false)], [], 1000],
  [
    'a message in 16 single bytes',
    [frame(TEXT, '[', false), ...[...say('a').slice(1)].map(c => frame(0, c, false)), frame(0)],
    ['a'],
    1000,
  ],
  ['100 empty fragments', [frame(TEXT, say('a'), false), ...many(100, frame(0, '', false)), frame(0)], ['a'], 1000],
  ['1,000 empty fragments', [frame(TEXT, say('a'), false), ...many(1_000, frame(0, '', false)), frame(0)], [], 1008],
  ['20,000 empty fragments', [frame(TEXT, say('a'), false), ...many(20_000, frame(0, '', false)), frame(0)], [], 1008],
  ['900 empty messages', [...many(900, frame(TEXT)), text('a')], ['a'], 1000],
  ['10,000 empty messages', [...many(10_000, frame(TEXT)), text('a')], [], 1008],
  ['900 pongs', [...many(900, frame(PONG)), text('a')], ['a'], 1000],
  ['10,000 pongs', [...many(10_000, frame(PONG)), text('a')], [], 1008],
  ['a ping between fragments', [frame(TEXT, '[{"id"', false), frame(PING, 'x'), frame(0, ':"a"}]')], ['a'], 1000],
  ['a close between fragments', [frame(TEXT, '[{"id"', false), closing(1001), frame(0, ':"a"}]')], [], 1001],
  ['a length in 2 bytes that needs none', [frame(TEXT, say('a'), true, { lengthBytes: 3 })], ['a'], 1000],
  ['a length in 8 bytes that needs none', [frame(TEXT, say('a'), true, { lengthBytes: 9 })], ['a'], 1000],
  ['an empty message with a length in 8 bytes', [frame(TEXT, '', true, { lengthBytes: 9 }), text('a')], ['a'], 1000],
  ['65,536 bytes', [frame(TEXT, say('a').padEnd(65_536))], ['a'], 1000],
  ['65,537 bytes', [frame(TEXT, say('a').padEnd(65_537))], [], 1009],
  ['65,537 bytes in two', [frame(TEXT, say('a').padEnd(65_536), false), frame(0, ' ')], [], 1009],
  [
    '65,536 bytes in 16',
    [frame(TEXT, say('a').padEnd(4_096), false), ...many(14, frame(0, ' '.repeat(4_096), false)), frame(0, ' '.repeat(4_096))],
    ['a'],
    1000,
  ],
  ['65,537 bytes, binary', [frame(BINARY, Buffer.alloc(65_537))], [], 1009],
  ...[2n ** 17n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 53n - 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n].map(
    (length): Row => [`a length of ${length}`, [frame(TEXT, 'x', true, { length, lengthBytes: 9 })], [], 1009],
  ),
  ['no UTF-8', [frame(TEXT, bytes('5b22fffe225d'))], [], 1007],
  [
    'UTF-8 cut between fragments',
    [frame(TEXT, Buffer.concat([Buffer.from('[{"id":"a","x":"'), bytes('e2')]), false), frame(0, bytes('82ac227d5d'))],
    ['a'],
    1000,
  ],
  [
    'UTF-8 cut between fragments around a ping',
    [frame(TEXT, bytes('e2'), false), frame(PING, bytes('ff')), frame(0, bytes('82ac'))],
    [],
    1011,
  ],
  ['UTF-8 that a fragment spoils', [frame(TEXT, bytes('5b22e2'), false), frame(0, bytes('28225d'))], [], 1007],
  ['UTF-8 that the end cuts', [frame(TEXT, bytes('5b5de282'))], [], 1007],
  ['overlong UTF-8 across fragments', [frame(TEXT, bytes('5b22c0'), false), frame(0, bytes('af225d'))], [], 1007],
  ['a surrogate across fragments', [frame(TEXT, bytes('eda0'), false), frame(0, bytes('80'))], [], 1007],
  ['no UTF-8 in a binary message', [frame(BINARY, bytes('fffe')), text('a')], ['a'], 1000],
  ['no UTF-8 in a ping', [frame(PING, bytes('fffe')), text('a')], ['a'], 1000],
  ['a close without a code', [frame(CLOSING)], [], 1005],
  ['a close of one byte', [frame(CLOSING, bytes('03'))], [], 1002],
  ['a close with a reason that is no UTF-8', [closing(1000, bytes('ff'))], [], 1007],
  ['a close with a reason that is cut', [closing(1000, bytes('e282'))], [], 1007],
  ['a close with a reason of 123 bytes', [closing(1000, 'x'.repeat(123))], [], 1000],
  ['a close with a reason of 124 bytes', [closing(1000, 'x'.repeat(124))], [], 1002],
  ...[0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 65_535].map(
    (code): Row => [`close ${code}`, [closing(code)], [], 1002],
  ),
  ...[1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999].map(
    (code): Row => [`close ${code}`, [closing(code)], [], code],
  ),
  ['close twice', [closing(1001), closing(1000)], [], 1001],
  ['messages after a close', [text('a'), closing(1001), text('b'), frame(PING, 'x')], ['a'], 1001],
  ['rubbish after a close', [closing(1001), Buffer.alloc(10_000, 0xff)], [], 1001],
  ['a message after one that is no JSON', [frame(TEXT, '{'), text('a'), frame(PING, 'x')], [], 1011],
  ['50 pings', many(50, frame(PING, 'x')), [], 1000],
  ['50,000 pings', many(50_000, frame(PING, 'x'.repeat(10))), [], null],
  ['only ones', [Buffer.alloc(100, 0xff)], [], 1002],
  ['only zeros', [Buffer.alloc(100)], [], 1002],
  ['HTTP on an upgraded socket', [Buffer.from('GET /cometd HTTP/1.1\r\nHost: x\r\n\r\n')], [], 1002],
]

export function* websocketCases(): Generator<Case> {
  for (const [name, pieces, status, half = false] of UPGRADES)
    yield {
      level: 'websocket',
      name: `websocket: upgrade, ${name}`,
      say: () => ({ pieces: [pieces], after: half || status === 101 ? 'half' : 'close', judge: said => upgraded(said, status) }),
    }
  for (const [name, frames, ids, code] of FRAMES) {
    yield {
      level: 'websocket',
      name: `websocket: ${name}`,
      say: () => talk([Buffer.concat([upgrade(), ...frames, FAREWELL])], ids, code),
    }
  }
  for (const [name, pieces, status] of UPGRADES.filter(
    ([, , status, half]) => (status === 400 || status === 403) && half !== true,
  )) {
    const more = [pieces, Buffer.alloc(1_000, 0xff), Buffer.alloc(100_000, 0xff)]
    yield {
      level: 'websocket',
      name: `websocket: upgrade, ${name}, and more behind it`,
      say: () => ({ pieces: more, after: 'half', judge: said => (said.length === 0 ? [] : upgraded(said, status)) }), // a reset may overtake the answer
    }
  }
  const slow = Buffer.concat([upgrade(), frame(TEXT, say('a'), false), frame(PING, 'x'), frame(0), text('b'), FAREWELL])
  const drops = Array.from(slow, byte => Buffer.from([byte]))
  yield { level: 'websocket', name: 'websocket: byte by byte', say: () => talk(drops, ['a', 'b'], 1000) }
  const cookieless = Buffer.from(upgrade().toString('latin1').replace(COOKIE, ''), 'latin1')
  const stolen = (cast: Cast): Buffer => frame(TEXT, filled(`[{"channel":"/a","clientId":"${OWN}","id":"a"}]`, cast))
  const say146 = (cast: Cast): Talk => talk([Buffer.concat([cookieless, stolen(cast), FAREWELL])], ['a'], 1000)
  yield { level: 'websocket', name: 'websocket: 146: a session on a socket without its cookie', say: say146 }
}

function upgraded(said: Buffer, status: number): number[] {
  assert.equal(heardIn(said).status, status)
  assert.equal(answersIn(said).length, status === 101 ? 0 : 1, 'answers')
  return [status]
}

function talk(pieces: readonly Buffer[], ids: readonly string[], code: number | null): Talk {
  return { pieces, after: 'close', judge: said => heard(heardIn(said), ids, code) }
}

function heard({ status, texts, code }: Heard, ids: readonly string[], right: number | null): number[] {
  assert.equal(status, 101)
  assert.equal(code, right)
  const replies = messagesOf(texts) as { id?: string }[]
  assert.deepEqual(
    replies.map(({ id }) => id ?? ''),
    ids,
  )
  return code === null ? [] : [code]
}
