// The lock of a history's directory: one server has it at a time.
//
// Knows: how to tell a process that runs from one that is no more, also where another has its number by now.
// Does not know: what is in the directory. LMDB itself lets a second process in, whose positions would be those of the first.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const FILE = 'perihelion.lock'

/** Takes the lock; makes the directory where there is none. @throws {Error} another server has it, or it cannot be written */
export function lock(directory: string): void {
  mkdirSync(directory, { recursive: true })
  const file = join(directory, FILE)
  if (made(file)) return
  const holder = holderOf(file)
  if (holder === process.pid) throw new Error('this process has it already')
  if (holder !== null) throw new Error(`process ${holder} has it`)
  rmSync(file, { force: true }) // of a process that is no more
  if (!made(file)) throw new Error('another process has just taken it')
}

export function unlock(directory: string): void {
  rmSync(join(directory, FILE), { force: true })
}

function made(file: string): boolean {
  try {
    writeFileSync(file, `${process.pid} ${startOf(process.pid)}`, { flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** @returns the number of the process that has the lock; null for one that is no more */
function holderOf(file: string): number | null {
  try {
    const [text, start] = readFileSync(file, 'utf8').split(' ')
    const pid = Number(text)
    if (!Number.isSafeInteger(pid) || pid <= 0) return null
    try {
      process.kill(pid, 0)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EPERM') return null // EPERM: it is there, and another user's
    }
    return startOf(pid) === start ? pid : null
  } catch {
    return null
  }
}

/** When a process that runs began, as Linux counts, and in which life of the machine; '' where that cannot be said. */
function startOf(pid: number): string {
  try {
    const [state, ...fields] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ')
    if (state === 'Z' || state === 'X') return 'over' // it waits for its parent to ask what became of it
    const ticks = fields[18]!
    return `${ticks}@${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}`
  } catch {
    return ''
  }
}
