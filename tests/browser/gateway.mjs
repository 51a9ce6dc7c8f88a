// A gateway in a directory and on ports of its own, which outlive its process.
import assert from 'node:assert/strict'
import { readFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binary, environment } from './binary.mjs'
import { free_port } from './port.mjs'
import { Process, until } from './process.mjs'

function toml(value) {
  if (Array.isArray(value)) return `[${value.map(toml)}]`
  if (typeof value !== 'object') return JSON.stringify(value)
  return `{${Object.entries(value).map(([key, value]) => `${key} = ${toml(value)}`)}}`
}

export class Gateway {
  #process
  #log = ''

  /** `config` by area and key: whatever a test wants otherwise. */
  static async start({ provider, config = {} }) {
    const gateway = new Gateway()
    gateway.directory = await mkdtemp(join(tmpdir(), 'tokencast-browser-'))
    const [http, ops, webtransport] = [await free_port(), await free_port(), await free_port()]
    gateway.ports = { http, ops, webtransport }
    gateway.url = `http://127.0.0.1:${http}`
    const areas = { http: {}, ops: {}, webtransport: {}, drain: { grace_s: 2 }, ...config }
    for (const area of ['http', 'ops', 'webtransport']) {
      areas[area] = { listen: `127.0.0.1:${gateway.ports[area]}`, ...areas[area] }
    }
    const lines = Object.entries(areas).flatMap(([area, keys]) =>
      [`[${area}]`, ...Object.entries(keys).map(([key, value]) => `${key} = ${toml(value)}`)])
    lines.push('[[providers]]', 'name = "simulated"', 'dialect = "openai"', `base_url = "${provider.url}"`)
    await writeFile(join(gateway.directory, 'tokencast.toml'), lines.join('\n'))
    await gateway.restart()
    return gateway
  }

  /** Starts the process, which must not be running; resolves once it is ready. */
  async restart() {
    this.launch()
    await this.ready()
  }

  launch() {
    const options = { cwd: this.directory, env: environment }
    this.#process = new Process(binary, ['serve', '--config', 'tokencast.toml'], options)
  }

  ready() {
    return until('the gateway', async () => {
      if (!this.#process.running) assert.fail(this.#process.output)
      return (await fetch(`http://127.0.0.1:${this.ports.ops}/readyz`)).ok
    })
  }

  async kill() {
    await this.#process.end('SIGKILL')
    this.#log += this.#process.output
  }

  /** SIGTERM; resolves with its exit code once it has drained. */
  async drain() {
    const { code } = await this.#process.end('SIGTERM')
    this.#log += this.#process.output
    return code
  }

  async stop() {
    if (this.#process.running) await this.kill()
    await rm(this.directory, { recursive: true })
    assert.doesNotMatch(this.#log, /panicked/)
    assert.doesNotMatch(this.#log, /ticket=|eyJ/, 'a credential in the log')
  }

  /** Whether its log has a line of warning or error like this. */
  said(pattern) {
    return this.#process.output.split('\n').some((line) => /warn|error/i.test(line) && pattern.test(line))
  }

  async resident_bytes() {
    const status = await readFile(`/proc/${this.#process.pid}/status`, 'utf8')
    return Number(status.match(/VmRSS:\s+(\d+) kB/)[1]) * 1024
  }

  async call(path, options = {}) {
    const response = await fetch(this.url + path, options)
    const body = await response.json()
    if (!response.ok) throw new Error(`${path}: ${response.status} ${JSON.stringify(body)}`)
    return body
  }

  /** Starts a stream. */
  cast(request, options = {}) {
    const headers = { 'content-type': 'application/json' }
    return this.call('/v1/streams', { method: 'POST', headers, body: JSON.stringify({ request, ...options }) })
  }

  /** Where a page asks for URL and certificates. */
  get where() {
    return `${this.url}/v1/webtransport`
  }

  async webtransport() {
    return (await fetch(this.where)).json()
  }

  state(id) {
    return this.call(`/v1/streams/${id}`)
  }

  async ended(id) {
    return until(`the end of ${id}`, async () => {
      const state = await this.state(id)
      return state.end && state
    })
  }

  /** What `GET …/text` has, up to where an end that is not `completed` breaks the body off. */
  async text(id) {
    const response = await fetch(`${this.url}/v1/streams/${id}/text`)
    assert.equal(response.status, 200)
    const decoder = new TextDecoder()
    let text = ''
    try {
      for await (const chunk of response.body) text += decoder.decode(chunk, { stream: true })
    } catch (error) {
      if (error.message !== 'terminated') throw error
    }
    return text
  }

  /** The events of an ended stream behind a cursor, as SSE tells them, without `open`. */
  async events(id, after = 0) {
    const body = await (await fetch(`${this.url}/v1/streams/${id}/events?after=${after}`)).text()
    return body.split('\n\n').filter((block) => block.includes('data:')).map((block) => {
      const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2)))
      return [fields.id === undefined ? null : Number(fields.id), fields.event, JSON.parse(fields.data)]
    }).filter(([, name]) => name !== 'open')
  }

  /** A metric by its name and one label, or its sum over all of them. */
  async metric(name, label = '') {
    const text = await (await fetch(`http://127.0.0.1:${this.ports.ops}/metrics`)).text()
    const lines = text.split('\n').filter((line) => /^\w+/.exec(line)?.[0] === name && line.includes(label))
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
  }
}

/** A ticket with another signature. */
export const forged = (ticket) => ticket.slice(0, -6) + (ticket.endsWith('AAAAAA') ? 'BBBBBB' : 'AAAAAA')
