// Anthropic's JavaScript SDK.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import {
  GATEWAY,
  KEY,
  LOCKED,
  ODD,
  PROVIDER,
  QUESTION,
  REFUSED_ANSWERS,
  SCHEMA,
  collect,
  end,
  fails,
  fails_alike,
  plain,
  same,
  simulate,
  streams,
  until_it_fails,
} from './zoo.mjs'

const client = (base, options = {}) => new Anthropic({ baseURL: base, apiKey: 'none', maxRetries: 0, ...options })
const ASKED = { model: 'claude-zoo', max_tokens: 1000, messages: [{ role: 'user', content: QUESTION }] }
const tools = [{ name: 'weather', description: 'The weather', input_schema: SCHEMA }]

const start = (base, wanted, more = {}) =>
  client(base).messages.create({ ...ASKED, stream: true, simulate: simulate(wanted), ...more })
const message = (base, wanted, more = {}, options = {}) =>
  client(base, options)
    .messages.stream({ ...ASKED, simulate: simulate(wanted), ...more })
    .finalMessage()

test('a stream, and the same as a whole', async () => {
  const seen = await same((base) => collect(start(base)))
  assert.equal(seen.at(-1).type, 'message_stop')
  const whole = await same((base) => start(base, {}, { stream: false }))
  assert.deepEqual(whole.content, plain((await message(GATEWAY)).content))
})

test('the helper, with tools and thinking', async () => {
  const whole = await same((base) => message(base, { tool_calls: 2, reasoning: 20 }, { tools }))
  assert.deepEqual(
    whole.content.map((block) => block.type),
    ['thinking', 'text', 'tool_use', 'tool_use'],
  )
  assert.ok(whole.content[2].input.city)
})

test('odd and valid', async () => {
  await same((base) => collect(start(base, { comments: 2, ...ODD })))
  await same((base) => collect(start(base, { line_end: 'cr', bom: true })))
  await same((base) => message(base, { line_end: 'crlf' }))
})

test('an error in mid-stream', async () => {
  await fails_alike((base) => collect(start(base, { error_after: 9 })), Anthropic.APIError)
  await fails_alike((base) => message(base, { error_after: 9 }), Anthropic.APIError)
})

test('an upstream that breaks off is an error', async () => {
  const whole = await collect(start(PROVIDER))
  for (const wanted of [{ cut_after: 9 }, { eof_after: 9 }]) {
    const { seen, error } = await until_it_fails(start(GATEWAY, wanted))
    assert.ok(error instanceof Anthropic.APIError, error.stack)
    assert.match(error.message, /api_error/)
    assert.deepEqual(seen, plain(whole.slice(0, seen.length)))
    assert.ok(seen.length >= 8)
  }
})

test('what the provider refuses', async () => {
  const kinds = {
    400: Anthropic.BadRequestError,
    401: Anthropic.AuthenticationError,
    429: Anthropic.RateLimitError,
    500: Anthropic.InternalServerError,
    529: Anthropic.InternalServerError,
  }
  for (const [status, kind] of Object.entries(kinds)) {
    await fails_alike((base) => start(base, { status: Number(status) }), kind, { status: Number(status) })
    await fails_alike((base) => start(base, { status: Number(status) }, { stream: false }), kind)
  }
})

test('what the gateway refuses', async () => {
  for (const stream of [true, false]) {
    const asked = (apiKey, model) =>
      client(LOCKED, { apiKey }).messages.create({ ...ASKED, model, stream, simulate: simulate() })
    await fails(() => asked('wrong', 'claude-zoo'), Anthropic.AuthenticationError, { status: 401 })
    await fails(() => asked(KEY, 'nobody'), Anthropic.NotFoundError, { status: 404 })
    assert.ok(await asked(KEY, 'claude-zoo'))
  }
  for (const wanted of REFUSED_ANSWERS) {
    await fails(() => start(GATEWAY, wanted), Anthropic.InternalServerError, { status: 502 })
  }
})

test('the caller goes, and the stream goes on', async () => {
  const body = { ...ASKED, stream: true, simulate: simulate({ tokens: 60, rate: 100 }) }
  const { data, response } = await client(GATEWAY).messages.create(body).withResponse()
  for await (const _ of data) break
  assert.equal((await end(response.headers.get('tokencast-stream-id'))).reason, 'completed')
})

test('a second attempt gets the stream of the first', async () => {
  const whole = await message(
    GATEWAY,
    { head_ms: 2500 },
    { model: 'claude-again-js' },
    { maxRetries: 2, timeout: 1500 },
  )
  assert.deepEqual(plain(whole.content), plain((await message(PROVIDER)).content))
  assert.equal((await streams('claude-again-js')).length, 1)
})

test('models', async () => {
  assert.ok((await same((base) => collect(client(base).models.list()))).length)
})
