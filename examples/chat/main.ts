// The chat room: what `npm start` runs. A server as `perihelion serve` starts it, with the same flags, and the demo added.
import { main } from '../../lib/index.js'
import { extend } from './demo.js'
import { chatRules } from './service.js'

await main(process.argv.slice(2), { extend, direct: true, channels: chatRules })
