// Troubles of the network, in Chromium: after each the page has heard every message once and in order.
//
// Knows: which troubles there are, and how each is made.
// Does not know: what a page must have heard (stage.ts).

import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Trouble } from '../../bench/proxy.js'
import { startChromium, Tab } from '../support/chromium.js'
import { HiddenTab } from './hidden.js'
import { Stage } from './stage.js'

// Pages of one profile share a process, which costs less than one for each. They have the server's cookie from the first on.
const browser = await startChromium(t, '--process-per-site')
const profile = await browser.newContext()
await profile.addCookies([{ name: 'BAYEUX_BROWSER', value: 'thebrowserofthem', domain: '127.0.0.1', path: '/' }])

t.jobs = 10
t.setTimeout(240_000)

/** Runs beside the others, since most of the time is waiting. Its comments tell how long a page took until it was whole again. */
function trouble(name: string, run: (t: Test) => Promise<void>): void {
  void t.test(name, { buffered: true }, run)
}

const TRANSPORTS = ['websocket', 'long-polling'] as const
const by = (transport: string): object => (transport === 'websocket' ? {} : { options: { transports: [transport] } })
const TALK = 'client.talk(700)'
const names = Array.from({ length: 10 }, (_, n) => `tab${n}`)

/** The session outlives what happens; or it does not. */
const LIVES = { maxInterval: 120_000 }
const DIES = { timeout: 3_000, maxInterval: 1_000 }

for (const [way, seconds, transport, options] of [
  ['shut', 60, 'websocket', LIVES],
  ['hole', 60, 'websocket', LIVES],
  ['hole', 60, 'long-polling', LIVES],
  ['shut', 60, 'websocket', DIES],
  ['shut', 5, 'websocket', LIVES],
  ['shut', 5, 'long-polling', LIVES],
  ['hole', 5, 'websocket', LIVES],
  ['hole', 5, 'long-polling', LIVES],
  ['stall', 5, 'websocket', LIVES],
  ['stall', 5, 'long-polling', LIVES],
] as const) {
  const what = { shut: 'network cut', hole: 'network a black hole', stall: 'network stalled' }[way]
  const name = `${what} for ${seconds} s, ${transport}${options === DIES ? ', session lost' : ''}`
  trouble(name, async t => {
    const stage = await Stage.open(t, profile, options)
    const tab = await stage.page(by(transport))
    await tab.read(TALK)
    stage.proxy.set(way)
    await delay(seconds * 1_000)
    await stage.mend(name, tab)
    await stage.judge(tab, { lost: options === DIES ? 1 : 0 })
    t.equal(stage.sessions.length, options === DIES ? 2 : 1, 'sessions')
  })
}

for (const [how, transport] of [
  ['end', 'websocket'],
  ['crash', 'websocket'],
  ['crash', 'long-polling'],
] as const) {
  const name = `server restarted after ${how === 'end' ? 'its end' : 'a crash'}, ${transport}`
  trouble(name, async t => {
    const stage = await Stage.open(t, profile)
    const tab = await stage.page(by(transport))
    await tab.read(TALK)
    await stage.stop(how)
    await delay(1_000)
    await stage.mend(name, tab, () => stage.start())
    await stage.judge(tab, { lost: 1 })
  })
}

for (const [transport, options] of [
  ['websocket', LIVES],
  ['long-polling', LIVES],
  ['websocket', DIES],
] as const) {
  const name = `asleep for 20 s, ${transport}${options === DIES ? ', session lost' : ''}`
  trouble(name, async t => {
    const stage = await Stage.open(t, profile, options)
    const tab = await stage.page(by(transport))
    await tab.read(TALK)
    const devtools = await stage.context.newCDPSession(tab.page)
    await devtools.send('Page.setWebLifecycleState', { state: 'frozen' })
    stage.proxy.set('hole')
    await delay(20_000)
    stage.proxy.set('none') // what fell into the hole stays there: its connections are dead, and nobody says so
    await stage.mend(name, tab, () => devtools.send('Page.setWebLifecycleState', { state: 'active' }))
    await stage.judge(tab, { lost: options === DIES ? 1 : 0 })
    t.equal(stage.sessions.length, options === DIES ? 2 : 1, 'sessions')
  })
}

trouble('hidden, network cut for 5 s', async t => {
  const stage = await Stage.open(t, profile, LIVES)
  const tab = await HiddenTab.open(browser, stage.url())
  await stage.hears(tab)
  await tab.read(TALK)
  stage.proxy.set('shut')
  await delay(5_000)
  await stage.mend('hidden, network cut for 5 s', tab)
  t.equal(await tab.read('document.visibilityState'), 'hidden', 'without being looked at')
  await stage.judge(tab)
  t.equal(stage.sessions.length, 1, 'in one session')
})

for (const transport of TRANSPORTS) {
  trouble(`page reloaded, ${transport}`, async t => {
    const stage = await Stage.open(t, profile)
    const tab = await stage.page(by(transport))
    const clientId = await tab.read('client.clientId')
    for (const n of [1, 2, 3]) {
      await tab.read(TALK)
      await stage.mend(`page reloaded (${n}), ${transport}`, tab, async () => {
        await tab.page.reload()
        await tab.until('window.client !== undefined', 'the page to be loaded again')
      })
    }
    t.equal(await tab.read('client.clientId'), clientId, 'the page keeps its session')
    await stage.judge(tab)
    t.same(stage.sessions, [clientId], 'there was no other')
  })
}

trouble('tab duplicated', async t => {
  const stage = await Stage.open(t, profile)
  const tab = await stage.page()
  await tab.page.reload() // what it kept for itself is gone from where a copy would look
  await tab.until('window.client !== undefined', 'the tab to be loaded again')
  await stage.hears(tab)
  const opened = tab.page.waitForEvent('popup')
  await tab.read(`void open(${JSON.stringify(stage.url({ name: 'copy' }))})`)
  const copy = new Tab(await opened)
  await copy.until('window.client !== undefined', 'the copy to be loaded')
  await stage.mend('tab duplicated', copy, () => copy.ask('connected'))
  await tab.page.reload()
  await tab.until('window.client !== undefined', 'the first tab to be loaded again')
  await stage.hears(tab)
  await stage.judge(copy, { name: 'copy' })
  await stage.judge(tab)
  t.same(stage.sessions, [await tab.read('client.clientId'), await copy.read('client.clientId')], 'each has a session of its own')
})

for (const transport of [...TRANSPORTS, 'shared']) {
  trouble(`ten tabs of one page, ${transport}`, async t => {
    const stage = await Stage.open(t, profile, LIVES, 1_000)
    const query = transport === 'shared' ? ({ shared: true } as const) : by(transport)
    const tabs = await Promise.all(names.map(name => stage.page({ name, ...query })))
    const sessions = transport === 'shared' ? 1 : 10
    t.equal(stage.sessions.length, sessions, 'sessions')
    for (const tab of tabs) await tab.read('client.talk(2000)')
    stage.proxy.set('shut')
    await delay(3_000)
    await stage.mend(`ten tabs of one page, network cut for 3 s, ${transport}: all ten`, {
      errors: [],
      read: async (...given) => (await Promise.all(tabs.map(tab => tab.read(...given))))[0] as never,
    })
    for (const tab of tabs) await tab.read('client.hush()')
    for (const [i, tab] of tabs.entries()) await stage.judge(tab, { name: names[i]! })
    t.equal(stage.sessions.length, sessions, 'none was lost')
    if (transport === 'shared') await leaveOneByOne(t, stage, tabs)
  })
}

async function leaveOneByOne(t: Test, stage: Stage, tabs: Tab[]): Promise<void> {
  const last = tabs.at(-1)!
  for (const tab of tabs.slice(0, -1)) await tab.page.close()
  await stage.mend('ten tabs of one page, shared: all but one are closed', last, () => {})
  await stage.judge(last, { name: names.at(-1)! })
  t.equal(stage.sessions.length, 1, 'still one session')
  const ended = new Promise(resolve => stage.bayeux.on('removed', (_session, reason) => resolve(reason)))
  await last.page.close()
  t.equal(await ended, 'disconnected', 'and ends with the last tab')
}

trouble('tabs that share a session crash', async t => {
  const own = await startChromium(t) // each tab in a process of its own
  const stage = await Stage.open(t, await own.newContext())
  const first = await stage.page({ name: 'first', shared: true })
  const second = await stage.page({ name: 'second', shared: true })
  const tab = await stage.page({ shared: true })
  await tab.read(TALK)
  const crash = async ({ page }: Tab): Promise<void> => {
    const crashed = page.waitForEvent('crash')
    const devtools = await stage.context.newCDPSession(page)
    devtools.send('Page.crash').catch(() => {}) // it does not live to answer
    await crashed
  }
  await stage.mend('crash of a tab that shared a session', tab, () => crash(second))
  t.equal(stage.sessions.length, 1, 'the others keep the session')
  await stage.mend('crash of the tab that had made the shared worker', tab, () => crash(first))
  await stage.judge(tab, { lost: 1 })
  t.equal(stage.sessions.length, 2, 'a session goes with the worker that has it')
})

for (const way of [
  'upgrades unanswered',
  'upgrades forbidden',
  'upgrades failed',
  'frames swallowed',
  'buffer',
] as const satisfies Trouble[]) {
  const name = `proxy: ${way}`
  trouble(name, async t => {
    const stage = await Stage.open(t, profile)
    stage.proxy.set(way)
    const tab = await Tab.beside(stage.context, stage.url({ options: { upgradeBase: 1_000 } }))
    await stage.mend(`${name}, from the first on`, tab, () => stage.hears(tab))
    await tab.until("client.transport === 'long-polling'", 'long-polling, though it tries WebSocket now and then')
    await tab.read(TALK)
    const tried = stage.proxy.upgrades
    await delay(8_000) // meanwhile it tries WebSocket again
    t.ok(stage.proxy.upgrades > tried, 'WebSocket is tried again')
    await stage.mend(`${name} no more, until back on websocket`, tab, async () => {
      stage.proxy.set('none')
      await tab.read("client.on('websocket')", 60_000)
    })
    await stage.judge(tab)
    t.same(await tab.read("client.fates.filter(({ code }) => code !== '')"), [], 'and no message was risked')
  })
}

trouble('proxy: upgrades are forbidden all of a sudden', async t => {
  const stage = await Stage.open(t, await browser.newContext()) // it comes by WebSocket, without a cookie
  const tab = await stage.page()
  await tab.read(TALK)
  stage.proxy.set('upgrades forbidden')
  await stage.mend('proxy: upgrades forbidden all of a sudden', tab, () => stage.proxy.cut())
  t.equal(await tab.read('client.transport'), 'long-polling', 'it goes on by long-polling')
  await stage.judge(tab)
  t.equal(stage.sessions.length, 1, 'in the same session')
})

trouble('proxy: buffer, of what has passed so far', async t => {
  const stage = await Stage.open(t, profile)
  const tab = await stage.page()
  await tab.read(TALK)
  stage.proxy.bufferBytes = 4_096
  stage.proxy.set('buffer')
  await delay(5_000)
  await stage.mend('proxy: buffer of 4 KB for 5 s', tab)
  await stage.judge(tab)
})

trouble('network slow', async t => {
  const stage = await Stage.open(t, profile)
  const tab = await stage.page()
  await tab.read(TALK)
  stage.proxy.delay = 1_000
  stage.proxy.set('slow')
  await delay(5_000)
  await stage.mend('network slow by 1 s each way for 5 s', tab)
  await stage.judge(tab)
  t.equal(stage.sessions.length, 1, 'in one session')
})
