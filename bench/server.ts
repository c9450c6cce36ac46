// The process that one Node peer runs in: `node server.js <peer> <ServeOptions as JSON>`.
//
// Says {"port":n} when it listens. Then, one JSON line for each line on stdin: `collect` frees what can be freed, `sessions` counts them,
// `profile` and `profiled` begin and end a CPU profile. java/Main.java does the same for its own.

import { Session } from 'node:inspector/promises'
import { answerLines } from './lines.js'
import { type PeerName, peerOf } from './peers/index.js'
import type { ServeOptions } from './peers/peer.js'

const [, , name, options] = process.argv
const running = await peerOf(name as PeerName).serve!(JSON.parse(options!) as ServeOptions)
const profiler = new Session()

process.stdout.write(`${JSON.stringify({ port: running.port })}\n`)
answerLines(async request => {
  switch (request) {
    case 'collect':
      await collect()
      break
    case 'profile':
      profiler.connect()
      await profiler.post('Profiler.enable')
      await profiler.post('Profiler.setSamplingInterval', { interval: 200 })
      await profiler.post('Profiler.start')
      break
    case 'profiled':
      return await profiler.post('Profiler.stop')
  }
  return { sessions: running.sessions() }
})

/** Several times, since what finalizers free is only found the next time. */
async function collect(): Promise<void> {
  for (let i = 0; i < 4; i++) {
    global.gc!()
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}
