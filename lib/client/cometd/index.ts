// Public names of the compatibility build, those of npm `cometd`, nothing else.

export { CometD } from './cometd.js'
export {
  AckExtension,
  BinaryExtension,
  type Bytes,
  Extension,
  type ReloadConfiguration,
  ReloadExtension,
  TimeStampExtension,
  TimeSyncExtension,
  Z85,
} from './extensions.js'
export {
  CallbackPollingTransport,
  LongPollingTransport,
  type Packet,
  RequestTransport,
  Transport,
  TransportRegistry,
  WebSocketTransport,
} from './transports.js'
export type {
  Advice,
  Callback,
  Configuration,
  ExtensionLike,
  Failure,
  Handle,
  Handle as ListenerHandle,
  Handle as SubscriptionHandle,
  LogLevel,
  Message,
  Status,
} from './types.js'
