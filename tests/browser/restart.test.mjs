// The gateway dies, or leaves: a page that pings learns of it, and goes on where it was.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { Connections } from './connections.mjs'
import { figure } from './figure.mjs'
import { free_port } from './port.mjs'
import { until } from './process.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'

/** As a client does: after 350 ms of silence, and again every 200 ms. */
const PING = { after_ms: 350, every_ms: 200 }
const DOWN_MS = 250

let stage
beforeEach(async () => { stage = await Stage.set({ forwarded: true, config: { drain: { grace_s: 1 } } }) })
afterEach(() => stage?.strike())

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Every stream of a follower has so many characters. */
const reach = (ask, follower, characters) => until(`${characters} characters`, async () =>
  Object.values(await ask('progress', follower)).every((length) => length > characters))

/** Kills the gateway and starts it again; says when it was killed and when it answered again. */
async function kill_and_restart(down_ms) {
  await stage.gateway.kill()
  const killed_ms = Date.now()
  await sleep(down_ms)
  await stage.gateway.restart()
  return { killed_ms, ready_ms: Date.now() }
}

test('killed and restarted: learnt by a ping, resumed by cursor, told how it ended', async () => {
  const { ask } = await stage.page()
  const running = [1, 2, 3, 4].map((seed) => request(seed, { tokens: 100_000, rate: 50 }))
  const whole = request(5, { tokens: 100, rate: 0 })
  const casts = await Promise.all([...running, whole].map((each) => stage.gateway.cast(each)))
  const ids = casts.map(({ id }) => id)
  const follower = await ask('follow', ids, { where: stage.gateway.where, ping: PING })
  await reach(ask, follower, 100)

  const { killed_ms, ready_ms } = await kill_and_restart(DOWN_MS)
  const report = await ask('followed', follower)

  assert.deepEqual([report.breaks.length, report.refused], [1, {}])
  for (const [at, id] of ids.entries()) {
    const { text, end, problems } = report.streams[id]
    const state = await stage.gateway.state(id)
    assert.deepEqual([problems, end], [[], state.end])
    const expected = at < running.length ? ['interrupted', 'restart'] : ['completed', null]
    assert.deepEqual([end.reason, end.code], expected)
    assert.equal(text, await stage.gateway.text(id))
  }
  for (const [at, body] of running.entries()) {
    const { text } = report.streams[ids[at]]
    const [answer] = await stage.provider.texts({ ...body, simulate: { ...body.simulate, tokens: 1000 } })
    assert.ok(text.length > 100 && answer.startsWith(text))
  }
  const [{ at_ms, again_ms, cause }] = report.breaks
  figure('killed', {
    learnt_ms: at_ms - killed_ms, resumed_ms: again_ms - killed_ms, ready_ms: ready_ms - killed_ms, down_ms: DOWN_MS,
    cause,
  })
  assert.ok(at_ms - killed_ms < 3000, `learnt after ${at_ms - killed_ms} ms`)
})

test('however long it is down, and though the provider is silent', async () => {
  const { ask } = await stage.page()
  const learnt = []
  for (const [round, down_ms] of [0, 250, 500, 1000].entries()) {
    const { id } = await stage.gateway.cast(request(50 + round, { tokens: 200, rate: 0, stall_after: 100 }))
    const follower = await ask('follow', [id], { where: stage.gateway.where, ping: PING })
    await reach(ask, follower, 100)
    // Long enough for the page to ping.
    await sleep(1000)
    const { killed_ms, ready_ms } = await kill_and_restart(down_ms)
    const { streams, breaks } = await ask('followed', follower)
    assert.deepEqual([streams[id].problems, streams[id].end.code], [[], 'restart'])
    assert.equal(streams[id].text, await stage.gateway.text(id))
    learnt.push({ down_ms, ready_ms: ready_ms - killed_ms, learnt_ms: Math.round(breaks[0].at_ms - killed_ms) })
  }
  figure('killed_while_silent', { rounds: learnt })
  for (const { learnt_ms } of learnt) assert.ok(learnt_ms < 4000, `learnt after ${learnt_ms} ms`)
})

test('a stream that runs on is followed over WebTransport and SSE in turn', async () => {
  const http = await free_port()
  const connections = await Connections.start({ port: http, to: stage.gateway.ports.http })
  const { ask } = await stage.page()
  const body = request(60, { tokens: 400, rate: 80 })
  const { id } = await stage.gateway.cast(body)
  const options = {
    transports: ['sse', 'webtransport'], http: `http://127.0.0.1:${http}`, where: stage.gateway.where, ping: PING,
  }
  const follower = await ask('follow', [id], options)
  await reach(ask, follower, 100)
  connections.dark = true
  await sleep(500)
  connections.dark = false
  await reach(ask, follower, 300)
  connections.cut()
  await reach(ask, follower, 800)
  // For good, as far as this session is concerned: Chromium gives a session up that is dark for so long.
  await stage.network.blackout(8000)
  const { streams, breaks } = await ask('followed', follower)
  const [text] = await stage.provider.texts(body)
  assert.deepEqual([streams[id].problems, streams[id].end.reason, streams[id].text], [[], 'completed', text])
  assert.deepEqual(breaks.map(({ transport }) => transport), ['sse', 'webtransport'])
  connections.close()
})

test('drained: the end of what was running, then BYE in band, then exit 0', async () => {
  const { ask } = await stage.page()
  const session = await stage.session(ask)
  const idle = await stage.session(ask)
  const body = request(70, { tokens: 100_000, rate: 50 })
  const { id } = await stage.gateway.cast(body)
  await ask('subscribe', session, { subscription: 0, stream: id })
  await ask('reached', session, 0, 10)
  const single = await stage.single(ask, id)
  const code = stage.gateway.drain()
  const report = await ask('over', session, 0)
  assert.deepEqual([report.finished, report.problems], [true, []])
  assert.deepEqual([report.end.reason, report.end.code], ['interrupted', 'drain'])
  const [answer] = await stage.provider.texts({ ...body, simulate: { ...body.simulate, tokens: 1000 } })
  assert.ok(answer.startsWith(report.text))
  const alone = await ask('over', single, 0)
  assert.deepEqual([alone.text, alone.end, alone.finished, alone.problems], [report.text, report.end, true, []])
  for (const each of [session, idle]) {
    const bye = await ask('hear', each, ['bye'])
    assert.equal(bye.code, 'draining')
    assert.ok(bye.retry_ms >= 1000 && bye.retry_ms <= 5000, `${bye.retry_ms}`)
    assert.ok((await ask('gone', each)).cause)
  }
  assert.equal(await code, 0)
})
