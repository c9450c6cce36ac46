// One envelope as a case on each transport, and the judgement of the replies to it.
//
// Knows: how an envelope that is refused as a whole is answered on each transport, and what a reply must and must not have.
// Does not know: which error is right for a message (json.ts, bayeux.ts say so).
// Source: protocol reference 2, 3.7, 5.3, 5.6, 6.2, DEV-2, DEV-8, DEV-10.

import assert from 'node:assert/strict'
import { type Case, type Cast, filled, type Level, type Talk } from './case.js'
import { FAREWELL, frame, heardIn, messagesOf, TEXT, upgrade } from './frames.js'
import { answersIn, CLOSE, JSON_TYPE, messagesIn, request, script } from './requests.js'

/**
 * The right answer to an envelope.
 *
 * `refused`: as a whole, 400 and on WebSocket 1011. `too much`: 413 and 1009. `nothing`: ignored on WebSocket and 400 over HTTP. Otherwise for each
 * message the error of its reply, `ok` for none.
 */
export type Right = 'refused' | 'too much' | 'nothing' | readonly string[]

const WAYS = ['long-polling', 'callback-polling', 'websocket'] as const
type Way = (typeof WAYS)[number]

/** Of the server's option, and so of its advice, ms. */
export const TIMEOUT = 200
/** Longer URLs are refused before anybody reads them. */
const LONGEST_URL = 30_000
const STATUS = { refused: 400, 'too much': 413, nothing: 400 } as const
const CODE = { refused: 1011, 'too much': 1009, nothing: 1000 } as const

type Message = Readonly<Record<string, unknown>>

/** The envelope as a case on each transport that can carry it. `deliveries`: to its own session, that must come with the replies. */
export function* onEachTransport(
  level: Level,
  name: string,
  text: string,
  right: Right,
  deliveries: readonly unknown[] = [],
): Generator<Case> {
  for (const way of WAYS) {
    if (way === 'callback-polling' && encodeURIComponent(Buffer.from(text).toString()).length > LONGEST_URL) continue
    const say = (cast: Cast): Talk => {
      const whole = filled(text, cast)
      const due = way === 'callback-polling' ? [] : deliveries // there they come with a connect only
      return { pieces: [bytesOf(way, whole)], after: 'close', judge: said => judge(way, said, whole, right, due) }
    }
    yield { level, name: `${level}: ${name}, ${way}`, say }
  }
}

function bytesOf(way: Way, text: string): Buffer {
  if (way === 'long-polling') return request('POST', '/cometd', `${CLOSE}${JSON_TYPE}`, text)
  return way === 'callback-polling' ? script(text) : Buffer.concat([upgrade(), frame(TEXT, text), FAREWELL])
}

function judge(way: Way, said: Buffer, text: string, right: Right, deliveries: readonly unknown[]): readonly number[] {
  const { code, messages } = way === 'websocket' ? onSocket(said) : overHttp(said)
  const refusal = way === 'websocket' ? CODE : STATUS
  if (typeof right === 'string') {
    assert.deepEqual(messages, [])
    assert.equal(code, refusal[right])
    return [code]
  }
  assert.equal(code, way === 'websocket' ? 1000 : 200)
  const replies = messages.filter(isReply)
  assert.deepEqual(
    messages.filter(message => !isReply(message)),
    deliveries,
    'deliveries',
  )
  if (deliveries.length > 0) assert(messages.slice(deliveries.length).every(isReply), 'a reply before a delivery')
  const parsed = JSON.parse(text) as Message | Message[]
  const requests = Array.isArray(parsed) ? parsed : [parsed]
  assert.equal(replies.length, right.length, 'replies')
  for (const [i, error] of right.entries()) judgeReply(replies[i]!, requests, i, error)
  return [code]
}

function overHttp(said: Buffer): { code: number; messages: Message[] } {
  const answers = answersIn(said)
  assert.equal(answers.length, 1, 'answers')
  const { status } = answers[0]!
  return { code: status, messages: status === 200 ? (messagesIn(answers[0]!) as Message[]) : [] }
}

function onSocket(said: Buffer): { code: number; messages: Message[] } {
  const { status, texts, pongs, code } = heardIn(said)
  assert.equal(status, 101)
  assert(code !== null, 'no close frame')
  assert.equal(pongs.length, code === 1000 ? 1 : 0, 'pongs')
  return { code, messages: messagesOf(texts) as Message[] }
}

/** Deliveries have data, or are no answer; replies are the answer and have none. */
function isReply(message: Message): boolean {
  return Object.hasOwn(message, 'successful') && !Object.hasOwn(message, 'data')
}

function judgeReply(reply: Message, requests: readonly Message[], i: number, error: string): void {
  const request = requests[i]!
  const { channel } = request
  const ok = error === 'ok'
  assert.deepEqual([reply['successful'], reply['error']], ok ? [true, undefined] : [false, error], `reply ${i}`)
  const id = request['id']
  if (typeof id !== 'number' || Number.isFinite(id))
    // JSON has no infinite numbers
    assert.deepEqual(reply['id'], typeof id === 'string' || typeof id === 'number' ? id : undefined, `id of reply ${i}`)
  assert.deepEqual(reply['channel'], typeof channel === 'string' ? channel : undefined, `channel of reply ${i}`)
  const subscription = channel === '/meta/subscribe' || channel === '/meta/unsubscribe' ? request['subscription'] : null
  assert.deepEqual(reply['subscription'], subscription ?? undefined, `subscription of reply ${i}`)
  if (ok && channel === '/meta/handshake') {
    assert.match(reply['clientId'] as string, /^[0-9a-z]{26}$/)
    assert.notEqual(reply['clientId'], request['clientId'], 'the session of another')
  } else assert(!Object.hasOwn(reply, 'clientId'), `reply ${i} with a clientId`)
  judgeAdvice(reply['advice'], requests.slice(0, i), channel, error)
}

function judgeAdvice(advice: unknown, before: readonly Message[], channel: unknown, error: string): void {
  if (channel === '/meta/connect' && error.startsWith('402:')) {
    const left = before.some(message => message['channel'] === '/meta/disconnect')
    assert.deepEqual(advice, { reconnect: left ? 'none' : 'handshake', interval: 0 })
  } else if (error === 'ok' && (channel === '/meta/handshake' || (channel === '/meta/connect' && advice !== undefined))) {
    const { reconnect, timeout } = advice as Message
    assert.deepEqual([reconnect, timeout], ['retry', TIMEOUT])
  } else assert.equal(advice, undefined, 'advice that would take effect')
}
