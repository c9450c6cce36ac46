// Valid traffic, and its mutation: what a client says from handshake to disconnect, with fields, order, cuts and bytes changed.
//
// Knows: conversations as clients have them, and how they are written on each transport.
// Does not know: what is right to answer, beyond how many answers there are.

import type { Hostile } from './envelopes.js'
import { closing, FAREWELL, frame, PING, TEXT, upgrade } from './frames.js'
import { CLOSE, FORM_TYPE, JSON_TYPE, request, script } from './requests.js'

/** One message: the name and the JSON text of each member. */
type Message = readonly (readonly [name: string, text: string])[]
/** Messages that travel together. */
type Unit = readonly Message[]

const message = (members: object): Message => Object.entries(members).map(([name, value]) => [name, JSON.stringify(value)])

/** What a well-behaved client says in a short life; of one that has handshaken already as `clientId`. */
function conversation(hostile: Hostile, clientId: string): Unit[] {
  const channel = hostile.pick(['/traffic/a', '/traffic/b/c', '/service/echo'])
  const ids = ['1', '2', '3', '4', '5', '6', '7', '8', '9'].map(id => ({ id, clientId }))
  const connect = { channel: '/meta/connect', connectionType: hostile.pick(['long-polling', 'websocket', 'callback-polling']) }
  const ext = hostile.chance(0.5) ? { ext: { ack: true, timesync: { tc: 1_700_000_000_000, l: 0, o: 0 } } } : null
  const units = [
    [
      {
        channel: '/meta/handshake',
        id: '0',
        version: '1.0',
        minimumVersion: '1.0',
        supportedConnectionTypes: ['websocket', 'long-polling'],
        ...ext,
      },
    ],
    [{ ...connect, ...ids[1], advice: { timeout: 0 }, ...ext }],
    [
      {
        channel: '/meta/subscribe',
        ...ids[2],
        subscription: hostile.pick(['/traffic/**', '/traffic/a', ['/traffic/a', '/traffic/b/*']]),
      },
    ],
    [
      { channel, ...ids[3], data: { text: 'hello é', n: [1, 2.5, null, true] } },
      { channel: '/traffic/a', ...ids[4], data: 'x'.repeat(300) },
    ],
    [{ ...connect, ...ids[5], advice: { timeout: hostile.pick([0, 20]), interval: 0 } }],
    [
      { channel: '/meta/unsubscribe', ...ids[6], subscription: '/traffic/a' },
      { channel: '/service/echo', ...ids[7], data: { a: 1 } },
    ],
    ...(hostile.chance(0.1) ? [[{ ...connect, ...ids[8] }]] : []), // held
    [{ channel: '/meta/disconnect', id: '10', clientId }],
  ]
  return units.map(unit => unit.map(message))
}

const written = (unit: Unit): string =>
  `[${unit.map(each => `{${each.map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(',')}}`).join(',')}]`

/** Changes what is said, not how it is written: fields, order, company. */
function mutatedUnits(hostile: Hostile, units: Unit[]): Unit[] {
  const result = [...units]
  for (let times = hostile.below(4); times > 0; times--) {
    const at = hostile.below(result.length)
    const unit = result[at] ?? []
    switch (hostile.below(6)) {
      case 0: // twice
        result.splice(hostile.below(result.length + 1), 0, unit)
        break
      case 1: // at another place
        result.splice(hostile.below(result.length), 0, ...result.splice(at, 1))
        break
      case 2: // left out
        if (result.length > 1) result.splice(at, 1)
        break
      case 3: // together with the next
        result.splice(at, 2, [...unit, ...(result[at + 1] ?? [])])
        break
      default:
        result[at] = unit.map(each => mutatedMessage(hostile, each, unit))
    }
  }
  return result
}

function mutatedMessage(hostile: Hostile, members: Message, unit: Unit): Message {
  const at = hostile.below(members.length)
  const [name, text] = members[at]!
  const others = hostile.pick(unit)
  const without = members.filter((_member, i) => i !== at)
  switch (hostile.below(6)) {
    case 0: // without a field
      return without
    case 1: // a field twice
      return [...members, [name, hostile.value(2)]]
    case 2: // under another name
      return [
        ...without,
        [hostile.pick(['__proto__', 'constructor', 'channel', 'clientId', 'data', name.toUpperCase(), '']), text],
      ]
    case 3: // with the value of another
      return [...without, [name, (hostile.pick(others) ?? members[0]!)[1]]]
    case 4: // cut
      return [...without, [name, text.slice(0, hostile.below(text.length + 1))]]
    default:
      return [...without, [name, hostile.value(3)]]
  }
}

/** Changes bytes: others in their place, some more, some fewer, some twice, an end too early. */
export function mutatedBytes(hostile: Hostile, bytes: Buffer): Buffer {
  let result = bytes
  for (let times = 1 + hostile.below(4); times > 0; times--) {
    const from = hostile.below(result.length + 1)
    const to = Math.min(result.length, from + hostile.below(hostile.pick([2, 8, 200])))
    const noise = Buffer.from(Array.from({ length: hostile.below(8) }, () => hostile.below(256)))
    const there = hostile.pick([noise, Buffer.alloc(0), Buffer.concat([result.subarray(from, to), result.subarray(from, to)])])
    result = hostile.chance(0.1)
      ? result.subarray(0, from)
      : Buffer.concat([result.subarray(0, from), there, result.subarray(to)])
  }
  return result
}

/** In pieces of any size, so that the server reads them one by one. */
function cut(hostile: Hostile, bytes: Buffer): Buffer[] {
  if (hostile.chance(0.7)) return [bytes]
  const pieces: Buffer[] = []
  for (let at = 0, size = 0; at < bytes.length; at += size) {
    size = 1 + hostile.below(hostile.pick([3, 50, 1_000]))
    pieces.push(bytes.subarray(at, at + size))
    if (pieces.length > 200) size = bytes.length
  }
  return pieces
}

/** Traffic on one connection. */
export interface Traffic {
  readonly pieces: readonly Buffer[]
  /** How many requests or frames it has, each of them whole and small; null where bytes were changed. */
  readonly whole: number | null
}

function traffic(hostile: Hostile, parts: readonly Buffer[]): Traffic {
  const bytes = Buffer.concat(parts)
  if (hostile.chance(0.5))
    return { pieces: cut(hostile, bytes), whole: parts.every(part => part.length < 8_000) ? parts.length : null }
  return { pieces: cut(hostile, mutatedBytes(hostile, bytes)), whole: null }
}

/** A conversation in POSTs on one connection, in the dialects of several clients. */
export function postTraffic(hostile: Hostile, clientId: string): Traffic {
  const units = mutatedUnits(hostile, conversation(hostile, clientId))
  const posts = units.map((unit, i) => {
    const text = written(unit)
    const headers = i === units.length - 1 ? CLOSE : ''
    switch (hostile.below(4)) {
      case 0:
        return request('POST', '/cometd/', headers + FORM_TYPE, `message=${encodeURIComponent(text)}`)
      case 1: {
        const size = Buffer.byteLength(text).toString(16)
        const head = request('POST', '/cometd', headers + JSON_TYPE)
          .toString('latin1')
          .replace('Content-Length: 0', 'Transfer-Encoding: chunked')
        return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(`${size}\r\n${text}\r\n0\r\n\r\n`)])
      }
      default:
        return request('POST', '/cometd', headers + JSON_TYPE, unit.length === 1 ? text.slice(1, -1) : text)
    }
  })
  return traffic(hostile, posts)
}

/** A conversation in GETs of callback-polling on one connection. */
export function scriptTraffic(hostile: Hostile, clientId: string): Traffic {
  const units = mutatedUnits(hostile, conversation(hostile, clientId))
  return traffic(
    hostile,
    units.map((unit, i) => script(written(unit), i === units.length - 1 ? CLOSE : '')),
  )
}

/** A conversation on a WebSocket, some of it in fragments. */
export function socketTraffic(hostile: Hostile, clientId: string): Traffic {
  const units = mutatedUnits(hostile, conversation(hostile, clientId))
  const frames = units.flatMap(unit => {
    const bytes = Buffer.from(written(unit))
    if (hostile.chance(0.7)) return [frame(TEXT, bytes)]
    const at = hostile.below(bytes.length)
    const between = hostile.pick([[], [frame(PING, 'x')]])
    return [Buffer.concat([frame(TEXT, bytes.subarray(0, at), false), ...between, frame(0, bytes.subarray(at))])]
  })
  return traffic(hostile, [upgrade(), ...frames, hostile.chance(0.5) ? FAREWELL : closing(1000)])
}
