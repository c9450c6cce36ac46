// How the parts of a benchmark talk: lines on stdin and stdout, one JSON line for each request line.

import { createInterface } from 'node:readline'

/**
 * Answers each line on stdin with one JSON line on stdout, one after the other; ends the process when stdin ends, so that nothing outlives
 * the program that started it.
 */
export function answerLines(answer: (request: string) => Promise<object>): void {
  let before = Promise.resolve()
  createInterface({ input: process.stdin })
    .on('line', request => {
      before = before.then(async () => {
        const reply = await answer(request).catch((error: unknown) => ({
          error: error instanceof Error ? error.message : String(error),
        }))
        process.stdout.write(`${JSON.stringify(reply)}\n`)
      })
    })
    .on('close', () => process.exit())
}
