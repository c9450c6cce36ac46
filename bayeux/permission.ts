// Permissions: what the channel rules say about one channel, compiled, so that a look-up allocates nothing.
//
// Knows: which rule decides, what its templates stand for on this channel, that a wildcard needs the leave of all that it covers.
// Does not know: the rules themselves (rules.ts), policies and authorizers (trial.ts).
// Source: design of channel rules.

import type { Grant } from './grant.js'
import { claims, type Identity } from './identity.js'
import type { Operation } from './policy.js'

/** A template's name, and the segment that it met: null where a wildcard stands in its place, which is nobody's alone. */
export interface Binding {
  readonly claim: string
  readonly value: string | null
}

/** What one rule says about one channel. */
export class Permission {
  /** @param setting and `pattern` of the rule, for people */
  constructor(
    readonly setting: string,
    readonly pattern: string,
    readonly grant: Grant,
    readonly bindings: readonly Binding[],
  ) {}

  /** Whether it allows everybody. */
  get open(): boolean {
    return this.grant.anyone && this.bindings.length === 0
  }

  allows(identity: Identity | null): boolean {
    if (!this.grant.allows(identity)) return false
    for (let i = 0; i < this.bindings.length; i++) {
      const { claim, value } = this.bindings[i]!
      if (identity === null || value === null || !claims(identity, claim, value)) return false
    }
    return true
  }
}

/** All that the rules say about one channel. */
export class Guard {
  /**
   * @param subscribe several for a wildcard: each must allow
   * @param subscribeAll one that allows is enough, whatever `subscribe` says
   */
  constructor(
    readonly create: Permission | null,
    readonly publish: Permission | null,
    readonly subscribe: readonly Permission[],
    readonly subscribeAll: readonly Permission[],
  ) {}

  allows(operation: Operation, identity: Identity | null): boolean {
    return this.decides(operation, identity) === null
  }

  /** The permission that refuses; null where it is allowed. */
  decides(operation: Operation, identity: Identity | null): Permission | null {
    if (operation !== 'subscribe') {
      const permission = this[operation]
      return permission === null || permission.allows(identity) ? null : permission
    }
    for (let i = 0; i < this.subscribe.length; i++) {
      const permission = this.subscribe[i]!
      if (!permission.allows(identity)) return this.allowsAll(identity) === null ? permission : null
    }
    return null
  }

  /** The permission that allows whatever `subscribe` says. */
  allowsAll(identity: Identity | null): Permission | null {
    for (let i = 0; i < this.subscribeAll.length; i++) if (this.subscribeAll[i]!.allows(identity)) return this.subscribeAll[i]!
    return null
  }
}

/** Of channels that no rule restricts; one for all. */
export const OPEN = new Guard(null, null, [], [])
