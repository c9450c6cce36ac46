// HTTP as a client's transport: one request a send, by fetch (long-polling) or by script elements (callback-polling).
//
// Knows: what a request looks like, that a response is the end of its lane.
// Does not know: messages, when to try again.

import type { Lane } from '../../bayeux/client-sink.js'
import type { Settings } from './line.js'
import type { Surroundings } from './surroundings.js'

export interface Requests {
  /** `leaving`: the page may go before the answer comes. */
  send(text: string, lane: Lane, leaving: boolean): void
  /** Drops the request in flight on this lane, or all; nothing of it is reported. */
  abort(lane?: Lane): void
}

export interface Answers {
  received(text: string, lane: Lane): void
  failed(lane: Lane, why: string): void
}

const KEEPALIVE_MAX = 20_000 // characters, of three bytes at most: browsers refuse more than 64 KiB

export function longPolling(around: Surroundings, settings: Pick<Settings, 'url' | 'headers'>, on: Answers): Requests {
  const running = new Map<Lane, AbortController>()
  return {
    send(text, lane, leaving) {
      const control = new AbortController()
      running.set(lane, control)
      const ask = async (): Promise<void> => {
        let answer = ''
        let why: string | null = null
        try {
          const response = await around.fetch(settings.url, {
            method: 'POST',
            headers: { ...settings.headers, 'Content-Type': 'application/json;charset=UTF-8' },
            body: text,
            credentials: 'include',
            cache: 'no-store',
            keepalive: leaving && text.length < KEEPALIVE_MAX,
            signal: control.signal,
          })
          if (response.status === 200) answer = await response.text()
          else {
            why = `HTTP ${response.status}`
            await response.body?.cancel()
          }
        } catch (error) {
          why = String(error)
        }
        if (running.get(lane) !== control) return
        running.delete(lane)
        if (why === null) on.received(answer, lane)
        else on.failed(lane, why)
      }
      void ask()
    },
    abort(lane) {
      for (const [name, control] of running) {
        if (lane !== undefined && name !== lane) continue
        running.delete(name)
        control.abort()
      }
    },
  }
}

let callbacks = 0

/** Only where there is a document. Envelopes travel in the URL, so keep them short (`maxEnvelope`). */
export function callbackPolling(document: Document, url: string, on: Answers): Requests {
  const running = new Map<Lane, HTMLScriptElement>()
  const drop = (lane: Lane): void => {
    running.get(lane)?.remove()
    running.delete(lane)
  }
  return {
    send(text, lane) {
      const name = `_perihelion${++callbacks}`
      const script = document.createElement('script')
      const scope = globalThis as unknown as Record<string, unknown>
      const ends = (): boolean => {
        if (running.get(lane) !== script) return false // a script that was dropped runs all the same when it comes
        drop(lane)
        return true
      }
      scope[name] = (envelope: unknown) => {
        if (ends()) on.received(JSON.stringify(envelope) ?? '', lane)
      }
      script.onload = script.onerror = () => {
        delete scope[name]
        if (ends()) on.failed(lane, 'no answer')
      }
      running.set(lane, script)
      const sign = url.includes('?') ? '&' : '?'
      script.src = `${url}${sign}message=${encodeURIComponent(text)}&jsonp=${name}`
      document.head.append(script)
    },
    abort(lane) {
      for (const name of [...running.keys()]) if (lane === undefined || name === lane) drop(name)
    },
  }
}
