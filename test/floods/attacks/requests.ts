// Floods of HTTP requests: half-sent, in crumbs, pipelined without reading, heavy with headers, compressed, deep and wide.

import { gzipSync } from 'node:zlib'
import type { Attack, Flood } from '../flood.js'
import { Line } from '../line.js'
import { OK, post, REFUSED, request } from '../words.js'
import { closedByServer, cutAll, exchange, share, sum } from './drive.js'

const LINES = 4
const BAD = 'HTTP/1.1 400'
const NOT_FOUND = 'HTTP/1.1 404'
/** One byte after so long keeps a connection alive, ms. */
const DRIP = 1_000
const JSON_TYPE = 'Content-Type: application/json\r\n'

const open = (port: number, wanted: readonly string[], count = LINES): Line[] =>
  Array.from({ length: count }, () => new Line(port, wanted))

/** In turn: nothing at all; headers without an end; a body without an end; headers, and a body, of which a byte comes each second. */
async function halfSent(port: number, size: number): Promise<Attack> {
  const BEGINNINGS = [
    '',
    'POST /cometd HTTP/1.1\r\nHost: server\r\nX-Long: ',
    `POST /cometd HTTP/1.1\r\nHost: server\r\nContent-Length: 60000\r\n\r\n${'['.repeat(1_000)}`,
  ] as const
  const lines = open(port, [], size)
  for (const [i, line] of lines.entries()) line.send(BEGINNINGS[i % BEGINNINGS.length]!)
  const dripping = setInterval(() => {
    for (const [i, line] of lines.entries()) if (i % BEGINNINGS.length > 0 && i % 2 === 0) line.send('x')
  }, DRIP)
  await new Promise(resolve => setTimeout(resolve, DRIP))
  return {
    counts: {},
    async release() {
      const ended = await closedByServer(lines)
      clearInterval(dripping)
      return ended
    },
  }
}

/** Bodies of one-byte chunks, thousands of which fit into what is read at once. Each on a connection of its own, since the server closes it. */
async function crumbs(port: number, size: number, head: string, status: string): Promise<Attack> {
  const body = '1\r\nx\r\n'.repeat(60_000)
  let answered = 0
  await share(Array<null>(LINES).fill(null), size, async () => {
    const line = new Line(port, [status])
    line.send(head)
    line.send(body)
    await line.until(() => line.total > 0)
    answered += line.total
    line.cut()
  })
  return { counts: { answered }, release: () => cutAll([]) }
}

const chunked = (method: string, path: string): string => request(method, path, `${JSON_TYPE}Transfer-Encoding: chunked\r\n`)

/** Requests one behind the other, as many as the server takes, of which no answer is read. */
async function unreadAnswers(port: number, size: number): Promise<Attack> {
  const lines = open(port, [])
  const messages = Array<string>(500).fill('{"channel":"/flood/a","data":1}')
  const one = post(`[${messages.join(',')}]`) // each answer is twice as long
  let sent = 0
  await Promise.all(
    lines.map(async line => {
      line.deafen()
      for (let i = 0; i < size / LINES; i++) {
        if (!line.send(one) && !(await line.room(500))) return
        sent++
      }
    }),
  )
  return { counts: { sent }, release: () => cutAll(lines) }
}

/** The same request again and again, each after the answer to the one before. */
async function again(port: number, size: number, one: string, status: string): Promise<Attack> {
  const lines = open(port, [status])
  await share(lines, size, line => exchange(line, one, 1))
  return { counts: { answered: sum(lines, status) }, release: () => cutAll(lines) }
}

const answeredAll: Flood['check'] = ({ counts, size }) => ({ 'all were answered so': counts['answered'] === size })

const wide = `[{"channel":"/flood/a","data":{${Array.from({ length: 7_000 }, (_, i) => `"${i.toString(36)}":0`).join(',')}}}]`
const wider = `[{"channel":"/flood/a","data":[${Array<string>(30_000).fill('0').join(',')}]}]`

export const requestFloods: readonly Flood[] = [
  {
    name: 'half-sent',
    title: 'requests that are never sent in full',
    server: 'usual',
    size: 1_000,
    bound: 64,
    held: ({ size }) => size,
    attack: halfSent,
    check: ({ counts, size }) => ({ 'the server closed them all': counts['closed'] === size }),
  },
  {
    name: 'crumbs',
    title: 'bodies in chunks of one byte',
    server: 'usual',
    size: 200,
    bound: 96,
    attack: (port, size) => crumbs(port, size, chunked('POST', '/cometd'), BAD),
    check: answeredAll,
  },
  {
    name: 'crumbs-put',
    title: 'the same with PUT',
    server: 'usual',
    size: 100,
    bound: 96,
    attack: (port, size) => crumbs(port, size, chunked('PUT', '/cometd'), BAD),
    check: answeredAll,
  },
  {
    name: 'crumbs-nowhere',
    title: 'the same to a path that is not there',
    server: 'usual',
    size: 100,
    bound: 96,
    attack: (port, size) => crumbs(port, size, chunked('POST', '/nowhere'), NOT_FOUND),
    check: answeredAll,
  },
  {
    name: 'unread-pipeline',
    title: 'pipelined requests, answers not read',
    server: 'usual',
    size: 100_000,
    bound: 96,
    attack: unreadAnswers,
    check: ({ counts, size }) => ({ 'the server took no more at some time': counts['sent']! < size }),
  },
  {
    name: 'headers',
    title: 'requests with 16 KiB of headers',
    server: 'usual',
    size: 5_000,
    bound: 96,
    attack: (port, size) => again(port, size, post('[]', `X-Long: ${'x'.repeat(16_000)}\r\n`), BAD),
    check: answeredAll,
  },
  {
    name: 'jsonp',
    title: 'JSONP URLs of 8 KiB',
    server: 'usual',
    size: 5_000,
    bound: 96,
    attack(port, size) {
      const message = encodeURIComponent(`[{"channel":"/flood/a","data":"${'x'.repeat(8_000)}"}]`)
      return again(port, size, request('GET', `/cometd?jsonp=call&message=${message}`, 'Sec-Fetch-Site: same-origin\r\n'), OK)
    },
    check: answeredAll,
  },
  {
    name: 'gzip',
    title: 'bodies of 60 KiB that would inflate to 60 MiB',
    server: 'usual',
    size: 1_000,
    bound: 96,
    attack(port, size) {
      const bomb = gzipSync(Buffer.alloc(60_000_000)).toString('latin1')
      const head = `${JSON_TYPE}Content-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n`
      return again(port, size, `POST /cometd HTTP/1.1\r\nHost: server\r\n${head}\r\n${bomb}`, BAD)
    },
    check: answeredAll,
  },
  {
    name: 'deep-arrays',
    title: 'bodies of 64 KiB of [',
    server: 'usual',
    size: 2_000,
    bound: 96,
    attack: (port, size) => again(port, size, post(`${'['.repeat(32_000)}${']'.repeat(32_000)}`), BAD),
    check: answeredAll,
  },
  {
    name: 'deep-objects',
    title: 'bodies of 64 KiB of {"a":',
    server: 'usual',
    size: 2_000,
    bound: 96,
    attack: (port, size) => again(port, size, post(`${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`), BAD),
    check: answeredAll,
  },
  {
    name: 'wide',
    title: 'bodies with 7,000 keys',
    server: 'usual',
    size: 1_000,
    bound: 96,
    attack: (port, size) => again(port, size, post(wide), REFUSED),
    check: answeredAll,
  },
  {
    name: 'wider',
    title: 'bodies with 30,000 items',
    server: 'usual',
    size: 1_000,
    bound: 96,
    attack: (port, size) => again(port, size, post(wider), BAD),
    check: ({ counts, size, limits }) => ({
      'all were answered so': counts['answered'] === size,
      'the limit is counted': limits['maxKeys'] === size,
    }),
  },
]
