// A network without UDP, from the start: the text is there soon all the same, and the failure is remembered.
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { exact } from './client.mjs'
import { figure } from './figure.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'

const NOTE = 'WebTransport failed here within the last 15 minutes'

let stage
before(async () => { stage = await Stage.set({ forwarded: true }) })
beforeEach(() => { stage.network.dark = true })
after(() => stage?.strike())

const transports = ({ opens }) => opens.map(({ transport }) => transport)
const datagrams = () => stage.network.dropped + stage.network.forwarded

async function cast(seed, simulate) {
  const body = request(seed, simulate)
  return { body, ...(await stage.gateway.cast(body)) }
}

test('text is on the screen within a second of loading, and WebTransport is not tried again', async () => {
  const { ask, page, close } = await stage.client()
  const one = await cast(1, { tokens: 400, rate: 60 })
  await page.reload()
  await page.waitForFunction(() => window.ask)
  const at = await ask('follow', stage.url(one.id), {})
  await page.waitForFunction(() => document.querySelector('#painted').textContent.length > 0)
  const shown_ms = await page.evaluate(() => performance.now())
  figure('client_udp_blocked', { shown_ms })
  assert.ok(shown_ms < 5000, `${shown_ms} ms`)
  const report = await ask('done', at)
  await exact(stage, one.id, one.body, report)
  assert.deepEqual([transports(report), report.stats.transportNote], [['sse'], NOTE])
  assert.ok(stage.network.dropped > 0)

  // On this page, and on the next one of the same tab.
  for (const again of [async () => {}, () => page.reload()]) {
    await again()
    await page.waitForFunction(() => window.ask)
    const before = datagrams()
    const two = await cast(2, { tokens: 100, rate: 60 })
    const second = await ask('done', await ask('follow', stage.url(two.id), {}))
    await exact(stage, two.id, two.body, second)
    assert.deepEqual(transports(second), ['sse'])
    assert.equal(datagrams(), before, 'not a datagram')
  }
  await close()
})

test('UDP that is only slow: SSE at first, and over to WebTransport without a word lost', async () => {
  const { ask, close } = await stage.client()
  const { id, body } = await cast(3, { tokens: 400, rate: 60 })
  const at = await ask('follow', stage.url(id), {})
  await ask('reached', at, 200)
  stage.network.dark = false
  const report = await ask('done', at)
  await exact(stage, id, body, report)
  assert.deepEqual(transports(report), ['sse', 'webtransport'])
  assert.equal(report.stats.transportNote, null)
  await close()
})

test('a network that comes back: what was remembered is forgotten', async () => {
  const { ask, page, close } = await stage.client()
  const one = await cast(4, { tokens: 500, rate: 60 })
  const first = await ask('follow', stage.url(one.id), {})
  await exact(stage, one.id, one.body, await ask('done', first))
  stage.network.dark = false
  await page.evaluate(() => dispatchEvent(new Event('online')))
  const two = await cast(5, { tokens: 50, rate: 60 })
  const report = await ask('done', await ask('follow', stage.url(two.id), {}))
  await exact(stage, two.id, two.body, report)
  assert.deepEqual(transports(report), ['webtransport'])
  await close()
})

test('WebTransport and nothing else was asked for: one error, and no storm', async () => {
  const { ask, requests, close } = await stage.client()
  const { id } = await cast(7, { tokens: 10, rate: 0 })
  const report = await ask('done', await ask('follow', stage.url(id), { transport: 'webtransport' }))
  assert.equal(report.outcome.error.code, 'webtransport_failed')
  assert.deepEqual([report.errors.length, report.thrown], [1, 'webtransport_failed'])
  assert.ok(requests.filter((url) => url.includes('/v1/')).length <= 4, requests.join())
  await close()
})
