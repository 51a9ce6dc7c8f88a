// The certificate changes while a session lives.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { write_certificate } from './certificate.mjs'
import { until } from './process.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'

const BODY = request(1, { tokens: 100_000, rate: 40 })

/** A session that follows an endless stream; `survived` stops the stream and wants all of it. */
async function live_session(stage, ask, hashes) {
  const { id } = await stage.gateway.cast(BODY)
  const session = await stage.session(ask, { hashes })
  await ask('subscribe', session, { subscription: 0, stream: id })
  await ask('reached', session, 0, 5)
  return async () => {
    const { cursor } = await ask('report', session, 0)
    await ask('reached', session, 0, cursor + 5)
    await ask('say', session, { type: 'stop', subscription: 0 })
    const report = await ask('over', session, 0)
    assert.deepEqual([report.problems, report.end.code], [[], 'stopped'])
    assert.equal(report.text, await stage.gateway.text(id))
    assert.equal((await ask('facts', session)).lost, null)
  }
}

const connects = (stage, ask, hashes) => stage.session(ask, { hashes }).then(() => true, () => false)

test('our own rotates: the session lives, the next hash was known before', async (t) => {
  const stage = await Stage.set({ config: { webtransport: { rotate_s: 4 } } })
  t.after(() => stage.strike())
  const { ask } = await stage.page()
  const { certificate_hashes: [current, next] } = await stage.gateway.webtransport()
  assert.notEqual(current.value, next.value)
  const days = (Date.parse(current.expires_at) - Date.now()) / 86_400_000
  assert.ok(days > 0 && days <= 14, `${days} days`)
  const survived = await live_session(stage, ask, [current])

  const after = await until('the rotation', async () => {
    const { certificate_hashes: hashes } = await stage.gateway.webtransport()
    return hashes[0].value !== current.value && hashes
  })
  assert.equal(after[0].value, next.value)
  // A page that asked before the rotation has given both; one that trusts the old one alone is refused.
  assert.ok(await connects(stage, ask, [current, next]))
  assert.equal(await connects(stage, ask, [current]), false)
  await survived()
})

test('it is the same after a restart', async (t) => {
  const stage = await Stage.set()
  t.after(() => stage.strike())
  const { ask } = await stage.page()
  const { certificate_hashes: before } = await stage.gateway.webtransport()
  await stage.gateway.kill()
  await stage.gateway.restart()
  assert.deepEqual((await stage.gateway.webtransport()).certificate_hashes, before)
  assert.ok(await connects(stage, ask, before))
})

test('files are read again when they change, and only if they are good', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'tokencast-certificate-'))
  t.after(() => rm(directory, { recursive: true }))
  const { chain, key, hash: old } = await write_certificate(directory)
  const stage = await Stage.set({ config: { webtransport: { certificate: chain, key } } })
  t.after(() => stage.strike())
  const { ask } = await stage.page()
  assert.deepEqual((await stage.gateway.webtransport()).certificate_hashes, [])
  const survived = await live_session(stage, ask, [old])

  const { hash: renewed } = await write_certificate(directory)
  await until('the new certificate', () => connects(stage, ask, [renewed]), 60_000)
  assert.equal(await connects(stage, ask, [old]), false)

  await writeFile(chain, 'no certificate')
  await until('the complaint', () => stage.gateway.said(/certificate/i), 60_000)
  assert.ok(await connects(stage, ask, [renewed]))
  await survived()
})
