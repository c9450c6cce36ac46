// Troubles of the network, in Chromium: after each the page has heard every message once and in order.
//
// Knows: which troubles there are, and how each is made.
// Does not know: what a page must have heard (stage.ts).

import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startChromium, Tab } from '../support/chromium.js'
import { Stage } from './stage.js'

const browser = await startChromium(t)

t.jobs = 8
t.setTimeout(240_000)
const only = process.env['ONLY']

/** Runs beside the others. Prints how long its page took to be whole again. */
function trouble(name: string, run: (t: Test) => Promise<void>): void {
  if (only !== undefined && !name.includes(only)) return
  void t.test(name, { buffered: true }, run)
}

/** The session outlives what happens. */
const LIVES = { maxInterval: 120_000 }
/** The session does not. */
const SHORT = { timeout: 3_000, maxInterval: 1_000 }
const POLLING = { options: { transports: ['long-polling'] } }
const TALK = 'client.talk(150)'

for (const [how, seconds, transport] of [
  ['cut', 60, 'websocket'],
  ['hole', 60, 'websocket'],
  ['hole', 60, 'long-polling'],
  ['cut', 5, 'websocket'],
  ['hole', 5, 'websocket'],
  ['stall', 5, 'websocket'],
  ['cut', 5, 'long-polling'],
  ['hole', 5, 'long-polling'],
  ['stall', 5, 'long-polling'],
] as const) {
  const name = `${how} ${seconds} s, ${transport}`
  trouble(name, async t => {
    const stage = await Stage.open(t, browser, LIVES)
    const tab = await stage.page(transport === 'websocket' ? {} : POLLING)
    await tab.read(TALK)
    stage.proxy.set(how === 'cut' ? 'refuse' : how)
    if (how === 'cut') stage.proxy.cut()
    await delay(seconds * 1000)
    await stage.mend(name, tab)
    await stage.judge(tab)
    t.equal(stage.sessions.length, 1, 'in one session')
  })
}

trouble('cut 60 s, session lost', async t => {
  const stage = await Stage.open(t, browser)
  const tab = await stage.page()
  await tab.read(TALK)
  stage.proxy.set('refuse')
  stage.proxy.cut()
  await delay(60_000)
  await stage.mend('cut 60 s, session lost', tab)
  await stage.judge(tab, { lost: 1 })
  t.equal(stage.sessions.length, 2, 'in a session of its own')
})

for (const how of ['end', 'crash'] as const) {
  for (const transport of ['websocket', 'long-polling']) {
    const name = `server restart (${how}), ${transport}`
    trouble(name, async t => {
      const stage = await Stage.open(t, browser)
      const tab = await stage.page(transport === 'websocket' ? {} : POLLING)
      await tab.read(TALK)
      await stage.stop(how)
      await delay(1_000)
      await stage.mend(name, tab, () => stage.start())
      await stage.judge(tab, { lost: 1 })
    })
  }
}

for (const [name, seconds, options] of [
  ['sleep 8 s', 8, LIVES],
  ['sleep 8 s, session lost', 8, SHORT],
] as const) {
  for (const transport of ['websocket', 'long-polling']) {
    trouble(`${name}, ${transport}`, async t => {
      const stage = await Stage.open(t, browser, options)
      const tab = await stage.page(transport === 'websocket' ? {} : POLLING)
      await tab.read(TALK)
      const devtools = await stage.context.newCDPSession(tab.page)
      await devtools.send('Page.setWebLifecycleState', { state: 'frozen' })
      stage.proxy.set('hole')
      await delay(seconds * 1000)
      stage.proxy.set('none')
      await stage.mend(`${name}, ${transport}`, tab, () => devtools.send('Page.setWebLifecycleState', { state: 'active' }))
      await stage.judge(tab, options === SHORT ? { lost: 1 } : {})
      t.equal(stage.sessions.length, options === SHORT ? 2 : 1)
    })
  }
}

for (const transport of ['websocket', 'long-polling']) {
  trouble(`reload, ${transport}`, async t => {
    const stage = await Stage.open(t, browser)
    const tab = await stage.page(transport === 'websocket' ? {} : POLLING)
    const clientId = await tab.read('client.clientId')
    for (const n of [1, 2, 3]) {
      await tab.read(TALK)
      await stage.mend(`reload ${n}, ${transport}`, tab, async () => {
        await tab.page.reload()
        await tab.until('window.client !== undefined', 'the page to be loaded again')
      })
    }
    t.equal(await tab.read('client.clientId'), clientId, 'the page keeps its session')
    await stage.judge(tab)
    t.same(stage.sessions, [clientId], 'there was no other')
  })
}

trouble('a tab duplicated', async t => {
  const stage = await Stage.open(t, browser)
  const tab = await stage.page()
  const opened = tab.page.waitForEvent('popup')
  await tab.read(`void window.open(${JSON.stringify(stage.url({ name: 'copy' }))})`)
  const copy = new Tab(await opened)
  await copy.until('window.client !== undefined', 'the copy to be loaded')
  await stage.mend('a tab duplicated', copy, () => copy.ask('connected'))
  await tab.page.reload()
  await tab.until('window.client !== undefined', 'the first tab to be loaded again')
  await stage.hears(tab)
  await stage.judge(copy, { name: 'copy' })
  await stage.judge(tab)
  t.same(stage.sessions, [await tab.read('client.clientId'), await copy.read('client.clientId')], 'each has a session of its own')
})

for (const transport of ['websocket', 'long-polling']) {
  const name = `ten tabs, ${transport}`
  trouble(name, async t => {
    const stage = await Stage.open(t, browser)
    const tabs: Tab[] = []
    const names = Array.from({ length: 10 }, (_, n) => `tab${n}`)
    for (const name of names) tabs.push(await stage.page({ name, ...(transport === 'websocket' ? {} : POLLING) }))
    for (const tab of tabs) await tab.read('client.talk(1000)')
    stage.proxy.set('refuse')
    stage.proxy.cut()
    await delay(3_000)
    stage.proxy.set('none')
    for (const [i, tab] of tabs.entries()) await stage.mend(`${name}: ${names[i]}`, tab, () => {})
    for (const tab of tabs) await tab.read('client.hush()')
    for (const [i, tab] of tabs.entries()) await stage.judge(tab, { name: names[i]! })
    t.equal(stage.sessions.length, 10)
  })
}

trouble('ten tabs, shared', async t => {
  const stage = await Stage.open(t, browser)
  const tabs: Tab[] = []
  const names = Array.from({ length: 10 }, (_, n) => `tab${n}`)
  for (const name of names) tabs.push(await stage.page({ name, shared: true }))
  t.equal(stage.sessions.length, 1, 'one session for all')
  for (const tab of tabs) await tab.read('client.talk(1000)')
  stage.proxy.set('refuse')
  stage.proxy.cut()
  await delay(3_000)
  stage.proxy.set('none')
  for (const [i, tab] of tabs.entries()) await stage.mend(`ten tabs, shared: ${names[i]}`, tab, () => {})
  for (const tab of tabs) await tab.read('client.hush()')
  for (const [i, tab] of tabs.entries()) await stage.judge(tab, { name: names[i]! })
  t.equal(stage.sessions.length, 1, 'still one')
})

for (const [how, way] of [
  ['upgrades unanswered', 'long-polling'],
  ['frames swallowed', 'long-polling'],
  ['upgrades forbidden', 'long-polling'],
  ['upgrades failed', 'long-polling'],
  ['buffer', 'long-polling'],
] as const) {
  trouble(how, async t => {
    const stage = await Stage.open(t, browser)
    stage.proxy.set(how)
    const tab = await Tab.beside(stage.context, stage.url())
    await stage.mend(how, tab, () => stage.hears(tab))
    t.equal(await tab.read('client.transport'), way, `it goes on by ${way}`)
    await tab.read(TALK)
    await stage.mend(`${how}: back to websocket`, tab, async () => {
      stage.proxy.set('none')
      await tab.page.evaluate("client.on('websocket')")
    })
    await stage.judge(tab)
    t.equal(stage.sessions.length, 1)
  })
}

for (const transport of ['websocket', 'long-polling']) {
  trouble(`slow, ${transport}`, async t => {
    const stage = await Stage.open(t, browser)
    const tab = await stage.page(transport === 'websocket' ? {} : POLLING)
    await tab.read(TALK)
    stage.proxy.delay = 1_000
    stage.proxy.set('slow')
    await delay(5_000)
    await stage.mend(`slow, ${transport}`, tab)
    await stage.judge(tab)
  })
}
