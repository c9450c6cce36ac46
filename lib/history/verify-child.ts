// Reads all of the history in the directory of its argument. What is damaged ends this process, one way or another.

import { type Key, open } from 'lmdb'
import { jsonOf } from './layout.js'

/** Beside the entries and their index. */
const OTHERS = ['floors', 'keys', 'key-times', 'meta']

try {
  const env = open({ path: process.argv[2]!, maxDbs: 8, readOnly: true })
  /** @returns how many there are: some damage looks like the end */
  const read = (name: string, look: (value: Buffer) => void): number => {
    const database = env.openDB<Buffer, Key>({ name, encoding: 'binary' })
    if (database === undefined) return 0 // nothing has been written to it
    let count = 0
    for (const { value } of database.getRange()) {
      look(value)
      count++
    }
    const { entryCount } = database.getStats() as { entryCount: number }
    if (count !== entryCount) throw new Error(`${count} of ${entryCount} ${name} are left`)
    return count
  }
  const entries = read('entries', value => JSON.parse(jsonOf(value)))
  const places = read('index', () => {})
  if (entries !== places) throw new Error(`there are ${entries} entries and places of ${places}`)
  for (const name of OTHERS) read(name, () => {})
} catch (error) {
  process.stdout.write((error as Error).message.split('\n')[0]!)
  process.exitCode = 1
}
