// clients: what a browser's client does in trouble, beside others. Every one runs in Chromium, in pages of its own, against a server of its
// protocol behind a TCP proxy that is cut and closed. Prints the table of docs/client.md.

import { createServer } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { install } from '../peers/install.js'
import { listen } from '../peers/peer.js'
import { TroubledProxy } from '../proxy.js'
import { bundle, bundleBytes, distBytes, hasTypes, type Rival, rivals, type Serving, serve } from '../rivals.js'
import type { Settings } from '../settings.js'

const CLIENTS = 6
/** How long nothing passes, and how long the way back may take, ms. */
const CUT = 60_000
const BACK = 120_000
/** Connections that come closer together are one try. */
const TRY = 300
const WORDS = ['one', 'two', 'three', 'four', 'five']

interface Seen {
  readonly client: string
  readonly cells: Readonly<Record<string, string>>
}

export async function clients(settings: Settings): Promise<void> {
  install(['faye', 'socket.io'])
  const browser = await chromium.launch({
    executablePath: process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-background-timer-throttling'],
  })
  try {
    const seen = await Promise.all(rivals.map(rival => measure(rival, browser, settings.quick ? 5_000 : CUT)))
    print(seen)
    process.exitCode = 0
  } catch (error) {
    console.error(error)
    process.exitCode = 2
  }
  await browser.close()
  process.exit() // the servers are of this process, and have nobody any more
}

async function measure(rival: Rival, browser: Browser, cut: number): Promise<Seen> {
  const serving = await serve[rival.server]()
  const origin = await servePage(await scriptOf(rival, rival))
  const stage = { rival, serving, browser, origin }
  const [bytes, tries, back, reload, tabs] = await Promise.all([
    sizeOf(rival),
    triesOf(stage, cut),
    rival.fallback ? wayBackOf(stage) : 'not measured: its second transport needs Centrifugo itself',
    reloadOf(stage),
    sharedTabsOf(stage),
  ])
  return {
    client: rival.title(),
    cells: {
      'Bundle, gzipped': bytes,
      Types: hasTypes(rival) ? 'yes' : 'no',
      ...tries,
      'Back on WebSocket, blocked at first': back,
      'Session over a reload': reload,
      'Two tabs': tabs,
      'Timers of a hidden tab': 'not measured: no tab of a headless Chromium is hidden',
    },
  }
}

const scriptOf = ({ from }: Rival, { imports, make }: { readonly imports: string; readonly make: string }): Promise<string> =>
  bundle(from, `${imports}\nglobalThis.make = url => { ${make} }`)

interface Stage {
  readonly rival: Rival
  readonly serving: Serving
  readonly browser: Browser
  readonly origin: string
}

async function sizeOf(rival: Rival): Promise<string> {
  const [bytes, dist] = [await bundleBytes(rival, rival.imports), distBytes(rival)]
  const extensions = 'AckExtension, BinaryExtension, ReloadExtension, TimeSyncExtension'
  const all = rival.title().startsWith('cometd')
    ? `; ${format(await bundleBytes(rival, `import { CometD, ${extensions} } from 'cometd'`))} with ack, binary, reload and timesync`
    : ''
  return `${format(bytes)}${all}${dist === null ? '' : `; its own file ${format(dist)}`}`
}

/** Cuts several at the same moment: when do they try again, and what becomes of words that were published meanwhile? */
async function triesOf(stage: Stage, cut: number): Promise<Record<string, string>> {
  const pages = await Promise.all(Array.from({ length: CLIENTS }, () => openPage(stage)))
  for (const { page } of pages) await connected(page)
  const at = performance.now()
  for (const { way } of pages) way.set('shut')
  await delay(2_000) // it must have seen the cut
  await pages[0]!.page.evaluate(`for (const word of ${JSON.stringify(WORDS)}) client.publish(word); 0`)
  await delay(cut - 2_000)
  const until = performance.now()
  const tries = pages.map(({ way }) => triesIn(way.tries.filter(time => time > at && time < until).map(time => time - at)))
  for (const { way } of pages) way.set('none')
  const back = performance.now()
  await Promise.all(pages.map(({ page }) => connected(page)))
  const took = performance.now() - back
  await arrival(stage.serving, 10_000)
  const words = [...stage.serving.words]
  for (const { context } of pages) await context.close()
  console.log(`${stage.rival.title()} tried after, s`)
  for (const times of tries) console.log(`  ${times.map(time => (time / 1_000).toFixed(1)).join(' ')}`)
  const waits = tries.flatMap(times => times.slice(1).map((time, n) => time - times[n]!))
  // Of those that only wait: the first publishes meanwhile, for which some try at once.
  const fifth = tries.slice(1).flatMap(times => times[4] ?? [])
  return {
    [`Tries in ${cut / 1_000} s of a cut`]: range(
      tries.map(times => times.length),
      0,
      '',
    ),
    'Shortest and longest wait between tries': range(
      waits.map(ms => ms / 1_000),
      1,
      ' s',
    ),
    [`Fifth try of ${CLIENTS - 1} clients cut at once`]: `${range(
      fifth.map(ms => ms / 1_000),
      1,
      ' s',
    )} after the cut`,
    'All back after the cut': `${(took / 1_000).toFixed(1)} s`,
    'Published during the cut':
      words.length === 0 ? 'lost' : `${words.length} of 5 sent${String(words) === String(WORDS) ? ', in order' : `: ${words}`}`,
  }
}

async function arrival({ words }: Serving, ms: number): Promise<void> {
  for (let waited = 0; waited < ms && words.length < WORDS.length; waited += 100) await delay(100)
}

function triesIn(times: readonly number[]): number[] {
  return times.filter((time, n) => n === 0 || time - times[n - 1]! > TRY)
}

/** WebSocket is blocked until the client has settled on something else, then not any more. Nothing is published meanwhile. */
async function wayBackOf(stage: Stage): Promise<string> {
  const { page, way, context } = await openPage(stage, way => way.set('upgrades cut'))
  await connected(page)
  await delay(5_000) // some try WebSocket only once they are connected
  const first = await page.evaluate('client.transport()')
  way.set('none')
  const at = performance.now()
  const came = await page
    .waitForFunction("client.connected() && client.transport() === 'websocket'", undefined, { timeout: BACK, polling: 100 })
    .then(
      () => true,
      () => false,
    )
  await context.close()
  return came
    ? `from ${first} after ${Math.round((performance.now() - at) / 1_000)} s`
    : `no: still ${first} after ${BACK / 1_000} s`
}

async function reloadOf(stage: Stage): Promise<string> {
  const { page, context } = await openPage(stage)
  await connected(page)
  const id = await page.evaluate('client.id()')
  await page.reload()
  await connected(page)
  const kept = (await page.evaluate('client.id()')) === id
  await context.close()
  return kept ? 'kept' : 'new one'
}

async function sharedTabsOf(stage: Stage): Promise<string> {
  const { shared } = stage.rival
  const own = await tabsOf(stage)
  if (shared === undefined) return own
  return `${own}; ${await tabsOf({ ...stage, origin: await servePage(await scriptOf(stage.rival, shared)) })} with SharedClient`
}

async function tabsOf(stage: Stage): Promise<string> {
  const serving = await serve[stage.rival.server]()
  const { page, context } = await openPage({ ...stage, serving })
  await connected(page)
  const other = await context.newPage()
  await other.goto(page.url())
  await connected(other)
  const sessions = serving.sessions()
  await context.close()
  return `${sessions} session${sessions === 1 ? '' : 's'}`
}

/** A page of a browser profile of its own, with a client behind a way of its own. */
async function openPage(
  { rival, serving, browser, origin }: Stage,
  prepare: (way: TroubledProxy) => void = () => {},
): Promise<{ context: BrowserContext; page: Page; way: TroubledProxy }> {
  const way = await TroubledProxy.open(`http://127.0.0.1:${serving.port}/cometd`)
  prepare(way)
  const context = await browser.newContext()
  const page = await context.newPage()
  page.on('pageerror', error => console.error(`${rival.title()}: ${error.message}`))
  await page.goto(`${origin}/#${way.url}`)
  return { context, page, way }
}

async function connected(page: Page): Promise<void> {
  await page.waitForFunction('client.connected()', undefined, { timeout: 120_000, polling: 50 })
}

async function servePage(script: string): Promise<string> {
  const server = createServer((request, response) => {
    if (request.url === '/script.js') response.setHeader('content-type', 'text/javascript; charset=utf-8').end(script)
    else
      response
        .setHeader('content-type', 'text/html; charset=utf-8')
        .end('<!doctype html><script src="/script.js"></script><script>client = make(location.hash.slice(1))</script>')
  })
  return `http://127.0.0.1:${await listen(server)}`
}

const format = (bytes: number): string => `${bytes.toLocaleString('en')} B`

function range(values: readonly number[], digits: number, unit: string): string {
  const [least, most] = [Math.min(...values).toFixed(digits), Math.max(...values).toFixed(digits)]
  return least === most ? `${least}${unit}` : `${least}–${most}${unit}`
}

function print(seen: readonly Seen[]): void {
  console.log(`| | ${seen.map(({ client }) => client).join(' | ')} |`)
  console.log(`| --- |${' --- |'.repeat(seen.length)}`)
  for (const row of Object.keys(seen[0]!.cells)) console.log(`| ${row} | ${seen.map(({ cells }) => cells[row]).join(' | ')} |`)
}
