// Grants: who may, as an operator writes it in a channel rule, compiled.
//
// Knows: the words `anyone`, `authenticated`, `nobody`, `role:…`, `user:…`, `claim:…=…`.
// Does not know: channels (permission.ts), where an identity comes from.

import { claims, type Identity } from './identity.js'

export type Who = string | readonly string[]

export const WHO = 'anyone, authenticated, nobody, role:name, user:name, claim:name=value, or a list of these'

/** One of these is enough. All fields are set here: one shape. */
export class Grant {
  readonly anyone: boolean
  readonly authenticated: boolean
  readonly users: readonly string[]
  readonly roles: readonly string[]
  readonly claims: readonly { readonly name: string; readonly value: string }[]

  /** @param text as it was written, for people */
  constructor(
    readonly text: string,
    words: readonly string[],
  ) {
    const after = (prefix: string): string[] =>
      words.filter(word => word.startsWith(prefix)).map(word => word.slice(prefix.length))
    this.anyone = words.includes('anyone')
    this.authenticated = words.includes('authenticated')
    this.users = after('user:')
    this.roles = after('role:')
    this.claims = after('claim:').map(text => ({
      name: text.slice(0, text.indexOf('=')),
      value: text.slice(text.indexOf('=') + 1),
    }))
  }

  /** @param identity null for somebody who is not known */
  allows(identity: Identity | null): boolean {
    if (this.anyone) return true
    if (identity === null) return false
    if (this.authenticated) return true
    for (let i = 0; i < this.roles.length; i++) if (identity.roles.includes(this.roles[i]!)) return true
    for (let i = 0; i < this.users.length; i++) if (identity.user === this.users[i]) return true
    for (let i = 0; i < this.claims.length; i++) if (claims(identity, this.claims[i]!.name, this.claims[i]!.value)) return true
    return false
  }
}

const WORD = /^(?:anyone|authenticated|nobody|role:.+|user:.+|claim:[^=]+=.+)$/s

/** Whether a setting can be compiled. `nobody` stands alone: beside others it would say nothing. */
export function isWho(value: unknown): value is Who {
  const words: readonly unknown[] = Array.isArray(value) ? value : [value]
  return (
    words.length > 0 &&
    words.every(word => typeof word === 'string' && WORD.test(word)) &&
    (words.length === 1 || !words.includes('nobody'))
  )
}

export function grantOf(who: Who): Grant {
  const words = typeof who === 'string' ? [who] : who
  return new Grant(words.join(', '), words)
}
