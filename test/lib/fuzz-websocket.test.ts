// Hostile envelopes and broken frames against a listening server, over WebSocket.
//
// Whatever comes, each frame of the server is a JSON array, a pong or the close frame; the server lives, and nothing stays.
// What is sent comes from one seed (`SEED=n`); a failure prints it and the bytes.

import assert from 'node:assert/strict'
import t from 'tap'
import { Hostile } from '../support/hostile.js'
import { COOKIE, SEED, Seen, sayAll, someSessions, startTarget, type Talk } from '../support/target.js'

const seen = new Seen()
const UPGRADE = Buffer.from(
  `GET /cometd HTTP/1.1\r\nHost: x\r\n${COOKIE}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
)
const PING = frame(0x89, Buffer.from('?'))

/** A frame as a client sends it. `length`: another than is true. */
function frame(first: number, payload: Buffer, masked = true, length = payload.length): Buffer {
  const mask = Buffer.from([0x12, 0x34, 0x56, 0x78])
  const header = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10)
  header[0] = first
  if (length < 126) header[1] = length
  else if (length < 65_536) {
    header[1] = 126
    header.writeUInt16BE(length, 2)
  } else {
    header[1] = 127
    header.writeBigUInt64BE(BigInt(length), 2)
  }
  if (!masked) return Buffer.concat([header, payload])
  header[1]! |= 0x80
  return Buffer.concat([header, mask, payload.map((byte, i) => byte ^ mask[i % 4]!)])
}

/** Frames of all kinds. `sound`: nothing in them entitles the server to fall silent. */
function frames(hostile: Hostile): { bytes: Buffer; sound: boolean } {
  const text = Buffer.from(hostile.envelope())
  switch (hostile.below(16)) {
    case 0:
      return { bytes: frame(0x82, text), sound: true } // binary
    case 1: {
      const cut = hostile.below(text.length)
      const parts = [frame(0x01, text.subarray(0, cut)), ...(hostile.chance(0.5) ? [PING] : []), frame(0x80, text.subarray(cut))]
      return { bytes: Buffer.concat(parts), sound: true }
    }
    case 2:
      return { bytes: frame(0x80 | hostile.below(16), text.subarray(0, 200)), sound: true } // any opcode
    case 3:
      return { bytes: frame(0x81 | (hostile.below(8) << 4), text), sound: true } // reserved bits: compressed
    case 4:
      return { bytes: frame(0x81, Buffer.from([0x5b, 0x22, 0xff, 0xfe, 0xc0, 0x80, 0x22, 0x5d])), sound: true } // not UTF-8
    case 5:
      return { bytes: frame(0x81, text, false), sound: true } // without a mask
    case 6:
      return { bytes: frame(0x81, Buffer.alloc(70_000, 0x20)), sound: true } // too big
    case 7:
      return { bytes: frame(0x81, text.subarray(0, 50), true, 2 ** hostile.pick([8, 17, 31, 40, 53])), sound: false } // says more than comes
    case 8:
      return {
        bytes: frame(0x88, Buffer.from(hostile.pick([[], [3], [3, 232], [0, 0], [3, 237], [255, 255, 255]]))),
        sound: true,
      } // close
    case 9:
      return { bytes: frame(0x89, Buffer.alloc(hostile.pick([0, 125, 126, 1_000]))), sound: true } // ping, too long a ping
    case 10:
      return { bytes: Buffer.from(Array.from({ length: 40 }, () => hostile.below(256))), sound: false }
    case 11:
      return { bytes: frame(0x81, Buffer.from(hostile.pick(['', ' ', 'null', '[]', ' [ ] ']))), sound: true }
    default:
      return { bytes: frame(0x81, text), sound: true }
  }
}

function* sockets(hostile: Hostile, count: number): Generator<Talk> {
  for (let i = 0; i < count; i++) {
    const sent = Array.from({ length: 1 + hostile.below(6) }, () => frames(hostile))
    const sound = sent.every(each => each.sound)
    // a sound series ends in a close frame of ours, which the server has to answer; another breaks off
    const bytes = Buffer.concat([
      UPGRADE,
      ...sent.map(each => each.bytes),
      ...(sound ? [PING, frame(0x88, Buffer.from([3, 232]))] : []),
    ])
    yield { bytes, after: sound ? 'close' : hostile.pick(['half', 'reset']), answers: null }
  }
}

/** All that the server says on a socket is text frames of JSON arrays, pongs, and one close frame with a code that fits. */
function judgeSocket({ after }: Talk, said: Buffer, closed: boolean): void {
  assert(closed, 'the server does not end it')
  if (said.length === 0 && after !== 'close') return
  assert.match(said.toString('latin1'), /^HTTP\/1\.1 101 /)
  let at = said.indexOf('\r\n\r\n') + 4
  let ended = false
  while (at < said.length) {
    assert(!ended, 'a frame after the close frame')
    const first = said[at]!
    const short = said[at + 1]!
    assert(short < 0x80, 'a masked frame from the server')
    const header = short < 126 ? 2 : short === 126 ? 4 : 10
    if (at + header > said.length) return
    const length = short < 126 ? short : short === 126 ? said.readUInt16BE(at + 2) : Number(said.readBigUInt64BE(at + 2))
    if (at + header + length > said.length) return // broken off
    const payload = said.subarray(at + header, at + header + length)
    at += header + length
    if (first === 0x8a) continue
    if (first === 0x88) {
      ended = true
      if (length === 0) continue
      const code = payload.readUInt16BE(0)
      seen.add(code)
      assert([1000, 1002, 1007, 1009, 1011].includes(code), `code ${code}`)
      continue
    }
    assert.equal(first, 0x81, 'an unfragmented text frame')
    const messages = JSON.parse(payload.toString()) as unknown
    assert(Array.isArray(messages) && messages.length > 0, 'a frame without messages')
  }
  if (after === 'close') assert(ended, 'no close frame')
}

t.test('hostile frames and envelopes over WebSocket', async t => {
  const { it, port, settled, alive } = await startTarget(t)
  const hostile = new Hostile(SEED + 2)
  for (let round = 0; round < 10; round++) {
    await someSessions(it.url, hostile)
    await sayAll(port, sockets(hostile, 200), judgeSocket)
  }
  seen.check(t, [1000, 1002, 1007, 1009, 1011])
  await alive()
  await settled()
})
