// Plays a transcript of raw HTTP requests (http.md) against a listening server.

import { request } from '../support/wire.js'
import { difference, fill, Names, parse } from './pattern.js'
import { Mismatch } from './play.js'
import type { Transcript } from './transcript.js'
import { type MakeWireWorld, scriptArgument } from './wire-world.js'
import { SETUPS } from './world.js'

const CALL = /^([A-Za-z0-9._-]+)\((\[.*\])\)$/

interface Exchange {
  readonly line: number
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly status: number
  readonly expectedHeaders: Readonly<Record<string, string>>
  readonly lacks: readonly string[]
  readonly expected: string
}

/** @throws {Mismatch} something else came than the transcript says */
export async function playHttp(transcript: Transcript, makeWorld: MakeWireWorld): Promise<void> {
  const options = parse(transcript.headers.get('options')?.[0] ?? '{}') as Record<string, unknown>
  const setups = (transcript.headers.get('with') ?? []).map(name => SETUPS[name]!)
  const world = await makeWorld(options, setups, [])
  const names = new Names()
  names.set('T', 30_000)
  let cookie: string | null = null
  try {
    for (const exchange of read(transcript)) {
      const { method, path, headers, body, line } = exchange
      const sent: Record<string, string> = {
        'Content-Type': 'application/json',
        ...(cookie === null ? {} : { Cookie: cookie }),
        ...headers,
      }
      for (const [name, value] of Object.entries(sent)) if (value === 'none') delete sent[name]
      const text = bodyOf(body, names)
      const inQuery = method === 'GET' && text !== ''
      const url = `${world.origin}${path}${inQuery ? `${path.includes('?') ? '&' : '?'}${text}` : ''}`
      if (method !== 'POST' && method !== 'PUT' && method !== 'PATCH') delete sent['Content-Type']
      const answer = await request(url, { method, headers: sent }, inQuery || text === '' ? null : text).answer
      const set = answer.headers['set-cookie']?.[0]
      if (set !== undefined) cookie = set.split(';')[0]!
      const fail = (reason: string, expected: string): never => {
        throw new Mismatch(reason, line, expected, { status: answer.status, headers: answer.headers, body: answer.body })
      }
      if (answer.status !== exchange.status) fail('another status', String(exchange.status))
      for (const [name, value] of Object.entries(exchange.expectedHeaders)) {
        const got = answer.headers[name.toLowerCase()]
        if (!headerFits(value, Array.isArray(got) ? got[0] : got)) fail(`header ${name}`, value)
      }
      for (const forbidden of exchange.lacks) if (answer.body.includes(forbidden)) fail('forbidden text', forbidden)
      const found = bodyDifference(exchange.expected, answer.body, names)
      if (found !== null) fail(found, exchange.expected)
    }
  } finally {
    await world.close()
  }
}

function headerFits(expected: string, got: string | undefined): boolean {
  if (expected === 'absent') return got === undefined
  if (got === undefined) return false
  return /^\/.*\/$/.test(expected) ? new RegExp(expected.slice(1, -1)).test(got) : got === expected
}

function bodyDifference(expected: string, got: string, names: Names): string | null {
  if (expected === '') return null
  if (expected === 'empty') return got === '' ? null : 'the body is not empty'
  const call = CALL.exec(expected)
  try {
    if (call === null) return difference(parse(expected), JSON.parse(got), names)
    const path = call[1]!.split('.')
    const callback = path.length === 1 ? call[1]! : 'callback'
    return difference(parse(call[2]!), JSON.parse(scriptArgument(got.replace(call[1]!, callback), callback)), names)
  } catch (error) {
    return String(error)
  }
}

function bodyOf(text: string, names: Names): string {
  const fields = /^form: (.*)$/s.exec(text)
  if (fields !== null) {
    const values = fields[1]!.split(/ & (?=[[{])/).map(value => JSON.stringify(fill(parse(value), names)))
    return new URLSearchParams(values.map(value => ['message', value])).toString()
  }
  const many = /^many(\d+)$/.exec(text)
  if (many !== null) return JSON.stringify(Array.from({ length: Number(many[1]) }, () => ({})))
  const deep = /^deep(\d+)$/.exec(text)
  if (deep !== null) return `[${'{"x":'.repeat(Number(deep[1]) - 2)}{}${'}'.repeat(Number(deep[1]) - 2)}]`
  if (!/^[[{]./.test(text)) return text
  return JSON.stringify(fill(parse(text), names))
}

/** Splits a block where a request follows an answer. */
function read({ lines, line: first, file }: Transcript): Exchange[] {
  const exchanges: Exchange[] = []
  let asked: string[] = []
  let answered: string[] = []
  const finish = (line: number): void => {
    if (asked.length > 0) exchanges.push(readExchange(asked, answered, line))
    asked = []
    answered = []
  }
  for (const [index, text] of lines.entries()) {
    if (text.startsWith('>')) {
      if (answered.length > 0) finish(first + index)
      asked.push(text.slice(2))
    } else if (text.startsWith('<')) answered.push(text.slice(1))
    else throw new SyntaxError(`${file}:${first + index}: neither request nor answer: ${text}`)
  }
  finish(first + lines.length)
  return exchanges
}

function readExchange(asked: readonly string[], answered: readonly string[], line: number): Exchange {
  const [start, ...rest] = asked
  const [method, path] = start!.split(' ')
  const headers: Record<string, string> = {}
  const body: string[] = []
  let inBody = false
  for (const text of rest) {
    if (text === '') inBody = true
    else if (inBody || text.startsWith('form: ')) body.push(text)
    else headers[text.slice(0, text.indexOf(':'))] = text.slice(text.indexOf(':') + 2)
  }
  const expectedHeaders: Record<string, string> = {}
  const lacks: string[] = []
  let expected = ''
  for (const text of answered.slice(1)) {
    const content = text.slice(1)
    if (text.startsWith('!')) lacks.push(JSON.parse(`"${text.slice(2)}"`) as string)
    else if (/^[A-Z][\w-]+: /.test(content))
      expectedHeaders[content.slice(0, content.indexOf(':'))] = content.slice(content.indexOf(':') + 2)
    else expected += content
  }
  return {
    line,
    method: method!,
    path: path!,
    headers,
    body: body.join('\n'),
    status: Number(answered[0]),
    expectedHeaders,
    lacks,
    expected,
  }
}
