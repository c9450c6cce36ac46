// Whether a history on disk is whole: it is read from one end to the other, by a process of its own.
//
// Knows: that LMDB trusts its file: what is damaged may end the process that reads it, which is then not the server.
// Does not know: what entries mean (lmdb.ts).
// Always true: a directory that was left by `noteLeft` and not touched since is not read again.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const DATA = 'data.mdb'
const LEFT = 'perihelion.left'
/** Some damage leads the reader round in a circle. Ten gigabytes are read in so long, ms. */
const LONGEST = 600_000

/** Whether the directory is as it was left, or new. */
export function isAsLeft(directory: string): boolean {
  if (!existsSync(join(directory, DATA))) return true
  const note = join(directory, LEFT)
  try {
    const left = readFileSync(note, 'utf8')
    rmSync(note)
    return left === stateOf(directory)
  } catch {
    return false // it was not left at all
  }
}

/** Notes how a directory is left, in good order. */
export function noteLeft(directory: string): void {
  try {
    writeFileSync(join(directory, LEFT), stateOf(directory))
  } catch {
    // no room is left for it: it will be read once more
  }
}

/** @throws {Error} it is damaged */
export function verify(directory: string): void {
  const reader = fileURLToPath(new URL('./verify-child.js', import.meta.url))
  const { status, signal, stdout } = spawnSync(process.execPath, [reader, directory], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: LONGEST,
    killSignal: 'SIGKILL',
  })
  if (status === 0) return
  throw new Error(
    `its data is damaged (${stdout.trim() || `reading it ends with ${signal ?? status}`}); move it away, or put a copy in its place`,
  )
}

function stateOf(directory: string): string {
  const { size, mtimeMs } = statSync(join(directory, DATA))
  return `${size} ${mtimeMs}`
}
