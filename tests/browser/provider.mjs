// The simulated provider, and what it says.
import { binary, environment } from './binary.mjs'
import { free_port } from './port.mjs'
import { Process, until } from './process.mjs'

export class Provider {
  #process

  static async start() {
    const provider = new Provider()
    provider.url = `http://127.0.0.1:${await free_port()}/v1`
    const listen = new URL(provider.url).host
    provider.#process = new Process(binary, ['simulate', '--listen', listen], { env: environment })
    await until('the simulated provider', async () => (await fetch(`${provider.url}/models`)).ok)
    return provider
  }

  /** The text that a request is answered with, by choice, from the provider itself and at once. */
  async texts(request) {
    const simulate = { ...request.simulate, rate: 0, cut_after: undefined, stall_after: undefined }
    const response = await fetch(`${this.url}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...request, simulate, stream: false }),
    })
    if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`)
    return (await response.json()).choices.map(({ message }) => message.content)
  }

  stop() {
    return this.#process.end('SIGKILL')
  }
}

/** A request whose answer its seed fixes. */
export const request = (seed, simulate = {}) => ({
  model: 'gpt-simulated',
  messages: [{ role: 'user', content: 'Go on.' }],
  simulate: { seed, ...simulate },
})
