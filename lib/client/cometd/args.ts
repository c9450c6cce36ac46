// The forms in which the API takes its arguments, and the checks of them.
//
// Source: npm `cometd` 9, whose texts these are: pages may show them.

import type { Callback, Props } from './types.js'

/** What of a channel's name is checked here; the rest of the grammar is the server's to judge. */
export const CHANNEL = /^\/[A-Za-z0-9 !#$()*+\-./@_{~}]+$/

/** @throws {Error} as the library's callers know it */
export function enough(given: number, required: number): void {
  if (given < required) throw new Error(`Illegal arguments number: required ${required}, got ${given}`)
}

/** @throws {Error} */
export function usable(channel: unknown): void {
  if (typeof channel !== 'string' || !CHANNEL.test(channel)) throw new Error(`Illegal argument: invalid channel ${channel}`)
}

/** `(props, callback)` or `(callback)`. */
export function propsOf([first, second]: readonly unknown[]): [Props | undefined, Callback | undefined] {
  if (typeof first === 'function') return [undefined, first as Callback]
  return [first as Props | undefined, typeof second === 'function' ? (second as Callback) : undefined]
}

/** The arguments up to the callback, wherever that comes. */
export function upToCallback(given: readonly unknown[]): [rest: readonly unknown[], callback: Callback | undefined] {
  const at = given.findIndex(each => typeof each === 'function')
  return at < 0 ? [given, undefined] : [given.slice(0, at), given[at] as Callback]
}

export function binary(props: unknown): Props {
  const { ext, ...rest } = (props ?? {}) as { readonly ext?: object }
  return { ...rest, ext: { ...ext, binary: {} } }
}
