// The client on a network that does nothing wrong: whatever way it is asked, it tells the same.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { exact } from './client.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'

const PARAMETERS = { type: 'object', properties: { at: { type: 'string' } } }
const RICH = {
  ...request(400, { tokens: 60, reasoning: 20, tool_calls: 2, emoji_halves: true, rate: 200 }),
  n: 2,
  tools: [{ type: 'function', function: { name: 'look', parameters: PARAMETERS } }],
}

let stage
before(async () => { stage = await Stage.set() })
after(() => stage?.strike())

for (const transport of ['webtransport', 'sse']) {
  for (const place of ['page', 'worker']) {
    test(`from the start, over ${transport}, in a ${place}`, async () => {
      const { ask, ask_worker, close } = await stage.client()
      const asked = place === 'page' ? ask : ask_worker
      const body = request(401, { tokens: 200, rate: 60 })
      const { id } = await stage.gateway.cast(body)
      const report = await asked('done', await asked('follow', stage.url(id), { transport }))
      await exact(stage, id, body, report)
      assert.deepEqual(report.opens.map((open) => open.transport), [transport])
      assert.deepEqual(report.states, ['open', 'finished'])
      assert.ok(place === 'worker' || report.paints > 20, `${report.paints} paints`)
      await close()
    })
  }

  test(`late, over ${transport}: what is there at once, then the rest`, async () => {
    const { ask, close } = await stage.client()
    const body = request(402, { tokens: 150, rate: 50 })
    const { id } = await stage.gateway.cast(body)
    const first = await ask('follow', stage.url(id), { transport })
    await ask('reached', first, 200)
    const late = await ask('follow', stage.url(id), { transport })
    const folded = await ask('follow', stage.url(id), { transport, snapshot: true })
    const { cursor, text } = await ask('report', first)
    const rest = await ask('follow', stage.url(id), { transport, after: cursor })
    const live = await ask('follow', stage.url(id), { transport, after: 'live' })
    for (const at of [first, late, folded]) await exact(stage, id, body, await ask('done', at))
    const behind = await ask('done', rest)
    const [whole] = await stage.provider.texts(body)
    assert.deepEqual([behind.problems, behind.opens[0].after, text + behind.text], [[], cursor, whole])
    const tail = await ask('done', live)
    assert.deepEqual(tail.problems, [])
    assert.ok(tail.text.length > 0 && tail.text.length < whole.length && whole.endsWith(tail.text))
    await close()
  })

  test(`reasoning, tools and two choices, over ${transport}`, async () => {
    const { ask, close } = await stage.client()
    const { id } = await stage.gateway.cast(RICH)
    const report = await ask('done', await ask('follow', stage.url(id), { transport }))
    await exact(stage, id, RICH, report)
    const { choices, usage } = await stage.gateway.state(id)
    assert.deepEqual(report.choices, choices.map(({ choice, ...folded }) => folded))
    assert.deepEqual(report.usage, usage)
    await close()
  })

  test(`an ended stream, and what is behind its end, over ${transport}`, async () => {
    const { ask, close } = await stage.client()
    const body = request(403, { tokens: 50, rate: 0, cut_after: 20 })
    const { id } = await stage.gateway.cast(body)
    const { blocks, end } = await stage.gateway.ended(id)
    const report = await ask('done', await ask('follow', stage.url(id), { transport }))
    assert.deepEqual([report.problems, report.end, report.text], [[], end, await stage.gateway.text(id)])
    assert.deepEqual([report.outcome.reason, end.reason, report.errors], ['ended', 'failed', []])
    const over = await ask('done', await ask('follow', stage.url(id), { transport, after: blocks + 1 }))
    assert.deepEqual([over.text, over.errors, over.outcome.error], ['', [], null])
    assert.equal(over.outcome.reason, transport === 'sse' ? 'over' : 'ended')
    await close()
  })

  test(`stopped by a viewer, over ${transport}`, async () => {
    const { ask, close } = await stage.client()
    const { id } = await stage.gateway.cast(request(404, { tokens: 100_000, rate: 40 }))
    const at = await ask('follow', stage.url(id), { transport })
    await ask('reached', at, 50)
    assert.equal(await ask('stop', at), null)
    const report = await ask('done', at)
    assert.deepEqual([report.end.reason, report.end.code, report.problems], ['cancelled', 'stopped', []])
    assert.equal(report.text, await stage.gateway.text(id))
    await close()
  })

  test(`closed, over ${transport}: the stream goes on, and nobody watches`, async () => {
    const { ask, close } = await stage.client()
    const { id } = await stage.gateway.cast(request(405, { tokens: 100_000, rate: 40 }))
    const at = await ask('follow', stage.url(id), { transport })
    await ask('reached', at, 50)
    assert.equal((await stage.gateway.state(id)).viewers, 1)
    await ask('close', at)
    const report = await ask('done', at)
    assert.deepEqual([report.outcome.reason, report.thrown, report.errors], ['closed', null, []])
    await stage.unwatched(id)
    assert.equal((await stage.gateway.state(id)).status, 'running')
    await close()
  })
}
