// Hostile TCP and HTTP: requests that are half, doubled, ambiguous, too big, or of another protocol.
//
// Each row stands with the statuses of all its answers: one for each request, and never one for what was smuggled into another.
// Source: RFC 9112; protocol reference 5.2 to 5.4, DEV-1, DEV-2. Where those are silent, what Node's parser answers, which is strict.

import assert from 'node:assert/strict'
import { METHODS } from 'node:http'
import type { Case } from './case.js'
import { answersIn, CLOSE, COOKIE, FORM_TYPE, JSON_TYPE, request } from './requests.js'

/** `half`: the row ends where we end our side. */
type Row = readonly [name: string, bytes: string, statuses: readonly number[] | readonly (readonly number[])[], after?: 'half']

const HEAD = `Host: x\r\n${COOKIE}`
const FOUR = 'Content-Length: 4\r\n'
const CHUNKED = 'Transfer-Encoding: chunked\r\n'
/** `[{}]` in one chunk. */
const CHUNK = '4\r\n[{}]\r\n0\r\n\r\n'
const post = (headers: string, body = '[{}]'): string => `POST /cometd HTTP/1.1\r\n${HEAD}${headers}\r\n${body}`
const last = (headers: string, body?: string): string => post(CLOSE + headers, body)
const on = (target: string, line = `POST ${target} HTTP/1.1`): string => `${line}\r\n${HEAD}${CLOSE}${FOUR}\r\n[{}]`
const get = (line: string): string => `${line}\r\n${HEAD}${CLOSE}\r\n`
/** A request that must never be answered: its body would be counted. */
const SMUGGLED = `POST /cometd HTTP/1.1\r\n${HEAD}${FOUR}\r\n[{}]`

const HALF: readonly Row[] = [
  ['nothing', '', [], 'half'],
  ['blank lines', '\r\n\r\n\r\n', [], 'half'],
  ['half a method', 'PO', [400], 'half'],
  ['half a request line', 'POST /com', [400], 'half'],
  ['half a head', `POST /cometd HTTP/1.1\r\n${HEAD}Conte`, [400], 'half'],
  ['half a body', post('Content-Length: 40\r\n'), [400], 'half'],
  ['half a chunk', post(CHUNKED, '4\r\n[{'), [400], 'half'],
  ['half a chunk’s size', post(CHUNKED, '4'), [400], 'half'],
  ['no last chunk', post(CHUNKED, '4\r\n[{}]\r\n'), [400], 'half'],
  ['half a trailer', post(CHUNKED, '4\r\n[{}]\r\n0\r\nA: '), [400], 'half'],
  ['one request and a half', post(FOUR) + post('Content-Length: 40\r\n'), [200, 400], 'half'],
]

const LENGTHS: readonly Row[] = [
  ['a length and chunks', post(FOUR + CHUNKED, CHUNK), [400]],
  ['chunks and a length', post(CHUNKED + FOUR, CHUNK), [400]],
  ['a length that hides a request in chunks', post(`Content-Length: 6\r\n${CHUNKED}`, `0\r\n\r\n${SMUGGLED}`), [400]],
  ['chunks that hide a request in a length', post(`${CHUNKED}Content-Length: ${SMUGGLED.length}\r\n`, SMUGGLED), [400]],
  ['two lengths', post(`${FOUR}Content-Length: 5\r\n`), [400]],
  ['one length twice', post(FOUR + FOUR), [400]],
  ...[
    '4, 4',
    '4,5',
    '+4',
    '-4',
    '-1',
    '0x4',
    '1e3',
    '4.0',
    '4 4',
    '4;',
    'four',
    '',
    '"4"',
    '٤',
    '\u00b2',
    '4\u0000',
    '99999999999999999999',
  ].map((length): Row => [`a length of ${JSON.stringify(length)}`, post(`Content-Length: ${length}\r\n`), [400]]),
  ['a length of 2^53 + 1', post('Content-Length: 9007199254740993\r\n'), [413]],
  ['a length of 2^64 - 1', post('Content-Length: 18446744073709551615\r\n'), [413], 'half'],
  ['a length with a tab before it', last('Content-Length:\t4\r\n'), [200]],
  ['a length with a tab behind it', last('Content-Length: 4\t\r\n'), [400]],
  ['a length with a blank before the colon', post('Content-Length : 4\r\n'), [400]],
  ['a length in capitals', last('CONTENT-LENGTH: 4\r\n'), [200]],
  ['500 bytes that do not come', post('Content-Length: 500\r\n'), [400], 'half'],
  ['a length of 0 and a request behind it', post('Content-Length: 0\r\n', `${last(FOUR)}`), [400, 200]],
  ['no length, and a body that is a request', post('', last(FOUR)), [400, 200]],
  ['a length one too short', post('Content-Length: 3\r\n'), [[400, 400], [400]]],
  ['a length one too long', post('Content-Length: 5\r\n'), [400], 'half'],
  ['65,537 bytes', last('Content-Length: 65537\r\n', '[{}]'.padEnd(65_537)), [413]],
  ['65,536 bytes', last('Content-Length: 65536\r\n', '[{}]'.padEnd(65_536)), [200]],
  ['65,537 bytes, announced and not sent', post('Content-Length: 65537\r\n', ''), [413]],
  ['65,537 bytes in a chunk', last(CHUNKED, `10001\r\n${'[{}]'.padEnd(65_537)}\r\n0\r\n\r\n`), [413]],
  ['a million bytes', post('Content-Length: 1000000\r\n', ' '.repeat(1_000_000)), [413]],
  ['a million bytes in chunks', post(CHUNKED, `${`1000\r\n${' '.repeat(4_096)}\r\n`.repeat(244)}0\r\n\r\n`), [413]],
]

const CODINGS: readonly Row[] = [
  ...[
    'xchunked',
    'gzip',
    'chunked, identity',
    'identity',
    'chunked, chunked',
    'chunked;',
    '\u000bchunked',
    '\u00a0chunked',
    'chunked\u0000',
    '"chunked"',
    'chunk',
    '',
  ].map((coding): Row => [`the coding ${JSON.stringify(coding)}`, post(`Transfer-Encoding: ${coding}\r\n`, CHUNK), [400]]),
  ['the coding CHUNKED', last('Transfer-Encoding: CHUNKED\r\n', CHUNK), [200]],
  ['the codings gzip and chunked', last('Transfer-Encoding: gzip, chunked\r\n', CHUNK), [200]],
  ['chunked twice', post(CHUNKED + CHUNKED, CHUNK), [400]],
  ['chunked, then identity in a line of its own', post(`${CHUNKED}Transfer-Encoding: identity\r\n`, CHUNK), [400]],
  ['identity, then chunked in a line of its own', last(`Transfer-Encoding: identity\r\n${CHUNKED}`, CHUNK), [[400], [200]]],
  ['a coding with a blank before the colon', post('Transfer-Encoding : chunked\r\n', CHUNK), [400]],
  ['a coding on a folded line', post('Transfer-Encoding:\r\n chunked\r\n', CHUNK), [400]],
  ['chunks in HTTP/1.0', `POST /cometd HTTP/1.0\r\n${HEAD}${CHUNKED}\r\n${CHUNK}`, [[200], [400]]],
  ...[
    'zz',
    '-1',
    '0x4',
    '4 ',
    ' 4',
    '+4',
    '4,4',
    '',
    'g',
    '4\u0000',
    'fffffffffffffffff',
    '4;\u0000',
    '4;a\nb',
    `4;${'a'.repeat(17_000)}`,
  ].map((size): Row => [`a chunk of ${JSON.stringify(size.slice(0, 20))}`, last(CHUNKED, `${size}\r\n[{}]\r\n0\r\n\r\n`), [400]]),
  ...['ffffffffffffffff', 'ffffffff', '7fffffffffffffff', '20000'].map(
    (size): Row => [`a chunk of ${size} that does not come`, post(CHUNKED, `${size}\r\nx`), [400], 'half'],
  ),
  ['a chunk with an extension', last(CHUNKED, '4;a=b;c="d"\r\n[{}]\r\n0\r\n\r\n'), [200]],
  ['a chunk with 100,000 zeros', last(CHUNKED, `${'0'.repeat(100_000)}4\r\n[{}]\r\n0\r\n\r\n`), [200]],
  ['chunks that end in LF alone', post(CHUNKED, '4\n[{}]\n0\n\n'), [400]],
  ['a chunk without its end', post(CHUNKED, '4\r\n[{}]0\r\n\r\n'), [400]],
  ['a chunk too short', post(CHUNKED, '5\r\n[{}]\r\n0\r\n\r\n'), [400]],
  ['a chunk too long', post(CHUNKED, '3\r\n[{}]\r\n0\r\n\r\n'), [400]],
  ['chunks of one byte', last(CHUNKED, `${[...'[{}]'].map(each => `1\r\n${each}\r\n`).join('')}0\r\n\r\n`), [200]],
  ['only the last chunk', last(CHUNKED, '0\r\n\r\n'), [400]],
  ['a trailer', last(CHUNKED, '4\r\n[{}]\r\n0\r\nA: b\r\n\r\n'), [200]],
  ['a trailer with a length', last(CHUNKED, '4\r\n[{}]\r\n0\r\nContent-Length: 9\r\n\r\n'), [400]],
  ['a trailer that is none', last(CHUNKED, '4\r\n[{}]\r\n0\r\nbad\r\n\r\n'), [400]],
  ['a trailer of 40,000 bytes', last(CHUNKED, `4\r\n[{}]\r\n0\r\nA: ${'b'.repeat(40_000)}\r\n\r\n`), [431]],
]

const HEADERS: readonly Row[] = [
  ...[
    'A\r\n',
    ': x\r\n',
    'A B: x\r\n',
    '\u00e9: x\r\n',
    'A\u0000: x\r\n',
    'A: \u0000\r\n',
    'A: \u007f\r\n',
    'A: \u0001\r\n',
    '(A): x\r\n',
    'A=: x\r\n\u0000',
    '\tA: x\r\n',
  ].map((header): Row => [`the header ${JSON.stringify(header)}`, last(header + FOUR), [400]]),
  ['a folded line', last(`A: x\r\n folded\r\n${FOUR}`), [400]],
  ['a folded first line', `POST /cometd HTTP/1.1\r\n A: b\r\n${HEAD}${FOUR}\r\n[{}]`, [400]],
  ['LF alone everywhere', last(FOUR).replaceAll('\r\n', '\n'), [400]],
  ['LF alone after a header', last(`A: b\n${FOUR}`), [400]],
  ['LF alone at the end of the head', last(FOUR).replace('\r\n\r\n', '\n\n'), [400]],
  ['CR alone in a header', last(`A: b\rB: c\r\n${FOUR}`), [400]],
  ['CR twice', last(`A: b\r\r\n${FOUR}`), [400]],
  ['blank lines before', `\r\n\r\n${last(FOUR)}`, [200]],
  ['no Host', `POST /cometd HTTP/1.1\r\n${CLOSE}${FOUR}\r\n[{}]`, [400]],
  ['two Hosts', last(`Host: y\r\n${FOUR}`), [200]],
  ['a Host that is none', last(FOUR).replace('Host: x', 'Host: x y/@:'), [200]],
  ['an empty Host', last(FOUR).replace('Host: x', 'Host:'), [200]],
  ['6,000 headers', last(FOUR + 'A: b\r\n'.repeat(5_000)), [200]],
  ['the length after 2,100 headers', last('A: b\r\n'.repeat(2_100) + FOUR), [[200], [400]]],
  ['a header of 40,000 bytes', last(`A: ${'x'.repeat(40_000)}\r\n${FOUR}`), [431]],
  ['a name of 40,000 bytes', last(`${'x'.repeat(40_000)}: x\r\n${FOUR}`), [431]],
  ['a header that does not end', `POST /cometd HTTP/1.1\r\nA: ${'x'.repeat(100_000)}`, [431]],
  ['Expect: 100-continue', last(`Expect: 100-continue\r\n${FOUR}`), [200]],
  ['Expect: 100-continue and too much', last('Expect: 100-continue\r\nContent-Length: 100000\r\n', ''), [413]],
  ['Expect of something else', last(`Expect: the-worst\r\n${FOUR}`), [417]],
  ['Expect of nothing', last(`Expect:\r\n${FOUR}`), [417]],
  ['an upgrade to h2c', post(`Connection: Upgrade\r\nUpgrade: h2c\r\n${FOUR}`), [400]],
  ['an upgrade to rubbish', post(`Connection: Upgrade\r\nUpgrade: \u00ff, /, x/1\r\n${FOUR}`), [400]],
  [
    'an upgrade with a body that does not come',
    post('Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 400\r\n'),
    [400],
  ],
  ['an upgrade with chunks that do not come', post(`Connection: Upgrade\r\nUpgrade: websocket\r\n${CHUNKED}`, '4\r\n'), [400]],
  ['an upgrade with too much', post('Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 70000\r\n'), [413]],
  [
    'an upgrade with a method that is none of ours',
    get('PUT /cometd HTTP/1.1').replace(CLOSE, 'Connection: Upgrade\r\nUpgrade: websocket\r\n'),
    [400],
  ],
  ['Upgrade without Connection', last(`Upgrade: websocket\r\n${FOUR}`), [200]],
  ['a page of another origin', last(`Origin: http://evil.example\r\n${FOUR}`), [403]],
  ['a page of no origin', last(`Origin: null\r\n${FOUR}`), [403]],
  ['two origins', last(`Origin: http://x\r\nOrigin: http://evil.example\r\n${FOUR}`), [403]],
  ['a cookie that is none', last(`Cookie: =;;BAYEUX_BROWSER="\r\n${FOUR}`), [200]],
  ['a cookie without a value', last(`Cookie: BAYEUX_BROWSER\r\n${FOUR}`), [200]],
  ['any encoding', last(`Accept-Encoding: *\r\n${FOUR}`), [200]],
  ['a body that is not compressed, as it says', last(`Content-Encoding: gzip\r\n${FOUR}`), [200]],
  ['another method by a header', last(`X-HTTP-Method-Override: DELETE\r\n${FOUR}`), [200]],
  ...[
    '',
    'a',
    'a/b',
    '/',
    ';;;',
    'application/json; charset=',
    'application/json; charset="',
    'a/b; charset=utf-8; charset=x',
    '\u00e9/x',
    'x'.repeat(5_000),
    'multipart/form-data',
  ].map((type): Row => [`the type ${JSON.stringify(type.slice(0, 40))}`, last(`Content-Type: ${type}\r\n${FOUR}`), [200]]),
  ...['klingon', 'utf-7', 'ebcdic', 'utf-32', '\u00ff', 'utf-16le'].map(
    (charset): Row => [`the charset ${JSON.stringify(charset)}`, last(`Content-Type: a/b; charset=${charset}\r\n${FOUR}`), [400]],
  ),
]

const LINES: readonly Row[] = [
  ...[
    'HTTP/9.9',
    'HTTP/1.2',
    'HTTP/2.0',
    'HTTP/0.9',
    'http/1.1',
    'HTTP/',
    'HTTP/1',
    'HTTP/1.10',
    'HTTP/11',
    'HTTPS/1.1',
    'RTSP/1.0',
    'ICE/1.0',
    'HTTP/1.1 ',
    'HTTP/-1.1',
  ].map((version): Row => [`the version ${JSON.stringify(version)}`, get(`GET /cometd ${version}`), [400]]),
  ['no version', 'GET /cometd\r\n\r\n', [400]],
  ['HTTP/1.0 and nothing else', 'POST /cometd HTTP/1.0\r\n\r\n', [400]],
  ['a URI that does not end', `GET ${'x'.repeat(100_000)}`, [431]],
  ['a query of 70,000 bytes', on(`/cometd?message=${'x'.repeat(70_000)}`), [431]],
  ['no URI', get('GET HTTP/1.1'), [400]],
  ['tabs for blanks', get('GET\t/cometd\tHTTP/1.1'), [400]],
  ...['FOO', 'post', 'POST\u0000', 'P\u00d6ST', '-', 'X'.repeat(5_000), 'GET,POST'].map(
    (method): Row => [`the method ${JSON.stringify(method.slice(0, 20))}`, get(`${method} /cometd HTTP/1.1`), [400]],
  ),
  ['CONNECT to a host', 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n', []],
  ['CONNECT to a path', 'CONNECT /cometd HTTP/1.1\r\nHost: x\r\n\r\n', []],
  ...[
    '/cometd/',
    '/cometd//',
    '/cometd/../x',
    '/cometd/./',
    '/cometd/a/b',
    '/cometd?',
    '/cometd/%00',
    '/cometd#x',
    'http://x/cometd',
    'http://evil.example/cometd',
    '/cometd/x;y=z',
    '/cometd/*',
    `/cometd/${'x'.repeat(20_000)}`,
  ].map((target): Row => [`POST to ${target.slice(0, 40)}`, on(target), [200]]),
  ...['/cometd/%zz', '/cometd/%', '/cometd/%ff', '/cometd/%c0%af'].map(
    (target): Row => [`POST to ${target}`, on(target), [[200], [400]]],
  ),
  ...[
    '/',
    '/cometdx',
    '/COMETD',
    '//cometd',
    '/cometd\\x',
    '/x/../cometd',
    '*',
    '/comet%2fd',
    '//evil.example/cometd',
    'http://x',
    'http://x/',
  ].map((target): Row => [`POST to ${target}`, on(target), [404]]),
  ...[
    'cometd',
    '/cometd/\u00e9',
    '/cometd/\u0000',
    '/come td',
    'http:/x/cometd',
    '?',
    '#',
    '../cometd',
    'x:1',
    '[::1]/cometd',
  ].map((target): Row => [`POST to ${JSON.stringify(target)}`, on(target), [400]]),
  ['a URI of 40,000 bytes', on(`/cometd/${'x'.repeat(40_000)}`), [431]],
  ['the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\u0000\u0000\u0000\u0004\u0000\u0000\u0000\u0000\u0000', [400]],
  ['a TLS hello', '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003', [400]],
  ['an SSH hello', 'SSH-2.0-OpenSSH_9.0\r\n', [400]],
  ['SMTP', 'EHLO x\r\n', [400]],
  ['Redis', '*1\r\n$4\r\nPING\r\n', [400]],
  ['a PROXY line', `PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n${last(FOUR)}`, [400]],
  ['300 NULs', '\u0000'.repeat(300), [400]],
  ['all bytes', String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i)), [400]],
]

const SERIES: readonly Row[] = [
  ['20 requests at once', post(FOUR).repeat(19) + last(FOUR), Array(20).fill(200)],
  [
    '20 requests, every second one broken JSON',
    (post(FOUR) + post(FOUR, '[{}}')).repeat(10),
    Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? 200 : 400)),
    'half',
  ],
  ['a refused request and a sound one', get('PUT /cometd HTTP/1.1').replace(CLOSE, '') + last(FOUR), [400, 200]],
  ['too much, and a request behind it', post('Content-Length: 65540\r\n', ' '.repeat(65_536) + SMUGGLED), [413]],
  [
    'a request and an upgrade that is none',
    post(FOUR) + post(`Connection: Upgrade\r\nUpgrade: websocket\r\n${FOUR}`),
    [[], [200, 400]],
  ],
  ['a request behind the last', last(FOUR) + post(FOUR), [200]],
  ['rubbish behind the last', `${last(FOUR)}rubbish\r\n\r\n`, [200]],
  ['a GET with a body', `GET /cometd HTTP/1.1\r\n${HEAD}${CLOSE}${FOUR}\r\n[{}]`, [400]],
]

const FORMS: readonly Row[] = [
  ...[
    'message=%5B%7B%7D%5D',
    'message=[{}]',
    'message=%7B%7D&x=1',
    'message=%5B+%7B%7D+%5D',
    'message={}&message={}',
    '&&message={}',
    'message=[{"x":"%zz"}]',
  ].map((body): Row => [`the form ${body}`, last(FORM_TYPE + lengthOf(body), body), [200]]),
  ...[
    'message=',
    'message',
    'x=1',
    'message=%',
    'message=5',
    'message={}&message=5',
    'message={}&message=',
    'message=%ff',
    'messages={}',
    '=',
    '&',
    'MESSAGE={}',
  ].map((body): Row => [`the form ${body}`, last(FORM_TYPE + lengthOf(body), body), [400]]),
  ['a form by the name of JSON', last(`${JSON_TYPE}Content-Length: 10\r\n`, 'message={}'), [200]],
  ['JSON by the name of a form', last(FORM_TYPE + FOUR), [200]],
  [
    'a form of 1,001 messages',
    last(`${FORM_TYPE}Content-Length: 11010\r\n`, 'message={}&'.repeat(1_001).slice(0, 11_010)),
    [413],
  ],
]

function lengthOf(body: string): string {
  return `Content-Length: ${body.length}\r\n`
}

export function* httpCases(): Generator<Case> {
  for (const [name, bytes, statuses, after = 'close'] of [
    ...HALF,
    ...LENGTHS,
    ...CODINGS,
    ...HEADERS,
    ...LINES,
    ...SERIES,
    ...FORMS,
  ]) {
    const right = typeof statuses[0] === 'object' ? (statuses as readonly (readonly number[])[]) : [statuses as readonly number[]]
    yield made(name, Buffer.from(bytes, 'latin1'), right, after)
  }
  for (const method of METHODS.filter(each => each !== 'CONNECT' && each !== 'POST'))
    for (const body of ['', '[{}]'])
      yield made(
        `${method} with ${body.length} bytes`,
        request(method, '/cometd', CLOSE, body),
        [[method === 'OPTIONS' ? 200 : 400]],
        'close',
      )
  const bytes = Buffer.from(last(FOUR), 'latin1')
  const drops = Array.from(bytes, byte => Buffer.from([byte]))
  yield {
    level: 'http',
    name: 'http: byte by byte',
    say: () => ({ pieces: drops, after: 'close', judge: said => judge(said, [[200]]) }),
  }
}

function made(name: string, bytes: Buffer, right: readonly (readonly number[])[], after: 'close' | 'half'): Case {
  return { level: 'http', name: `http: ${name}`, say: () => ({ pieces: [bytes], after, judge: said => judge(said, right) }) }
}

function judge(said: Buffer, right: readonly (readonly number[])[]): readonly number[] {
  const found = answersIn(said).map(answer => answer.status)
  assert(
    right.some(each => String(each) === String(found)),
    `answered ${found}, right is ${right.join(' or ')}`,
  )
  return found
}
