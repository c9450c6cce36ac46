// The document that callback-polling needs, for Node: script elements that are requested and run.
//
// Knows: what a browser does with a script that comes whole, comes in part, or does not come.
// Does not know: Bayeux. A script that was removed runs all the same, as in a browser.

import { Agent, get } from 'node:http'
import { runInThisContext } from 'node:vm'

const agent = new Agent({ keepAlive: true, maxSockets: 6 })

class Script {
  src = ''
  onload: (() => void) | null = null
  onerror: (() => void) | null = null

  remove(): void {}

  load(): void {
    const request = get(this.src, { agent, headers: { 'Sec-Fetch-Site': 'same-origin' } }, response => {
      let text = ''
      response.setEncoding('utf8').on('data', part => {
        text += part
      })
      response.on('error', () => this.onerror?.()) // it is not complete
      response.on('end', () => {
        if (response.statusCode !== 200) return this.onerror?.()
        runInThisContext(text)
        this.onload?.()
      })
    })
    request.on('error', () => this.onerror?.())
  }
}

/** Makes `document` global. @returns the way to take it away again */
export function openDocument(): () => void {
  const document = { createElement: () => new Script(), head: { append: (script: Script) => script.load() } }
  Object.assign(globalThis, { document })
  return () => {
    Reflect.deleteProperty(globalThis, 'document')
    agent.destroy()
  }
}
