// What cannot be followed: one error that says why, few requests, and nothing unhandled.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { exact } from './client.mjs'
import { forged } from './gateway.mjs'
import { free_port } from './port.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'
import { event, open, refuse, say, Strange } from './strange.mjs'

let stage
before(async () => { stage = await Stage.set() })
after(() => stage?.strike())

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Follows to a failure: told once to every way, in a sentence, after at most so many requests. */
async function fails(url, code, requests_max, options = {}) {
  const { ask, requests, close } = await stage.client()
  const own = requests.length
  const { outcome, errors, thrown, ends, problems, events, tickets } = await ask('done', await ask('follow', url, options))
  const asked = requests.slice(own)
  assert.deepEqual([outcome.reason, outcome.error?.code, thrown], ['failed', code, code], `${url} ${JSON.stringify(options)}`)
  assert.deepEqual([errors, ends, problems], [[outcome.error], [], []])
  assert.equal(outcome.error.name, 'TokencastError')
  assert.match(outcome.error.message, /\w+ \w+/)
  assert.ok(asked.length <= requests_max, `${asked.length} requests: ${asked.join(' ')}`)
  assert.deepEqual(stage.browser.complaints, [])
  await close()
  return { error: outcome.error, events, tickets, requests: asked.length }
}

test('URLs that are none: no request at all', async () => {
  for (const url of ['', 'http://[', 'http://127.0.0.1/nonsense', 'ftp://127.0.0.1/v1/streams/one', '/v1/streams/a b']) {
    await fails(url, 'invalid_url', 0)
  }
  await fails('http://127.0.0.1/v1/streams/one', 'invalid_cursor', 0, { after: -1 })
})

for (const transport of ['webtransport', 'sse', 'auto']) {
  test(`streams that are not there, over ${transport}`, async () => {
    const { id } = await stage.gateway.cast(request(1, { tokens: 5, rate: 0 }))
    await stage.gateway.ended(id)
    await fails(stage.url('nobody'), 'not_found', 2, { transport })
    await fails(stage.url(id), 'cursor_ahead', 2, { transport, after: 1000 })
    await stage.gateway.call(`/v1/streams/${id}?purge=1`, { method: 'DELETE' })
    await fails(stage.url(id), 'gone', 2, { transport })
  })

  test(`purged while it is watched, over ${transport}`, async () => {
    const { id } = await stage.gateway.cast(request(2, { tokens: 100_000, rate: 40 }))
    const { ask, close } = await stage.client()
    const at = await ask('follow', stage.url(id), { transport })
    await ask('reached', at, 50)
    await stage.gateway.call(`/v1/streams/${id}?purge=1`, { method: 'DELETE' })
    const { outcome, errors } = await ask('done', at)
    assert.deepEqual([outcome.error?.code, errors.length], ['gone', 1])
    await close()
  })

  test(`a ticket that does not count, over ${transport}: another one is fetched once`, async () => {
    const body = request(3, { tokens: 20, rate: 0 })
    const { id, ticket } = await stage.gateway.cast(body)
    await stage.gateway.ended(id)
    const bad = forged(ticket)
    await fails(stage.url(id), 'invalid_ticket', 2, { transport, ticket: bad })
    const { tickets } = await fails(stage.url(id), 'invalid_ticket', 4, { transport, tickets: [bad] })
    assert.equal(tickets, 2)
    const { ask, close } = await stage.client()
    const report = await ask('done', await ask('follow', stage.url(id), { transport, tickets: [bad, ticket] }))
    await exact(stage, id, body, report)
    assert.equal(report.tickets, 2)
    await close()
  })
}

test('a ticket that expires on the way is renewed, once for every expiry', async () => {
  const texts = ['a', 'b', 'c']
  const strange = await Strange.start((response, url) => {
    if (url.pathname.endsWith('webtransport')) return refuse(response, 404, 'not_found')
    const [after, ticket] = [Number(url.searchParams.get('after')), Number(url.searchParams.get('ticket'))]
    if (ticket <= after) return refuse(response, 401, 'ticket_expired')
    const said = event(after + 1, 'text', { from: after + 1, text: texts[after] })
    const bye = event(null, 'bye', { code: 'ticket_expired', retry_ms: 0 })
    if (after + 1 < texts.length) return say(response, open(after) + said + bye)
    say(response, open(after) + said + event(4, 'end', { reason: 'completed', code: null, usage: null, blocks: 3 }))
  })
  const { ask, close } = await stage.client()
  const report = await ask('done', await ask('follow', `${strange.url}/v1/streams/s`, { tickets: [1, 2, 3].map(String) }))
  assert.deepEqual([report.text, report.problems, report.tickets], ['abc', [], 3])
  assert.equal(strange.asked.filter((path) => path.includes('/events')).length, 3)
  await close()
  strange.close()
})

test('a function that has no ticket: asked a few times, and the gateway not at all', async () => {
  const { tickets } = await fails(stage.url('one'), 'ticket_unavailable', 0, { tickets: [], attemptsMax: 3 })
  assert.equal(tickets, 3)
  await fails(stage.url('nobody'), 'not_found', 2, { tickets: [null] })
})

test('nobody listens there', async () => {
  const url = `http://127.0.0.1:${await free_port()}/v1/streams/one`
  for (const transport of ['webtransport', 'sse']) await fails(url, 'unreachable', 3, { transport, attemptsMax: 3 })
  await fails(url, 'unreachable', 6, { attemptsMax: 3 })
})

const page = (status, body) => (response) => response.writeHead(status, { 'content-type': 'text/html' }).end(body)
const json = (status, body) => (response) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end(body)
const redirect = (response) => response.writeHead(302, { location: '/v1/streams/one/events' }).end()
const NOT_TOKENCAST = {
  'a web page': [page(200, '<h1>Hello'), 'not_tokencast', 2],
  'a page that is not found': [page(404, '<h1>Not found'), 'not_tokencast', 2],
  'a login': [page(401, '<form>'), 'not_tokencast', 2],
  'JSON of somebody else': [json(200, '{"url":7}'), 'not_tokencast', 2],
  'JSON that is null': [json(403, 'null'), 'not_tokencast', 2],
  'an error without end': [(response) => response.writeHead(500).end(), 'not_tokencast', 6],
  'a redirect to itself': [redirect, 'unreachable', 150],
  'a connection that is cut': [(response) => response.destroy(), 'unreachable', 12],
  'overloaded': [(response) => refuse(response, 503, 'overloaded'), 'overloaded', 6],
}

for (const [name, [answer, code, requests_max]] of Object.entries(NOT_TOKENCAST)) {
  test(`a server that is not tokencast: ${name}`, async () => {
    const strange = await Strange.start(answer)
    await fails(`${strange.url}/v1/streams/one`, code, requests_max, { attemptsMax: 3 })
    strange.close()
  })
}

test('a server that lets no page of ours read', async () => {
  const strange = await Strange.start((response) => response.end('{}'), {})
  await fails(`${strange.url}/v1/streams/one`, 'unreachable', 6, { attemptsMax: 3 })
  strange.close()
})

for (const [name, refusal] of Object.entries({
  'says nothing, again and again': (response, after) => say(response, open(after)),
  'is overloaded for weeks': (response) => {
    response.setHeader('retry-after', '2147484')
    refuse(response, 503, 'overloaded')
  },
  'says goodbye for years': (response, after) =>
    say(response, open(after) + event(null, 'bye', { code: 'draining', retry_ms: 1e12 })),
})) {
  test(`a gateway that was there, and now ${name}: no storm, and no end`, async () => {
    const strange = await Strange.start((response, url) => {
      const after = Number(url.searchParams.get('after'))
      if (after === 0) say(response, open() + event(1, 'text', { from: 1, text: 'before' }))
      else refusal(response, after)
    }, { 'access-control-allow-origin': '*', 'access-control-expose-headers': 'retry-after' })
    const { ask, close } = await stage.client()
    const at = await ask('follow', `${strange.url}/v1/streams/s`, { transport: 'sse' })
    await ask('reached', at, 6)
    await sleep(4000)
    const { outcome, text } = await ask('report', at)
    assert.deepEqual([outcome, text], [null, 'before'])
    assert.ok(strange.asked.length <= 20, `${strange.asked.length} requests`)
    await close()
    strange.close()
  })
}
