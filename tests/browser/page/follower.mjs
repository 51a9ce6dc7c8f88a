// Follows streams to their ends over as many connections as it takes, each behind the cursor of the one before.
import { Answer } from './answer.mjs'
import { now_ms, Session } from './session.mjs'
import { read_sse } from './sse.mjs'

const AGAIN_MS = 20

export class Follower {
  /** One entry for every connection that was lost: by which transport, when, and when the next one stood. */
  breaks = []
  /** By stream: the code of an error or a BYE. */
  refused = {}
  pings = 0
  rtts_ms = []
  #answers
  #options

  /** `transports` are taken in turn; a page of the tests, unlike a client, is told what to use. */
  constructor(streams, { transports = ['webtransport'], acks = true, ...options }) {
    this.#answers = new Map(streams.map((stream) => [stream, new Answer(0)]))
    this.#options = { transports, acks, ...options }
  }

  async run() {
    for (let turn = 0; this.#missing().length > 0; turn += 1) {
      const transport = this.#options.transports[turn % this.#options.transports.length]
      const lost = await (transport === 'sse' ? this.#over_sse() : this.#over_webtransport())
      if (lost) this.breaks.push({ transport, ...lost, again_ms: null })
    }
  }

  /** Characters of text so far, by stream. */
  progress() {
    return Object.fromEntries([...this.#answers].map(([stream, answer]) => [stream, answer.text().length]))
  }

  report() {
    const streams = Object.fromEntries([...this.#answers].map(([stream, answer]) =>
      [stream, { text: answer.text(), cursor: answer.cursor, end: answer.end, problems: answer.problems }]))
    const { breaks, refused, pings, rtts_ms } = this
    return { streams, breaks, refused, pings, rtts_ms }
  }

  #missing() {
    return [...this.#answers].filter(([stream, { end }]) => !end && !this.refused[stream]).map(([stream]) => stream)
  }

  #stands() {
    const last = this.breaks.at(-1)
    if (last) last.again_ms = now_ms()
  }

  async #over_sse() {
    this.#stands()
    const whole = await Promise.all(this.#missing().map((stream) => {
      const answer = this.#answers.get(stream)
      return read_sse(`${this.#options.http}/v1/streams/${stream}/events?after=${answer.cursor}`, answer)
    }))
    return whole.every(Boolean) ? null : { at_ms: now_ms(), cause: 'cut' }
  }

  async #over_webtransport() {
    const session = await this.#connect()
    this.#stands()
    await Promise.all(this.#missing().map((stream) => this.#follow(session, stream)))
    this.pings += session.pings
    this.rtts_ms.push(...session.rtts_ms)
    if (this.#missing().length > 0) return session.gone()
    session.close()
    return null
  }

  async #connect() {
    const { where, ping } = this.#options
    for (;;) {
      try {
        const { url, certificate_hashes: hashes } = await (await fetch(where)).json()
        const session = await Session.open(url, { hashes })
        session.acks()
        if (ping) session.watch(ping)
        return session
      } catch {
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
      }
    }
  }

  async #follow(session, stream) {
    const answer = this.#answers.get(stream)
    const subscription = [...this.#answers.keys()].indexOf(stream)
    try {
      const { acks } = this.#options
      const reply = await session.subscribe({ subscription, stream, after: answer.cursor }, { answer, acks })
      if (reply.type === 'error') {
        this.refused[stream] = reply.code
        return
      }
      const viewing = await session.over(subscription)
      if (viewing.bye) this.refused[stream] = viewing.bye.code
    } catch (error) {
      if (!session.lost) throw error
    }
  }
}
