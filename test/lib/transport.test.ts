// The small parts of the transports, each by itself: bodies, callbacks, cookies, origins, ids, frames.

import { type EventEmitter, once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Writable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import t from 'tap'
import * as ws from 'ws'
import { type FrozenMessage, freeze, freezePublished, IMPATIENT, type Message, parseEnvelope } from '../../bayeux/message.js'
import { resolve } from '../../bayeux/options.js'
import { messageFields, readBody } from '../../lib/body.js'
import { callbackOf, callbackScript } from '../../lib/callback.js'
import { BrowserCookie, readCookie } from '../../lib/cookie.js'
import { FrameBatch, textFrame } from '../../lib/frame.js'
import { randomId } from '../../lib/id.js'
import { transportOptions } from '../../lib/options.js'
import { Origins } from '../../lib/origin.js'
import { certOf, keyOf } from '../support/serving.js'
import { generator } from '../support/world.js'

const SEED = Number(process.env['SEED'] ?? 1)

type Parser = EventEmitter & { write(chunk: Buffer): void }
/** ws has it, its types do not. */
const { Receiver } = ws as unknown as { Receiver: new (options: { isServer: boolean }) => Parser }

t.test('body: JSON or form is told by the body itself, the content type gives only the charset', t => {
  const read = (text: string | Buffer, type = ''): string[] | null => readBody(Buffer.from(text as string), type)
  t.same(read('[{"a":1}]'), ['[{"a":1}]'])
  t.same(read(' \r\n\t{"a":1}', 'application/x-www-form-urlencoded'), [' \r\n\t{"a":1}'], 'JSON in the clothes of a form')
  t.same(read('message=%5B1%5D&message=2&x=3', 'application/x-www-form-urlencoded; charset=UTF-8'), ['[1]', '2'])
  t.same(read('message=a+b%2B', 'text/plain'), ['a b+'], 'a plus is a blank')
  t.equal(read('x=1', 'Application/X-WWW-Form-Urlencoded'), null, 'a form without messages')
  t.same(read('message', 'text/plain'), ['message'], 'not a form, and not JSON either: the parser says so')
  t.equal(read(''), null)
  t.equal(read(' \n'), null)
  t.same(read(Buffer.from('["\xe9"]', 'latin1'), 'text/json;charset=ISO-8859-1'), ['["é"]'])
  t.same(read('["é"]', 'text/json;charset="UTF-8"'), ['["é"]'])
  t.same(read('["é"]', 'text/json;charset=utf8'), ['["é"]'])
  t.same(read(Buffer.from('["é"]', 'utf16le'), 'text/json; charset=utf-16le'), ['["é"]'])
  t.equal(read('[]', 'text/json;charset=klingon'), null)
  t.equal(messageFields('a=1'), null)
  t.same(messageFields('message=1&message='), ['1', ''])
  t.end()
})

t.test('callback: exactly one name of safe characters', t => {
  const of = (query: string): string | null => callbackOf(query, 'jsonp', 64)
  t.equal(of('jsonp=a.b_c-9'), 'a.b_c-9')
  t.equal(of(`jsonp=${'a'.repeat(64)}&message=1`), 'a'.repeat(64))
  for (const query of [
    '',
    'jsonp=',
    `jsonp=${'a'.repeat(65)}`,
    'jsonp=a&jsonp=a',
    'jsonp=a(b',
    'jsonp=a%0Ab',
    'jsonp=a/**/',
    'callback=a',
    'jsonp=%E2%80%A8',
  ])
    t.equal(of(query), null, query)
  t.equal(callbackOf('cb=x', 'cb', 64), 'x', 'under the name of the option')
  t.end()
})

/** What a page gets from a script: evaluated as a script, not parsed as JSON. */
function evaluate(script: string): unknown {
  let argument: unknown
  new Function('cb', script)((value: unknown) => {
    argument = value
  })
  return argument
}

t.test('callback: whatever the data, the script calls the function with it and does nothing else', t => {
  const texts = ['</script>', '<!--', '\u2028\u2029', '"\\', '*/', ');alert(1);(', '\u0000\ud800']
  for (const [index, text] of texts.entries()) {
    const script = callbackScript('cb', JSON.stringify([{ data: text }]))
    t.same(evaluate(script), [{ data: text }], `text ${index}`)
    t.notOk(/[<\u2028\u2029]/.test(script), `text ${index} is escaped`)
    t.ok(script.startsWith('/**/cb('), 'no content sniffer takes it for anything else')
  }
  t.end()
})

t.test('callback: a `__proto__` that somebody published sets nobody’s prototype', t => {
  const [published] = parseEnvelope(
    ['{"channel":"/a","data":1,"__proto__":{"advice":{"reconnect":"none"},"successful":false}}'],
    10,
    10,
    100,
  ) as [Message]
  const frozen = freezePublished(published, '/a', IMPATIENT, null)
  const [message] = evaluate(callbackScript('cb', `[${frozen.json}]`)) as [object]
  t.notOk('advice' in message, 'no advice by the back door (DEV-4)')
  t.notOk('successful' in message)
  t.end()
})

t.test('cookie: read by its exact name, in any company', t => {
  const read = (header?: string): string | null => readCookie(header, 'BAYEUX_BROWSER')
  t.equal(read('a=b; BAYEUX_BROWSER=xyz; c'), 'xyz')
  t.equal(read('BAYEUX_BROWSER="xyz"'), 'xyz')
  t.equal(read(' BAYEUX_BROWSER = x=y '), 'x=y')
  t.equal(read(`a=${'b'.repeat(1_000)}; BAYEUX_BROWSER=xyz`), 'xyz')
  t.equal(read('NOT_BAYEUX_BROWSER=1; bayeux_browser=2'), null)
  for (const header of [undefined, '', 'BAYEUX_BROWSER', 'BAYEUX_BROWSER=', 'BAYEUX_BROWSER=""', ';;=;'])
    t.equal(read(header), null, String(header))
  t.end()
})

t.test('cookie: the attributes stand in CometD’s order, Secure only on secure requests', t => {
  t.equal(new BrowserCookie(resolve(transportOptions, {})).header('id', true), 'BAYEUX_BROWSER=id; Path=/; HttpOnly')
  const all = new BrowserCookie(
    resolve(transportOptions, {
      browserCookieName: 'B',
      browserCookieDomain: 'example.org',
      browserCookiePath: '/p',
      browserCookieMaxAge: 0,
      browserCookieSecure: true,
      browserCookieSameSite: 'None',
      browserCookiePartitioned: true,
    }),
  )
  t.equal(all.header('id', true), 'B=id; Domain=example.org; Path=/p; Max-Age=0; HttpOnly; Secure; SameSite=None; Partitioned')
  t.equal(all.header('id', false), 'B=id; Domain=example.org; Path=/p; Max-Age=0; HttpOnly; SameSite=None; Partitioned')
  t.equal(
    new BrowserCookie(resolve(transportOptions, { browserCookieHttpOnly: false })).header('id', true),
    'BAYEUX_BROWSER=id; Path=/',
  )
  t.end()
})

t.test('origin: the own host, the list, its wildcards, and nothing that only looks like them', t => {
  const list = new Origins(resolve(transportOptions, { allowedOrigins: ['https://app.example', 'https://*.example.org'] }))
  const judge = (origin?: string): string => list.judge(origin, 'chat.example:8080')
  t.equal(judge(), 'same', 'a program')
  t.equal(judge('http://chat.example:8080'), 'same')
  t.equal(judge('http://chat.example'), 'refused', 'another port is another origin')
  t.equal(judge('https://app.example'), 'allowed')
  t.equal(judge('http://app.example'), 'refused', 'another scheme')
  t.equal(judge('https://app.example.evil'), 'refused')
  t.equal(judge('https://a.b.example.org'), 'allowed')
  for (const origin of [
    'https://example.org',
    'https://.example.org',
    'https://evilexample.org',
    'null',
    '',
    '://',
    'chat.example:8080',
  ])
    t.equal(judge(origin), 'refused', origin)
  t.equal(new Origins(resolve(transportOptions, { allowedOrigins: ['*'] })).judge('null', 'x'), 'allowed')
  t.equal(list.headers('https://app.example')['Access-Control-Allow-Origin'], 'https://app.example', 'never *')
  t.equal(list.preflightHeaders()['Access-Control-Max-Age'], '1800')
  t.end()
})

t.test('origin of a callback: what the browser says of the page, and where it says nothing, only if the option takes that', t => {
  const admits = (headers: Record<string, string>, options = {}): boolean =>
    new Origins(resolve(transportOptions, { allowedOrigins: ['https://app.example'], ...options })).admitsCallback(
      headers,
      'chat.example',
    )
  const site = (value: string, referer?: string) => ({
    'sec-fetch-site': value,
    ...(referer === undefined ? null : { referer }),
  })
  t.ok(admits(site('same-origin')))
  t.ok(admits(site('none')), 'a person typed the address')
  t.ok(admits(site('cross-site', 'https://app.example/page?x=1')))
  t.notOk(admits(site('same-site', 'https://other.chat.example/')), 'another host of the same site is another origin')
  t.notOk(admits(site('cross-site', 'https://chat.example.evil/')))
  t.ok(admits({ referer: 'https://chat.example/page' }), 'an old browser, or plain HTTP')
  t.ok(admits({ referer: 'https://app.example/' }))
  t.notOk(admits({ referer: 'https://evil.example/?https://chat.example/' }))
  for (const referer of ['', 'chat.example', 'about:blank', 'https://']) t.notOk(admits({ referer }), referer)
  t.notOk(admits({}))
  t.ok(admits({}, { allowUnknownCallbackOrigin: true }))
  t.notOk(admits(site('cross-site'), { allowUnknownCallbackOrigin: true }), 'it says that it is another one, but not which')
  t.ok(admits(site('cross-site'), { allowedOrigins: ['*'] }))
  t.ok(admits({}, { allowedOrigins: ['*'] }))
  t.end()
})

t.test('id: 26 characters of 36, evenly drawn, none twice', t => {
  const ids = Array.from({ length: 4_000 }, randomId)
  t.ok(ids.every(id => /^[0-9a-z]{26}$/.test(id)))
  t.equal(new Set(ids).size, ids.length)
  const counts = new Map<string, number>()
  for (const character of ids.join('')) counts.set(character, (counts.get(character) ?? 0) + 1)
  const expected = (ids.length * 26) / 36
  t.equal(counts.size, 36)
  t.ok(
    [...counts.values()].every(count => Math.abs(count - expected) < 6 * Math.sqrt(expected)),
    'no character is more than six standard deviations from its share',
  )
  t.end()
})

t.test('frame: what ws reads from it is the text, at every size of the header', async t => {
  for (const length of [0, 1, 125, 126, 127, 65_535, 65_536, 100_000]) {
    const text = 'x'.repeat(length)
    const frame = textFrame(text)
    t.equal(frame.length, length + (length < 126 ? 2 : length < 65_536 ? 4 : 10), `${length} bytes`)
    t.same(await parsed([frame]), [text])
  }
  t.same(await parsed([textFrame('é€😀')]), ['é€😀'], 'the length counts bytes, not characters')
  t.same(await parsed([textFrame('a'), textFrame('b')]), ['a', 'b'])
})

const sized = (...lengths: number[]): FrozenMessage[] =>
  lengths.map(length => freeze({ channel: '/a', data: 'é'.repeat(length) }))

const framed = (messages: readonly FrozenMessage[]): Buffer =>
  Buffer.concat(messages.map(message => textFrame(`[${message.json}]`)))

t.test(
  'frame: a batch is the frames of its messages, one behind the other, in one write, and made once for those who get the same',
  t => {
    const written: Buffer[] = []
    const to = new Writable({
      write(bytes: Buffer, _encoding, done) {
        written.push(bytes)
        done()
      },
    })
    const batch = new FrameBatch()
    const two = sized(10, 100)
    const lists = [
      two,
      [two[0]!],
      [two[1]!, two[0]!],
      [...two, two[0]!, two[0]!],
      sized(10, 100),
      sized(0, 0, 0, 31_000),
      sized(40, 70_000),
    ]
    for (const list of lists.slice(0, -1)) {
      t.ok(batch.write(to, list))
      t.same(written.at(-1), framed(list))
      t.ok(batch.write(to, [...list]))
      t.equal(written.at(-1), written.at(-2), 'the same messages in another list')
    }
    t.notOk(batch.write(to, lists.at(-1)!), 'too long to be copied')
    t.notOk(batch.write(to, sized(40_000, 1)), 'nor here')
    t.ok(batch.write(to, []))
    t.equal(written.pop()?.length, 0, 'nothing of what was too long')
    t.same(
      lists.map(framed).slice(0, -1),
      written.filter((_, i) => i % 2 === 0),
      'who keeps what it was given has it unchanged',
    )
    t.end()
  },
)

t.test('frame: each socket gets its batches whole, however late it reads', async t => {
  const random = generator(SEED)
  const upTo = (most: number): number => Math.floor(random() * most)
  const pairs = []
  for (const isSecure of [false, false, true]) {
    const [cert, key] = [readFileSync(certOf('one')), readFileSync(keyOf('one'))]
    const server = isSecure ? createTlsServer({ cert, key }) : createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const writer = isSecure ? connectTls({ port, ca: cert, servername: 'localhost' }) : connect(port)
    const [reader] = (await once(server, isSecure ? 'secureConnection' : 'connection')) as [Socket]
    server.close()
    pairs.push({ writer, reader, wanted: [] as Buffer[], heard: Promise.resolve(Buffer.alloc(0)) })
  }
  const batch = new FrameBatch()
  let messages = sized(1, 2)
  let waited = 0
  for (let i = 0; i < 3_000; i++) {
    if (upTo(3) > 0)
      messages = [...messages.slice(0, upTo(4)), ...sized(...Array.from({ length: 1 + upTo(4) }, () => upTo(4_000)))]
    const { writer, wanted } = pairs[upTo(pairs.length)]!
    if (upTo(8) === 0) writer.cork()
    if (!batch.write(writer, messages)) t.fail('it is short enough')
    wanted.push(framed(messages))
    waited += writer.writableLength > 0 ? 1 : 0
    if (upTo(4) === 0) process.nextTick(() => writer.uncork())
    if (i === 2_000) for (const pair of pairs) pair.heard = buffer(pair.reader)
    if (upTo(10) === 0) await new Promise(resolve => setImmediate(resolve))
  }
  for (const { writer, heard, wanted } of pairs) {
    while (writer.writableCorked > 0) writer.uncork()
    writer.end()
    t.ok((await heard).equals(Buffer.concat(wanted)), `seed ${SEED}`)
  }
  t.ok(waited > 0 && waited < 3_000, 'some left at once, some waited')
})

/** Messages as ws reads them from a server. */
async function parsed(frames: readonly Buffer[]): Promise<string[]> {
  const receiver = new Receiver({ isServer: false })
  const messages: string[] = []
  receiver.on('message', (data: Buffer, isBinary: boolean) => messages.push(isBinary ? 'binary' : String(data)))
  for (const frame of frames) receiver.write(frame)
  await new Promise(resolve => setImmediate(resolve))
  await new Promise(resolve => setImmediate(resolve))
  return messages
}
