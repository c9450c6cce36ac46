// HTTP as a client's transport: what a request looks like, and that each is reported once, on its lane.

import t from 'tap'
import type { Lane } from '../../../bayeux/client-sink.js'
import { callbackPolling, longPolling } from '../../../lib/client/http.js'
import type { Surroundings } from '../../../lib/client/surroundings.js'
import { turn } from '../../support/world.js'

interface Asked {
  readonly url: string
  readonly init: RequestInit
  resolve(response: unknown): void
  reject(error: Error): void
}

/** Notes every answer. */
function answers(): { told: string[]; received(text: string, lane: Lane): void; failed(lane: Lane, why: string): void } {
  const told: string[] = []
  return {
    told,
    received: (text, lane) => told.push(`${lane}: ${text}`),
    failed: (lane, why) => told.push(`${lane} failed: ${why}`),
  }
}

function polling() {
  const asked: Asked[] = []
  const around = {
    fetch: (url: string, init: RequestInit) =>
      new Promise((resolve, reject) => {
        asked.push({ url, init, resolve, reject })
        init.signal?.addEventListener('abort', () => reject(new Error('aborted')))
      }),
  } as unknown as Surroundings
  const on = answers()
  return { asked, told: on.told, requests: longPolling(around, { url: 'http://x/b', headers: { 'X-Mine': '1' } }, on) }
}

t.test('long-polling: a request is a POST that no cache answers, with cookies and the given headers', async t => {
  const { asked, told, requests } = polling()
  requests.send('[1]', 'other', false)
  t.match(asked[0], {
    url: 'http://x/b',
    init: {
      method: 'POST',
      body: '[1]',
      credentials: 'include',
      cache: 'no-store',
      keepalive: false,
      headers: { 'X-Mine': '1', 'Content-Type': 'application/json;charset=UTF-8' },
    },
  })
  asked[0]?.resolve(new Response('[2]'))
  for (let turns = 0; turns < 5; turns++) await turn()
  t.strictSame(told, ['other: [2]'])
})

t.test('long-polling: only what browsers allow outlives its page', t => {
  const { asked, requests } = polling()
  requests.send('中'.repeat(19_999), 'other', true) // 60 kB in UTF-8, of 64 KiB
  requests.send('x'.repeat(20_000), 'connect', true)
  t.strictSame(
    asked.map(({ init }) => init.keepalive),
    [true, false],
  )
  t.end()
})

t.test('long-polling: what is no response with status 200, whole, is a failure with its reason', async t => {
  const cut = new ReadableStream({ start: control => control.error(new Error('cut')) })
  const rows: [act: (asked: Asked) => void, why: string][] = [
    [({ resolve }) => resolve(new Response('x', { status: 500 })), 'HTTP 500'],
    [({ resolve }) => resolve(new Response(null, { status: 204 })), 'HTTP 204'],
    [({ reject }) => reject(new TypeError('Failed to fetch')), 'TypeError: Failed to fetch'],
    [({ resolve }) => resolve(new Response(cut)), 'Error: cut'],
  ]
  for (const [act, why] of rows) {
    const { asked, told, requests } = polling()
    requests.send('[]', 'connect', false)
    act(asked[0]!)
    for (let turns = 0; turns < 5; turns++) await turn()
    t.strictSame(told, [`connect failed: ${why}`])
  }
})

t.test('long-polling: what is dropped is not reported, on its lane or on all', async t => {
  const { asked, told, requests } = polling()
  requests.send('1', 'connect', false)
  requests.send('2', 'other', false)
  requests.abort('connect')
  t.strictSame(
    asked.map(({ init }) => init.signal?.aborted),
    [true, false],
  )
  requests.send('3', 'connect', false)
  asked[0]?.resolve(new Response('late'))
  asked[2]?.resolve(new Response('new'))
  for (let turns = 0; turns < 5; turns++) await turn()
  t.strictSame(told.splice(0), ['connect: new'])
  requests.abort()
  await turn()
  t.ok(asked[1]?.init.signal?.aborted)
  requests.abort()
  t.strictSame(told, [])
})

interface Script {
  src: string
  onload?: (() => void) | null
  onerror?: (() => void) | null
  removed: boolean
  remove(): void
}

function scripts(url: string) {
  const made: Script[] = []
  const document = {
    createElement: () => {
      const script: Script = {
        src: '',
        removed: false,
        remove: () => {
          script.removed = true
        },
      }
      made.push(script)
      return script
    },
    head: { append: () => {} },
  } as unknown as Document
  const on = answers()
  const requests = callbackPolling(document, url, on)
  const run = (script: Script, ...given: unknown[]): unknown => {
    const name = new URL(script.src).searchParams.get('jsonp')!
    return (globalThis as unknown as Record<string, (...given: unknown[]) => unknown>)[name]?.(...given)
  }
  return { made, told: on.told, requests, run }
}

const left = (): string[] => Object.keys(globalThis).filter(name => name.startsWith('_perihelion'))

t.test('callback-polling: a request is a script, whose function gets the envelope', t => {
  const { made, told, requests, run } = scripts('http://x/b?q=1')
  requests.send('[{"a":"&é"}]', 'other', false)
  const [script] = made
  const url = new URL(script!.src)
  t.equal(url.searchParams.get('message'), '[{"a":"&é"}]')
  t.equal(url.searchParams.get('q'), '1')
  t.ok(scripts('http://x/b').requests)
  run(script!, [{ channel: '/a' }])
  script?.onload?.()
  run(script!, ['again'])
  t.strictSame(told, ['other: [{"channel":"/a"}]'], 'once')
  t.ok(script?.removed)
  t.strictSame(left(), [])
  t.end()
})

t.test(
  'callback-polling: a script that cannot be had, or that does not call, is a failure; what it calls with is checked elsewhere',
  t => {
    const { made, told, requests, run } = scripts('http://x/b')
    requests.send('1', 'other', false)
    made[0]?.onerror?.()
    requests.send('2', 'other', false)
    made[1]?.onload?.()
    requests.send('3', 'other', false)
    run(made[2]!)
    made[2]?.onload?.()
    t.strictSame(told, ['other failed: no answer', 'other failed: no answer', 'other: '])
    t.ok(new URL(made[0]!.src).search.startsWith('?message='))
    t.strictSame(left(), [])
    t.end()
  },
)

t.test('callback-polling: what is dropped is not reported, breaks nothing when it comes, and leaves nothing', t => {
  const { made, told, requests, run } = scripts('http://x/b')
  requests.send('1', 'connect', false)
  requests.send('2', 'other', false)
  requests.abort('connect')
  t.ok(made[0]?.removed)
  t.notOk(made[1]?.removed)
  run(made[0]!, ['late'])
  made[0]?.onload?.()
  requests.abort()
  made[1]?.onerror?.()
  t.strictSame(told, [])
  t.strictSame(left(), [])
  t.end()
})
