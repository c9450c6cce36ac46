// The transcripts on the bare engine, each as if over every transport that it makes sense on; and that none is missing.

import t from 'tap'
import { makeEngineWorld } from './engine-world.js'
import { play, TRANSPORTS, transportsOf } from './play.js'
import { check } from './report.js'
import { readTranscripts } from './transcript.js'

const transcripts = readTranscripts()

t.test('every vector of the protocol reference has a transcript', t => {
  const found = new Set(transcripts.flatMap(({ vectors }) => vectors))
  const all = Array.from({ length: 180 }, (_, index) => index + 1).filter(vector => vector !== 178) // replay is not served yet
  t.same(
    all.filter(vector => !found.has(vector)),
    [],
    'none is missing',
  )
  t.same(
    [...found].filter(vector => !all.includes(vector)),
    [],
    'none is made up',
  )
  t.end()
})

t.test('the engine follows the transcripts', async t => {
  for (const transcript of transcripts) {
    if (transcript.language !== 'bayeux' || transcript.headers.has('wire')) continue
    for (const via of transportsOf(transcript))
      await check(t, transcript, TRANSPORTS[via], () => play(transcript, via, makeEngineWorld))
  }
})
