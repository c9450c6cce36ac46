// The filters that channel rules name, loaded when the first rule names one: their library takes its time and memory, and few need it.
//
// Does not know: markup (markup.ts), which channels are filtered (the rules).

import type { Rules } from '../bayeux/index.js'

export class MarkupFilters {
  readonly #loaded = new Map<string, (data: unknown) => unknown>()

  /** Makes the filters ready that the rules name; to be called before the rules are in force. */
  async load(rules: Rules): Promise<void> {
    const kinds = [...rules.filters]
    if (kinds.every(kind => this.#loaded.has(kind))) return
    const { markupFilter } = await import('./markup.js')
    for (const kind of kinds) this.#loaded.set(kind, markupFilter(kind))
  }

  /** @param data JSON data; what is clean is given back as it is. @throws {TypeError} the filter was not loaded */
  apply(kind: string, data: unknown): unknown {
    return this.#loaded.get(kind)!(data)
  }
}
