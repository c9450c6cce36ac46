// Appends to the history in the directory of its argument until it is killed, and tells its parent what is kept.

import { LmdbHistory } from '../../../lib/history/lmdb.js'

const history = new LmdbHistory(process.argv[2]!, through => process.send!(through), { now: Date.now() })
const more = (): void => {
  for (let i = 0; i < 7; i++)
    history.append(`/c/${history.tip % 3}`, String(history.tip + 1), { messages: 1e6, age: 1e9, last: false }, Date.now(), null)
  setImmediate(more)
}
more()
