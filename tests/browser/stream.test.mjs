// The URL of one stream: everything is said without a control stream.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { forged } from './gateway.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'

// Every kind of event, two choices of them, and an emoji in halves.
const PARAMETERS = { type: 'object', properties: { at: { type: 'string' } } }
const RICH = {
  ...request(200, { tokens: 60, reasoning: 20, tool_calls: 2, emoji_halves: true, rate: 200 }),
  n: 2,
  tools: [{ type: 'function', function: { name: 'look', parameters: PARAMETERS } }],
}

let stage
let page
before(async () => {
  stage = await Stage.set()
  page = await stage.page()
})
after(() => stage?.strike())

async function view(id, query, options) {
  const session = await stage.single(page.ask, id, query, options)
  return page.ask('over', session, 0)
}

async function refused(id, query) {
  const session = await stage.single(page.ask, id, query)
  return page.ask('refusal', session)
}

async function ended(body, options) {
  const { id } = await stage.gateway.cast(body, options)
  return stage.gateway.ended(id)
}

test('live and replayed, the events are those of SSE', async () => {
  const { id, urls } = await stage.gateway.cast(RICH)
  const { url } = await stage.gateway.webtransport()
  assert.equal(urls.webtransport, new URL(`/v1/streams/${id}`, url).href)
  const live = await view(id, '')
  const replayed = await view(id, '')
  const events = await stage.gateway.events(id)
  const names = new Set(events.map(([, name]) => name))
  for (const name of ['meta', 'text', 'reasoning', 'tool_call', 'usage', 'finish', 'end']) {
    assert.ok(names.has(name), name)
  }
  const end = events.pop()
  for (const report of [live, replayed]) {
    assert.deepEqual(report.problems, [])
    assert.equal(report.finished, true)
    assert.deepEqual(report.events, events)
    assert.deepEqual(report.end, end[2])
    assert.equal(report.cursor, end[0])
    assert.equal(report.text, await stage.gateway.text(id))
  }
  assert.deepEqual([live.header.after, live.header.stream, live.header.subscription], [0, id, 0])
  assert.deepEqual([replayed.header.tail, replayed.header.status], [end[2].blocks, 'completed'])
})

test('from every cursor', async () => {
  const { id, blocks } = await ended(request(201, { tokens: 40, rate: 0 }))
  for (let cursor = 0; cursor <= blocks; cursor += 1) {
    const report = await view(id, `?after=${cursor}`)
    const events = await stage.gateway.events(id, cursor)
    assert.deepEqual(report.problems, [], `after ${cursor}`)
    assert.equal(report.header.after, cursor)
    assert.deepEqual([report.finished, report.end], [true, events.pop()[2]])
    assert.deepEqual(report.events, events, `after ${cursor}`)
  }
})

test('at the tail, behind the end, and beyond', async () => {
  const { id, blocks, end } = await ended(request(202, { tokens: 5, rate: 0 }))
  for (const cursor of [blocks, blocks + 1]) {
    const session = await stage.single(page.ask, id, `?after=${cursor}`)
    const report = await page.ask('over', session, 0)
    assert.deepEqual([report.header.after, report.records, report.end, report.finished], [cursor, 2, end, true])
  }
  const { error, finished, problems } = await refused(id, `?after=${blocks + 2}`)
  assert.deepEqual([error.code, error.detail.tail, finished, problems], ['cursor_ahead', blocks, true, []])
})

test('whatever is wrong is said in band', async () => {
  const { id } = await ended(request(203, { tokens: 5, rate: 0 }))
  const other = await stage.gateway.cast(request(204, { tokens: 5, rate: 0 }))
  for (const [stream, query, code] of [
    ['nobody', '', 'not_found'],
    ['not%20an%20id', '', 'not_found'],
    [id, '?after=-1', 'invalid_cursor'],
    [id, '?after=1&after=2', 'invalid_cursor'],
    [id, '?after=9007199254740993', 'invalid_cursor'],
    [id, '?from=yesterday', 'invalid_cursor'],
    [id, `?ticket=${forged(other.ticket)}`, 'invalid_ticket'],
    [id, `?ticket=${other.ticket}`, 'not_found'],
  ]) {
    const { error, finished, problems } = await refused(stream, query)
    assert.deepEqual([error.code, finished, problems], [code, true, []], `${stream}${query}`)
    assert.equal(typeof error.message, 'string')
  }
  assert.equal((await view(other.id, `?ticket=${other.ticket}`)).end.reason, 'completed')
})

test('another path is no session', async () => {
  const { url, certificate_hashes: hashes } = await stage.gateway.webtransport()
  for (const path of ['/', '/v1/streams', '/v1/sessions']) {
    await assert.rejects(page.ask('open', new URL(path, url).href, { hashes, hello: false }), /handshake/i, path)
  }
})

test('a snapshot, and the live tail', async () => {
  const body = request(205, { tokens: 60, rate: 30 })
  const { id } = await stage.gateway.cast(body)
  await page.ask('reached', await stage.single(page.ask, id), 0, 20)
  const joined = await view(id, '?snapshot=1')
  const [text] = await stage.provider.texts(body)
  assert.deepEqual([joined.problems, joined.text], [[], text])

  const cast = await stage.gateway.cast(request(206, { tokens: 60, rate: 30 }))
  await page.ask('reached', await stage.single(page.ask, cast.id), 0, 20)
  const tail = await view(cast.id, '?from=live')
  assert.ok(tail.header.after >= 20)
  assert.deepEqual([tail.header.after, tail.problems], [tail.header.tail, []])
  assert.ok((await stage.gateway.text(cast.id)).endsWith(tail.text))
})

test('heartbeats while nothing is said, from before the first byte on', async () => {
  const { id } = await stage.gateway.cast(request(207, { tokens: 3, rate: 0, head_ms: 1800 }))
  const report = await view(id, '?heartbeat_ms=500')
  assert.ok(report.heartbeats >= 2 && report.heartbeats <= 4, `${report.heartbeats} heartbeats`)
  assert.deepEqual([report.problems, report.end.reason], [[], 'completed'])
})

test('a control stream is allowed: hello, ping, stop', async () => {
  const { id } = await stage.gateway.cast(request(208, { tokens: 100_000, rate: 40 }))
  const session = await stage.single(page.ask, id, '', { hello: true })
  await page.ask('reached', session, 0, 3)
  await page.ask('say', session, { type: 'stop', subscription: 0 })
  const report = await page.ask('over', session, 0)
  assert.deepEqual([report.end.reason, report.end.code, report.problems], ['cancelled', 'stopped', []])
})

test('a failed stream is failed', async () => {
  const { id } = await stage.gateway.cast(request(209, { tokens: 50, rate: 0, cut_after: 20 }))
  const report = await view(id, '')
  assert.deepEqual([report.end.reason, report.end.code, report.problems], ['failed', 'upstream_cut', []])
  assert.equal(report.text, await stage.gateway.text(id))
})

test('the session closes when its stream is finished and has arrived', async () => {
  const { id } = await ended(request(210, { tokens: 5, rate: 0 }))
  const session = await stage.single(page.ask, id)
  await page.ask('over', session, 0)
  assert.ok((await page.ask('gone', session)).cause)
})
