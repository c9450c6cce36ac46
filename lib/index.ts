// Public names of the package.

export {
  BayeuxError,
  type BinaryData,
  binaryMessage,
  binaryOf,
  type ChannelRules,
  type Dropped,
  type ErrorCode,
  type Extra,
  errors,
  type Identity,
  type Message,
  type RemovalReason,
  type Stats,
  type Transport,
  type Verdict,
} from '../bayeux/index.js'
export {
  type Authorizer,
  Bayeux,
  type ClientFacts,
  type Extension,
  type MessageListener,
  type Policy,
  type Revocation,
  ServiceError,
  type ServiceHandler,
} from './bayeux.js'
export type { Events } from './events.js'
export { fastifyOptions, type PerihelionOptions, perihelion } from './plugin.js'
export type { Script } from './scripts.js'
export { main, type ServeExtension } from './serve.js'
export { BayeuxSession, LocalSession } from './session.js'
