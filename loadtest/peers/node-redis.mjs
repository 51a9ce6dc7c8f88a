// Node and Redis, as one writes it: a SUBSCRIBE per stream that somebody watches, and a write per viewer.
// node node-redis.mjs REDIS_PORT PORT

import http from 'node:http'
import net from 'node:net'

const [redisPort, port] = process.argv.slice(2).map(Number)
const rooms = new Map()

// Until Redis is there, which is started beside us.
function connect() {
  return new Promise((resolve) => {
    const socket = net.connect(redisPort, '127.0.0.1', () => resolve(socket))
    socket.once('error', () => setTimeout(() => resolve(connect()), 20))
  })
}

const redis = await connect()
redis.removeAllListeners('error')
let rest = ''
redis.setEncoding('latin1').on('data', (chunk) => {
  const lines = (rest + chunk).split('\r\n')
  let at = 0
  for (;;) {
    // *3, $7, message, $n, channel, $n, data; or *3, $9, subscribe, $n, channel, :count
    const length = lines[at + 2] === 'message' ? 7 : 6
    if (lines.length - 1 - at < length) break
    if (length === 7) deliver(lines[at + 4], lines[at + 6])
    at += length
  }
  rest = lines.slice(at).join('\r\n')
})

function deliver(channel, data) {
  const event = `data: ${data}\n\n`
  for (const viewer of rooms.get(channel) ?? []) viewer.write(event)
}

http
  .createServer((request, response) => {
    const channel = request.url.split('/').at(-1)
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
    response.flushHeaders()
    if (!rooms.has(channel)) {
      rooms.set(channel, new Set())
      redis.write(`SUBSCRIBE ${channel}\r\n`)
    }
    rooms.get(channel).add(response)
    response.on('close', () => rooms.get(channel).delete(response))
  })
  .listen(port, '127.0.0.1', 4096)
