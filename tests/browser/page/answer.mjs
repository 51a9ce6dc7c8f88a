// One stream as a viewer has it, over any number of connections: folds events, and notes whatever the rules forbid.

export class Answer {
  /** The id of the last event that had one. */
  cursor
  events = []
  end = null
  problems = []
  #channels = new Map()
  // What of each channel is behind an id; the rest is provisional.
  #sure = new Map()
  #sure_events = 0
  // A viewer may begin at a number that is no id: then the first `from` can lie before it.
  #anywhere

  /** Without a cursor it takes the first one that it is told. */
  constructor(after = null) {
    this.cursor = after
    this.#anywhere = after !== 0
  }

  /** A connection begins behind `after`. */
  begins(after) {
    this.cursor ??= after
    if (after !== this.cursor) this.#problem(`begins behind ${after} instead of ${this.cursor}`)
    for (const [channel, text] of this.#channels) {
      this.#channels.set(channel, text.slice(0, this.#sure.get(channel) ?? 0))
    }
    this.events.length = this.#sure_events
  }

  event([id, name, data]) {
    if (this.end) this.#problem(`${name} behind the end`)
    if (name === 'end') return this.#ends(id, data)
    if (name === 'snapshot') return this.#snapshot(id, data)
    const expected = this.cursor + 1
    if (!(data.from === expected || (this.#anywhere && data.from < expected))) {
      this.#problem(`${name} is from ${data.from} instead of ${expected}`)
    }
    this.events.push([id, name, data])
    const piece = name === 'tool_call' ? data.arguments : data.text
    if (piece !== undefined) {
      const channel = [name, data.choice ?? 0, data.index ?? 0].join()
      this.#channels.set(channel, (this.#channels.get(channel) ?? '') + piece)
    }
    if (id !== null) this.#advance(id)
  }

  text(choice = 0) {
    return this.#channels.get(`text,${choice},0`) ?? ''
  }

  get channels() {
    return Object.fromEntries(this.#channels)
  }

  #advance(id) {
    if (!Number.isSafeInteger(id) || id <= this.cursor) this.#problem(`id ${id} behind ${this.cursor}`)
    this.cursor = id
    this.#anywhere = false
    for (const [channel, text] of this.#channels) this.#sure.set(channel, text.length)
    this.#sure_events = this.events.length
  }

  #ends(id, end) {
    if (id !== end.blocks + 1) this.#problem(`the end of ${end.blocks} blocks is ${id}`)
    if (id <= this.cursor) this.#problem(`end ${id} behind ${this.cursor}`)
    this.cursor = id
    this.end = end
  }

  #snapshot(id, { upto, choices }) {
    if (id !== upto || this.events.length > 0) this.#problem(`snapshot ${id} upto ${upto}`)
    for (const { choice = 0, text } of choices) this.#channels.set(`text,${choice},0`, text)
    this.#advance(id)
  }

  #problem(what) {
    this.problems.push(what)
  }
}
