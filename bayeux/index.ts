// Public names of the core, nothing else.

export { addressKey } from './address.js'
export { type BinaryData, binaryMessage, binaryOf, decodeZ85, encodeZ85 } from './binary.js'
export { type ChannelKind, type ChannelName, covers, kindOf, parseChannel } from './channel.js'
export type { Connection, Facts } from './connection.js'
export { Engine } from './engine.js'
export { BayeuxError, type ErrorCode, type ErrorRow, errors, wireError } from './errors.js'
export type { Extension } from './extension.js'
export type { Entry, History, Page, Retention } from './history.js'
export { claimOf, type Identity, tokenOf, wholeIdentity } from './identity.js'
export { FrozenMessage, isObject, type Json, type Message } from './message.js'
export { BROWSER_ID_LENGTH } from './meta.js'
export {
  type EngineOptions,
  engineOptions,
  isOption,
  type OptionRow,
  type OptionsOf,
  resolve,
  resolveFor,
  TRANSPORTS,
  type Transport,
} from './options.js'
export { type Admission, type Authorizer, type Operation, type Opinion, type Question, refusal, type Verdict } from './policy.js'
export type { Advice } from './reply.js'
export { type ChannelRules, type ChannelSettings, channelSettings, type Explanation, Rules } from './rules.js'
export type { SavedSession } from './saving.js'
export type { Dropped, Extra, ServerSide, Stats } from './server.js'
export type { RemovalReason, Session } from './session.js'
export type { Ending, Sink } from './sink.js'
export type { Listener } from './tree.js'
