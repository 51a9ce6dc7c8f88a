// A long and fast answer, painted as it comes.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { exact } from './client.mjs'
import { figure } from './figure.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'

const TOKENS = 5000
const RATE = 200

let stage
before(async () => { stage = await Stage.set() })
after(() => stage?.strike())

const long = (tasks_ms) => ({ long_tasks: tasks_ms.length, longest_ms: Math.max(0, ...tasks_ms) })

for (const transport of ['webtransport', 'sse']) {
  test(`${TOKENS} tokens at ${RATE} a second, over ${transport}`, async () => {
    const { ask, close } = await stage.client()
    const body = request(1, { tokens: TOKENS, rate: RATE })
    const { id } = await stage.gateway.cast(body)
    await ask('watch_long_tasks')
    const at = await ask('follow', stage.url(id), { transport })
    const [text] = await stage.provider.texts(body)
    await ask('reached', at, text.length / 2)
    const report = await ask('done', at)
    await exact(stage, id, body, report)
    const { paints, events, gap_ms } = report
    figure('client_fast', { transport, tokens: TOKENS, paints, events, gap_ms, ...long(await ask('long_tasks')) })
    assert.equal(report.opens.length, 1)
    await close()
  })

  test(`${TOKENS} tokens that are there already, over ${transport}`, async () => {
    const { ask, close } = await stage.client()
    const body = request(2, { tokens: TOKENS, rate: 0 })
    const { id } = await stage.gateway.cast(body)
    await stage.gateway.ended(id)
    await ask('watch_long_tasks')
    const report = await ask('done', await ask('follow', stage.url(id), { transport }))
    await exact(stage, id, body, report)
    const first_token_ms = report.stats.firstTokenMs
    figure('client_replay', { transport, tokens: TOKENS, first_token_ms, ...long(await ask('long_tasks')) })
    await close()
  })
}
