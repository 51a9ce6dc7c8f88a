// Ports that nobody has, for TCP and UDP alike: a gateway that is killed comes back on its own.
import dgram from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'

export async function free_port() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  const socket = dgram.createSocket('udp4')
  try {
    socket.bind(port, '127.0.0.1')
    await once(socket, 'listening')
  } catch {
    return free_port()
  } finally {
    server.close()
    socket.close()
  }
  return port
}
