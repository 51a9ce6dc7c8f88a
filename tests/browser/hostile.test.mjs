// Peers that misbehave, one after the other (hostile/, in Python, by aioquic), while a page watches beside them: it
// must not notice, and nothing of them may stay behind.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { after, before, test } from 'node:test'
import { figure } from './figure.mjs'
import { forged } from './gateway.mjs'
import { Process, until } from './process.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'

const PYTHON = process.env.PYTHON
const OPTIONS = { cwd: import.meta.dirname }
const STALLED_S = 3
const SESSIONS_MAX = 30
/** A session from which nothing arrives is closed after 30 s. */
const FORGOTTEN_MS = 45_000
const GROWTH_BYTES_MAX = 64 << 20
const GAP_MS_MAX = 2000

let stage
let page
let at
let resident_bytes

before(async () => {
  stage = await Stage.set({ config: { webtransport: { stalled_s: STALLED_S, sessions_max: SESSIONS_MAX } } })
  const { gateway } = stage
  page = await stage.page()
  const cast = (seed, simulate) => gateway.cast(request(seed, simulate))
  const [stream, ended, large] = [
    await cast(1, { tokens: 1_000_000, rate: 20 }),
    await cast(2, { tokens: 10, rate: 0 }),
    await cast(3, { tokens: 200, token_bytes: 50_000, rate: 0 }),
  ]
  for (const { id } of [ended, large]) await gateway.ended(id)
  at = {
    port: gateway.ports.webtransport, http: gateway.ports.http, origin: stage.site.origin, stalled_s: STALLED_S,
    stream: stream.id, ended: ended.id, large: large.id, ticket: ended.ticket,
    forged: forged(ended.ticket),
    plain: { request: request(5, { rate: 0 }) },
    hesitant: { request: request(4, { head_ms: 700, tokens: 2000, token_bytes: 1000, rate: 0 }) },
  }
  resident_bytes = await gateway.resident_bytes()
})
after(() => stage?.strike())

/** A page that watches while something is done; it has every byte, and has never waited long. */
async function watched(doing) {
  const body = request(100, { tokens: 1_000_000, rate: 50, jitter: 0 })
  const { id } = await stage.gateway.cast(body)
  const session = await stage.session(page.ask)
  await page.ask('acks', session)
  await page.ask('subscribe', session, { subscription: 0, stream: id }, { acks: true })
  await page.ask('reached', session, 0, 5)
  await doing()
  await page.ask('say', session, { type: 'stop', subscription: 0 })
  const report = await page.ask('over', session, 0)
  assert.deepEqual([report.problems, report.end.code], [[], 'stopped'])
  assert.equal(report.text, await stage.gateway.text(id))
  assert.equal((await page.ask('facts', session)).lost, null)
  await page.ask('close', session)
  return report.gap_ms
}

const sessions = () => stage.gateway.metric('tokencast_webtransport_sessions')

// What one scene leaves behind does not fail those after it.
let stuck = 0

/** Waits for the end of all sessions of a scene; gives how many there are that do not end. */
async function left_behind() {
  await until('the end of the sessions', async () => (await sessions()) <= stuck, FORGOTTEN_MS).catch(() => {})
  const more = (await sessions()) - stuck
  stuck += more
  return more
}

for (const scene of execFileSync(PYTHON, ['-m', 'hostile'], { ...OPTIONS, encoding: 'utf8' }).trim().split('\n')) {
  test(scene.replaceAll('_', ' '), async () => {
    let failure = null
    const gap_ms = await watched(async () => {
      const room = SESSIONS_MAX - (await sessions())
      const peer = new Process(PYTHON, ['-m', 'hostile', scene, JSON.stringify({ ...at, room })], OPTIONS)
      const { code } = await peer.end()
      if (code !== 0) failure = peer.output
    })
    const left = await left_behind()
    const grown = (await stage.gateway.resident_bytes()) - resident_bytes
    if (failure) assert.fail(failure)
    assert.ok(gap_ms < GAP_MS_MAX, `the page beside waited ${gap_ms} ms`)
    assert.equal(left, 0, `${left} sessions never end`)
    assert.equal(await stage.gateway.metric('tokencast_webtransport_subscriptions'), 0)
    assert.ok(grown < GROWTH_BYTES_MAX, `${grown} bytes more`)
    figure('beside_hostile_peers', { scene, gap_ms, grown_kib: grown / 1024 })
  })
}
