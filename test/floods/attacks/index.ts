// All floods, in the order in which they are run: those on one kind of server together.

import { type Flood, SERVERS } from '../flood.js'
import { channelFloods } from './channels.js'
import { frameFloods } from './frames.js'
import { readerFloods } from './readers.js'
import { requestFloods } from './requests.js'
import { sessionFloods } from './sessions.js'

const all = [...requestFloods, ...sessionFloods, ...channelFloods, ...readerFloods, ...frameFloods]

export const floods: readonly Flood[] = Object.keys(SERVERS).flatMap(kind => all.filter(({ server }) => server === kind))
