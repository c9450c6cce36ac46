// Public names of what loses nothing: replay and an outbox for a client.

export { indexedDbStore, Outbox, type OutboxEntry, type OutboxOptions, type OutboxStore } from './outbox.js'
export { Replay, type ReplayFrom, type ReplayOptions } from './replay.js'
