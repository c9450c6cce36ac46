// The transcripts over the wire: long-polling (through Fastify and past it), callback-polling and WebSocket against a listening server, and raw HTTP.

import t from 'tap'
import { playHttp } from './http.js'
import { play, TRANSPORTS, transportsOf } from './play.js'
import { check } from './report.js'
import { readTranscripts } from './transcript.js'
import { makeDirectWorld, makeWireWorld } from './wire-world.js'

t.test('the server follows the transcripts', async t => {
  for (const transcript of readTranscripts()) {
    if (transcript.language === 'http') {
      await check(t, transcript, 'HTTP', () => playHttp(transcript, makeWireWorld))
      await check(t, transcript, 'HTTP, direct', () => playHttp(transcript, makeDirectWorld))
      continue
    }
    for (const via of transportsOf(transcript)) {
      await check(t, transcript, TRANSPORTS[via], () => play(transcript, via, makeWireWorld))
      if (via === 'lp') await check(t, transcript, 'long-polling, direct', () => play(transcript, via, makeDirectWorld))
    }
  }
})
