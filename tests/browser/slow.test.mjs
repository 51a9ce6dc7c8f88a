// A page that does not read for a while: it is behind, nothing is lost, and nobody waits for it.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { figure } from './figure.mjs'
import { until } from './process.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'

const HELD_MS = 4000
const STALLED_S = 6
/** What one write to a viewer carries, its last frame included: it may cross the line. */
const BATCH_BYTES_MAX = 96 << 10
/** The code of a stream that is reset because it stood still. */
const SLOW = 3
// 400 KB/s for five seconds: far beyond what may be under way to a page that acknowledges, and within what Chromium
// takes in for one that does not.
const FAST = { token_bytes: 1000, tokens: 2000, rate: 400, jitter: 0 }

let stage
before(async () => { stage = await Stage.set({ config: { webtransport: { stalled_s: STALLED_S } } }) })
after(() => stage?.strike())

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const sent_bytes = () => stage.gateway.metric('tokencast_webtransport_bytes_total', 'direction="sent"')

for (const acks of [true, false]) {
  test(`a subscription that stands still for ${HELD_MS} ms, ${acks ? 'paced by acks' : 'without acks'}`, async () => {
    const { ask, close } = await stage.page()
    const other = await stage.page()
    const [fast, gentle] = [request(1, FAST), request(2, { tokens: 300, rate: 50, jitter: 0 })]
    const session = await stage.session(ask)
    const elsewhere = await stage.session(other.ask)
    await ask('acks', session)
    const { id } = await stage.gateway.cast(fast)
    const calm = await stage.gateway.cast(gentle)
    const sent = await sent_bytes()
    await ask('subscribe', session, { subscription: 0, stream: id }, { acks, held: true })
    await ask('subscribe', session, { subscription: 1, stream: calm.id }, { acks: true })
    await other.ask('subscribe', elsewhere, { subscription: 0, stream: calm.id }, { acks: true })
    await sleep(HELD_MS)
    const held = await ask('report', session, 0)
    const produced = (await stage.gateway.state(id)).bytes
    await ask('release', session, 0)
    const report = await ask('over', session, 0)
    const [text] = await stage.provider.texts(fast)
    assert.deepEqual([report.problems, report.broke, report.finished], [[], null, true])
    assert.equal(report.text, text)
    assert.equal(report.end.reason, 'completed')
    assert.ok(held.records < report.records / 4, `${held.records} records while it stood still`)
    const [expected] = await stage.provider.texts(gentle)
    for (const [asked, at, subscription] of [[ask, session, 1], [other.ask, elsewhere, 0]]) {
      const neighbour = await asked('over', at, subscription)
      assert.deepEqual([neighbour.problems, neighbour.text], [[], expected])
      assert.ok(neighbour.gap_ms < 1000, `the neighbour waited ${neighbour.gap_ms} ms`)
      figure('beside_a_page_that_does_not_read', { acks, gap_ms: neighbour.gap_ms, same_session: asked === ask })
    }
    assert.ok(produced > 1_000_000, `${produced} bytes`)
    await until('the count of what was sent', async () => (await sent_bytes()) - sent > text.length)
    await close()
    await other.close()
  })
}

test('who acknowledges nothing more is sent ack_bytes and no more, then BYE, and resumes', async () => {
  const { ask, close } = await stage.page()
  const { url, certificate_hashes: hashes } = await stage.gateway.webtransport()
  const { session, welcome } = await ask('open', url, { hashes })
  const body = request(3, { ...FAST, rate: 0, head_ms: 500 })
  const { id } = await stage.gateway.cast(body)
  await ask('subscribe', session, { subscription: 0, stream: id })
  // Before the provider has said a byte, so that all of it is paced.
  await ask('say', session, { type: 'ack', subscription: 0, seq: 0 })
  const left = await ask('over', session, 0)
  assert.deepEqual([left.bye?.code, left.finished, left.problems], ['slow', true, []])
  const bytes_max = welcome.ack_bytes + BATCH_BYTES_MAX + 1000
  assert.ok(left.bytes > welcome.ack_bytes / 2 && left.bytes <= bytes_max, `${left.bytes} bytes`)

  await ask('acks', session)
  await ask('subscribe', session, { subscription: 1, stream: id, after: left.cursor }, { acks: true })
  const rest = await ask('over', session, 1)
  const [text] = await stage.provider.texts(body)
  assert.deepEqual([rest.problems, rest.end.reason], [[], 'completed'])
  assert.equal(left.text + rest.text, text)
  await close()
})

test('who reads nothing at all is reset, and nobody else', async () => {
  const { ask, close } = await stage.page()
  const session = await stage.session(ask)
  const { id } = await stage.gateway.cast(request(4, { token_bytes: 100_000, tokens: 200, rate: 0 }))
  const calm = request(5, { tokens: 300, rate: 50 })
  const beside = await stage.gateway.cast(calm)
  await ask('acks', session)
  await ask('subscribe', session, { subscription: 1, stream: beside.id }, { acks: true })
  await ask('subscribe', session, { subscription: 0, stream: id }, { held: true })
  await sleep(STALLED_S * 1000 + 2500)
  await ask('release', session, 0)
  const { broke, finished, problems } = await ask('over', session, 0)
  assert.deepEqual([broke?.source, broke?.code, finished, problems], ['stream', SLOW, false, []])
  const neighbour = await ask('over', session, 1)
  const [text] = await stage.provider.texts(calm)
  assert.deepEqual([neighbour.problems, neighbour.text], [[], text])
  await close()
})
