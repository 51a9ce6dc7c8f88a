// One unidirectional stream of the server: HEADER, records, and exactly one of ERROR, BYE or END before FIN.
import { Answer } from './answer.mjs'
import { BYE, END, ERROR, FRAME, HEADER, HEARTBEAT } from './wire.mjs'

export class Viewing {
  header = null
  error = null
  bye = null
  records = 0
  heartbeats = 0
  bytes = 0
  /** FIN was read. */
  finished = false
  /** Why reading broke off, if it did. */
  broke = null
  /** The longest time between two arrivals. */
  gap_ms = 0
  #heard_ms = null
  #last = false

  constructor(answer = new Answer()) {
    this.answer = answer
  }

  arrived(bytes, now_ms) {
    this.bytes += bytes
    if (this.#heard_ms !== null) this.gap_ms = Math.max(this.gap_ms, now_ms - this.#heard_ms)
    this.#heard_ms = now_ms
  }

  record([kind, value]) {
    const { problems } = this.answer
    if (this.#last) problems.push(`kind ${kind} behind the last record`)
    if ((this.records === 0) !== (kind === HEADER || kind === ERROR)) {
      problems.push(`record ${this.records} is of kind ${kind}`)
    }
    this.records += 1
    switch (kind) {
      case HEADER:
        this.header = value
        this.answer.begins(value.after)
        break
      case FRAME:
        if (value.length === 0) problems.push('an empty frame')
        for (const event of value) this.answer.event(event)
        break
      case HEARTBEAT:
        this.heartbeats += 1
        break
      case ERROR:
        this.error = value
        this.#last = true
        break
      case BYE:
        this.bye = value
        this.#last = true
        break
      case END:
        this.answer.event(value)
        this.#last = true
        break
    }
  }

  finish(rest) {
    this.finished = true
    if (rest > 0) this.answer.problems.push(`${rest} bytes of a record before FIN`)
    if (!this.#last) this.answer.problems.push('FIN without ERROR, BYE or END')
  }

  /** The longest time between two arrivals since this was last asked. */
  take_gap() {
    const { gap_ms } = this
    this.gap_ms = 0
    return gap_ms
  }

  /** Nothing more comes. */
  get over() {
    return this.finished || this.broke !== null
  }

  report() {
    const { header, error, bye, records, heartbeats, bytes, finished, broke, gap_ms } = this
    const { cursor, end, problems, events, channels } = this.answer
    return {
      header, error, bye, records, heartbeats, bytes, finished, broke, gap_ms,
      cursor, end, problems, events, channels, text: this.answer.text(),
    }
  }
}
