// Request bodies: the JSON texts in a POST or a callback-polling query, in all dialects that clients write.
//
// Knows: JSON of any content type, form fields named `message`, charsets.
// Does not know: what the texts mean (the engine parses them).
// Source: protocol reference 5.2, 5.3, 5.6, DEV-1.

const FORM = 'application/x-www-form-urlencoded'
const CHARSET = /;\s*charset\s*=\s*"?([^";\s]+)"?/i

/**
 * The JSON texts of a POST body, in order.
 *
 * @param contentType of the request, '' for none; decides only between JSON and form where the body itself does not, and the charset
 * @returns null when the body has none, or its charset is unknown or broken
 */
export function readBody(body: Buffer, contentType: string): string[] | null {
  const text = decode(body, contentType)
  if (text === null) return null
  const first = firstCharacter(text)
  if (first === '') return null
  const json = first === '[' || first === '{'
  if (!json && (contentType.toLowerCase().startsWith(FORM) || text.includes('message='))) return messageFields(text)
  return [text]
}

/** The JSON texts of a query or form: its fields named `message`, in order; null when there is none. */
export function messageFields(query: string): string[] | null {
  const texts = new URLSearchParams(query).getAll('message')
  return texts.length === 0 ? null : texts
}

function decode(body: Buffer, contentType: string): string | null {
  const charset = contentType === '' ? undefined : CHARSET.exec(contentType)?.[1]
  if (charset === undefined || /^utf-?8$/i.test(charset)) return body.toString('utf8')
  try {
    return new TextDecoder(charset).decode(body)
  } catch {
    return null
  }
}

/** The first character that is not blank; a byte order mark counts as any other. */
function firstCharacter(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code !== 32 && code !== 9 && code !== 10 && code !== 13) return text[i]!
  }
  return ''
}
