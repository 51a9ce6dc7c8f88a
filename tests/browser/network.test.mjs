// A network that loses, delays, goes dark, and forgets who is who: the session lives, and the text is exact.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { figure } from './figure.mjs'
import { until } from './process.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'

// A client would ping a silent stream after 350 ms; here every pause is looked into at once, to measure the network.
const PING = { after_ms: 200, every_ms: 200 }

let stage
before(async () => { stage = await Stage.set({ forwarded: true }) })
afterEach(() => Object.assign(stage.network, { loss: 0, delay_ms: 0, dark: false }))
after(() => stage?.strike())

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Follows streams while the network misbehaves, which takes as long as `trouble` does; reports once all have ended. */
async function follow(seeds, simulate, trouble, ping = PING) {
  const { ask, close } = await stage.page()
  const requests = seeds.map((seed) => request(seed, simulate))
  const ids = (await Promise.all(requests.map((each) => stage.gateway.cast(each)))).map(({ id }) => id)
  const session = await stage.session(ask)
  await ask('watch', session, ping)
  await ask('acks', session)
  for (const [subscription, stream] of ids.entries()) {
    assert.equal((await ask('subscribe', session, { subscription, stream }, { acks: true })).type, 'subscribed')
  }
  await ask('reached', session, 0, 5)
  await trouble(ask, session)
  const reports = []
  for (const [at, id] of ids.entries()) {
    const report = await ask('over', session, at)
    const [text] = await stage.provider.texts(requests[at])
    assert.deepEqual([report.broke, report.finished, report.problems], [null, true, []])
    assert.equal(report.text, text)
    assert.deepEqual(report.end, (await stage.gateway.state(id)).end)
    reports.push(report)
  }
  const facts = await ask('facts', session)
  assert.equal(facts.lost, null, 'the session has lived through it')
  await close()
  return { gap_ms: Math.max(...reports.map(({ gap_ms }) => gap_ms)), ...facts }
}

test('two percent loss and 20 ms each way', async () => {
  const before = stage.network.dropped
  Object.assign(stage.network, { loss: 0.02, delay_ms: 20 })
  const { gap_ms } = await follow([1, 2, 3, 4, 5, 6, 7, 8], { tokens: 300, rate: 60 }, async () => {})
  const dropped = stage.network.dropped - before
  assert.ok(dropped > 0)
  figure('loss_2_percent_delay_20_ms', { gap_ms, dropped, streams: 8 })
})

for (const dark_ms of [1000, 3000]) {
  test(`${dark_ms} ms of darkness`, async () => {
    const rate = 60
    const tokens = ((dark_ms + 3000) / 1000) * rate
    const { gap_ms } = await follow([10, 11, 12], { tokens, rate }, () => stage.network.blackout(dark_ms))
    figure('blackout', { dark_ms, gap_ms, streams: 3 })
    // A blackout of 3 s has Chromium probe up to a second later; a busy machine takes its own time.
    assert.ok(gap_ms >= dark_ms - 100 && gap_ms < dark_ms + 6000, `${gap_ms} ms`)
  })
}

// A gap lasts until the client says something from its new port: an acknowledgement that is still due, or a ping.
for (const ping of [PING, { after_ms: 50, every_ms: 50 }]) {
  test(`a NAT that rebinds, pings after ${ping.after_ms} ms`, async () => {
    const ports = () => stage.network.peers
    const before = ports()
    const gaps_ms = []
    const { pings } = await follow([20, 21, 22], { tokens: 600, rate: 60, jitter: 0 }, async (ask, session) => {
      for (let times = 0; times < 8; times += 1) {
        await sleep(500)
        await ask('gap', session, 0)
        const rebound = ports()
        stage.network.rebind()
        await until('packets from the new port', () => ports() > rebound)
        await sleep(200)
        gaps_ms.push(await ask('gap', session, 0))
      }
    }, ping)
    assert.ok(ports() >= before + gaps_ms.length)
    const gap_ms = Math.max(...gaps_ms)
    figure('nat_rebinding', { gap_ms, gaps_ms: gaps_ms.map(Math.round), pings, ...ping })
    assert.ok(gap_ms < 3000, `${gaps_ms} ms`)
  })
}
