// Garbage over WebTransport, from a server of our own (hostile/server.py): as over SSE, it is tried a few times, and told.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { write_certificate } from './certificate.mjs'
import { free_port } from './port.mjs'
import { Process, until } from './process.mjs'
import { Stage } from './stage.mjs'
import { refuse, Strange } from './strange.mjs'

const PYTHON = process.env.PYTHON
const FAULTY = [
  'no_messagepack', 'no_array', 'an_empty_array', 'too_much_in_a_record', 'a_record_that_is_too_large', 'an_empty_record',
  'a_frame_that_is_none', 'an_event_that_is_none', 'an_id_that_is_none', 'data_that_is_none', 'text_that_is_none', 'a_gap',
  'nested_without_end', 'an_end_that_is_none', 'a_goodbye_that_is_none', 'no_header', 'a_header_that_is_none',
  'garbage_on_control', 'null_on_control',
]

let directory
let hostile
let stage
let strange
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tokencast-hostile-'))
  const { chain, key, hash } = await write_certificate(directory)
  const port = await free_port()
  hostile = new Process(PYTHON, ['-m', 'hostile.server', `${port}`, chain, key], { cwd: import.meta.dirname })
  await until('the hostile server', () => /ready/.test(hostile.output))
  strange = await Strange.start((response, { pathname }) => {
    if (pathname !== '/v1/webtransport') return refuse(response, 404, 'not_found')
    response.end(JSON.stringify({ url: `https://127.0.0.1:${port}/v1/session`, certificate_hashes: [hash] }))
  })
  stage = await Stage.set()
})
after(async () => {
  strange?.close()
  await hostile?.end('SIGKILL')
  await stage?.strike()
  await rm(directory, { recursive: true })
})

const count = (pattern) => hostile.output.split('\n').filter((line) => pattern.test(line)).length

for (const stream of FAULTY) {
  test(`garbage over WebTransport: ${stream}`, async () => {
    const { ask, close } = await stage.client()
    const sessions = count(/^session/)
    const at = await ask('follow', `${strange.url}/v1/streams/${stream}`, { transport: 'webtransport' })
    const report = await ask('done', at)
    assert.deepEqual([report.outcome.reason, report.outcome.error?.code], ['failed', 'protocol_error'])
    assert.deepEqual([report.errors.length, report.thrown, report.problems], [1, 'protocol_error', []])
    // What comes on the control stream may be there sooner.
    if (!/control/.test(stream)) assert.equal(report.text, /header/.test(stream) ? '' : 'before')
    // Three faults in a row are the end, and the one event between them may come before the third of them.
    assert.ok(count(new RegExp(`^subscribe ${stream} `)) <= 5, hostile.output)
    assert.ok(count(/^session/) - sessions <= 5, hostile.output)
    assert.deepEqual(stage.browser.complaints, [])
    await close()
  })
}

for (const stream of ['no_end', 'reset', 'a_record_that_breaks_off']) {
  test(`a stream that breaks again and again over WebTransport: ${stream}`, async () => {
    const { ask, close } = await stage.client()
    const at = await ask('follow', `${strange.url}/v1/streams/${stream}`, { transport: 'webtransport' })
    await ask('reached', at, 6)
    await new Promise((resolve) => setTimeout(resolve, 4000))
    const { outcome, text } = await ask('report', at)
    assert.deepEqual([outcome, text], [null, 'before'])
    assert.ok(count(new RegExp(`^subscribe ${stream} `)) <= 20, hostile.output)
    await close()
  })
}

test('what is unknown is skipped', async () => {
  const { ask, close } = await stage.client()
  const report = await ask('done', await ask('follow', `${strange.url}/v1/streams/unknown`, { transport: 'webtransport' }))
  assert.deepEqual([report.folded, report.end?.blocks, report.errors], ['before and behind', 3, []])
  await close()
})
