// Cases from a seed: hostile envelopes, frames in any order, valid traffic that is mutated, and cases of the tables with bytes changed.
//
// Knows: what is right whatever was said: whole answers, sound by themselves, as many as were asked for, and an end.
// Always true: a case is the same for the same seed, level and number, but for the ids of sessions.

import assert from 'node:assert/strict'
import { METHODS } from 'node:http'
import { bayeuxCases } from './bayeux.js'
import { type Case, type Cast, LEVELS, type Level, type Talk } from './case.js'
import { Hostile } from './envelopes.js'
import { closing, FAREWELL, frame, heardIn, messagesOf, PING, TEXT, upgrade } from './frames.js'
import { httpCases } from './http.js'
import { jsonCases } from './json.js'
import { jsonpCases } from './jsonp.js'
import { answersIn, CLOSE, FORM_TYPE, JSON_TYPE, request, script } from './requests.js'
import { mutatedBytes, postTraffic, scriptTraffic, socketTraffic, type Traffic } from './traffic.js'
import { websocketCases } from './websocket.js'

/** All cases that were written by hand. */
export const tables: Readonly<Record<Level, readonly Case[]>> = {
  http: [...httpCases()],
  json: [...jsonCases()],
  bayeux: [...bayeuxCases()],
  websocket: [...websocketCases()],
  jsonp: [...jsonpCases()],
}

const makers: Readonly<Record<Level, (hostile: Hostile, cast: Cast) => Talk>> = { http, json, bayeux, websocket, jsonp }

/** A request of more may be refused unread. */
const SMALL = 30_000

/** The case of a seed with a number. */
export function randomCase(level: Level, seed: number, index: number): Case {
  return {
    level,
    name: `${level}#${index}`,
    say: cast => {
      const hostile = new Hostile(
        Math.imul(seed, 0x9e3779b1) ^ Math.imul(index * LEVELS.length + LEVELS.indexOf(level) + 1, 0x85ebca6b),
      )
      hostile.clients.push(cast.own, ...cast.others)
      hostile.speaker = hostile.chance(0.7) ? cast.own : null
      // on a socket without a cookie, as bytes that change may leave it, whoever knows a session may have it (protocol reference 4.5): not a healthy one
      return hostile.chance(0.2)
        ? crooked(hostile, hostile.pick(tables[level]).say({ ...cast, healthy: cast.own }))
        : makers[level](hostile, cast)
    },
  }
}

function http(hostile: Hostile, { own }: Cast): Talk {
  if (hostile.chance(0.4)) return inTraffic(hostile, postTraffic(hostile, own))
  const body = hostile.chance(0.5) ? '[{}]' : hostile.batch(0.3)
  switch (hostile.below(4)) {
    case 0: {
      const method = hostile.pick(METHODS.filter(each => each !== 'CONNECT' && each !== 'HEAD'))
      return whole(request(method, '/cometd', CLOSE, body), 1)
    }
    case 1: {
      const several = Array.from({ length: 1 + hostile.below(20) }, () => request('POST', '/cometd', JSON_TYPE, '[{}]'))
      return whole(Buffer.concat([...several, request('POST', '/cometd', CLOSE, '[{}]')]), several.length + 1)
    }
    default: {
      const bytes = request('POST', '/cometd', JSON_TYPE, body)
      for (let times = 1 + hostile.below(4); times > 0; times--)
        bytes[hostile.below(Math.min(bytes.length, 200))] = hostile.below(256) // of the head, mostly
      return crooked(
        hostile,
        { ...whole(bytes, 1), pieces: [bytes.subarray(0, hostile.chance(0.7) ? bytes.length : hostile.below(bytes.length))] },
        false,
      )
    }
  }
}

function json(hostile: Hostile): Talk {
  return onAnyTransport(hostile, hostile.spoiled())
}

function bayeux(hostile: Hostile, { own }: Cast): Talk {
  if (hostile.chance(0.3)) return inTraffic(hostile, postTraffic(hostile, own))
  return onAnyTransport(hostile, hostile.batch(hostile.pick([0.1, 0.1, 0.6])))
}

function jsonp(hostile: Hostile, { own }: Cast): Talk {
  return hostile.chance(0.6) ? inTraffic(hostile, scriptTraffic(hostile, own)) : inScript(hostile.envelope())
}

function websocket(hostile: Hostile, { own }: Cast): Talk {
  if (hostile.chance(0.5)) return onSocket(hostile, socketTraffic(hostile, own))
  const sent = Array.from({ length: 1 + hostile.below(6) }, () => anyFrames(hostile))
  const sound = sent.every(each => each.sound)
  // a sound series ends in a close frame of ours, which the server has to answer; another breaks off
  const bytes = Buffer.concat([upgrade(), ...sent.map(each => each.bytes), ...(sound ? [FAREWELL] : [])])
  return { pieces: [bytes], after: sound ? 'close' : hostile.pick(['half', 'reset']), judge: said => socket(said, sound) }
}

function onAnyTransport(hostile: Hostile, text: string): Talk {
  switch (hostile.below(6)) {
    case 0:
      return inScript(text)
    case 1:
    case 2:
      return {
        pieces: [Buffer.concat([upgrade(), frame(TEXT, text), FAREWELL])],
        after: 'close',
        judge: said => socket(said, true),
      }
    case 3: {
      const form = `message=${encodeURIComponent(wellFormed(text))}&x=1`
      return whole(request('POST', '/cometd/connect', CLOSE + FORM_TYPE, form), 1)
    }
    default: {
      const talk = whole(request('POST', '/cometd', CLOSE + JSON_TYPE, text), 1)
      return hostile.chance(0.05) ? { ...talk, after: 'reset' } : talk
    }
  }
}

function inScript(text: string): Talk {
  return whole(script(wellFormed(text).slice(0, 8_000)), 1)
}

function wellFormed(text: string): string {
  return Buffer.from(text).toString()
}

/** Requests that are answered one by one, whatever is in them. */
function whole(bytes: Buffer, due: number): Talk {
  return { pieces: [bytes], after: 'close', judge: said => answers(said, bytes.length < SMALL * due ? due : null) }
}

function inTraffic(hostile: Hostile, { pieces, whole }: Traffic): Talk {
  if (whole !== null) return { pieces, after: 'close', judge: said => answers(said, whole) }
  return { pieces, after: hostile.pick(['half', 'half', 'reset']), judge: said => answers(said, null) }
}

function onSocket(hostile: Hostile, { pieces, whole }: Traffic): Talk {
  if (whole !== null) return { pieces, after: 'close', judge: said => socket(said, true) }
  return { pieces, after: hostile.pick(['half', 'half', 'reset']), judge: said => socket(said, false) }
}

/** A case of a table with some of its bytes changed: what is right for it is not known, but that it is answered soundly is. */
function crooked(hostile: Hostile, { pieces }: Talk, change = true): Talk {
  const bytes = Buffer.concat(pieces)
  return {
    pieces: [change ? mutatedBytes(hostile, bytes) : bytes],
    after: hostile.pick(['half', 'half', 'half', 'reset']),
    judge: said => (said.subarray(0, 12).toString() === 'HTTP/1.1 101' ? socket(said, false) : answers(said, null)),
  }
}

/** @param due how many answers there must be; null where the server may have ended the connection before */
function answers(said: Buffer, due: number | null): readonly number[] {
  const found = answersIn(said)
  if (due !== null) assert.equal(found.length, due, 'answers')
  return found.map(({ status }) => status)
}

/** All that the server says on a socket is sound; with `closes` it must have said goodbye. */
function socket(said: Buffer, closes: boolean): readonly number[] {
  const { status, texts, code } = heardIn(said)
  messagesOf(texts)
  if (!closes) return []
  assert.equal(status, 101)
  assert(code !== null, 'no close frame')
  return [code]
}

/** Frames of all kinds. `sound`: nothing in them entitles the server to fall silent. */
function anyFrames(hostile: Hostile): { bytes: Buffer; sound: boolean } {
  const text = Buffer.from(hostile.envelope())
  const sound = (bytes: Buffer) => ({ bytes, sound: true })
  switch (hostile.below(16)) {
    case 0:
      return sound(frame(2, text))
    case 1: {
      const at = hostile.below(text.length)
      return sound(
        Buffer.concat([
          frame(TEXT, text.subarray(0, at), false),
          ...(hostile.chance(0.5) ? [frame(PING)] : []),
          frame(0, text.subarray(at)),
        ]),
      )
    }
    case 2:
      return sound(frame(hostile.below(16), text.subarray(0, 200)))
    case 3:
      return sound(frame(TEXT, text, true, { reserved: hostile.below(8) }))
    case 4:
      return sound(frame(TEXT, Buffer.from('5b22fffec080225d', 'hex'))) // not UTF-8
    case 5:
      return sound(frame(TEXT, text, true, { masked: false }))
    case 6:
      return sound(frame(TEXT, Buffer.alloc(70_000, 0x20)))
    case 7:
      return { bytes: frame(TEXT, text.subarray(0, 50), true, { length: 2 ** hostile.pick([8, 17, 31, 40, 53]) }), sound: false } // says more than comes
    case 8:
      return sound(hostile.chance(0.5) ? closing(hostile.below(5_500)) : frame(8, Buffer.alloc(hostile.below(3), 0xff)))
    case 9:
      return sound(frame(PING, Buffer.alloc(hostile.pick([0, 125, 126, 1_000]))))
    case 10:
      return { bytes: Buffer.from(Array.from({ length: 40 }, () => hostile.below(256))), sound: false }
    case 11:
      return sound(frame(TEXT, hostile.pick(['', ' ', 'null', '[]', ' [ ] '])))
    default:
      return sound(frame(TEXT, text, hostile.chance(0.95)))
  }
}
