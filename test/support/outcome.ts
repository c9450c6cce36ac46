// What a promise of the client comes to in a time that the test lets pass.

import { ClientError } from '../../lib/client/error.js'

export const codeOf = (error: unknown): string => (error instanceof ClientError ? error.code : String(error))

/** The value of a promise, the code of its error, or `still waiting` when the time has passed. */
export async function outcome<T>(promise: Promise<T>, pass: () => Promise<void>): Promise<T | string> {
  let got: T | string = 'still waiting'
  promise.then(
    value => {
      got = value
    },
    error => {
      got = codeOf(error)
    },
  )
  await pass()
  return got
}
