// Public names of the outbox that outlives its page.

export { indexedDbStore, Outbox, type OutboxEntry, type OutboxStore } from './outbox.js'
