// The process that all clients of a run live in: `node generator.js`, one JSON line for each command line on stdin.

import type { Target, Transport } from './client.js'
import { Crowd, type CrowdOptions, type LoadOptions } from './crowd.js'
import { answerLines } from './lines.js'
import { type PeerName, peerOf } from './peers/index.js'
import { Publishers, type PublishOptions } from './publishers.js'

export type Command =
  | {
      readonly do: 'gather'
      readonly peer: PeerName
      readonly transports: readonly Transport[]
      readonly target: Target
      readonly crowd: CrowdOptions
    }
  | { readonly do: 'open'; readonly users: number }
  | ({ readonly do: 'load' } & LoadOptions)
  | { readonly do: 'fanout'; readonly times: number; readonly pause: number }
  | ({ readonly do: 'publish' } & PublishOptions)
  | { readonly do: 'churn'; readonly concurrency: number; readonly warmup: number; readonly window: number }
  | { readonly do: 'beginChurn'; readonly concurrency: number; readonly pause: number }
  | { readonly do: 'endChurn' }
  | { readonly do: 'close' }

let crowd: Crowd
let publishers: Publishers

answerLines(async line => {
  const command = JSON.parse(line) as Command
  switch (command.do) {
    case 'gather':
      crowd = new Crowd(
        command.transports.map(transport => peerOf(command.peer).clients[transport]!),
        command.target,
        command.crowd,
      )
      publishers = new Publishers(command.target.port, command.crowd.server)
      return {}
    case 'open':
      return { seconds: await crowd.open(command.users) }
    case 'load':
      return await crowd.load(command)
    case 'fanout':
      return await crowd.fanout(command.times, command.pause)
    case 'publish':
      return await publishers.publish(command)
    case 'churn':
      return await crowd.churn(command.concurrency, command.warmup, command.window)
    case 'beginChurn':
      crowd.beginChurn(command.concurrency, command.pause)
      return {}
    case 'endChurn':
      return { cycles: await crowd.endChurn() }
    case 'close':
      await crowd.close()
      return {}
  }
})
