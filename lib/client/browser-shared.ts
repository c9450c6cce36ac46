// What `client-shared.js` puts into a page: `Perihelion`, with `SharedClient`. Loaded by a SharedWorker, it is that worker.

import { Client, ClientError, SharedClient } from './shared.js'

Object.assign(globalThis, { Perihelion: { Client, ClientError, SharedClient } })
