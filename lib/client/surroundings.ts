// What a client needs of where it runs: network, clock, chance, alarms, the events of a page.
//
// Knows: how browsers, workers and Node give each of them. Tests give their own.
// Does not know: Bayeux.

/** A WebSocket as browsers and the package `ws` have it. */
export interface Socket {
  onopen: ((event: never) => void) | null
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: ((event: { code: number; reason: string }) => void) | null
  /** Browsers do not say why. */
  onerror: ((event: { message?: string }) => void) | null
  send(text: string): void
  close(code?: number, reason?: string): void
}

/** `headers` can be sent by Node alone. */
export type OpenSocket = (url: string, protocols: readonly string[], headers: Readonly<Record<string, string>>) => Socket

/** `wake`: the network is back, or a hidden page is seen again. `leave`: the page is about to go. `back`: it came back as it was. */
export type PageEvent = 'wake' | 'leave' | 'back'

/** What `sessionStorage` offers. */
export interface Storage {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

export interface Surroundings {
  fetch(url: string, init: RequestInit): Promise<Response>
  /** null where there are no WebSockets. */
  readonly openSocket: OpenSocket | null
  /** Epoch ms that never runs backwards, and goes on while the machine sleeps. */
  now(): number
  /** 0 ≤ n < 1 */
  random(): number
  /** Calls `ring` once after `ms`, also in a hidden page. @returns the way to call it off */
  after(ms: number, ring: () => void): () => void
  /** @returns the way to stop */
  listen(heard: (event: PageEvent) => void): () => void
  /** For the life of the tab; null where there is none. */
  readonly storage: Storage | null
}

/** Surroundings of a page, a worker, or Node from 22 on. */
export function surroundings(): Surroundings {
  const { performance, document, WebSocket } = globalThis
  let last = Date.now()
  let ticked = performance.now()
  return {
    fetch: (url, init) => fetch(url, init),
    openSocket: WebSocket === undefined ? null : (url, protocols) => new WebSocket(url, [...protocols]) as Socket,
    now: () => {
      // The one clock stands while the machine sleeps, the other is set by people: each is believed when it goes ahead.
      const tick = performance.now()
      last = Math.max(last + tick - ticked, Date.now())
      ticked = tick
      return last
    },
    random: Math.random,
    after: alarms(document),
    listen,
    storage: storage(),
  }
}

/** Browsers slow down the timers of hidden pages to one a minute, but not those of their workers. */
function alarms(document: Document | undefined): Surroundings['after'] {
  let worker: Worker | null | undefined
  let rings = 0
  const ringing = new Map<number, () => void>()
  const start = (): Worker | null => {
    try {
      const code = 'onmessage=({data:[n,ms]})=>setTimeout(postMessage,ms,n)'
      const url = URL.createObjectURL(new Blob([code], { type: 'text/javascript' }))
      const made = new Worker(url)
      made.onmessage = ({ data }) => ringing.get(data)?.()
      made.onerror = event => event.preventDefault() // a policy that forbids it: the page's own timers must do
      return made
    } catch {
      return null
    }
  }
  return (ms, ring) => {
    const n = ++rings
    const off = (): boolean => {
      clearTimeout(timer)
      return ringing.delete(n)
    }
    const once = (): void => {
      if (off()) ring()
    }
    const timer = setTimeout(once, ms)
    ringing.set(n, once)
    if (document?.visibilityState === 'hidden') {
      if (worker === undefined) worker = start()
      worker?.postMessage([n, ms])
    }
    return off
  }
}

function listen(heard: (event: PageEvent) => void): () => void {
  const { document, addEventListener } = globalThis
  if (addEventListener === undefined) return () => {}
  const off = new AbortController()
  const on = (name: string, act: (event: Event) => void): void => addEventListener(name, act, { signal: off.signal })
  const wake = (): void => heard('wake')
  on('online', wake)
  on('resume', wake) // the browser had frozen the page
  on('visibilitychange', () => document.visibilityState === 'hidden' || wake())
  on('pagehide', () => heard('leave'))
  on('pageshow', event => (event as PageTransitionEvent).persisted && heard('back'))
  return () => off.abort()
}

function storage(): Storage | null {
  try {
    return sessionStorage
  } catch {
    return null // there is none, or it is forbidden to this page
  }
}
