// Reads all of the history in the directory of its argument. What is damaged ends this process, one way or another.

import { type Key, open } from 'lmdb'

/** Beside the entries, whose text is looked at. */
const OTHERS = ['index', 'floors', 'keys', 'key-times', 'meta']
const HEAD_BYTES = 10

try {
  const env = open({ path: process.argv[2]!, maxDbs: 8, readOnly: true })
  const read = (name: string, look: (value: Buffer) => void): void => {
    // nothing has been written to one that is not there
    const database = env.openDB<Buffer, Key>({ name, encoding: 'binary' })
    for (const { value } of database?.getRange() ?? []) look(value)
  }
  read('entries', value => JSON.parse(value.toString('utf8', HEAD_BYTES + value.readUInt16BE(HEAD_BYTES - 2))))
  for (const name of OTHERS) read(name, () => {})
} catch (error) {
  process.stdout.write((error as Error).message.split('\n')[0]!)
  process.exitCode = 1
}
