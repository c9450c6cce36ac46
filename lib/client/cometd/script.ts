// What `cometd.js` puts into a page, as the scripts of CometD 3 to 7 do: a module for AMD loaders, else `org.cometd`.
//
// Knows: which names older bindings (jQuery's) look for there.
// Always true: the extensions' own script files, loaded after it, change nothing: what is here stays.

import * as names from './index.js'

type Factory = () => unknown
interface Scope {
  define?: ((dependencies: readonly string[], factory: Factory) => void) & { readonly amd?: unknown }
  org?: Record<string, unknown>
}

const cometd: Record<string, unknown> = {
  Utils: {
    isString: (value: unknown) => typeof value === 'string' || value instanceof String,
    isArray: Array.isArray,
    inArray: (element: unknown, array: readonly unknown[]) => array.indexOf(element),
  },
  JSON: {},
  COOKIE: {},
  WebSocket: globalThis.WebSocket,
}
for (const [name, value] of Object.entries(names))
  Object.defineProperty(cometd, name, { enumerable: true, get: () => value, set: () => {} })

const scope = globalThis as Scope
if (typeof scope.define === 'function' && scope.define.amd) scope.define([], () => cometd)
else scope.org = Object.assign(scope.org ?? {}, { cometd })
