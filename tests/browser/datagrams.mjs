// A UDP forwarder on loopback: the network between the page and the gateway, as good or bad as a test wants it. Its
// sockets are not connected, so ICMP is swallowed: from outside a killed gateway is silence.
import dgram from 'node:dgram'
import { once } from 'node:events'

/** Seeded, so that the same datagrams are lost again. */
function random(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export class Datagrams {
  loss = 0
  delay_ms = 0
  /** Nothing passes, in either direction. */
  dark = false
  forwarded = 0
  dropped = 0
  /** Ports from which clients have come to the gateway, ever. */
  peers = 0
  #random
  #front = dgram.createSocket('udp4')
  #backs = new Map()
  #retired = []
  #closed = false

  static async start({ port, to, seed = 1 }) {
    const forwarder = new Datagrams()
    forwarder.to = to
    forwarder.#random = random(seed)
    forwarder.#front.on('message', (datagram, peer) => {
      forwarder.#pass(() => forwarder.#back(peer).send(datagram, to, '127.0.0.1'))
    })
    forwarder.#front.bind(port, '127.0.0.1')
    await once(forwarder.#front, 'listening')
    return forwarder
  }

  /** Every client comes from another port from now on, as behind a NAT that has forgotten it. */
  rebind() {
    for (const back of this.#backs.values()) {
      back.removeAllListeners('message')
      this.#retired.push(back)
    }
    this.#backs.clear()
  }

  async blackout(ms) {
    this.dark = true
    await new Promise((resolve) => setTimeout(resolve, ms))
    this.dark = false
  }

  close() {
    this.#closed = true
    for (const socket of [this.#front, ...this.#backs.values(), ...this.#retired]) socket.close()
  }

  #back({ address, port }) {
    const peer = `${address}:${port}`
    let back = this.#backs.get(peer)
    if (!back) {
      back = dgram.createSocket('udp4')
      this.peers += 1
      back.on('message', (datagram) => this.#pass(() => this.#front.send(datagram, port, address)))
      back.on('error', () => {})
      this.#backs.set(peer, back)
    }
    return back
  }

  #pass(send) {
    if (this.dark || (this.loss > 0 && this.#random() < this.loss)) {
      this.dropped += 1
      return
    }
    this.forwarded += 1
    if (this.delay_ms === 0) send()
    else setTimeout(() => this.#closed || send(), this.delay_ms)
  }
}
