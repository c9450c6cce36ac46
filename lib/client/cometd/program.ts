// The compatibility build for Node: WebSocket by the package `ws`, and cookies kept, as cometd-nodejs-client does.
//
// Knows: that all clients of a process are one browser to each host.
// Does not know: anything else; the rest is index.js.

import { nodeSurroundings } from '../node.js'
import { type Surroundings, surroundings } from '../surroundings.js'
import { CometD as AnyCometD } from './cometd.js'

export * from './index.js'

const browsers = new Map<string, Surroundings>()

function browserOf(url: string): Surroundings {
  const { hostname } = new URL(url)
  let browser = browsers.get(hostname)
  if (browser === undefined) {
    browser = nodeSurroundings()
    browsers.set(hostname, browser)
  }
  return browser
}

/** `CometD` with what Node needs; `adapt()` of cometd-nodejs-client may be called, and has no effect on it. */
export class CometD extends AnyCometD {
  constructor(name?: string) {
    super(name, {
      ...surroundings(),
      fetch: (url, init) => browserOf(url).fetch(url, init),
      openSocket: (url, protocols, headers) => browserOf(url).openSocket!(url, protocols, headers),
    })
  }
}
