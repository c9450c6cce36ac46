// Public names of the client, nothing else.

export type { Place } from '../../bayeux/client-memory.js'
export type { ClientFailure, PeerMessage } from '../../bayeux/client-sink.js'
export {
  type ChannelMap,
  Client,
  type ClientEvents,
  type ClientExtension,
  type ConnectionState,
  type ConnectionStatus,
  type From,
  type Gap,
  type Options,
} from './client.js'
export { ClientError, type ClientErrorCode } from './error.js'
export type { Extra, TokenSource, TransportName } from './line.js'
export { type Message, Subscription } from './subscription.js'
export type { OpenSocket, Socket, Surroundings } from './surroundings.js'
