// What the page keeps in the browser: a name, a key, the rooms. Works without storage too, for the life of the page.

/** The key of a name in `localStorage`, by which other tabs hear of it. */
export function keyOf(name) {
  return `perihelion.${name}`
}

/** @returns what was kept, or `otherwise` */
export function kept(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(keyOf(name))) ?? otherwise
  } catch {
    return otherwise
  }
}

/** @returns `value` */
export function keep(name, value) {
  try {
    localStorage.setItem(keyOf(name), JSON.stringify(value))
  } catch {
    // private windows may refuse: then the page forgets
  }
  return value
}

/** Letters and digits from the browser's cryptographic source (`crypto.randomUUID` is missing where the page came over plain HTTP). */
export function randomId(length) {
  return Array.from(crypto.getRandomValues(new Uint8Array(length)), byte => (byte % 36).toString(36)).join('')
}
