// The JSON of transcripts: what is sent, with names in it, and what is expected, with blanks in it.
//
// Beyond JSON there are bare words and `...`. In an expected object `...` allows members that are not written; without it the object must
// have exactly the members that are. Words: `any`, `string`, `number` stand for a value of that kind, `absent` for no member, `T` for the
// timeout, `NOW` for the server's time, `long9` for a string of that length; any other word is a name: it takes the first value that it meets (which no other name may have) and stands for it from then on.

export type Json = Readonly<Record<string, unknown>>

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\.\.|[A-Za-z][A-Za-z0-9]*/g
const REST = '\ue000rest'

/** A bare word. */
export class Word {
  constructor(readonly text: string) {}
}

/** @throws {SyntaxError} with the text, when it is not JSON beside words and `...` */
export function parse(text: string): unknown {
  const words: Word[] = []
  const json = text.replace(TOKEN, token => {
    if (token === '...') return `${JSON.stringify(REST)}:true`
    if (!/^[A-Za-z]/.test(token) || token === 'true' || token === 'false' || token === 'null') return token
    return JSON.stringify(`\ue000${words.push(new Word(token)) - 1}`)
  })
  try {
    return JSON.parse(json, (_key, value: unknown) =>
      typeof value === 'string' && /^\ue000\d+$/.test(value) ? words[Number(value.slice(1))] : value,
    )
  } catch {
    throw new SyntaxError(`not a transcript's JSON: ${text}`)
  }
}

/** What names stand for in one transcript. */
export class Names {
  readonly #values = new Map<string, unknown>()

  get(name: string): unknown {
    return this.#values.get(name)
  }

  /** @returns false when another name has the value */
  set(name: string, value: unknown): boolean {
    if (typeof value === 'string' && [...this.#values].some(([other, taken]) => other !== name && taken === value)) return false
    this.#values.set(name, value)
    return true
  }
}

/** Puts values in the place of names. @throws {RangeError} for a name without one */
export function fill(value: unknown, names: Names): unknown {
  if (value instanceof Word) {
    const long = /^long(\d+)$/.exec(value.text)
    const found = long === null ? names.get(value.text) : 'x'.repeat(Number(long[1]))
    if (found === undefined) throw new RangeError(`nothing is known as ${value.text}`)
    return found
  }
  if (Array.isArray(value)) return value.map(item => fill(item, names))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => !(member instanceof Word && member.text === 'absent'))
      .map(([key, member]) => [key, fill(member, names)]),
  )
}

/** The first difference between what is expected and what came; null when there is none. */
export function difference(expected: unknown, got: unknown, names: Names, path = ''): string | null {
  if (expected instanceof Word) return wordDifference(expected.text, got, names, path)
  if (Array.isArray(expected)) {
    if (!Array.isArray(got)) return `${path}: expected an array`
    for (const [index, item] of expected.entries()) {
      if (index >= got.length) return `${path}[${index}]: missing`
      const found = difference(item, got[index], names, `${path}[${index}]`)
      if (found !== null) return found
    }
    return got.length > expected.length ? `${path}[${expected.length}]: not expected` : null
  }
  if (typeof expected !== 'object' || expected === null)
    return Object.is(expected, got) ? null : `${path}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(got)}`
  if (typeof got !== 'object' || got === null || Array.isArray(got)) return `${path}: expected an object`
  return objectDifference(expected as Json, got as Json, names, path)
}

function objectDifference(expected: Json, got: Json, names: Names, path: string): string | null {
  for (const [key, member] of Object.entries(expected)) {
    if (key === REST) continue
    const there = Object.hasOwn(got, key)
    if (member instanceof Word && member.text === 'absent') {
      if (there) return `${path}.${key}: must not be there`
      continue
    }
    if (!there) return `${path}.${key}: missing`
    const found = difference(member, got[key], names, `${path}.${key}`)
    if (found !== null) return found
  }
  if (Object.hasOwn(expected, REST)) return null
  const stranger = Object.keys(got).find(key => !Object.hasOwn(expected, key))
  return stranger === undefined ? null : `${path}.${stranger}: not expected`
}

function wordDifference(word: string, got: unknown, names: Names, path: string): string | null {
  if (word === 'any') return null
  if (word === 'string' || word === 'number') return typeof got === word ? null : `${path}: expected a ${word}`
  const known = names.get(word)
  if (known !== undefined) return known === got ? null : `${path}: expected ${word}, which is ${JSON.stringify(known)}`
  return names.set(word, got) ? null : `${path}: ${word} has the value of another name`
}
