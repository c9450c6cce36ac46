// Markup in data: what is taken out of texts before they reach the pages of other users.
//
// Knows: which tags, attributes and addresses are harmless. Does not know: channels and their rules, messages; it is given `data`.
// Always true: data without a `<` is given back as it is, the same object, at the cost of one look; nothing here calls itself, however deep data
// is; the time is in proportion to the length of data, whatever is in it.
// Source: NoMarkupFilter and NoScriptsFilter of CometD, which they follow in what they are for; CometD's show the tags as text.

import sanitizeHtml, { type IOptions } from 'sanitize-html'

export type MarkupKind = 'no-markup' | 'no-script'

/** Elements of which nothing stays, not even the text: it is code, or never shown. */
const WITH_TEXT = ['script', 'style', 'textarea', 'option', 'xmp', 'noscript', 'noembed', 'noframes', 'iframe', 'template']

const FORMATTING = [
  ...['h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'p', 'div', 'span', 'br', 'hr', 'wbr', 'blockquote', 'pre', 'figure', 'figcaption'],
  ...['b', 'strong', 'i', 'em', 'u', 's', 'del', 'ins', 'mark', 'small', 'sub', 'sup', 'q', 'cite', 'abbr', 'dfn', 'time'],
  ...['code', 'kbd', 'samp', 'var', 'bdi', 'bdo', 'ruby', 'rb', 'rp', 'rt', 'ul', 'ol', 'li', 'dl', 'dt', 'dd'],
  ...['table', 'caption', 'colgroup', 'col', 'thead', 'tbody', 'tfoot', 'tr', 'th', 'td', 'a', 'img'],
]

/** Neither `style`, `class`, `id` and `name`, which reach into the page around, nor `target`, which reaches into other windows. */
const ATTRIBUTES = {
  '*': ['title', 'dir', 'lang'],
  a: ['href'],
  img: ['src', 'alt', 'width', 'height'],
  ol: ['start'],
  th: ['colspan', 'rowspan'],
  td: ['colspan', 'rowspan'],
  time: ['datetime'],
}

const OPTIONS: Readonly<Record<MarkupKind, IOptions>> = {
  'no-markup': { allowedTags: [], allowedAttributes: {}, nonTextTags: WITH_TEXT },
  'no-script': {
    allowedTags: FORMATTING,
    allowedAttributes: ATTRIBUTES,
    nonTextTags: WITH_TEXT,
    allowedSchemes: ['http', 'https', 'mailto'],
    allowedSchemesByTag: { img: ['http', 'https'] },
    allowProtocolRelative: false,
    nestingLimit: 100,
  },
}

/**
 * The most `<` in one text, and the most texts of one message, that are read as markup; what is beyond is shown as it is written. The parser's time
 * grows with the square of the tags that are open (0.1 s for 20,000), and each text costs it some 0.1 ms, so that 64 KiB of short ones took 1 s.
 */
const MAX_TAGS = 1_000
const MAX_TEXTS = 100

/**
 * Makes a filter of data for pages that put texts into `innerHTML`. It cleans every text in the data, names of members included.
 *
 * `no-markup` leaves the text and no tag. `no-script` leaves formatting, lists, tables, links (http, https, mailto) and images (http, https), and
 * nothing that can run a script, post a form or pass for a part of the page around. Of scripts, styles, frames and comments nothing stays.
 *
 * A text with a `<` is HTML afterwards: a bare `&` becomes `&amp;`, a `<` that begins no tag `&lt;`, a `>` `&gt;`, and other entities the characters
 * that they stand for. So it reads the same in `innerHTML`; in `textContent`, which needs no filter, it does not. A `<` before a letter begins a tag:
 * without its `>` the rest of the text goes. A text without a `<` stays as it is, `&` and entities included: it can only be text. Quotes stay: no
 * text is for the value of an attribute.
 *
 * @returns a function from JSON data, as parsed (no cycles), to the same with clean texts: the very same object where nothing was to be done, else
 * a copy; of members whose names become equal the last stays
 */
export function markupFilter(kind: MarkupKind): (data: unknown) => unknown {
  const options = OPTIONS[kind]
  return data => {
    if (typeof data === 'string') return clean(data, options)
    return isContainer(data) && hasMarkup(data) ? cleaned(data, options) : data
  }
}

function clean(text: string, options: IOptions): string {
  if (!text.includes('<')) return text
  return hasMoreTags(text, MAX_TAGS) ? escaped(text) : sanitizeHtml(text, options)
}

type Container = Record<string, unknown>

function isContainer(value: unknown): value is Container {
  return typeof value === 'object' && value !== null
}

function hasMarkup(root: Container): boolean {
  const pending = [root]
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    for (const key in value) {
      const member = value[key]
      if (key.includes('<') || (typeof member === 'string' && member.includes('<'))) return true
      if (isContainer(member)) pending.push(member)
    }
  }
  return false
}

function cleaned(root: Container, options: IOptions): Container {
  let changed = false
  let texts = 0
  const text = (value: string): string => {
    if (!value.includes('<')) return value
    const result = ++texts > MAX_TEXTS ? escaped(value) : clean(value, options)
    changed ||= result !== value
    return result
  }
  const copy = emptyLike(root)
  const pending = [{ from: root, to: copy }]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const [key, value] of Object.entries(next.from)) {
      let member = value
      if (typeof value === 'string') member = text(value)
      else if (isContainer(value)) {
        const to = emptyLike(value)
        pending.push({ from: value, to })
        member = to
      }
      put(next.to, text(key), member)
    }
  }
  return changed ? copy : root
}

function emptyLike(value: Container): Container {
  return (Array.isArray(value) ? [] : {}) as Container
}

/** Sets a member, also one called `__proto__`, which is a member in JSON and would otherwise be the prototype. */
function put(to: Container, key: string, value: unknown): void {
  if (key === '__proto__') Object.defineProperty(to, key, { value, writable: true, enumerable: true, configurable: true })
  else to[key] = value
}

function hasMoreTags(text: string, limit: number): boolean {
  let count = 0
  for (let at = text.indexOf('<'); at !== -1; at = text.indexOf('<', at + 1)) if (++count > limit) return true
  return false
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
