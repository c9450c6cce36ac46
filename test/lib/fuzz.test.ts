// Hostile envelopes and broken HTTP against a listening server.
//
// Whatever comes, each answer is 200 with a JSON array or a status with an empty body; the server lives, and nothing stays.
// What is sent comes from one seed (`SEED=n`); a failure prints it and the bytes.

import assert from 'node:assert/strict'
import { METHODS } from 'node:http'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { Hostile } from '../support/hostile.js'
import { COOKIE, SEED, Seen, sayAll, someSessions, startTarget, type Talk } from '../support/target.js'

const MAX_SIZE = 65_536
const seen = new Seen()

interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}

/** The HTTP answers in a stream of bytes, in full; what follows an upgrade is left out. */
function answersIn(said: Buffer): Answer[] {
  const answers: Answer[] = []
  for (let at = 0; at < said.length; ) {
    const end = said.indexOf('\r\n\r\n', at)
    assert.notEqual(end, -1, 'a head without an end')
    const [line, ...lines] = said.subarray(at, end).toString('latin1').split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(line!)?.[1])
    assert(status > 0, `not a status line: ${line}`)
    const headers = new Map(
      lines.map(each => [each.slice(0, each.indexOf(':')).toLowerCase(), each.slice(each.indexOf(':') + 1).trim()]),
    )
    at = end + 4
    if (status === 101) break
    if (status === 100) continue
    let body = ''
    if (headers.get('transfer-encoding') === 'chunked') {
      for (let size = -1; size !== 0; ) {
        const lineEnd = said.indexOf('\r\n', at)
        size = Number.parseInt(said.subarray(at, lineEnd).toString(), 16)
        body += said.subarray(lineEnd + 2, lineEnd + 2 + size).toString()
        at = lineEnd + 4 + size
      }
    } else {
      const length = Number(headers.get('content-length') ?? 0)
      body = said.subarray(at, at + length).toString()
      assert.equal(Buffer.byteLength(body), length, 'a body that is cut')
      at += length
    }
    answers.push({ status, type: headers.get('content-type') ?? '', body })
  }
  return answers
}

/** 200 and a JSON array, as such or as a script, or nothing but a status; never a failure of the server. */
function judgeAnswer({ status, type, body }: Answer): void {
  seen.add(status)
  assert(status < 500, `status ${status}`)
  if (status !== 200) return assert.equal(body, '', `status ${status} with a body`)
  if (body === '') return assert.equal(type, '', 'an empty 200 is the answer to OPTIONS')
  const script = /^\/\*\*\/[\w.-]+\((.*)\)$/.exec(body)
  assert.match(type, script === null ? /^application\/json/ : /^text\/javascript/)
  const replies: unknown = script === null ? JSON.parse(body) : runInNewContext(script[1]!)
  assert(Array.isArray(replies) && replies.length > 0, 'not an array of replies')
}

function judgeHttp({ answers: due, bytes }: Talk, said: Buffer, closed: boolean): void {
  assert(closed, 'the server does not end it')
  const answers = answersIn(said)
  for (const answer of answers) judgeAnswer(answer)
  if (due !== null && bytes.length < MAX_SIZE) assert.equal(answers.length, due, 'answers')
}

const request = (method: string, path: string, headers: string, body: string | Buffer): Buffer =>
  Buffer.concat([
    Buffer.from(
      `${method} ${path} HTTP/1.1\r\nHost: x\r\n${COOKIE}${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n`,
      'latin1',
    ),
    Buffer.from(body),
  ])
const CLOSE = 'Connection: close\r\n'
const JSON_TYPE = 'Content-Type: application/json\r\n'

function* envelopes(hostile: Hostile, count: number): Generator<Talk> {
  for (let i = 0; i < count; i++) {
    const body = hostile.envelope()
    const form = `message=${encodeURIComponent(body.replace(/[\ud800-\udfff]/g, '?'))}&x=1`
    const talk = (bytes: Buffer): Talk => ({ bytes, after: hostile.chance(0.05) ? 'reset' : 'close', answers: null })
    const kind = hostile.below(10)
    if (kind === 0)
      yield talk(request('POST', '/cometd/connect', `${CLOSE}Content-Type: application/x-www-form-urlencoded\r\n`, form))
    else if (kind === 1)
      yield { ...talk(request('GET', `/cometd?jsonp=cb&${form.slice(0, 8_000)}`, CLOSE, '')), answers: 1, after: 'close' }
    else yield { ...talk(request('POST', '/cometd', `${CLOSE}${JSON_TYPE}`, body)), answers: 1, after: 'close' }
  }
}

/** Requests that are no HTTP, or no Bayeux, each in its own way. */
function* brokenHttp(hostile: Hostile, count: number): Generator<Talk> {
  const types = [
    '',
    'a',
    'a/b',
    '/',
    'application/json; charset=',
    'application/json; charset="',
    'text/plain; charset=utf-16le',
    'a/b; charset=klingon',
    'a/b; charset=utf-7',
    'multipart/form-data',
    'application/json;;;',
    '\u00e9/x',
    'x'.repeat(5_000),
    'application/x-www-form-urlencoded; charset=ebcdic',
  ]
  const paths = [
    '/cometd/',
    '/cometd?',
    '/cometd/%',
    '/cometd/%zz',
    '/cometd/%ff',
    '/cometd/..',
    '/cometd//',
    '/cometd/a/b?jsonp=x',
    'http://x/cometd',
    '*',
    '//',
    '?',
    '/cometd#x',
    '/cometd/\u00e9',
    `/cometd/${'x'.repeat(200)}`,
    `/cometd?message=${'x'.repeat(70_000)}`,
    '/cometd?jsonp=a&jsonp=b',
    '/cometd?jsonp=alert(1)&message=[]',
    '/cometd?jsonp=x',
    '/cometd?jsonp=x&message=%5B',
    '/cometd?jsonp=__proto__&message=%5B%7B%7D%5D',
    '/cometd?message=%',
  ] as const
  const headers = [
    'A\r\n',
    ': x\r\n',
    'A : x\r\n',
    'A: x\r\n folded\r\n',
    'A: \u0000\r\n',
    'Host: y\r\n',
    'Expect: 100-continue\r\n',
    'Expect: the-worst\r\n',
    'Upgrade: h2c\r\nConnection: Upgrade\r\n',
    `A: ${'x'.repeat(40_000)}\r\n`,
    'A: b\r\n'.repeat(3_000),
    'Cookie: BAYEUX_BROWSER\r\n',
    'Cookie: =;;BAYEUX_BROWSER="\r\n',
    'Origin: null\r\n',
    'Origin: http://evil.example\r\n',
    'Accept-Encoding: *\r\n',
    'X-HTTP-Method-Override: PUT\r\n',
    'Content-Encoding: gzip\r\n',
  ]
  const lengths = [
    'Content-Length: -1',
    'Content-Length: 1e3',
    'Content-Length: 99999999999999999999',
    'Content-Length: 5\r\nContent-Length: 6',
    'Content-Length: 500',
    'Content-Length: 3',
    'Transfer-Encoding: chunked\r\nContent-Length: 5',
    'Transfer-Encoding: gzip',
    'Transfer-Encoding: chunked, identity',
    'Transfer-Encoding: \u000bchunked',
    'X: no length',
  ]
  const chunked = [
    '0\r\n\r\n',
    '5\r\nabc\r\n',
    'zz\r\n',
    '-1\r\n',
    '5;ext=1\r\n[{}] \r\n0\r\n\r\n',
    'ffffffffffffffff\r\nx',
    '4\r\n[{}]0\r\n\r\n',
    '4\r\n[{}]\r\n0\r\nTrailer: x\r\n\r\n',
    '2\r\n[{\r\n2\r\n}]\r\n0\r\n\r\n',
    '\r\n',
    '20000\r\n',
  ]
  const upgrades = [
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short',
    'Sec-WebSocket-Version: 7\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ,,',
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: ;;x=',
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://evil.example',
  ]
  const garbage = [
    '\r\n\r\n',
    'GET /cometd\r\n\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    '\u0016\u0003\u0001\u0002\u0000\u0001',
    'GET /cometd HTTP/9.9\r\n\r\n',
    'POST /cometd HTTP/1.0\r\n\r\n',
    'POST /cometd HTTP/1.1\r\n\r\n',
    '\u0000'.repeat(300),
    `GET ${'x'.repeat(100_000)}`,
    'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n',
    'FOO /cometd HTTP/1.1\r\nHost: x\r\n\r\n',
  ]
  for (let i = 0; i < count; i++) {
    const body = hostile.chance(0.5) ? '[{}]' : hostile.batch(0.3)
    const broken = (text: string): Talk => ({
      bytes: Buffer.from(text, 'latin1'),
      after: hostile.chance(0.1) ? 'reset' : 'half',
      answers: null,
    })
    const whole = (bytes: Buffer): Talk => ({ bytes, after: 'close', answers: 1 })
    const head = (more: string): string => `POST /cometd HTTP/1.1\r\nHost: x\r\n${COOKIE}${more}\r\n\r\n`
    switch (hostile.below(10)) {
      case 0: {
        const bytes = request('POST', '/cometd', JSON_TYPE, body)
        for (let times = 1 + hostile.below(4); times > 0; times--)
          bytes[hostile.below(Math.min(bytes.length, 200))] = hostile.below(256)
        yield broken(bytes.subarray(0, hostile.chance(0.7) ? bytes.length : hostile.below(bytes.length)).toString('latin1'))
        break
      }
      case 1:
        yield whole(request('POST', '/cometd', `${CLOSE}Content-Type: ${hostile.pick(types)}\r\n`, body))
        break
      case 2:
        yield broken(request(hostile.pick(['GET', 'POST', 'OPTIONS', 'HEAD']), hostile.pick(paths), CLOSE, '').toString('latin1'))
        break
      case 3:
        yield broken(request('POST', '/cometd', CLOSE + hostile.pick(headers), body).toString('latin1'))
        break
      case 4:
        yield broken(head(hostile.pick(lengths)) + body)
        break
      case 5:
        yield broken(head(`${CLOSE}Transfer-Encoding: chunked`) + hostile.pick(chunked))
        break
      case 6:
        yield broken(
          request(
            'GET',
            '/cometd',
            `Connection: Upgrade\r\nUpgrade: ${hostile.pick(['websocket', 'h2c', '', 'websocket, x'])}\r\n${hostile.pick(upgrades)}\r\n`,
            '',
          ).toString('latin1'),
        )
        break
      case 7:
        yield broken(hostile.pick(garbage))
        break
      case 8: {
        const method = hostile.pick(METHODS.filter(each => each !== 'CONNECT' && each !== 'POST' && each !== 'HEAD'))
        yield whole(request(method, '/cometd', CLOSE, hostile.pick(['', body])))
        break
      }
      default: {
        const several = Array.from({ length: 2 + hostile.below(4) }, () => request('POST', '/cometd', JSON_TYPE, '[{}]'))
        yield {
          bytes: Buffer.concat([...several, request('POST', '/cometd', CLOSE, '[{}]')]),
          after: 'close',
          answers: several.length + 1,
        }
      }
    }
  }
}

for (const direct of [false, true]) {
  const road = direct ? 'past Fastify' : 'through Fastify'

  t.test(`hostile envelopes over HTTP, ${road}`, async t => {
    const { it, port, settled, alive } = await startTarget(t, direct)
    const hostile = new Hostile(SEED)
    for (let round = 0; round < 10; round++) {
      await someSessions(it.url, hostile)
      await sayAll(port, envelopes(hostile, 200), judgeHttp)
    }
    seen.check(t, [200, 400, 413])
    await alive()
    await settled()
  })

  t.test(`broken HTTP, ${road}`, async t => {
    const { it, port, settled, alive } = await startTarget(t, direct)
    const hostile = new Hostile(SEED + 1)
    await someSessions(it.url, hostile)
    await sayAll(port, brokenHttp(hostile, 2_000), judgeHttp)
    seen.check(t, [200, 400, 403, 404, 417, 431])
    await alive()
    await settled()
  })
}
