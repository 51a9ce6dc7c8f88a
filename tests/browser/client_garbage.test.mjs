// Garbage on the wire: what came before it is kept, a few connections are tried, and one error says what was wrong.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { exact } from './client.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'
import { event, open, say, Strange } from './strange.mjs'

let stage
before(async () => { stage = await Stage.set() })
after(() => stage?.strike())

const TEXT = event(1, 'text', { from: 1, text: 'before' })
const GARBAGE = {
  'no JSON': event(2, 'text', '{"from":2,"text":'),
  'JSON that is no object': event(2, 'text', '2'),
  'null': event(2, 'text', 'null'),
  'text that is a number': event(2, 'text', { from: 2, text: 7 }),
  'text without text': event(2, 'text', { from: 2 }),
  'a call without arguments': event(2, 'tool_call', { from: 2, index: 0 }),
  'a gap': event(3, 'text', { from: 3, text: 'behind' }),
  'an overlap': event(2, 'text', { from: 1, text: 'again' }),
  'no from': event(2, 'text', { text: 'behind' }),
  'an id that is none': event('two', 'text', { from: 2, text: 'behind' }),
  'an id beyond counting': event('9007199254740993', 'text', { from: 2, text: 'behind' }),
  'a choice that is none': event(2, 'text', { from: 2, choice: -1, text: 'behind' }),
  'a billionth choice': event(2, 'text', { from: 2, choice: 1e9, text: 'behind' }),
  'a snapshot in the middle': event(2, 'snapshot', { upto: 2, choices: [], usage: null }),
  'bytes that are no text': Buffer.from(`id: 2\nevent: text\ndata: ${'\xff'.repeat(100)}\n\n`, 'latin1'),
}

for (const [name, garbage] of Object.entries(GARBAGE)) {
  test(`garbage over SSE: ${name}`, async () => {
    const strange = await Strange.start((response, url) => {
      const after = Number(url.searchParams.get('after'))
      say(response, Buffer.concat([open(after), after === 0 ? TEXT : '', garbage].map((part) => Buffer.from(part))))
    })
    const { ask, close } = await stage.client()
    const report = await ask('done', await ask('follow', `${strange.url}/v1/streams/s`, { transport: 'sse' }))
    assert.equal(report.outcome.error?.code, 'protocol_error', JSON.stringify(report.outcome))
    assert.deepEqual([report.text, report.errors.length, report.problems], ['before', 1, []])
    assert.ok(strange.asked.length <= 4, strange.asked.join(' '))
    assert.deepEqual(stage.browser.complaints, [])
    await close()
    strange.close()
  })
}

for (const [name, start] of Object.entries({
  'an event before open': TEXT,
  'an open that is none': event(0, 'open', 'null'),
  'an open elsewhere': open(7),
})) {
  test(`a beginning over SSE that is none: ${name}`, async () => {
    const strange = await Strange.start((response) => say(response, start + TEXT))
    const { ask, close } = await stage.client()
    const report = await ask('done', await ask('follow', `${strange.url}/v1/streams/s`, { transport: 'sse' }))
    assert.deepEqual([report.outcome.error?.code, report.text, report.errors.length], ['protocol_error', '', 1])
    assert.ok(strange.asked.length <= 3, strange.asked.join(' '))
    await close()
    strange.close()
  })
}

test('what is unknown is skipped', async () => {
  const end = { reason: 'completed', code: null, message: null, finish: null, usage: null, blocks: 3 }
  const said = [
    ': comment', open(), TEXT, event(2, 'novelty', { from: 2, x: 1 }),
    event(3, 'text', { from: 3, text: ' and behind', y: 2 }), event(4, 'end', end),
  ]
  const strange = await Strange.start((response) => say(response, said.join('\n')))
  const { ask, close } = await stage.client()
  const report = await ask('done', await ask('follow', `${strange.url}/v1/streams/s`, { transport: 'sse' }))
  assert.deepEqual([report.folded, report.end, report.errors], ['before and behind', end, []])
  await close()
  strange.close()
})

for (const [name, said] of Object.entries({
  'no URL': { url: 'nonsense', certificate_hashes: [] },
  'not secure': { url: 'http://127.0.0.1:1/v1/session', certificate_hashes: [] },
  'no hashes': { url: 'https://127.0.0.1:1/v1/session' },
  'hashes that are none': { url: 'https://127.0.0.1:1/v1/session', certificate_hashes: [{ algorithm: 'sha-256', value: 'xyz' }] },
  'a list': [],
})) {
  test(`nonsense about where WebTransport is: ${name}`, async () => {
    const strange = await Strange.start(async (response, url) => {
      if (url.pathname === '/v1/webtransport') return response.end(JSON.stringify(said))
      const from = await fetch(stage.gateway.url + url.pathname + url.search)
      say(response, Buffer.from(await from.arrayBuffer()))
    })
    const body = request(1, { tokens: 20, rate: 0 })
    const { id } = await stage.gateway.cast(body)
    const { ask, close } = await stage.client()
    for (let times = 0; times < 2; times += 1) {
      const report = await ask('done', await ask('follow', `${strange.url}/v1/streams/${id}`, {}))
      await exact(stage, id, body, report)
      assert.deepEqual(report.opens.map(({ transport }) => transport), ['sse'])
    }
    await close()
    strange.close()
  })
}
