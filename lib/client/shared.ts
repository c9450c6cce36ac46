// A client whose session all tabs of an origin share: what a page loads, and the SharedWorker's script too.
//
// Knows: which of the two this is, how the worker is found.
// Does not know: what they say to each other (shared-line.ts, hub.ts).

import { type ChannelMap, Client, type LineMaker, type Options } from './client.js'
import { Hub } from './hub.js'
import type { Settings } from './line.js'
import { Link, markOf } from './link.js'
import { SharedLine } from './shared-line.js'
import { type Surroundings, surroundings } from './surroundings.js'

export * from './index.js'

/** How the names of its workers begin. */
const OURS = 'perihelion '

/**
 * A `Client` whose connection and session are those of all tabs with the same URL and options, so that many tabs stay under the browser's limit.
 * Where there are no shared workers it is a `Client` like any other.
 */
export class SharedClient<Channels extends object = ChannelMap> extends Client<Channels> {
  /**
   * @param worker address of `client-shared.js`, of the page's origin; by default the server's own
   * @throws {TypeError} the URL is none, or no transport can be had here
   */
  constructor(
    url: string | URL,
    options: Options & { readonly worker?: string | undefined } = {},
    around: Surroundings = surroundings(),
  ) {
    const { worker, ...rest } = options
    const makeLine: LineMaker = (settings, token, around, on) => {
      const name = `${OURS}${JSON.stringify([settings, markOf([token])])}` // other settings or another token are another worker
      const make = (): SharedWorker | null => sharedWorker(worker ?? `${settings.url}/client-shared.js`, name)
      const first = make()
      return first === null ? new Link(settings, token, around, on) : new SharedLine(first, settings, token, around, on, make)
    }
    super(url, rest, around, makeLine)
  }
}

function sharedWorker(script: string, name: string): SharedWorker | null {
  if (typeof SharedWorker === 'undefined') return null
  try {
    return new SharedWorker(script, { name })
  } catch {
    return null // such as a script of another origin
  }
}

/** The worker itself; its name says the settings. A worker with another name is the application's own, which has a client in it. */
interface WorkerScope {
  readonly name: string
  onconnect: ((event: { readonly ports: readonly MessagePort[] }) => void) | null
}

const scope = globalThis as unknown as WorkerScope
if ('onconnect' in globalThis && scope.name.startsWith(OURS)) {
  const [settings] = JSON.parse(scope.name.slice(OURS.length)) as [Settings, number]
  const hub = new Hub(settings, surroundings())
  scope.onconnect = ({ ports }) => hub.add(ports[0]!)
}
