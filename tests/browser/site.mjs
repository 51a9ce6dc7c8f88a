// The page's origin: serves `page/` and what it imports, from http://localhost; and the client, as the gateway does.
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { extname, join, normalize } from 'node:path'

const ROOT = import.meta.dirname
const CLIENT = join(ROOT, '../../client/dist/client.js')
const TYPES = { '.html': 'text/html', '.mjs': 'text/javascript', '.js': 'text/javascript', '.css': 'text/css' }

export class Site {
  #server

  static async start(root = ROOT) {
    const site = new Site()
    site.root = root
    site.#server = createServer(async ({ url }, response) => {
      const path = normalize(new URL(url, 'http://localhost').pathname)
      try {
        const body = await readFile(path === '/client.js' ? CLIENT : join(root, path))
        response.writeHead(200, {
          'content-type': TYPES[extname(path)] ?? 'application/octet-stream',
          'access-control-allow-origin': '*',
        }).end(body)
      } catch {
        response.writeHead(404).end()
      }
    }).listen(0, '127.0.0.1')
    await once(site.#server, 'listening')
    site.origin = `http://localhost:${site.#server.address().port}`
    return site
  }

  close() {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}
