// biome-ignore-all lint: a page as it was written for Dojo 1.6, before ECMAScript 5 was everywhere
// The screen of the Dojo page: it draws places, members and messages, and keeps what the browser is to remember.
//
// Knows: the elements of dojo.html. Does not know: the wire (dojo-chat.js, which builds on this class).
dojo.declare('ChatScreen', null, {
  draw: function () {
    if (!this.here) return
    var unread = 0
    dojo.empty('rooms')
    dojo.empty('privates')
    dojo.forEach(
      this.sorted(),
      function (place) {
        unread += place.unread
        this.drawPlace(place)
      },
      this,
    )
    document.title =
      (unread ? '(' + unread + ') ' : '') + (this.here.isRoom ? '#' : '') + this.here.name + ' \u00b7 Perihelion chat on Dojo'
    dojo.byId('privateHead').style.display = dojo.byId('privates').childNodes.length ? '' : 'none'
    this.text('placeName', (this.here.isRoom ? '#' : '') + this.here.name)
    this.text('topic', this.here.isRoom ? this.here.topic : 'private, between the two of you')
    this.text('leave', this.here.isRoom ? 'Leave' : 'Close')
    dojo.byId('leave').style.display = this.here.isRoom && this.wanted.length < 2 ? 'none' : ''
    this.drawMembers()
    this.drawTyping()
  },

  drawPlace: function (place) {
    var item = dojo.create(
      'li',
      { className: place === this.here ? 'current' : place.isRoom && !place.joined ? 'idle' : '' },
      place.isRoom ? 'rooms' : 'privates',
    )
    var link = dojo.create('a', { href: '#', className: place.unread ? 'news' : '' }, item)
    this.text(dojo.create('span', { className: 'name' }, link), (place.isRoom ? '#' : '') + place.name)
    if (place.unread) this.text(dojo.create('b', { title: 'unread' }, link), place.unread)
    else if (place.isRoom && place.members) this.text(dojo.create('i', { title: 'members' }, link), place.members)
    if (place === this.here) link.setAttribute('aria-current', 'page')
    dojo.connect(link, 'onclick', this, function (event) {
      dojo.stopEvent(event)
      this.go(place)
    })
  },

  drawMembers: function () {
    dojo.empty('members')
    this.text('count', this.here.isRoom ? this.here.people.length : '')
    dojo.toggleClass('people', 'none', !this.here.isRoom)
    dojo.forEach(
      this.here.people.slice().sort(),
      function (nick) {
        var item = dojo.create('li', null, 'members')
        if (nick === this.nick) {
          this.text(item, nick + ' (you)')
          return
        }
        var link = this.text(dojo.create('a', { href: '#', title: 'Write in private' }, item), nick)
        dojo.connect(link, 'onclick', this, function (event) {
          dojo.stopEvent(event)
          this.go(this.thread(nick))
          dojo.byId('text').focus()
        })
      },
      this,
    )
  },

  drawLine: function (line) {
    var log = dojo.byId('log')
    var atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60
    if (line.notice) this.text(dojo.create('p', { className: 'notice' }, log), line.notice)
    else {
      var own = line.nick === this.nick
      var row = dojo.create('div', { className: own ? 'row own' : 'row' }, log)
      var previous = row.previousSibling
      if (previous && previous.nick === line.nick && line.at - previous.at < 300000) dojo.addClass(row, 'more')
      row.nick = line.nick
      row.at = line.at
      var head = dojo.create('p', { className: 'head' }, row)
      this.text(dojo.create('b', null, head), own ? 'You' : line.nick)
      this.text(dojo.create('span', null, head), this.clock(line.at))
      this.text(dojo.create('p', { className: 'words', dir: 'auto', title: new Date(line.at).toLocaleString() }, row), line.text)
    }
    if (atEnd || line.nick === this.nick) log.scrollTop = log.scrollHeight
  },

  drawTyping: function () {
    if (!this.here) return
    var now = new Date().getTime()
    var typists = []
    for (var nick in this.here.typing) if (this.here.typing[nick] > now) typists.push(nick)
    this.text('typing', typists.length ? typists.join(', ') + (typists.length > 1 ? ' are' : ' is') + ' typing\u2026' : '')
  },

  banner: function (text) {
    this.text('banner', text)
    dojo.byId('banner').style.display = text ? '' : 'none'
  },

  sorted: function () {
    var list = []
    for (var id in this.places) list.push(this.places[id])
    return list.sort(function (a, b) {
      return b.joined - a.joined || (b.id === '#lobby') - (a.id === '#lobby') || (a.name < b.name ? -1 : 1)
    })
  },

  clock: function (at) {
    var moment = new Date(at)
    var two = function (number) {
      return (number < 10 ? '0' : '') + number
    }
    return two(moment.getHours()) + ':' + two(moment.getMinutes())
  },

  /** Text only, never markup. */
  text: function (node, text) {
    node = dojo.byId(node)
    dojo.empty(node)
    node.appendChild(document.createTextNode(text))
    return node
  },

  // The browser's memory

  kept: function (name) {
    try {
      return localStorage.getItem('perihelion.dojo.' + name) || ''
    } catch (error) {
      return ''
    }
  },

  keep: function (name, value) {
    try {
      localStorage.setItem('perihelion.dojo.' + name, value)
    } catch (error) {} // then the page forgets
    return value
  },

  random: function (length) {
    var bytes = window.crypto.getRandomValues(new Uint8Array(length))
    return dojo
      .map(dojo._toArray(bytes), function (byte) {
        return (byte % 36).toString(36)
      })
      .join('')
  },
})
