// A listening server to shoot at, and TCP connections on which anything may be said.
//
// Knows: what of the server must be as before. Does not know: what is said, and what is a good answer.

import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { emptyError } from '../../lib/plugin.js'
import { refuse } from '../../lib/polling.js'
import { type Hostile, prototypes } from './hostile.js'
import { startServer, type Teardown, type TestServer } from './server.js'
import { post, WireSocket } from './wire.js'

export const SEED = Number(process.env['SEED'] ?? 20_261_124)
const AT_ONCE = 16
const LIMIT = 10_000
export const COOKIE = 'Cookie: BAYEUX_BROWSER=fuzz\r\n'
/** Short times, so that held requests end by themselves; a status of its own for superseded ones, so that no 5xx is well. */
const OPTIONS = {
  timeout: 200,
  maxTimeout: 300,
  maxInterval: 300,
  maxLazyTimeout: 50,
  sweepPeriod: 50,
  trustClientSession: true,
  allowUnknownCallbackOrigin: true,
  maxSessionsPerBrowser: -1,
  duplicateMetaConnectHttpResponseCode: 409,
}

/** What of a tap test is used below. */
export interface Test extends Teardown {
  same(found: unknown, wanted: unknown, message: string): boolean
  match(found: unknown, wanted: unknown, message: string): boolean
}

/** What is said on one TCP connection. */
export interface Talk {
  readonly bytes: Buffer
  /** `close`: the server has to end it; `half`: we end our side; `reset`: we break off. */
  readonly after: 'close' | 'half' | 'reset'
  /** Answers that must come; null where the server may close without one. */
  readonly answers: number | null
}

export async function startTarget(
  t: Test,
  direct = false,
): Promise<{ it: TestServer; port: number; settled: () => Promise<void>; alive: () => Promise<void> }> {
  const before = prototypes()
  const it = await startServer(t, { ...OPTIONS, direct }, app => {
    app.setErrorHandler(emptyError)
    app.setNotFoundHandler((_request, reply) => refuse(reply, 404))
  })
  const empty = it.bayeux.stats()
  const settled = async (): Promise<void> => {
    for (const end = Date.now() + LIMIT; Date.now() < end; await delay(20))
      if (JSON.stringify(it.bayeux.stats()) === JSON.stringify(empty)) break
    t.same(it.bayeux.stats(), empty, 'sessions, channels, subscriptions, queues and held connects are gone')
    t.same(prototypes(), before, 'no prototype was touched')
  }
  return { it, port: Number(new URL(it.url).port), settled, alive: () => alive(t, it.url) }
}

/** A fresh client on each way is served as ever. */
async function alive(t: Test, url: string): Promise<void> {
  const headers = { cookie: 'BAYEUX_BROWSER=fresh' }
  const handshake = { channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['long-polling', 'websocket'] }
  const socket = await new WireSocket(url).open()
  socket.send(JSON.stringify([handshake]))
  const [{ clientId }] = (await socket.next()) as [{ clientId: string }]
  socket.send(JSON.stringify([{ channel: '/meta/subscribe', clientId, subscription: '/fresh' }]))
  await socket.next()
  const answer = await post(url, JSON.stringify([handshake]), headers)
  const [{ clientId: other }] = JSON.parse(answer.body) as [{ clientId: string }]
  const { body } = await post(url, JSON.stringify([{ channel: '/fresh', clientId: other, data: 'hello' }]), headers)
  t.match(JSON.parse(body), [{ channel: '/fresh', successful: true }], 'a fresh client publishes over HTTP')
  t.same(await socket.next(), [{ channel: '/fresh', data: 'hello' }], 'and one on a WebSocket gets it')
  socket.cut()
}

/** Sessions for the hostile messages to speak for. */
export async function someSessions(url: string, hostile: Hostile): Promise<void> {
  hostile.clients.length = 0
  for (let i = 0; i < 4; i++) {
    const { body } = await post(url, '{"channel":"/meta/handshake"}', { cookie: 'BAYEUX_BROWSER=fuzz' })
    hostile.clients.push((JSON.parse(body) as [{ clientId: string }])[0].clientId)
  }
}

/** Says all of `talks`, some at once, and hands over what the server said to each. */
export async function sayAll(
  port: number,
  talks: Iterable<Talk>,
  judge: (talk: Talk, said: Buffer, closed: boolean) => void,
): Promise<void> {
  const rest = talks[Symbol.iterator]()
  const one = async (): Promise<void> => {
    for (let next = rest.next(); next.done !== true; next = rest.next()) {
      const { said, closed } = await say(port, next.value)
      try {
        judge(next.value, said, closed)
      } catch (error) {
        const shown = (bytes: Buffer): string => JSON.stringify(bytes.subarray(0, 1_500).toString('latin1'))
        throw new Error(`seed ${SEED}, ${next.value.after}: ${shown(next.value.bytes)} was answered ${shown(said)}`, {
          cause: error,
        })
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, one))
}

function say(port: number, { bytes, after }: Talk): Promise<{ said: Buffer; closed: boolean }> {
  return new Promise(resolve => {
    const chunks: Buffer[] = []
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    const done = (closed: boolean): void => {
      clearTimeout(limit)
      socket.destroy()
      resolve({ said: Buffer.concat(chunks), closed })
    }
    const limit = setTimeout(() => done(false), LIMIT)
    socket.on('error', () => {}) // 'close' follows
    socket.on('data', chunk => chunks.push(chunk))
    socket.on('end', () => done(true))
    socket.on('close', () => done(true))
    socket.write(bytes)
    if (after === 'half') socket.end()
    else if (after === 'reset') setTimeout(() => done(true), 5)
  })
}

/** Statuses and close codes that came. */
export class Seen {
  readonly #codes = new Set<number>()

  add(code: number): void {
    this.#codes.add(code)
  }

  /** Each of `codes` has come: a fuzzer that nobody answers finds nothing. */
  check(t: Test, codes: readonly number[]): void {
    const missing = codes.filter(code => !this.#codes.has(code))
    t.same(missing, [], 'each kind of answer was seen')
  }
}
