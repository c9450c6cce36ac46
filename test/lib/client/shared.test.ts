// Which session a shared client gets: the worker's, or one of its own; and the script as the worker itself.

import t, { type Test } from 'tap'
import { Page } from '../../support/page.js'
import { turn, World } from '../../support/world.js'

function stand(t: Test, name: string, value: unknown): void {
  Object.defineProperty(globalThis, name, { configurable: true, writable: true, value })
  t.teardown(() => Reflect.deleteProperty(globalThis, name))
}

interface Made {
  readonly script: string
  readonly name: string
}

/** Stands in for `SharedWorker`. @returns what was made */
function workers(t: Test, fail = false): Made[] {
  const made: Made[] = []
  stand(
    t,
    'SharedWorker',
    class {
      readonly port: MessagePort
      constructor(script: string, { name }: { name: string }) {
        if (fail) throw new Error('another origin')
        made.push({ script, name })
        const { port1, port2 } = new MessageChannel()
        this.port = port1
        t.teardown(() => {
          port1.close()
          port2.close()
        })
      }
    },
  )
  return made
}

const URL = 'http://server/cometd'

t.test('tabs with the same URL and options ask for the same worker, others for another', async t => {
  const { SharedClient } = await import('../../../lib/client/shared.js')
  const made = workers(t)
  const page = () => new Page(new World(1))
  for (const options of [{}, {}, { ack: false }, { worker: '/mine.js' }]) t.ok(new SharedClient(URL, options, page()))
  t.strictSame(
    made.map(({ script }) => script),
    [`${URL}/client-shared.js`, `${URL}/client-shared.js`, `${URL}/client-shared.js`, '/mine.js'],
  )
  const [one, two, other] = made.map(({ name }) => name)
  t.equal(one, two)
  t.not(one, other)
  t.match(JSON.parse(one!.slice('perihelion '.length)), [{ url: URL, transports: ['websocket', 'long-polling'] }])
})

t.test('who has another token gets another worker: the session is another user’s', async t => {
  const { SharedClient } = await import('../../../lib/client/shared.js')
  const made = workers(t)
  for (const token of ['ana', 'ben', 'ana']) t.ok(new SharedClient(URL, { token }, new Page(new World(1))))
  const [one, two, again] = made.map(({ name }) => name)
  t.not(one, two)
  t.equal(one, again)
  t.notMatch(one, 'ana', 'and does not tell it')
})

t.test('a shared worker of the application’s own may have a client in it', async t => {
  stand(t, 'onconnect', null)
  stand(t, 'name', 'mine')
  await import(`../../../lib/client/shared.js?mine=${process.pid}` as string)
  t.equal((globalThis as unknown as { onconnect: unknown }).onconnect, null)
})

t.test('where there is no worker it is a client like any other', async t => {
  const { SharedClient } = await import('../../../lib/client/shared.js')
  for (const fail of [false, true]) {
    if (fail) workers(t, true)
    const page = new Page(new World(1))
    const client = new SharedClient(URL, {}, page)
    let up = false
    const connected = client.connect().then(() => {
      up = true
    })
    await page.world.pass(500)
    await connected
    t.ok(up)
    t.strictSame(page.log()[0], 'websocket /meta/handshake')
    void client.close()
    await page.world.pass(500)
  }
})

t.test('loaded by a SharedWorker the script is the worker: its name says the settings', async t => {
  const asked: string[] = []
  stand(t, 'onconnect', null)
  const settings = { url: URL, transports: ['long-polling'], connectionTypes: ['long-polling'], headers: {} }
  stand(t, 'name', `perihelion ${JSON.stringify([settings, 0])}`)
  const { fetch } = globalThis
  globalThis.fetch = async url => {
    asked.push(String(url))
    return new Response('[]')
  }
  t.teardown(() => {
    globalThis.fetch = fetch
  })
  await import(`../../../lib/client/shared.js?worker=${process.pid}` as string)
  const { port1, port2 } = new MessageChannel()
  const heard: unknown[] = []
  port1.onmessage = ({ data }) => heard.push(data)
  ;(globalThis as unknown as { onconnect(event: unknown): void }).onconnect({ ports: [port2] })
  port1.postMessage(['join', false])
  port1.postMessage(['start'])
  for (let turns = 0; turns < 20 && heard.length < 2; turns++) await turn()
  t.match(heard.slice(0, 2), [
    ['state', 'new', null],
    ['state', 'handshaking', null],
  ])
  t.strictSame([...new Set(asked)], [URL])
  port1.postMessage(['leave'])
  for (let turns = 0; turns < 40 && !heard.some(news => String(news) === 'left'); turns++) await turn()
  t.strictSame(heard.at(-1), ['left'])
  port1.close()
  port2.close()
})
