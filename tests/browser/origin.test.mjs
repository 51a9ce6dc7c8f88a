// Whose pages may open a session.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Site } from './site.mjs'
import { Stage } from './stage.mjs'

let stage
before(async () => { stage = await Stage.set() })
after(() => stage?.strike())

test('a page of an origin that is listed', async () => {
  const { ask } = await stage.page()
  await stage.session(ask)
})

test('a page of a foreign origin: the handshake fails, again and again, and nobody else notices', async () => {
  const foreign = await Site.start()
  const { ask } = await stage.browser.page(foreign)
  const forbidden = () => stage.gateway.metric('tokencast_webtransport_handshakes_total', 'outcome="forbidden"')
  const before = await forbidden()
  for (let times = 0; times < 3; times += 1) await assert.rejects(stage.session(ask), /handshake/i)
  assert.equal(await forbidden(), before + 3)
  await stage.session((await stage.page()).ask)
  foreign.close()
})

for (const host of ['127.0.0.1', 'localhost']) {
  test(`a page of the gateway itself, as ${host}`, async () => {
    const at = `http://${host}:${stage.gateway.ports.http}/v1/streams`
    const { ask } = await stage.browser.page(stage.site, at)
    await stage.session(ask)
  })
}
