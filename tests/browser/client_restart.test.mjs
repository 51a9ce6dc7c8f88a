// The gateway is killed and comes back: the client goes on by itself, and says how the stream came out.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { figure } from './figure.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'

const RUNNING = { tokens: 100_000, rate: 50 }
/** Where nothing tells the client but silence. */
const DOWN_MS = [0, 250, 500, 1000, 3000]

let stage
beforeEach(async () => { stage = await Stage.set({ forwarded: true, config: { drain: { grace_s: 1 } } }) })
afterEach(() => stage?.strike())

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

for (const transport of ['webtransport', 'sse', 'auto']) {
  for (const down_ms of DOWN_MS) {
    test(`killed and restarted after ${down_ms} ms, over ${transport}`, async () => {
      const { ask, close } = await stage.client()
      const bodies = [1, 2, 3].map((seed) => request(seed, RUNNING))
      const ids = (await Promise.all(bodies.map((body) => stage.gateway.cast(body)))).map(({ id }) => id)
      const followed = []
      for (const id of ids) followed.push(await ask('follow', stage.url(id), { transport }))
      for (const at of followed) await ask('reached', at, 100)

      await stage.gateway.kill()
      const killed_ms = Date.now()
      await sleep(down_ms)
      await stage.gateway.restart()
      const ready_ms = Date.now()

      const recovered_ms = []
      for (const [at, body] of bodies.entries()) {
        const { text, folded, iterated, end, problems, opens, outcome } = await ask('done', followed[at])
        assert.deepEqual([problems, outcome.reason, end.reason, end.code], [[], 'ended', 'interrupted', 'restart'])
        assert.equal(text, await stage.gateway.text(ids[at]))
        assert.deepEqual([folded, iterated], [text, text])
        const [answer] = await stage.provider.texts({ ...body, simulate: { ...body.simulate, tokens: 1000 } })
        assert.ok(text.length > 100 && answer.startsWith(text))
        assert.ok(opens.length >= 2 && opens.length <= 3, `${opens.length} connections`)
        recovered_ms.push(opens.find(({ at_ms }) => at_ms > killed_ms).first_ms - ready_ms)
      }
      figure('client_restart', { transport, down_ms, ready_ms: ready_ms - killed_ms, recovered_ms: Math.max(...recovered_ms) })
      assert.deepEqual(stage.browser.complaints, [])
      await close()
    })
  }
}

test('drained: the client is told the end, and does not come back', async () => {
  const { ask, requests, close } = await stage.client()
  const ids = (await Promise.all([10, 11].map((seed) => stage.gateway.cast(request(seed, RUNNING))))).map(({ id }) => id)
  const followed = [
    await ask('follow', stage.url(ids[0]), { transport: 'webtransport' }),
    await ask('follow', stage.url(ids[1]), { transport: 'sse' }),
  ]
  for (const at of followed) await ask('reached', at, 50)
  const asked = requests.length
  assert.equal(await stage.gateway.drain(), 0)
  for (const at of followed) {
    const { end, outcome, problems } = await ask('done', at)
    assert.deepEqual([problems, outcome.reason, end.reason, end.code], [[], 'ended', 'interrupted', 'drain'])
  }
  assert.equal(requests.length, asked)
  await close()
})
