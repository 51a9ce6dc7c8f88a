// A page behind another one: no frames, slow timers, and everything there when somebody looks again.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { exact } from './client.mjs'
import { figure } from './figure.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'

let stage
before(async () => { stage = await Stage.set({ hiding: true, forwarded: true }) })
after(() => stage?.strike())

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const sees = (page, state) =>
  page.waitForFunction((state) => document.visibilityState === state, state, { polling: 20 })

/** A stream that is followed on a page behind another one. */
async function behind(seed, simulate, transport) {
  const client = await stage.client()
  const body = request(seed, simulate)
  const { id } = await stage.gateway.cast(body)
  const at = await client.ask('follow', stage.url(id), { transport })
  await client.ask('reached', at, 100)
  const cover = await stage.browser.tab()
  await cover.bringToFront()
  await sees(client.page, 'hidden')
  return { ...client, id, body, at, cover }
}

for (const transport of ['webtransport', 'sse']) {
  test(`painted to its end while hidden, over ${transport}`, async () => {
    const { ask, page, close, id, body, at, cover } = await behind(1, { tokens: 300, rate: 60 }, transport)
    const report = await ask('done', at)
    await exact(stage, id, body, report)
    assert.equal(await page.evaluate(() => document.visibilityState), 'hidden')
    assert.equal(report.opens.length, 1)
    figure('client_hidden', { transport, paints: report.paints, gap_ms: report.gap_ms })
    await cover.close()
    await close()
  })

  test(`broken while hidden, over ${transport}: back when it is looked at`, async () => {
    const { ask, page, close, id, body, at, cover } = await behind(2, { tokens: 500, rate: 60 }, transport)
    stage.connections.dark = stage.network.dark = true
    await sleep(2500)
    stage.connections.dark = stage.network.dark = false
    await cover.close()
    await page.bringToFront()
    await sees(page, 'visible')
    await exact(stage, id, body, await ask('done', at))
    await close()
  })
}
