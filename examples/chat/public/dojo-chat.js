// biome-ignore-all lint: a page as it was written for Dojo 1.6, before ECMAScript 5 was everywhere
// The chat's page as one wrote it in 2011: dojox.cometd on long polling, one object, no build.
//
// Knows: the wire of the chat (service.ts lists it), places, what the person at the page wants.
// Does not know: remote calls. dojox.cometd has none, so that answers are told from failures by their `error`.
dojo.require('dojox.cometd')
dojo.require('dojox.cometd.ack')

dojo.declare('ChatPage', ChatScreen, {
  TYPING_SHOWN: 4000,
  TYPING_SENT: 2500,

  constructor: function () {
    this.nick = this.kept('nick')
    this.asked = this.nick
    this.key = this.kept('key') || this.keep('key', this.random(32))
    this.wanted = (this.kept('rooms') || 'lobby').split(' ')
    this.places = {}
    this.here = null
    this.entered = false
    this.typedAt = 0
    dojo.byId('nick').value = this.nick
    dojo.connect(dojo.byId('nameForm'), 'onsubmit', this, 'onName')
    dojo.connect(dojo.byId('roomForm'), 'onsubmit', this, 'onRoom')
    dojo.connect(dojo.byId('sayForm'), 'onsubmit', this, 'onSay')
    dojo.connect(dojo.byId('text'), 'onkeydown', this, 'onKey')
    dojo.connect(dojo.byId('leave'), 'onclick', this, 'onLeave')
    dojo.connect(window, 'onfocus', this, 'onFocus')
    dojo.subscribe('/cometd/meta', this, 'onMeta')
    if (!this.nick) dojo.byId('nick').focus()
  },

  start: function (path) {
    dojox.cometd.init(path)
  },

  // The wire

  onMeta: function (meta) {
    if (meta.action === 'handshake') {
      this.entered = false
      if (meta.successful) this.greet()
      else this.banner('No answer from the server. Trying again\u2026')
    } else if (meta.action === 'connect' && meta.state !== 'disconnected') {
      if (!meta.successful) this.banner('The connection is lost. Trying to get it back\u2026')
      else if (this.entered) this.banner('')
      else if (!this.nick) this.banner('Tell us your name to come in.')
    }
  },

  /** A new session: the old one's subscriptions are gone. */
  greet: function () {
    dojox.cometd.startBatch()
    dojox.cometd.subscribe('/talk/rooms', this, 'onRoomNote')
    dojox.cometd.subscribe('/service/talk/enter', this, 'onEntered')
    dojox.cometd.subscribe('/service/talk/join', this, 'onJoined')
    dojox.cometd.subscribe('/service/talk/private', this, 'onPrivate')
    dojox.cometd.subscribe('/service/talk/refused', this, 'onRefused')
    for (var id in this.places) this.places[id].joined = false
    this.enter()
    dojox.cometd.endBatch()
  },

  enter: function () {
    if (this.asked) dojox.cometd.publish('/service/talk/enter', { nick: this.asked, key: this.key })
  },

  onEntered: function (message) {
    var answer = message.data
    if (answer.error) {
      if (this.entered) this.asked = this.nick
      this.banner(answer.text)
      dojo.byId('nick').focus()
      return
    }
    this.entered = true
    this.nick = this.asked = this.keep('nick', answer.nick)
    dojo.byId('nick').value = answer.nick
    dojo.byId('nameButton').innerHTML = 'Rename'
    if (dojo.hasClass('body', 'out') || document.activeElement === dojo.byId('nick')) {
      dojo.removeClass('body', 'out')
      dojo.byId('text').focus()
    }
    this.banner('')
    dojo.forEach(
      answer.rooms,
      function (note) {
        dojo.mixin(this.room(note.room), { topic: note.topic, members: note.members })
      },
      this,
    )
    dojox.cometd.startBatch()
    dojo.forEach(this.wanted, this.join, this)
    dojox.cometd.endBatch()
    if (!this.here) this.go(this.room(this.wanted[0]))
    this.draw()
  },

  join: function (name) {
    var channel = '/talk/room/' + name
    dojox.cometd.subscribe(channel, this, 'onSaid')
    dojox.cometd.subscribe(channel + '/members', this, 'onMoved')
    dojox.cometd.subscribe(channel + '/typing', this, 'onTyping')
    dojox.cometd.publish('/service/talk/join', { room: name })
  },

  onJoined: function (message) {
    var answer = message.data
    if (answer.error) {
      this.banner(answer.text)
      return
    }
    var place = dojo.mixin(this.room(answer.room), {
      joined: true,
      topic: answer.topic,
      members: answer.members,
      people: answer.people,
    })
    dojo.forEach(
      answer.said,
      function (said) {
        this.add(place, said)
      },
      this,
    )
    this.draw()
  },

  onRoomNote: function (message) {
    var note = message.data
    dojo.mixin(this.room(note.room), { topic: note.topic, members: note.members })
    if (note.gone && !this.room(note.room).joined) delete this.places['#' + note.room]
    this.draw()
  },

  onSaid: function (message) {
    this.arrived(this.room(message.channel.split('/')[3]), message.data)
  },

  onPrivate: function (message) {
    var data = message.data
    if (data.error) {
      if (this.here) this.line(this.here, data.text)
      return
    }
    this.arrived(this.thread(data.from === this.nick ? data.to : data.from), dojo.mixin({ nick: data.from }, data))
  },

  onRefused: function (message) {
    this.line(this.room(message.data.room), 'Not sent: ' + message.data.text)
  },

  onMoved: function (message) {
    var place = this.room(message.channel.split('/')[3])
    var move = message.data
    var gone = move.event === 'renamed' ? move.was : move.nick
    place.people = dojo.filter(place.people, function (nick) {
      return nick !== gone
    })
    if (move.event !== 'left') place.people.push(move.nick)
    place.members = move.members
    delete place.typing[gone]
    if (move.nick !== this.nick)
      this.line(place, move.event === 'renamed' ? move.was + ' is now ' + move.nick : move.nick + ' ' + move.event)
    this.draw()
  },

  onTyping: function (message) {
    if (message.data.nick === this.nick) return
    this.room(message.channel.split('/')[3]).typing[message.data.nick] = new Date().getTime() + this.TYPING_SHOWN
    this.drawTyping()
    setTimeout(dojo.hitch(this, 'drawTyping'), this.TYPING_SHOWN + 50)
  },

  // The places

  room: function (name) {
    return this.place('#' + name, name, true)
  },

  thread: function (nick) {
    return this.place('@' + nick.toLowerCase(), nick, false)
  },

  place: function (id, name, isRoom) {
    if (!this.places[id]) {
      this.places[id] = {
        id: id,
        name: name,
        isRoom: isRoom,
        joined: false,
        topic: '',
        members: 0,
        people: [],
        lines: [],
        seen: {},
        typing: {},
        unread: 0,
      }
    }
    return this.places[id]
  },

  go: function (place) {
    this.here = place
    place.unread = 0
    if (place.isRoom && !place.joined) {
      if (dojo.indexOf(this.wanted, place.name) < 0) this.wanted.push(place.name)
      this.keep('rooms', this.wanted.join(' '))
      if (this.entered) this.join(place.name)
    }
    dojo.empty('log')
    dojo.forEach(place.lines, this.drawLine, this)
    this.draw()
  },

  add: function (place, said) {
    if (place.seen[said.id]) return false
    place.seen[said.id] = true
    delete place.typing[said.nick]
    place.lines.push(said)
    if (place.lines.length > 500) place.lines.shift()
    if (place === this.here) this.drawLine(said)
    return true
  },

  arrived: function (place, said) {
    if (!this.add(place, said)) return
    if (said.nick !== this.nick && (place !== this.here || !document.hasFocus())) place.unread++
    this.draw()
  },

  line: function (place, text) {
    var notice = { notice: text }
    place.lines.push(notice)
    if (place === this.here) this.drawLine(notice)
  },

  // The person at the page

  onName: function (event) {
    dojo.stopEvent(event)
    this.asked = dojo.trim(dojo.byId('nick').value)
    this.enter()
  },

  onRoom: function (event) {
    dojo.stopEvent(event)
    var name = dojo
      .byId('roomName')
      .value.toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-+|-+$/g, '')
    dojo.byId('roomName').value = ''
    if (name) this.go(this.room(name))
  },

  onSay: function (event) {
    dojo.stopEvent(event)
    var text = dojo.trim(dojo.byId('text').value)
    if (!text || !this.entered) return
    if (this.here.isRoom) dojox.cometd.publish('/talk/room/' + this.here.name, { text: text })
    else dojox.cometd.publish('/service/talk/private', { to: this.here.name, text: text })
    dojo.byId('text').value = ''
    this.typedAt = 0
  },

  onKey: function (event) {
    if (event.keyCode === dojo.keys.ENTER && !event.shiftKey) {
      this.onSay(event)
      return
    }
    var now = new Date().getTime()
    if (!this.entered || !this.here.isRoom || event.keyCode < 48 || now - this.typedAt < this.TYPING_SENT) return
    this.typedAt = now
    dojox.cometd.publish('/talk/room/' + this.here.name + '/typing', {})
  },

  onLeave: function (event) {
    dojo.stopEvent(event)
    var name = this.here.name
    if (this.here.isRoom) {
      this.wanted = dojo.filter(this.wanted, function (other) {
        return other !== name
      })
      this.keep('rooms', this.wanted.join(' '))
      this.here.joined = false
      dojo.forEach(['', '/members', '/typing'], function (part) {
        dojox.cometd.unsubscribe('/talk/room/' + name + part)
      })
      dojox.cometd.publish('/service/talk/leave', { room: name })
    } else delete this.places[this.here.id]
    this.go(this.room(this.wanted[this.wanted.length - 1] || 'lobby'))
  },

  onFocus: function () {
    if (!this.here) return
    this.here.unread = 0
    this.draw()
  },
})

dojo.addOnLoad(function () {
  dojo.xhrGet({
    url: 'config.json',
    handleAs: 'json',
    load: function (config) {
      window.chat = new ChatPage()
      window.chat.start(config.bayeux)
    },
  })
})
