#!/usr/bin/env node
// Streams from Node (18 or later), without a package. Pages and programs that show answers use @tokencast/client.
//
//   stream.mjs start < request.json    starts a stream with the provider's request, and prints its id
//   stream.mjs text ID                 its text as it comes, over all that breaks off
//   stream.mjs events ID [AFTER]       its events as lines of JSON, each once
//   stream.mjs stop ID                 stops it for everybody
//
// TOKENCAST_URL is where the gateway is, TOKENCAST_KEY its key, if it has one.
import { text as all } from 'node:stream/consumers'

const streams = `${process.env.TOKENCAST_URL ?? 'http://127.0.0.1:8080'}/v1/streams`
const key = process.env.TOKENCAST_KEY
// The gateway says something every 15 s.
const SILENT_MS = 45_000

/** An answer that says no. */
class Refused extends Error {}

async function call(path, { headers, ...options } = {}) {
  const response = await fetch(streams + path, {
    ...options,
    headers: { ...headers, ...(key && { 'tokencast-key': key }) },
  })
  if (response.ok) return response
  const said = `${response.status}: ${await response.text()}`
  throw response.status < 500 ? new Refused(said) : new Error(said)
}

async function start(request) {
  const headers = { 'content-type': 'application/json' }
  const response = await call('', { method: 'POST', headers, body: `{"request":${request}}` })
  return (await response.json()).id
}

/** Lines as they come, until they end or nothing is heard any more. */
async function* lines(path) {
  const silent = new AbortController()
  let timer = setTimeout(() => silent.abort(), SILENT_MS)
  try {
    const { body } = await call(path, { headers: { accept: 'application/x-ndjson' }, signal: silent.signal })
    let rest = ''
    for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
      timer.refresh()
      const found = (rest + chunk).split('\n')
      rest = found.pop()
      yield* found
    }
  } finally {
    clearTimeout(timer)
  }
}

/** Every event once and in order, up to the end, whatever becomes of the connection. */
async function* events(id, after = 0) {
  for (;;) {
    // What has no id comes again if the connection breaks off before the next one that has.
    let held = []
    try {
      for await (const line of lines(`/${id}/events?after=${after}`)) {
        const event = JSON.parse(line)
        if (['open', 'heartbeat', 'bye'].includes(event.event)) continue
        held.push(event)
        if (event.id === null) continue
        after = event.id
        yield* held
        held = []
        if (event.event === 'end') return
      }
    } catch (error) {
      if (error instanceof Refused) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 1000))
  }
}

async function text(id) {
  for await (const { event, data } of events(id)) {
    if (event === 'text' && data.choice === undefined) process.stdout.write(data.text)
    if (event === 'end' && data.reason !== 'completed')
      throw new Error(`\n${data.reason}: ${data.message ?? data.code}`)
  }
}

const [what, ...args] = process.argv.slice(2)
try {
  if (what === 'start') console.log(await start(await all(process.stdin)))
  else if (what === 'text') await text(...args)
  else if (what === 'events') for await (const event of events(...args)) console.log(JSON.stringify(event))
  else if (what === 'stop') console.log(await (await call(`/${args[0]}`, { method: 'DELETE' })).text())
  else throw new Error('stream.mjs start | text ID | events ID [AFTER] | stop ID')
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
