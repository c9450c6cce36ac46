// `SharedClient` for Node, where there are no tabs: the client for Node under this name, for code that runs on both sides.
//
// Does not know: workers (shared.ts).

import type { ChannelMap, Options } from './client.js'
import { Client } from './node.js'
import type { Surroundings } from './surroundings.js'

export * from './node.js'

/** A `Client` like any other, as where there are no shared workers. */
export class SharedClient<Channels extends object = ChannelMap> extends Client<Channels> {
  constructor(url: string | URL, options: Options & { readonly worker?: string | undefined } = {}, around?: Surroundings) {
    const { worker: _worker, ...rest } = options
    super(url, rest, around)
  }
}
