// Everything that a test needs, up in order and down again.
import { Browser } from './browser.mjs'
import { Connections } from './connections.mjs'
import { Datagrams } from './datagrams.mjs'
import { Gateway } from './gateway.mjs'
import { free_port } from './port.mjs'
import { until } from './process.mjs'
import { Provider } from './provider.mjs'
import { Site } from './site.mjs'

export class Stage {
  /** With `forwarded`, the gateway names the forwarder's port, so that every page comes through it; `url` does, too. */
  static async set({ forwarded = false, hiding = false, config = {} } = {}) {
    const stage = new Stage()
    stage.site = await Site.start()
    stage.provider = await Provider.start()
    const front = await free_port()
    const webtransport = { ...config.webtransport, ...(forwarded && { public_url: `https://127.0.0.1:${front}` }) }
    const http = { cors_origins: [stage.site.origin], ...config.http }
    stage.gateway = await Gateway.start({ provider: stage.provider, config: { ...config, http, webtransport } })
    stage.origin = stage.gateway.url
    if (forwarded) {
      stage.network = await Datagrams.start({ port: front, to: stage.gateway.ports.webtransport })
      const port = await free_port()
      stage.connections = await Connections.start({ port, to: stage.gateway.ports.http })
      stage.origin = `http://127.0.0.1:${port}`
    }
    stage.browser = await Browser.start({ hiding })
    return stage
  }

  page() {
    return this.browser.page(this.site)
  }

  client() {
    return this.browser.client(this.site)
  }

  /** Where a client finds a stream. */
  url(id) {
    return `${this.origin}/v1/streams/${id}`
  }

  /** Resolves once nobody follows the stream. */
  unwatched(id) {
    return until(`nobody at ${id}`, async () => (await this.gateway.state(id)).viewers === 0)
  }

  /** A session of many streams, opened by the page. */
  async session(ask, options = {}) {
    const { url, certificate_hashes: hashes } = await this.gateway.webtransport()
    return (await ask('open', url, { hashes, ...options })).session
  }

  /** A session on one stream, with a query behind its URL, and without a control stream unless it is asked for. */
  async single(ask, id, query = '', options = {}) {
    const { url, certificate_hashes: hashes } = await this.gateway.webtransport()
    const of_stream = new URL(`/v1/streams/${id}${query}`, url).href
    return (await ask('open', of_stream, { hashes, hello: false, ...options })).session
  }

  async strike() {
    this.network?.close()
    this.connections?.close()
    try {
      await this.browser.close()
    } finally {
      this.site.close()
      await this.provider.stop()
      await this.gateway.stop()
    }
  }
}
