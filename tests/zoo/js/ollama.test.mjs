// Ollama's JavaScript SDK, which sends nothing but what it knows: the model's name says what is wanted.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Ollama } from 'ollama'
import {
  GATEWAY,
  KEY,
  LOCKED,
  PROVIDER,
  QUESTION,
  SCHEMA,
  collect,
  end,
  fails,
  fails_alike,
  named,
  plain,
  same,
  streams,
  until_it_fails,
} from './zoo.mjs'

const client = (host, options = {}) => new Ollama({ host, ...options })
const messages = [{ role: 'user', content: QUESTION }]
const tools = [{ type: 'function', function: { name: 'weather', description: 'The weather', parameters: SCHEMA } }]

const start = (host, wanted, more = {}) =>
  client(host).chat({ model: named('llama', wanted), messages, stream: true, ...more })
const text_of = (lines) => lines.map((line) => line.message.content).join('')

test('a stream, and the same as a whole', async () => {
  const seen = await same((base) => collect(start(base)))
  assert.equal(seen.at(-1).done, true)
  const whole = await same((base) => start(base, {}, { stream: false }))
  assert.equal(whole.message.content, text_of(seen))
})

test('generate', async () => {
  const asked = { model: named('llama'), prompt: QUESTION }
  assert.ok((await same((base) => collect(client(base).generate({ ...asked, stream: true })))).length > 20)
  await same((base) => client(base).generate({ ...asked, stream: false }))
})

test('tools and thinking', async () => {
  const seen = await same((base) => collect(start(base, { tool_calls: 2, reasoning: 20 }, { tools, think: true })))
  const calls = seen.flatMap((line) => line.message.tool_calls ?? [])
  assert.deepEqual(
    calls.map((call) => call.function.name),
    ['weather', 'weather'],
  )
  assert.ok(seen.filter((line) => line.message.thinking).length > 5)
})

test('odd and valid', async () => {
  await same((base) => collect(start(base, { split: 5, emoji_halves: true, huge_line: 100_000 })))
  await same((base) => collect(start(base, { line_end: 'crlf' })))
})

test('an error in mid-stream', async () => {
  await fails_alike((base) => collect(start(base, { error_after: 9 })), Error)
})

test('an upstream that breaks off is an error', async () => {
  const all = await collect(start(PROVIDER))
  for (const wanted of [{ cut_after: 9 }, { eof_after: 9 }]) {
    const { seen, error } = await until_it_fails(start(GATEWAY, wanted))
    assert.match(error.message, /\w+ \w+ \w+/)
    assert.doesNotMatch(error.message, /Did not receive done/, 'in band, not for want of an end')
    assert.deepEqual(
      seen.map((line) => line.message),
      plain(all.slice(0, 9).map((line) => line.message)),
    )
  }
})

test('what is refused', async () => {
  const kind = (await start(PROVIDER, { status: 400 }).catch((error) => error)).constructor
  assert.equal(kind.name, 'ResponseError')
  for (const status of [400, 401, 404, 429, 500]) {
    await fails_alike((base) => start(base, { status }), kind, { status_code: status })
  }
  for (const stream of [true, false]) {
    const locked = (key, model) =>
      client(LOCKED, { headers: { authorization: `Bearer ${key}` } }).chat({ model, messages, stream })
    await fails(() => locked('wrong', named('llama')), kind, { status_code: 401 })
    await fails(() => locked(KEY, 'nobody'), kind, { status_code: 404 })
    assert.ok(await locked(KEY, named('llama')))
  }
  for (const wanted of [{ content_type: 'text/html' }, { gzip_header: true }, { redirect: true }]) {
    await fails(() => start(GATEWAY, wanted), kind, { status_code: 502 })
  }
})

test('the caller goes, and the stream goes on', async () => {
  const sdk = client(GATEWAY)
  const model = named('llama-gone-js', { tokens: 60, rate: 100 })
  const stream = await sdk.chat({ model, messages, stream: true })
  const { value } = await stream[Symbol.asyncIterator]().next()
  stream.abort()
  const [one] = await streams(value.model)
  assert.equal((await end(one.id)).reason, 'completed')
})

test('models', async () => {
  assert.ok((await same((base) => client(base).list())).models.length)
})
