// What a client remembers beyond its sessions, as it is made here. The smallest bundle has no-memory.ts in its place (scripts/bundle.mjs).

import { Memory } from '../../bayeux/client-memory.js'

export function memory(): Memory | null {
  return new Memory(randomId())
}

/** 128 random bits and more. */
export function randomId(): string {
  return [...crypto.getRandomValues(new Uint32Array(6))].map(number => number.toString(36)).join('')
}
