// The frame layer, without a gap: every order of up to four frames, a message cut at every place with control frames between, every close code.
//
// Each series goes to a listening server on a connection of its own, and is answered as RFC 6455 says, in its plainest form (frames.ts).

import assert from 'node:assert/strict'
import t, { type Test } from 'tap'
import {
  BINARY,
  CLOSING,
  CONTINUATION,
  closing,
  FAREWELL,
  type Frame,
  frame,
  heardIn,
  mayBeSent,
  messagesOf,
  PING,
  PONG,
  rightAnswer,
  TEXT,
  upgrade,
} from './frames.js'
import { Target } from './target.js'

const AT_ONCE = 16
t.setTimeout(300_000) // of a busy machine

async function start(t: Test): Promise<Target> {
  const target = await Target.start(false)
  t.teardown(() => target.close())
  return target
}

/** A frame of each kind, as the one with the number `n` of its series; whatever fragments follow each other, their text is a message. */
const KINDS: readonly ((n: number) => Frame)[] = [
  n => made(TEXT, `[{"id":"${n}"}`, false),
  n => made(TEXT, `[{"id":"${n}"}]`),
  () => made(CONTINUATION, ' ', false),
  () => made(CONTINUATION, ']'),
  () => made(BINARY, '[', false),
  () => made(BINARY, '[{}]'),
  n => made(PING, String(n)),
  n => made(PONG, String(n)),
  () => made(CLOSING, Buffer.from([0x03, 0xe9])),
]
const GOODBYE = [made(PING, 'still there?'), made(CLOSING, Buffer.from([0x03, 0xe8]))]

function made(opcode: number, payload: string | Buffer, final = true): Frame {
  return { final, opcode, payload: Buffer.from(payload as string) }
}

/** Every order of so many frames. */
function* orders(length: number): Generator<Frame[]> {
  for (let number = 0; number < KINDS.length ** length; number++)
    yield Array.from({ length }, (_, n) => KINDS[Math.floor(number / KINDS.length ** n) % KINDS.length]!(n))
}

/** A message in so many fragments, with nothing, a ping, a pong or a close before, between and behind them. */
function* interrupted(fragments: number): Generator<Frame[]> {
  const text = '[{"id":"whole"}]'
  const size = Math.ceil(text.length / fragments)
  const parts = Array.from({ length: fragments }, (_, n) =>
    made(n === 0 ? TEXT : CONTINUATION, text.slice(n * size, (n + 1) * size), n === fragments - 1),
  )
  const between = [[], [KINDS[6]!(6)], [KINDS[7]!(7)], [KINDS[8]!(8)]]
  for (let number = 0; number < 4 ** (fragments + 1); number++)
    yield Array.from({ length: fragments + 1 }, (_, n) => [
      ...between[Math.floor(number / 4 ** n) % 4]!,
      ...parts.slice(n, n + 1),
    ]).flat()
}

/** Says all series, some at once. @throws {AssertionError} one was not answered right; it says which */
async function sayAll(
  target: Target,
  all: Iterable<{ name: string; bytes: Buffer; judge: (said: Buffer) => void }>,
): Promise<number> {
  const rest = all[Symbol.iterator]()
  let count = 0
  const lane = async (): Promise<void> => {
    for (let next = rest.next(); next.done !== true; next = rest.next()) {
      const { name, bytes, judge } = next.value
      count++
      try {
        const said = await target.say({ pieces: [Buffer.concat([upgrade(), bytes])], after: 'close', judge: () => [] })
        judge(said)
      } catch (cause) {
        throw new Error(name, { cause })
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  return count
}

function* judged(series: Iterable<Frame[]>): Generator<{ name: string; bytes: Buffer; judge: (said: Buffer) => void }> {
  for (const frames of series) {
    const name = frames.map(({ final, opcode }) => `${opcode}${final ? '' : '…'}`).join(' ')
    const right = rightAnswer([...frames, ...GOODBYE])
    const ids = right.texts.map(text => (JSON.parse(text.toString()) as [{ id: string }])[0].id)
    const judge = (said: Buffer): void => {
      const { texts, pongs, code } = heardIn(said)
      const replies = messagesOf(texts) as { id: string; error: string }[]
      assert.deepEqual([code, pongs], [right.code, right.pongs])
      assert.deepEqual(
        replies.map(({ id, error }) => [id, error]),
        ids.map(id => [id, '400::channel_missing']),
      )
    }
    yield { name, bytes: Buffer.concat([...frames.map(each => frame(each.opcode, each.payload, each.final)), FAREWELL]), judge }
  }
}

t.test('every order of up to four frames', async t => {
  const target = await start(t)
  for (const length of [1, 2, 3, 4])
    t.equal(await sayAll(target, judged(orders(length))), KINDS.length ** length, `${length} frames`)
  await target.settle()
})

t.test('a message in up to four fragments, with pings, pongs and closes before, between and behind them', async t => {
  const target = await start(t)
  for (const fragments of [1, 2, 3, 4])
    t.equal(await sayAll(target, judged(interrupted(fragments))), 4 ** (fragments + 1), `${fragments} fragments`)
  await target.settle()
})

t.test('every close code to 5,000, and every hundredth beyond', async t => {
  const target = await start(t)
  const codes = [...Array.from({ length: 5_001 }, (_, code) => code), ...Array.from({ length: 606 }, (_, i) => 5_035 + i * 100)]
  const series = codes.map(code => ({
    name: `close ${code}`,
    bytes: Buffer.concat([closing(code, 'é'), FAREWELL]),
    judge: (said: Buffer) => {
      const right = mayBeSent(code) ? [code, 'é'] : [1002, '']
      const heard = heardIn(said)
      assert.deepEqual([heard.code, heard.reason, heard.pongs], [...right, []])
    },
  }))
  t.equal(await sayAll(target, series), codes.length)
  t.equal(codes.at(-1), 65_535)
  await target.settle()
})
