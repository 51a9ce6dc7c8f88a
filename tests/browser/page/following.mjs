// One stream as the client tells it, by all its ways at once: callbacks, iterator, fold and paint have to agree.
import { follow } from '/client.js'
import { Answer } from './answer.mjs'
import { now_ms } from './session.mjs'

const plain = (error) => error && { name: error.name, code: error.code, message: error.message, status: error.status }

export class Following {
  opens = []
  states = []
  ends = []
  errors = []
  tickets = 0
  painted = ''
  paints = 0
  /** Paints of a frame that had been painted already. */
  repaints = 0
  iterated = ''
  thrown = null
  first_ms = null
  /** The longest time between two events. */
  gap_ms = 0
  #heard_ms = null
  #events = 0
  #waiting = new Set()

  /** `tickets` are handed out in turn by a function, the last one again and again; with none at all, it throws. */
  constructor(url, { tickets, hold_ms = 0, ...options } = {}) {
    const { after = 0 } = options
    this.answer = new Answer(after === 'live' ? null : after)
    const ticket = () => {
      this.tickets += 1
      if (tickets.length === 0) throw new Error('nobody has one')
      return tickets[Math.min(this.tickets, tickets.length) - 1]
    }
    this.follow = follow(url, {
      ...options,
      ...(tickets && { ticket }),
      onEvent: (event) => this.#event(event),
      onOpen: (open, transport) => {
        this.answer.cursor ??= open.after
        this.opens.push({ transport, after: open.after, at_ms: now_ms(), first_ms: null })
      },
      onState: (state) => this.states.push(state),
      onEnd: (end) => this.ends.push(end),
      onError: (error) => this.errors.push(plain(error)),
    })
    const painted = this.#paint()
    const iterating = this.#iterate(hold_ms)
    // The last paint has a frame of its own; after `close()` there is none.
    this.done = this.follow.done.then(({ reason }) => Promise.all([iterating, reason === 'closed' || painted]))
  }

  reached(characters) {
    return new Promise((resolve) => {
      const look = () => {
        if (this.answer.text().length < characters && this.follow.outcome === null) return
        this.#waiting.delete(look)
        resolve(this.answer.text().length)
      }
      this.#waiting.add(look)
      look()
    })
  }

  take_gap() {
    const gap_ms = Math.max(this.gap_ms, this.#heard_ms === null ? 0 : now_ms() - this.#heard_ms)
    this.gap_ms = 0
    return gap_ms
  }

  async stop() {
    return plain(await this.follow.stop())
  }

  report() {
    const { opens, states, ends, errors, tickets, painted, paints, repaints, iterated, thrown, first_ms, gap_ms } = this
    const { outcome, fold } = this.follow
    const { problems, cursor, end } = this.answer
    return {
      text: this.answer.text(), folded: fold.text, choices: fold.choices, usage: fold.usage, painted, iterated,
      problems, cursor, end, outcome: outcome && { ...outcome, error: plain(outcome.error) }, thrown, ends, errors,
      opens, states, tickets, paints, repaints, first_ms, gap_ms, events: this.#events, stats: this.follow.stats(),
    }
  }

  #event({ id, event, data }) {
    const now = now_ms()
    this.first_ms ??= now
    const open = this.opens.at(-1)
    if (open) open.first_ms ??= now
    else this.answer.problems.push(`${event} before open`)
    if (this.#heard_ms !== null) this.gap_ms = Math.max(this.gap_ms, now - this.#heard_ms)
    this.#heard_ms = now
    this.#events += 1
    this.answer.event([id, event, data])
    for (const look of [...this.#waiting]) look()
  }

  /** Resolves with the last paint. */
  #paint() {
    const element = globalThis.document?.querySelector('#painted')
    let frame = null
    return new Promise((resolve) => {
      this.follow.paint((fold, { outcome }) => {
        const now = globalThis.document?.timeline.currentTime ?? null
        if (now !== null && now === frame && document.visibilityState === 'visible') this.repaints += 1
        frame = now
        this.paints += 1
        this.painted = fold.text
        if (element) element.textContent = fold.text
        if (outcome) resolve()
      })
    })
  }

  /** Stands still at the first event for so long. */
  async #iterate(hold_ms) {
    try {
      let events = 0
      for await (const { event, data } of this.follow) {
        events += 1
        if (events === 1 && hold_ms > 0) await new Promise((resolve) => setTimeout(resolve, hold_ms))
        if (event === 'text' && (data.choice ?? 0) === 0) this.iterated += data.text
        if (event === 'snapshot') this.iterated = data.choices[0]?.text ?? ''
      }
      if (events !== this.#events) this.answer.problems.push(`${events} of ${this.#events} events iterated`)
    } catch (error) {
      this.thrown = error.code
    }
  }
}
