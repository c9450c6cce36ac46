// What `client.js` puts into a page: `Perihelion`.

import { Client, ClientError } from './index.js'

Object.assign(globalThis, { Perihelion: { Client, ClientError } })
