// What `client-durable.js` puts into a page: `Perihelion`, whose clients lose nothing, and an outbox that outlives the page.

import { Client, ClientError, indexedDbStore, Outbox } from './durable-index.js'

Object.assign(globalThis, { Perihelion: { Client, ClientError, Outbox, indexedDbStore } })
