// The hook under React's strict mode, which mounts everything twice: one viewer, one render a frame, nothing left behind.
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { bundle } from './bundle.mjs'
import { figure } from './figure.mjs'
import { until } from './process.mjs'
import { request } from './provider.mjs'
import { Site } from './site.mjs'
import { Stage } from './stage.mjs'

let directory
let site
let stage
before(async () => {
  directory = await bundle('react')
  site = await Site.start(directory)
  stage = await Stage.set({ config: { http: { cors_origins: [site.origin] } } })
})
after(async () => {
  site?.close()
  await stage?.strike()
  await rm(directory, { recursive: true })
})

async function opened() {
  const page = await stage.browser.tab()
  await page.goto(`${site.origin}/index.html`)
  await page.waitForFunction(() => window.show)
  return page
}

/** Shows these streams and no others. */
const show = (page, ...shown) =>
  page.evaluate((shown) => window.show(shown), shown.map((each, at) => ({ key: at, gateway: stage.gateway.url, ...each })))

const ended = (page, id) => page.waitForSelector(`[data-stream="${id}"][data-end]`)
const text = (page, id) => page.textContent(`[data-stream="${id}"] pre`)
const viewers = async (id) => (await stage.gateway.state(id)).viewers

for (const transport of ['webtransport', 'sse']) {
  test(`a stream from its start to its end, over ${transport}`, async () => {
    const page = await opened()
    const body = request(1, { tokens: 300, rate: 100 })
    const { id } = await stage.gateway.cast(body)
    await show(page, { id, transport })
    await until('a viewer', async () => (await viewers(id)) > 0)
    assert.equal(await viewers(id), 1)
    await ended(page, id)
    assert.equal(await text(page, id), (await stage.provider.texts(body))[0])
    const { count, in_frame_max } = (await page.evaluate(() => window.commits()))[id]
    figure('client_react', { transport, commits: count, in_frame_max })
    assert.ok(count > 50, `${count} commits`)
    assert.ok(in_frame_max <= 2, `${in_frame_max} commits in one frame`)
    assert.equal(await page.getAttribute('article', 'data-state'), 'finished')
    await page.close()
  })

  test(`another stream in the same place, over ${transport}: not a word of the one before`, async () => {
    const page = await opened()
    const endless = await stage.gateway.cast(request(2, { tokens: 100_000, rate: 50 }))
    const body = request(3, { tokens: 50, rate: 50, head_ms: 500 })
    await show(page, { id: endless.id, transport })
    await page.waitForFunction(() => document.querySelector('pre').textContent.length > 50)
    const { id } = await stage.gateway.cast(body)
    await show(page, { id, transport })
    assert.equal(await text(page, id), '')
    await stage.unwatched(endless.id)
    await ended(page, id)
    assert.equal(await text(page, id), (await stage.provider.texts(body))[0])
    await show(page, { id: null, transport })
    await page.waitForSelector('[data-state="idle"]')
    assert.equal(await page.textContent('pre'), '')
    await page.close()
  })

  test(`mounted and unmounted fifty times, over ${transport}: nobody is left`, async () => {
    const page = await opened()
    const { id } = await stage.gateway.cast(request(4, { tokens: 100_000, rate: 50 }))
    for (let times = 0; times < 50; times += 1) {
      await show(page, { id, transport })
      if (times % 10 === 0) await page.waitForFunction(() => document.querySelector('pre').textContent.length > 0)
      await show(page)
    }
    await stage.unwatched(id)
    const { count } = (await page.evaluate(() => window.commits()))[id]
    // Whatever still painted would be seen by now.
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 600)))
    assert.equal((await page.evaluate(() => window.commits()))[id].count, count)
    assert.equal(await viewers(id), 0)
    await page.close()
  })
}

test('twenty streams at once, one of them stopped by its button', async () => {
  const page = await opened()
  const bodies = Array.from({ length: 20 }, (_, at) => request(100 + at, { tokens: at === 0 ? 100_000 : 100, rate: 50 }))
  const ids = (await Promise.all(bodies.map((body) => stage.gateway.cast(body)))).map(({ id }) => id)
  const before = await stage.gateway.metric('tokencast_webtransport_handshakes_total', 'outcome="accepted"')
  await show(page, ...ids.map((id) => ({ id })))
  for (const id of ids.slice(1)) await ended(page, id)
  await page.click(`[data-stream="${ids[0]}"] button`)
  await page.waitForSelector(`[data-stream="${ids[0]}"][data-end="cancelled"]`)
  for (const [at, id] of ids.entries()) {
    const expected = at === 0 ? await stage.gateway.text(id) : (await stage.provider.texts(bodies[at]))[0]
    assert.equal(await text(page, id), expected)
  }
  const after = await stage.gateway.metric('tokencast_webtransport_handshakes_total', 'outcome="accepted"')
  assert.equal(after - before, 1)
  await page.close()
})

test('a stream that is not there is an error that can be rendered', async () => {
  const page = await opened()
  await show(page, { id: 'nobody' })
  await page.waitForSelector('[data-stream="nobody"][data-error="not_found"]')
  assert.deepEqual(stage.browser.complaints, [])
  await page.close()
})
