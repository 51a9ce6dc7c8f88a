// A server that is not tokencast, or says what tokencast would not: `answer` is what it does with a request.
import { createServer } from 'node:http'
import { once } from 'node:events'

export class Strange {
  /** Whatever was asked, as method and path with query. */
  asked = []
  #server

  static async start(answer, headers = { 'access-control-allow-origin': '*' }) {
    const strange = new Strange()
    strange.#server = createServer((request, response) => {
      strange.asked.push(`${request.method} ${request.url}`)
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
      answer(response, new URL(request.url, 'http://localhost'), request)
    }).listen(0, '127.0.0.1')
    // A test that fails before its end leaves it behind.
    strange.#server.unref().on('connection', (socket) => socket.unref())
    await once(strange.#server, 'listening')
    strange.url = `http://127.0.0.1:${strange.#server.address().port}`
    return strange
  }

  close() {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

/** An answer in the form of tokencast's errors. */
export function refuse(response, status, code) {
  const body = JSON.stringify({ error: { code, message: `${code} is said` } })
  response.writeHead(status, { 'content-type': 'application/json' }).end(body)
}

/** Whatever comes as an event stream. */
export const say = (response, text) => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(text)

export const event = (id, name, data) =>
  `${id === null ? '' : `id: ${id}\n`}event: ${name}\ndata: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`

export const open = (after = 0) => `retry: 100\n${event(after, 'open', { stream: 's', after, tail: 9, status: 'running' })}`
