// One assertion for each transcript and way of playing it; a failure shows the line, what was expected and what came.

import type { Test } from 'tap'
import { Mismatch } from './play.js'
import type { Transcript } from './transcript.js'

export async function check(t: Test, transcript: Transcript, way: string, run: () => Promise<void>): Promise<void> {
  const name = `${transcript.file.replace('.md', '')} ${transcript.title} (${way}, line ${transcript.line})`
  try {
    await run()
    t.pass(name)
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error
    const { message, line, expected, got } = error
    t.fail(name, {
      where: `test/transcripts/${transcript.file}:${line}`,
      reason: message,
      expected,
      got: JSON.stringify(got),
      stack: '',
    })
  }
}
