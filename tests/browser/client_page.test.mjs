// What pages do: they are busy, they are hidden, they are left and come back, and they follow many streams at once.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { exact } from './client.mjs'
import { figure } from './figure.mjs'
import { until } from './process.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'

let stage
before(async () => { stage = await Stage.set() })
after(() => stage?.strike())

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const sessions = () => stage.gateway.metric('tokencast_webtransport_sessions')
const handshakes = () => stage.gateway.metric('tokencast_webtransport_handshakes_total', 'outcome="accepted"')

async function cast(seed, simulate) {
  const body = request(seed, simulate)
  return { body, ...(await stage.gateway.cast(body)) }
}

for (const transport of ['webtransport', 'sse']) {
  test(`a page that is busy for two seconds, over ${transport}`, async () => {
    const { ask, page, close } = await stage.client()
    const { id, body } = await cast(1, { tokens: 600, rate: 120 })
    const at = await ask('follow', stage.url(id), { transport })
    await ask('reached', at, 200)
    await page.evaluate(() => {
      const until_ms = performance.now() + 2000
      while (performance.now() < until_ms);
    })
    const report = await ask('done', at)
    await exact(stage, id, body, report)
    assert.equal(report.opens.length, 1)
    figure('client_busy_page', { transport, gap_ms: report.gap_ms })
    await close()
  })

  test(`whoever iterates stands still, over ${transport}: no more is read than is kept, and nothing is lost`, async () => {
    const { ask, close } = await stage.client()
    const body = { ...request(8, { tokens: 8000, rate: 0 }), n: 8 }
    const { id } = await stage.gateway.cast(body)
    await stage.gateway.ended(id)
    const at = await ask('follow', stage.url(id), { transport, hold_ms: 4000 })
    await sleep(3000)
    const held = await ask('report', at)
    const report = await ask('done', at)
    await exact(stage, id, body, report)
    assert.ok(report.events > 2 * held.events, `${held.events} of ${report.events} events`)
    assert.equal(report.opens.length, 1)
    figure('client_slow_reader', { transport, held_events: held.events, events: report.events })
    await close()
  })

  test(`left and come back to, over ${transport}: out of the back/forward cache, where it was`, async () => {
    const { ask, page, close } = await stage.client()
    const { id, body } = await cast(3, { tokens: 400, rate: 60 })
    const at = await ask('follow', stage.url(id), { transport })
    await ask('reached', at, 100)
    await page.evaluate(() => {
      window.kept = 0
      addEventListener('pageshow', ({ persisted }) => { window.kept += persisted })
    })
    await page.goto(`${stage.site.origin}/page/index.html`)
    await stage.unwatched(id)
    await sleep(500)
    await page.evaluate(() => history.back())
    await page.waitForURL(/client\.html/, { waitUntil: 'commit' })
    await until('the page as it was', () => page.evaluate(() => window.kept === 1))
    const report = await ask('done', at)
    await exact(stage, id, body, report)
    assert.equal(report.opens.length, 2)
    assert.ok(report.states.includes('suspended'))
    await close()
  })

  test(`twenty streams on one page, over ${transport}`, async () => {
    const { ask, close } = await stage.client()
    const before = await handshakes()
    const casts = await Promise.all(Array.from({ length: 20 }, (_, at) => cast(100 + at, { tokens: 120, rate: 60 })))
    const followed = []
    for (const { id } of casts) followed.push(await ask('follow', stage.url(id), { transport }))
    for (const [at, { id, body }] of casts.entries()) await exact(stage, id, body, await ask('done', followed[at]))
    assert.equal(await handshakes() - before, transport === 'sse' ? 0 : 1)
    await close()
  })

  test(`eight tabs, over ${transport}`, async () => {
    const { id, body } = await cast(4, { tokens: 200, rate: 60 })
    const tabs = []
    for (let tab = 0; tab < 8; tab += 1) tabs.push(await stage.client())
    const before = await handshakes()
    const followed = await Promise.all(tabs.map(({ ask }) => ask('follow', stage.url(id), { transport })))
    const reports = await Promise.all(tabs.map(({ ask }, tab) => ask('done', followed[tab])))
    for (const report of reports) await exact(stage, id, body, report)
    assert.equal(await handshakes() - before, transport === 'sse' ? 0 : 8)
    await Promise.all(tabs.map(({ close }) => close()))
  })
}

test('the last stream is gone: the session is kept for the next one, and goes in the end', async () => {
  const { ask, close } = await stage.client()
  await until('no session', async () => (await sessions()) === 0)
  const before = await handshakes()
  for (const seed of [5, 6]) {
    const { id, body } = await cast(seed, { tokens: 20, rate: 0 })
    await exact(stage, id, body, await ask('done', await ask('follow', stage.url(id), { transport: 'webtransport' })))
  }
  assert.deepEqual([await handshakes() - before, await sessions()], [1, 1])
  await until('no session', async () => (await sessions()) === 0)
  await close()
})
