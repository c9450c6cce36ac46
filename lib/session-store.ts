// Sessions in a file, from one process to the next.
//
// Knows: that the file holds secrets, and holds them once: who reads it takes it away, or a crash later would bring back what is over.
// Does not know: what is in a session (bayeux/saving.ts).

import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { uptime } from 'node:os'
import type { SavedSession } from '../bayeux/index.js'

const VERSION = 1
/** Sessions that were written longer ago are over for their clients too, ms. */
const OLDEST = 600_000

/** A moment, ms: by the clock that people and time servers set, and by the machine's own since it started. */
export interface Moment {
  readonly at: number
  readonly up: number
}

const now = (): Moment => ({ at: Date.now(), up: uptime() * 1_000 })

export class SessionStore {
  constructor(private readonly file: string) {}

  /** Writes one line a session, whole or not at all. */
  async save(sessions: readonly SavedSession[], moment = now()): Promise<void> {
    const lines = [{ version: VERSION, ...moment }, ...sessions].map(line => JSON.stringify(line))
    const draft = `${this.file}.${process.pid}`
    await writeFile(draft, `${lines.join('\n')}\n`, { mode: 0o600 })
    await rename(draft, this.file)
  }

  /** @returns what the process before left behind, if that is not too long ago @throws {Error} the file cannot be read, or is not what `save` writes */
  async take({ at, up }: Moment = now()): Promise<readonly SavedSession[]> {
    let text: string
    try {
      text = await readFile(this.file, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
    await rm(this.file)
    const [head, ...sessions] = text
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    if (head?.version !== VERSION)
      throw new Error(`${this.file} is of version ${head?.version}, this program knows version ${VERSION}`)
    // The clock may have been set meanwhile; the machine's own only begins anew when it starts, and then says too little rather than too much.
    const age = head.up <= up ? up - head.up : at - head.at
    return age > OLDEST ? [] : (sessions as SavedSession[])
  }
}
