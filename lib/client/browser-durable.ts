// What `client-durable.js` puts into a page: `Perihelion`, with what loses nothing.

import { indexedDbStore, Outbox, Replay } from './durable.js'
import { Client, ClientError } from './index.js'

Object.assign(globalThis, { Perihelion: { Client, ClientError, Replay, Outbox, indexedDbStore } })
