// A child process of ours: its output kept, its end awaited, never left behind.
import { spawn } from 'node:child_process'
import { once } from 'node:events'

const KEPT_BYTES_MAX = 4 << 20

const alive = new Set()
process.once('exit', () => alive.forEach((child) => child.kill('SIGKILL')))

export class Process {
  #child
  #exit
  output = ''

  constructor(command, args, options) {
    this.#child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        this.output = (this.output + text).slice(-KEPT_BYTES_MAX)
      })
    }
    alive.add(this.#child)
    this.#exit = once(this.#child, 'close').finally(() => alive.delete(this.#child))
  }

  get pid() {
    return this.#child.pid
  }

  get running() {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Resolves with code and signal once it is gone, by itself or by a signal. */
  async end(signal) {
    if (signal && this.running) this.#child.kill(signal)
    const [code, by] = await this.#exit
    return { code, signal: by }
  }
}

/** Asks until it is answered. */
export async function until(what, test, ms_max = 20_000) {
  const late = Date.now() + ms_max
  for (;;) {
    let value
    try {
      value = await test()
    } catch {
      value = false
    }
    if (value) return value
    if (Date.now() > late) throw new Error(`${what}: not within ${ms_max} ms`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
