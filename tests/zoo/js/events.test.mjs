// EventSource, as Node has it twice, on the native view.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { once } from 'node:events'
import { test } from 'node:test'
import { EventSource as Eventsource } from 'eventsource'
import { EventSource as Undici } from 'undici'
import { GATEWAY, PROVIDER, QUESTION, ask, simulate } from './zoo.mjs'

const NAMES = ['open', 'meta', 'text', 'reasoning', 'tool_call', 'usage', 'finish', 'error', 'end', 'bye']

async function cast(wanted) {
  const request = { model: 'gpt-events', messages: [{ role: 'user', content: QUESTION }], simulate: simulate(wanted) }
  const headers = { 'content-type': 'application/json' }
  return ask('/v1/streams', { method: 'POST', headers, body: JSON.stringify({ request }) })
}

async function said(wanted) {
  const request = { model: 'gpt-events', messages: [{ role: 'user', content: QUESTION }], simulate: simulate(wanted) }
  const options = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(request) }
  const { choices } = await (await fetch(`${PROVIDER}/v1/chat/completions`, options)).json()
  return choices[0].message.content
}

/** In front of the gateway: breaks the first connection off behind so many bytes, and counts. */
async function breaking(bytes) {
  const requests = []
  const server = createServer((request, response) => {
    const is_first = requests.push(request.headers['last-event-id'] ?? null) === 1
    const { port, hostname } = new URL(GATEWAY)
    const upstream = connect(port, hostname, () => {
      const resume = request.headers['last-event-id']
      const lines = [`GET ${request.url} HTTP/1.0`, `host: ${hostname}:${port}`, 'accept: text/event-stream']
      if (resume) lines.push(`last-event-id: ${resume}`)
      upstream.write(`${lines.join('\r\n')}\r\n\r\n`)
    })
    let left = is_first ? bytes : Infinity
    upstream.on('data', (chunk) => {
      response.socket?.write(chunk.subarray(0, left))
      left -= chunk.length
      if (left <= 0) upstream.destroy()
    })
    upstream.on('close', () => response.socket?.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${server.address().port}`, requests, close: () => server.close() }
}

/** Everything up to `end`, or to what stops it for good. */
function follow(Source, url) {
  return new Promise((resolve) => {
    const source = new Source(url)
    const events = []
    const done = (fatal) => {
      source.close()
      resolve({ events, fatal })
    }
    for (const name of NAMES) {
      source.addEventListener(name, (event) => {
        if (event.data === undefined) return
        events.push([name, event.lastEventId, JSON.parse(event.data)])
        if (name === 'end') done(null)
      })
    }
    source.addEventListener('error', (event) => {
      if (source.readyState === 2) done(event.code ?? event.message ?? 'closed')
    })
  })
}

const text_of = (events) =>
  events
    .filter(([name]) => name === 'text')
    .map(([, , data]) => data.text)
    .join('')
/** Ids of what is in the log; `open` begins anew with each connection. */
const logged = (events) => events.filter(([name]) => name !== 'open')

for (const [name, Source] of Object.entries({ eventsource: Eventsource, undici: Undici })) {
  test(`${name}: a stream`, async () => {
    const { urls } = await cast({ seed: 41, reasoning: 10 })
    const { events } = await follow(Source, urls.events)
    assert.equal(events[0][0], 'open')
    assert.equal(text_of(events), await said({ seed: 41, reasoning: 10 }))
    assert.equal(events.at(-1)[2].reason, 'completed')
  })

  test(`${name}: a slow start`, async () => {
    const { urls } = await cast({ seed: 42, first_byte_ms: 2500 })
    const { events } = await follow(Source, `${urls.events}?heartbeat_ms=500`)
    assert.equal(text_of(events), await said({ seed: 42 }))
  })

  test(`${name}: a connection that breaks off is taken up behind the last event`, async () => {
    const wanted = { seed: 43, tokens: 60, rate: 60 }
    const { id } = await cast(wanted)
    const proxy = await breaking(1500)
    const { events } = await follow(Source, `${proxy.url}/v1/streams/${id}/events`)
    proxy.close()
    assert.equal(proxy.requests.length, 2)
    assert.match(proxy.requests[1], /^[1-9]\d*$/)
    // Nothing is missing, and nothing comes twice.
    assert.equal(text_of(events), await said({ seed: 43, tokens: 60 }))
    const froms = logged(events)
      .filter(([, , data]) => data.from !== undefined)
      .map(([, , data]) => data.from)
    assert.deepEqual(
      froms,
      froms.toSorted((one, other) => one - other),
    )
  })

  test(`${name}: an error in mid-stream, an upstream that breaks off`, async () => {
    for (const [wanted, code] of [
      [{ error_after: 9 }, 'upstream_error'],
      [{ cut_after: 9 }, 'upstream_cut'],
    ]) {
      const { urls } = await cast(wanted)
      const { events } = await follow(Source, urls.events)
      assert.deepEqual([events.at(-1)[2].reason, events.at(-1)[2].code], ['failed', code])
      assert.ok((await said()).startsWith(text_of(events)))
    }
  })

  test(`${name}: who has the end is sent away for good`, async () => {
    const { urls } = await cast({ seed: 44 })
    const { events } = await follow(Source, urls.events)
    assert.equal((await fetch(urls.events, { headers: { 'last-event-id': events.at(-1)[1] } })).status, 204)
    for (const url of [`${urls.events}?after=${events.at(-1)[1]}`, `${GATEWAY}/v1/streams/nobodys/events`]) {
      const { events, fatal } = await follow(Source, url)
      assert.deepEqual(events, [])
      assert.ok(fatal)
    }
  })
}
