// What a client needs of where it runs, from stand-ins for a page, a worker and Node.

import t, { type Test } from 'tap'
import { surroundings } from '../../../lib/client/surroundings.js'
import { turn } from '../../support/world.js'

/** Puts stand-ins into the global scope until the test is over. */
function stand(t: Test, values: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(values)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name)
    Object.defineProperty(globalThis, name, { configurable: true, writable: true, value })
    t.teardown(() => {
      if (before === undefined) Reflect.deleteProperty(globalThis, name)
      else Object.defineProperty(globalThis, name, before)
    })
  }
}

/** Timers that ring when the test says so. */
function timers(t: Test) {
  const set = new Map<number, { ms: number; ring: () => void }>()
  let count = 0
  stand(t, {
    setTimeout: (ring: () => void, ms: number) => {
      set.set(++count, { ms, ring })
      return count
    },
    clearTimeout: (timer: number) => set.delete(timer),
  })
  return set
}

t.test('the clock goes ahead with whichever of its two sources does, and never back', t => {
  const steps: [wall: number, ticks: number, why: string][] = [
    [10, 10, 'both'],
    [60_000, 0, 'the machine slept: the ticks stood'],
    [-3_600_000, 100, 'the clock was put back'],
    [0, 50, 'and stays behind'],
    [0, 0, 'nothing'],
    [7_200_000, 1, 'it was put ahead'],
  ]
  const { Date: date, performance } = globalThis
  let wall = 1_000_000
  let ticks = 500
  Object.assign(globalThis, { Date: { now: () => wall } })
  Object.defineProperty(globalThis, 'performance', { configurable: true, writable: true, value: { now: () => ticks } })
  const { now } = surroundings()
  const read: number[] = [now()]
  for (const [wallBy, ticksBy] of steps) {
    wall += wallBy
    ticks += ticksBy
    read.push(now())
  }
  Object.assign(globalThis, { Date: date, performance })
  t.strictSame(read, [1_000_000, 1_000_010, 1_060_010, 1_060_110, 1_060_160, 1_060_160, 4_660_010])
  t.end()
})

t.test('an alarm rings once, and not when it was called off', t => {
  const set = timers(t)
  const { after } = surroundings()
  let rung = 0
  const off = after(100, () => rung++)
  const [timer] = set.values()
  t.equal(timer?.ms, 100)
  timer?.ring()
  timer?.ring()
  t.equal(rung, 1)
  off()
  after(200, () => rung++)()
  t.equal(set.size, 0)
  t.equal(rung, 1)
  t.end()
})

class PageDocument extends EventTarget {
  visibilityState = 'visible'
}

t.test('in a hidden page a worker rings too, whichever is first; one that is forbidden is not missed', t => {
  const set = timers(t)
  const document = new PageDocument()
  const workers: FakeWorker[] = []
  class FakeWorker {
    onmessage: ((event: { data: unknown }) => void) | null = null
    onerror: ((event: { preventDefault(): void }) => void) | null = null
    readonly asked: unknown[] = []
    constructor(readonly url: string) {
      workers.push(this)
    }
    postMessage(message: unknown): void {
      this.asked.push(message)
    }
  }
  stand(t, { document, Worker: FakeWorker })
  const { after } = surroundings()
  let rung = 0
  after(10, () => rung++)
  t.equal(workers.length, 0, 'a page that is seen needs none')
  document.visibilityState = 'hidden'
  after(20, () => rung++)
  const off = after(30, () => rung++)
  t.equal(workers.length, 1)
  t.match(workers[0]?.url, /^blob:/)
  t.strictSame(workers[0]?.asked, [
    [2, 20],
    [3, 30],
  ])
  const [, second] = [...set.values()]
  workers[0]?.onmessage?.({ data: 2 })
  second?.ring()
  off()
  workers[0]?.onmessage?.({ data: 3 })
  workers[0]?.onmessage?.({ data: 99 })
  t.equal(rung, 1)
  let prevented = 0
  workers[0]?.onerror?.({ preventDefault: () => prevented++ })
  t.equal(prevented, 1, 'not an error of the page')

  stand(t, {
    Worker: class {
      constructor() {
        throw new Error('forbidden')
      }
    },
  })
  const forbidden = surroundings()
  forbidden.after(40, () => rung++)
  forbidden.after(40, () => rung++)
  for (const { ms, ring } of [...set.values()]) if (ms === 40) ring()
  t.equal(rung, 3)
  t.end()
})

t.test('the page tells when the network is back, when it is seen again, when it goes and when it came back', t => {
  const window = new EventTarget()
  const document = new PageDocument()
  stand(t, { document, addEventListener: window.addEventListener.bind(window) })
  const heard: string[] = []
  const off = surroundings().listen(event => heard.push(event))
  const tell = (name: string, fields: object = {}): void => {
    window.dispatchEvent(Object.assign(new Event(name), fields))
  }
  const change = (state: string): void => {
    document.visibilityState = state
    tell('visibilitychange') // it bubbles from the document
  }
  tell('online')
  tell('pagehide')
  tell('pageshow', { persisted: false })
  tell('pageshow', { persisted: true })
  change('hidden')
  change('visible')
  t.strictSame(heard, ['wake', 'leave', 'back', 'wake'])
  off()
  tell('online')
  change('visible')
  t.equal(heard.length, 4)
  t.end()
})

t.test('a worker hears of the network alone; Node of nothing', t => {
  t.doesNotThrow(surroundings().listen(() => {}))
  const window = new EventTarget()
  stand(t, { addEventListener: window.addEventListener.bind(window) })
  const heard: string[] = []
  surroundings().listen(event => heard.push(event))
  window.dispatchEvent(new Event('online'))
  t.strictSame(heard, ['wake'])
  t.end()
})

t.test('storage, WebSocket and fetch are those of the scope, where there are any', async t => {
  stand(t, { WebSocket: undefined })
  const bare = surroundings()
  t.equal(bare.openSocket, null)
  t.equal(bare.storage, null)
  const made: unknown[] = []
  stand(t, {
    WebSocket: class {
      constructor(...given: unknown[]) {
        made.push(given)
      }
    },
    sessionStorage: 'the store',
    fetch: async (...given: unknown[]) => given,
  })
  const around = surroundings()
  t.ok(around.openSocket?.('ws://x', ['a'], { 'X-Not': 'sent' }))
  t.strictSame(made, [['ws://x', ['a']]])
  t.equal(around.storage as unknown, 'the store')
  t.strictSame((await around.fetch('http://x', { method: 'POST' })) as unknown, ['http://x', { method: 'POST' }])
  const n = around.random()
  t.ok(n >= 0 && n < 1)
  Object.defineProperty(globalThis, 'sessionStorage', {
    configurable: true,
    get: () => {
      throw new Error('forbidden')
    },
  })
  t.equal(surroundings().storage, null)
  await turn()
})
