// callback-polling: JSON as a script that calls a function of the page.
//
// Knows: which names of functions are safe, and how JSON is put into a script.
// Source: protocol reference 5.6, DEV-14.

const NAME = /^[A-Za-z0-9._-]+$/
const UNSAFE = /[\u2028\u2029<]/g

/** The callback's name in a query string; null unless there is exactly one and it is safe. */
export function callbackOf(query: string, parameter: string, maxLength: number): string | null {
  const names = new URLSearchParams(query).getAll(parameter)
  const name = names[0]
  return names.length === 1 && name !== undefined && name.length <= maxLength && NAME.test(name) ? name : null
}

/** The script: no content sniffer takes it for anything else, no string in it ends the script or a line. */
export function callbackScript(callback: string, json: string): string {
  // in a script, unlike in JSON, a member `__proto__` sets the prototype of its object
  const value = json.includes('"__proto__":') ? `JSON.parse(${JSON.stringify(json)})` : json
  return `/**/${callback}(${value.replace(UNSAFE, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)})`
}
