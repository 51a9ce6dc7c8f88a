// One WebTransport session: the control stream, the streams that the server opens, acks and pings.
import { Viewing } from './viewing.mjs'
import { framed, HEADER, Splitter } from './wire.mjs'

/** A page gives up on a handshake that nobody answers. */
const READY_MS_MAX = 10_000
const ACK_EVERY_MS = 500
const LOOK_EVERY_MS = 25

export const now_ms = () => performance.timeOrigin + performance.now()

/** A value that others wait for, until it is as they want it. */
class Bell {
  #waiting = new Set()

  ring() {
    for (const look of [...this.#waiting]) look()
  }

  until(test) {
    return new Promise((resolve, reject) => {
      const look = () => {
        try {
          const value = test()
          if (!value) return
          this.#waiting.delete(look)
          resolve(value)
        } catch (error) {
          this.#waiting.delete(look)
          reject(error)
        }
      }
      this.#waiting.add(look)
      look()
    })
  }
}

export class Session {
  /** By subscription. */
  viewings = new Map()
  /** Viewings without a HEADER: an ERROR came in its place. */
  refused = []
  /** Control messages that nobody has asked for yet. */
  inbox = []
  welcome = null
  /** When and how it was learnt that the session is gone. */
  lost = null
  pings = 0
  rtts_ms = []
  #transport
  #control = null
  #bell = new Bell()
  #heard_ms = now_ms()
  #held = new Set()
  #answers = new Map()
  #paced = new Map()
  #timers = []

  static async open(url, { hashes = [], hello = true, control = hello } = {}) {
    const session = new Session()
    await session.#connect(url, hashes)
    if (control) await session.#open_control()
    if (hello) {
      await session.say({ type: 'hello', version: 1 })
      session.welcome = await session.hear(['welcome'])
    }
    return session
  }

  async #connect(url, hashes) {
    const serverCertificateHashes = hashes.map(({ algorithm, value }) => ({
      algorithm,
      value: Uint8Array.from(value.match(/../g), (byte) => parseInt(byte, 16)),
    }))
    const transport = new WebTransport(url, { serverCertificateHashes })
    this.#transport = transport
    transport.closed.then(
      ({ closeCode, reason }) => this.#lose(`closed ${closeCode} ${reason}`),
      (error) => this.#lose(error.message),
    )
    let timer
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('the handshake is not answered')), READY_MS_MAX)
    })
    await Promise.race([transport.ready, late])
    clearTimeout(timer)
    this.#take_streams()
  }

  async #open_control() {
    const { readable, writable } = await this.#transport.createBidirectionalStream()
    this.#control = writable.getWriter()
    this.#read(readable, (message) => {
      if (message.type === 'pong') this.rtts_ms.push(now_ms() - message.t)
      else this.inbox.push(message)
    })
  }

  async say(...messages) {
    await Promise.all(messages.map((message) => this.#control.write(framed(message))))
  }

  /** Bytes on the control stream, whatever they are. */
  async raw(bytes) {
    await this.#control.write(Uint8Array.from(bytes))
  }

  /** The first control message of one of the types, about one subscription where that is given. */
  hear(types, subscription) {
    return this.#bell.until(() => {
      const at = this.inbox.findIndex((message) =>
        types.includes(message.type) && (subscription === undefined || message.subscription === subscription))
      if (at >= 0) return this.inbox.splice(at, 1)[0]
      if (this.lost) throw new Error(`lost before ${types}: ${this.lost.cause}`)
      return null
    })
  }

  /** `acks`: paced from the first record on. `held`: nothing is read behind the first record. */
  async subscribe({ subscription, ...options }, { answer, acks = false, held = false } = {}) {
    if (answer) this.#answers.set(subscription, answer)
    if (acks) this.#paced.set(subscription, { bytes: 0, cursor: -1 })
    if (held) this.#held.add(subscription)
    await this.say({ type: 'subscribe', subscription, ...options })
    return this.hear(['subscribed', 'error'], subscription)
  }

  /** Reads on. */
  release(subscription) {
    this.#held.delete(subscription)
    this.#bell.ring()
  }

  /** Waits for something about one viewing. */
  until(subscription, test) {
    return this.#bell.until(() => {
      const viewing = this.viewings.get(subscription)
      if (viewing && test(viewing)) return viewing
      if (this.lost) throw new Error(`lost: ${this.lost.cause}`)
      return null
    })
  }

  /** Its HEADER is there and nothing more comes, or the session is gone. */
  over(subscription) {
    return this.#bell.until(() => {
      const viewing = this.viewings.get(subscription)
      return viewing?.over || this.lost ? viewing ?? new Viewing() : null
    })
  }

  refusal() {
    return this.#bell.until(() => this.refused.find((viewing) => viewing.over))
  }

  gone() {
    return this.#bell.until(() => this.lost)
  }

  /** Pings when nothing was heard for `after_ms`, and again every `every_ms`. */
  watch({ after_ms = 350, every_ms = 200 } = {}) {
    let pinged_ms = 0
    this.#every(LOOK_EVERY_MS, () => {
      const now = now_ms()
      if (now - this.#heard_ms < after_ms || now - pinged_ms < every_ms) return
      pinged_ms = now
      this.pings += 1
      this.say({ type: 'ping', t: now }).catch(() => {})
    })
  }

  acks() {
    this.#every(ACK_EVERY_MS, () => {
      for (const subscription of this.#paced.keys()) this.#ack(subscription, 0)
    })
  }

  close(closeCode = 0) {
    this.#transport.close({ closeCode })
  }

  /** Opens a stream that the gateway does not expect; resolves once writing has failed, or after a second. */
  async intrude(kind) {
    const writable = kind === 'unidirectional'
      ? await this.#transport.createUnidirectionalStream()
      : (await this.#transport.createBidirectionalStream()).writable
    const writer = writable.getWriter()
    writer.write(new Uint8Array(16)).catch(() => {})
    const stopped = writer.closed.then(() => null, (error) => ({ code: error.streamErrorCode ?? null }))
    return Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, 1000, 'still open'))])
  }

  async datagrams(count) {
    const writer = this.#transport.datagrams.writable.getWriter()
    for (let at = 0; at < count; at += 1) await writer.write(new Uint8Array(100).fill(at))
    writer.releaseLock()
  }

  async #take_streams() {
    const incoming = this.#transport.incomingUnidirectionalStreams.getReader()
    try {
      for (;;) {
        const { value, done } = await incoming.read()
        if (done) return
        this.#view(value)
      }
    } catch {
      // The session is gone: `closed` says so.
    }
  }

  async #view(stream) {
    let viewing = null
    let bytes = 0
    const first = (record) => {
      const answer = record[0] === HEADER ? this.#answers.get(record[1].subscription) : undefined
      viewing = new Viewing(answer)
      if (record[0] !== HEADER) this.refused.push(viewing)
      else if (this.viewings.get(record[1].subscription)?.over === false) viewing.answer.problems.push('a second one')
      else this.viewings.set(record[1].subscription, viewing)
    }
    const broke = await this.#read(stream, (record) => {
      if (!viewing) first(record)
      viewing.record(record)
    }, (chunk) => {
      bytes += chunk
      if (!viewing) return null
      viewing.arrived(bytes, now_ms())
      const subscription = viewing.header?.subscription
      this.#ack(subscription, bytes)
      bytes = 0
      return this.#held.has(subscription) ? this.#bell.until(() => !this.#held.has(subscription)) : null
    }, (rest) => (viewing ?? this.refused[this.refused.push(new Viewing()) - 1]).finish(rest))
    if (broke && viewing && !viewing.finished) viewing.broke = broke
    this.#bell.ring()
  }

  /** Reads to the end, and says why it broke off, or null. */
  async #read(stream, each, after = () => null, finish = () => {}) {
    const splitter = new Splitter()
    const reader = stream.getReader()
    try {
      for (;;) {
        const { value, done } = await reader.read()
        if (done) break
        this.#heard_ms = now_ms()
        for (const record of splitter.push(value)) each(record)
        const gate = after(value.length)
        this.#bell.ring()
        if (gate) await gate
      }
      finish(splitter.rest)
      return null
    } catch (error) {
      // Only ours have no source: what cannot be decoded must not look like a lost connection.
      if (error.source === undefined) console.error(error.stack)
      return { message: error.message, source: error.source ?? 'judge', code: error.streamErrorCode ?? null }
    }
  }

  /** Everything up to the cursor was read: said for every quarter of what may be under way, else by the clock. */
  #ack(subscription, bytes) {
    const paced = this.#paced.get(subscription)
    const viewing = this.viewings.get(subscription)
    if (!paced || !viewing || viewing.over) return
    paced.bytes += bytes
    const { cursor } = viewing.answer
    if (cursor === paced.cursor || (bytes > 0 && paced.cursor >= 0 && paced.bytes < this.welcome.ack_bytes / 4)) return
    paced.bytes = 0
    paced.cursor = cursor
    this.say({ type: 'ack', subscription, seq: cursor }).catch(() => {})
  }

  #every(ms, look) {
    if (!this.lost) this.#timers.push(setInterval(look, ms))
  }

  #lose(cause) {
    this.lost = { at_ms: now_ms(), cause }
    for (const timer of this.#timers) clearInterval(timer)
    this.#bell.ring()
  }
}
