// A TCP forwarder on loopback, for what goes over HTTP: connections can be cut, or go silent.
import { once } from 'node:events'
import net from 'node:net'

export class Connections {
  #server
  #pairs = new Set()
  #dark = false

  static async start({ port, to }) {
    const forwarder = new Connections()
    forwarder.#server = net.createServer((front) => forwarder.#join(front, to)).listen(port, '127.0.0.1')
    await once(forwarder.#server, 'listening')
    return forwarder
  }

  /** Resets whatever is open; new connections pass. */
  cut() {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy()
  }

  /** While dark, connections stay open and nothing passes; what came meanwhile follows afterwards. */
  set dark(dark) {
    this.#dark = dark
    for (const pair of this.#pairs) for (const socket of pair) dark ? socket.pause() : socket.resume()
  }

  close() {
    this.cut()
    this.#server.close()
  }

  #join(front, to) {
    const back = net.connect(to, '127.0.0.1')
    const pair = [front, back]
    this.#pairs.add(pair)
    for (const [from, onto] of [[front, back], [back, front]]) {
      from.on('data', (bytes) => onto.write(bytes))
      from.on('end', () => onto.end())
      from.on('error', () => {})
      from.on('close', () => {
        this.#pairs.delete(pair)
        onto.destroy()
      })
      if (this.#dark) from.pause()
    }
  }
}
