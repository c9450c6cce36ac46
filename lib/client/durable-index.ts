// Public names of `client-durable.mjs`, for pages without a build: the client, and an outbox that outlives the page.

export * from './durable.js'
export * from './index.js'
