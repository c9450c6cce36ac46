// Transcripts: Markdown in which the fenced blocks are conversations. README.md tells how they are written.
//
// Knows: the lines of a block. Does not know: how they are played (play.ts, http.ts).

import { readdirSync, readFileSync } from 'node:fs'

export type Via = 'lp' | 'cb' | 'ws'

/** Who speaks or is spoken to. */
export interface Address {
  readonly client: string
  /** null: the transport that the transcript is played over. */
  readonly via: Via | null
  readonly socket: number
  /** `@none`, `@=value` or the name of the client whose cookie is sent; null for its own. */
  readonly cookie: string | null
}

export interface Step {
  readonly kind: 'send' | 'expect' | 'act'
  /** Transports on which this line counts; null for all. */
  readonly only: readonly Via[] | null
  readonly address: Address
  readonly text: string
  readonly line: number
}

export interface Transcript {
  readonly file: string
  readonly line: number
  readonly title: string
  /** Numbers of the vectors of the protocol reference, section 10. */
  readonly vectors: readonly number[]
  /** `bayeux`: lines as above. `http`: raw requests. */
  readonly language: string
  readonly headers: ReadonlyMap<string, readonly string[]>
  readonly steps: readonly Step[]
  readonly lines: readonly string[]
}

const FOLDER = 'test/transcripts'
const HEADING = /^## (?:([\d, –]+)\. )?(.*)$/
const LINE = /^(?:(lp|cb|ws|http) \| )?(?:([A-Z]\w*)(?::(lp|cb|ws))?(?:#(\d))?(?:@(none|=\w+|[A-Z]\w*))? )?(>>|<<|\.\.) ?(.*)$/
const GROUPS: Readonly<Record<string, readonly Via[]>> = { lp: ['lp'], cb: ['cb'], ws: ['ws'], http: ['lp', 'cb'] }

/** All transcripts, file by file. */
export function readTranscripts(): Transcript[] {
  return readdirSync(FOLDER)
    .filter(file => file.endsWith('.md') && file !== 'README.md')
    .sort()
    .flatMap(file => readTranscript(file, readFileSync(`${FOLDER}/${file}`, 'utf8')))
}

export function readTranscript(file: string, text: string): Transcript[] {
  const found: Transcript[] = []
  let title = ''
  let vectors: number[] = []
  const lines = text.split('\n')
  for (let i = 0; i < lines.length; i++) {
    const heading = HEADING.exec(lines[i]!)
    if (heading !== null) {
      title = heading[0].slice(3)
      vectors = numbers(heading[1] ?? '')
    } else if (lines[i]!.startsWith('```')) {
      const language = lines[i]!.slice(3)
      const from = i + 1
      while (lines[++i] !== '```') if (i >= lines.length) throw new SyntaxError(`${file}: block at line ${from} has no end`)
      found.push(readBlock(file, title, vectors, language, lines.slice(from, i), from + 1))
    }
  }
  return found
}

function readBlock(file: string, title: string, vectors: number[], language: string, lines: string[], first: number): Transcript {
  const headers = new Map<string, string[]>()
  const steps: Step[] = []
  for (const [index, text] of lines.entries()) {
    if (text.startsWith('-- ')) {
      const colon = text.indexOf(':')
      const name = text.slice(3, colon === -1 ? undefined : colon)
      headers.set(name, [...(headers.get(name) ?? []), colon === -1 ? '' : text.slice(colon + 1).trim()])
    } else if (language === 'bayeux') {
      const before = steps.at(-1)
      if (/^\s+\S/.test(text) && before !== undefined)
        steps[steps.length - 1] = { ...before, text: `${before.text} ${text.trim()}` }
      else if (text !== '') steps.push(readStep(file, text, first + index))
    }
  }
  return { file, line: first, title, vectors, language, headers, steps, lines: lines.filter(line => !line.startsWith('-- ')) }
}

function readStep(file: string, text: string, line: number): Step {
  const parts = LINE.exec(text)
  if (parts === null) throw new SyntaxError(`${file}:${line}: not a line of a transcript: ${text}`)
  const [, group, client = 'C', via, socket, cookie, sign, rest] = parts
  const kind = sign === '>>' ? 'send' : sign === '<<' ? 'expect' : 'act'
  const address = { client, via: (via ?? null) as Via | null, socket: Number(socket ?? 1), cookie: cookie ?? null }
  return { kind, only: group === undefined ? null : GROUPS[group]!, address, text: rest!, line }
}

/** `1, 3–5` as [1, 3, 4, 5]. */
function numbers(text: string): number[] {
  return text.split(',').flatMap(part => {
    const [from, to = from] = part.trim().split('–').map(Number)
    return part.trim() === '' ? [] : Array.from({ length: to! - from! + 1 }, (_, index) => from! + index)
  })
}
