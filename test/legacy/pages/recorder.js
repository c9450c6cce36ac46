// What every page keeps: its token, the messages that came over the wire, and those that reached the application.
window.recorder = () => ({
  /** Put into `ext` of each handshake; null for none. */
  token: null,
  /** Every message with data, as it came in, before the client dispatched it. */
  wire: [],
  /** Every call of a listener, with the channel it had subscribed to. */
  heard: [],
  /** The clientIds of the successful handshakes, in order. */
  sessions: [],
  /** The channels of the successful subscribe replies, in order; an array joined by commas. */
  subscribed: [],
  /** Failures the client reported: `handshake`, `connect`, ... */
  failures: [],
})
