// Our build of CometD's API in Chromium, in the pages of npm cometd 9 and cometd-jquery 3 with no more than the script changed.
//
// Knows: which forms of the build visit the server.
// Does not know: what a visit is (visits.ts), the rules every client is held to (conversation.ts).

import t from 'tap'
import { startChromium } from '../support/chromium.js'
import { acrossOrigins, atHome, overReload, TRANSPORTS } from './visits.js'

const browser = await startChromium(t)
const script = { client: 'our cometd.js', page: 'perihelion.html', calls: 'result' } as const
const module = { client: 'our cometd.mjs', page: 'perihelion-module.html', calls: 'result' } as const
const jquery = { client: 'cometd-jquery 3 on our cometd.js', page: 'perihelion-jquery.html', calls: 'result' } as const

for (const visitor of [script, module, jquery]) for (const transport of TRANSPORTS) atHome(t, browser, visitor, transport)
for (const transport of TRANSPORTS) acrossOrigins(t, browser, script, transport)
for (const transport of ['websocket', 'long-polling'] as const)
  overReload(t, browser, { ...module, page: 'reload.html?script=/bundles/cometd.mjs' }, transport)
