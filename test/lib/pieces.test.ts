// Bodies in pieces: put together as they came, within their limits.

import { Readable } from 'node:stream'
import t from 'tap'
import { gather, Pieces } from '../../lib/pieces.js'

const bytes = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => (i * 7) & 255))

t.test('pieces of any size make the body that was cut into them', t => {
  const whole = bytes(10_000)
  for (const size of [1, 2, 63, 64, 1_000, 9_999, 10_000]) {
    const pieces = new Pieces(10_000)
    const count = size < 16 ? 1_000 : 10_000 / size
    const part = whole.subarray(0, Math.min(10_000, count * size))
    for (let at = 0; at < part.length; at += size) t.equal(pieces.add(part.subarray(at, at + size)), null)
    t.same(pieces.body(), part, `of ${size}`)
  }
  t.equal(new Pieces(10).body().length, 0)
  t.end()
})

t.test('one piece is not copied, many take at most twice their bytes, and never more than the limit', t => {
  const piece = bytes(100)
  const one = new Pieces(1_000)
  one.add(piece)
  t.equal(one.body().buffer, piece.buffer)
  for (const [limit, room] of [
    [100_000, 40_200],
    [25_000, 25_000],
  ] as const) {
    const many = new Pieces(limit)
    for (let i = 0; i < 201; i++) many.add(bytes(100))
    t.ok(many.body().buffer.byteLength <= room, `${many.body().buffer.byteLength} for 20,100`)
  }
  t.end()
})

t.test('a body that is too large is refused, and so is one in too many pieces', t => {
  const large = new Pieces(1_000)
  t.equal(large.add(bytes(600)), null)
  t.equal(large.add(bytes(400)), null)
  t.equal(large.add(bytes(1)), 'too_large')
  const crumbs = new Pieces(100_000)
  let taken = 0
  while (crumbs.add(bytes(1)) === null) taken++
  t.ok(taken >= 1_000 && taken < 1_020, `${taken} bytes one by one`)
  const small = new Pieces(1_000_000)
  for (let i = 0; i < 10_000; i++) if (small.add(bytes(64)) !== null) t.fail(`piece ${i} of 64 bytes`)
  t.end()
})

t.test('a stream is read to its end, its refusal or its break, and let go', async t => {
  const read = (stream: Readable) =>
    new Promise<unknown[]>(resolve => gather(stream, 10, (refused, body) => resolve([refused, body.toString()])))
  const streams: [stream: Readable, expected: unknown[]][] = [
    [Readable.from([Buffer.from('ab'), 'c', 'é']), [null, 'abcé']],
    [Readable.from([]), [null, '']],
    [Readable.from([Buffer.from('12345678901')]), ['too_large', '']],
    [new Readable({ read: () => undefined }), ['broken', '']],
  ]
  setImmediate(() => streams[3]![0].destroy(new Error('aborted')))
  for (const [stream, expected] of streams) {
    const [refused, body] = await read(stream)
    t.same([refused, refused === null ? body : ''], expected)
    t.same([stream.listenerCount('data'), stream.listenerCount('error')], [0, 0])
  }
})
