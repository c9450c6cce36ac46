// HTTP as bytes: requests that are written as one likes, and answers read back strictly.
//
// Knows: what every answer of the server must look like, whatever was asked.
// Does not know: which answer is right for a request (http.ts, jsonp.ts, envelope.ts).
// Source: protocol reference 5.2 to 5.6, DEV-2, DEV-14.

import assert from 'node:assert/strict'
import { createContext, runInContext } from 'node:vm'

export const COOKIE = 'Cookie: BAYEUX_BROWSER=hostile\r\n'
export const CLOSE = 'Connection: close\r\n'
export const JSON_TYPE = 'Content-Type: application/json\r\n'
export const FORM_TYPE = 'Content-Type: application/x-www-form-urlencoded\r\n'
/** The function that scripts of callback-polling call. */
export const CALLBACK = 'jsonp.cb'

export interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}

/** A request that says its true length. `headers`: lines, each with its end. */
export function request(method: string, path: string, headers: string, body: string | Buffer = ''): Buffer {
  const length = Buffer.byteLength(body)
  const head = `${method} ${path} HTTP/1.1\r\nHost: x\r\n${COOKIE}${headers}`
  return Buffer.concat([Buffer.from(`${head}Content-Length: ${length}\r\n\r\n`, 'latin1'), Buffer.from(body)])
}

/** A GET of callback-polling; half a surrogate pair, which no URL can carry, becomes a replacement character. */
export function script(text: string, headers = CLOSE): Buffer {
  const message = encodeURIComponent(Buffer.from(text).toString())
  return Buffer.from(`GET /cometd?jsonp=${CALLBACK}&message=${message} HTTP/1.1\r\nHost: x\r\n${COOKIE}${headers}\r\n`, 'latin1')
}

/** The HTTP answers in a stream of bytes, each in full and sound by itself; what follows an upgrade is left out. */
export function answersIn(said: Buffer): Answer[] {
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
    const answer = { status, type: headers.get('content-type') ?? '', body }
    judge(answer, headers)
    answers.push(answer)
  }
  return answers
}

/** 200 and a JSON array, as such or as a script, or nothing but a status; never a failure of the server. */
function judge({ status, type, body }: Answer, headers: ReadonlyMap<string, string>): void {
  assert(status < 500, `status ${status}`)
  if (status !== 200) return assert.equal(body, '', `status ${status} with a body`)
  if (body === '') return assert.equal(type, '', 'an empty 200 is the answer to OPTIONS')
  assert.equal(headers.get('cache-control'), 'no-cache, no-store')
  if (type.startsWith('text/javascript')) assert.equal(headers.get('x-content-type-options'), 'nosniff')
  messagesIn({ status, type, body })
}

/** The messages in an answer with status 200; of a script, those that it calls its function with, and does nothing else. */
export function messagesIn({ type, body }: Answer): unknown[] {
  const isScript = body.startsWith('/**/')
  assert.match(type, isScript ? /^text\/javascript/ : /^application\/json/)
  const messages: unknown = isScript ? run(body) : JSON.parse(body)
  assert(Array.isArray(messages) && messages.length > 0, 'not an array of messages')
  return messages
}

/** A page of nothing but the language: what a script calls the function `call` with, as JSON. */
const evaluate = runInContext(
  '(script) => { const calls = []; new Function("call", script)((value) => calls.push(JSON.stringify(value))); return calls }',
  createContext(Object.create(null)),
) as (script: string) => string[]

function run(body: string): unknown {
  assert.doesNotMatch(body, /[<\u2028\u2029]/, 'what may end a script, or a line of it')
  const name = /^\/\*\*\/([A-Za-z0-9._-]+)\(/.exec(body)?.[1]
  assert(name !== undefined, 'not the call of a function')
  const calls = evaluate(body.replace(name, 'call')) // not every name that is safe is one that can be called
  assert.equal(calls.length, 1, 'calls of the function')
  return JSON.parse(calls[0]!)
}
