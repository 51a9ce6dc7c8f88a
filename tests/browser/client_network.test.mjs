// Networks that go dark, and NATs that forget: the client misses nothing, whatever carries the stream.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { exact } from './client.mjs'
import { figure } from './figure.mjs'
import { until } from './process.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'

const RATE = 60

let stage
beforeEach(async () => { stage = await Stage.set({ forwarded: true }) })
afterEach(() => stage?.strike())

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Follows two streams from before the trouble to their ends. */
async function through(transport, seconds, trouble) {
  const { ask, close } = await stage.client()
  const bodies = [1, 2].map((seed) => request(seed, { tokens: seconds * RATE, rate: RATE, jitter: 0 }))
  const ids = (await Promise.all(bodies.map((body) => stage.gateway.cast(body)))).map(({ id }) => id)
  const followed = []
  for (const id of ids) followed.push(await ask('follow', stage.url(id), { transport }))
  for (const at of followed) await ask('reached', at, 100)
  await trouble(ask, followed)
  const reports = []
  for (const [at, body] of bodies.entries()) {
    const report = await ask('done', followed[at])
    await exact(stage, ids[at], body, report)
    reports.push(report)
  }
  await close()
  return reports
}

/** Nothing passes, neither over UDP nor over TCP. */
async function blackout(ms) {
  stage.connections.dark = true
  await stage.network.blackout(ms)
  stage.connections.dark = false
  return Date.now()
}

for (const transport of ['webtransport', 'sse', 'auto']) {
  for (const dark_ms of [1000, 3000, 6000]) {
    test(`${dark_ms} ms of darkness, over ${transport}`, async () => {
      let light_ms
      const reports = await through(transport, dark_ms / 1000 + 4, async () => { light_ms = await blackout(dark_ms) })
      const gap_ms = Math.max(...reports.map((report) => report.gap_ms))
      const connections = reports.map(({ opens }) => opens.map((open) => open.transport).join())
      figure('client_blackout', { transport, dark_ms, behind_ms: gap_ms - dark_ms, connections })
      assert.ok(gap_ms >= dark_ms - 200, `${gap_ms} ms`)
    })
  }
}

test('a NAT that rebinds: the session lives, and the gap is short', async () => {
  const gaps_ms = []
  const reports = await through('webtransport', 12, async (ask, [at]) => {
    for (let times = 0; times < 10; times += 1) {
      await sleep(500)
      await ask('gap', at)
      const before = stage.network.peers
      stage.network.rebind()
      await until('packets from the new port', () => stage.network.peers > before)
      await sleep(200)
      gaps_ms.push(await ask('gap', at))
    }
  })
  gaps_ms.sort((a, b) => a - b)
  figure('client_rebinding', { gap_ms: gaps_ms.at(-1), gaps_ms: gaps_ms.map(Math.round) })
  // A ping after a silence of 350 ms, as on a stream that is slow by itself, would find the server far later.
  assert.ok(gaps_ms[5] < 200, `${gaps_ms} ms`)
  for (const { opens } of reports) assert.equal(opens.length, 1)
})

for (const transport of ['webtransport', 'sse']) {
  test(`connections that are cut, over ${transport}`, async () => {
    const reports = await through(transport, 6, async (ask, followed) => {
      for (let times = 0; times < 3; times += 1) {
        stage.connections.cut()
        stage.network.rebind()
        for (const at of followed) await ask('reached', at, (await ask('text', at)).length + 200)
      }
    })
    for (const { opens } of reports) assert.equal(opens.length, transport === 'sse' ? 4 : 1)
    figure('client_cut', { transport, gap_ms: Math.max(...reports.map(({ gap_ms }) => gap_ms)) })
  })
}

test('another network: the browser says that it is online, and nobody waits', async () => {
  const { ask, page, close } = await stage.client()
  const body = request(5, { tokens: 8 * RATE, rate: RATE })
  const { id } = await stage.gateway.cast(body)
  const at = await ask('follow', stage.url(id), {})
  await ask('reached', at, 100)
  await page.context().setOffline(true)
  stage.network.rebind()
  stage.connections.cut()
  await sleep(1500)
  await page.context().setOffline(false)
  await exact(stage, id, body, await ask('done', at))
  await close()
})
