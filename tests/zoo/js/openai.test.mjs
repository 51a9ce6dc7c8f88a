// OpenAI's JavaScript SDK: chat completions and responses.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import OpenAI from 'openai'
import {
  GATEWAY,
  KEY,
  LOCKED,
  ODD,
  OLDER,
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

const client = (base, options = {}) => new OpenAI({ baseURL: `${base}/v1`, apiKey: 'none', maxRetries: 0, ...options })
const CHAT = { model: 'gpt-zoo', messages: [{ role: 'user', content: QUESTION }] }
const RESPONSE = { model: 'gpt-responses', input: QUESTION }
const FUNCTION = { name: 'weather', description: 'The weather', parameters: SCHEMA }

const chat = (base, wanted, more = {}) =>
  client(base).chat.completions.create({ ...CHAT, stream: true, simulate: simulate(wanted), ...more })
const response = (base, wanted, more = {}) =>
  client(base).responses.create({ ...RESPONSE, stream: true, simulate: simulate(wanted), ...more })
const text_of = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')

test('chat: a stream, and the same as a whole', async () => {
  const seen = await same((base) => collect(chat(base, {}, { stream_options: { include_usage: true } })))
  assert.equal(seen.at(-1).usage.completion_tokens, 40)
  const whole = await same((base) => client(base).chat.completions.create({ ...CHAT, simulate: simulate() }))
  assert.equal(whole.choices[0].message.content, text_of(seen))
})

test('chat: the helper, with tools and reasoning', async () => {
  const tools = [{ type: 'function', function: FUNCTION }]
  const asked = { ...CHAT, tools, simulate: simulate({ tool_calls: 2, reasoning: 20 }) }
  const whole = await same((base) => client(base).chat.completions.stream(asked).finalChatCompletion())
  assert.deepEqual(
    whole.choices[0].message.tool_calls.map((call) => call.function.name),
    ['weather', 'weather'],
  )
  const seen = await same((base) => collect(chat(base, { reasoning: 20 })))
  assert.ok(seen.filter((chunk) => chunk.choices[0]?.delta.reasoning_content).length > 10)
})

test('chat: odd and valid', async () => {
  await same((base) => collect(chat(base, { comments: 2, ...ODD })))
  await same((base) => collect(chat(base, { line_end: 'cr' })))
  await same((base) => collect(chat(base, { line_end: 'crlf', bom: true, no_done: true })))
})

test('an error in mid-stream', async () => {
  await fails_alike((base) => collect(chat(base, { error_after: 9 })), OpenAI.APIError)
  const failing = (base) => collect(response(base, { error_after: 9 }))
  // The major before gives it as an event.
  if (OLDER) assert.match(JSON.stringify(await same(failing)), /"type":"error"/)
  else await fails_alike(failing, OpenAI.APIError)
})

test('an upstream that breaks off is an error', async () => {
  for (const [start, whole] of [
    [chat, await collect(chat(PROVIDER))],
    [response, await collect(response(PROVIDER))],
  ]) {
    for (const [wanted, code] of [
      [{ cut_after: 9 }, 'upstream_cut'],
      [{ eof_after: 9 }, 'upstream_eof'],
    ]) {
      const { seen, error } = await until_it_fails(start(GATEWAY, wanted))
      if (OLDER && start === response) {
        assert.equal(seen.pop().code, code)
      } else {
        assert.ok(error instanceof OpenAI.APIError, error.stack)
        assert.equal(error.code, code)
      }
      assert.deepEqual(seen, plain(whole.slice(0, 9)))
    }
  }
})

test('what the provider refuses', async () => {
  const kinds = {
    400: OpenAI.BadRequestError,
    401: OpenAI.AuthenticationError,
    429: OpenAI.RateLimitError,
    500: OpenAI.InternalServerError,
  }
  for (const [status, kind] of Object.entries(kinds)) {
    await fails_alike((base) => chat(base, { status: Number(status) }), kind, { status: Number(status) })
    await fails_alike((base) => response(base, { status: Number(status) }), kind)
    await fails_alike((base) => chat(base, { status: Number(status) }, { stream: false }), kind)
  }
})

test('what the gateway refuses', async () => {
  for (const stream of [true, false]) {
    const asked = (key, model) =>
      client(LOCKED, { apiKey: key }).chat.completions.create({ ...CHAT, model, stream, simulate: simulate() })
    await fails(() => asked('wrong', 'gpt-zoo'), OpenAI.AuthenticationError, { status: 401 })
    await fails(() => asked(KEY, 'nobody'), OpenAI.NotFoundError, { code: 'unknown_model' })
    assert.ok(await asked(KEY, 'gpt-zoo'))
  }
  for (const wanted of REFUSED_ANSWERS) {
    await fails(() => chat(GATEWAY, wanted), OpenAI.InternalServerError, { status: 502, code: 'not_a_stream' })
  }
})

test('chat: the caller goes, and the stream goes on', async () => {
  const body = { ...CHAT, stream: true, simulate: simulate({ tokens: 60, rate: 100 }) }
  const { data, response } = await client(GATEWAY).chat.completions.create(body).withResponse()
  for await (const _ of data) break
  assert.equal((await end(response.headers.get('tokencast-stream-id'))).reason, 'completed')
  const text = await (await fetch(`${GATEWAY}${response.headers.get('location')}/text`)).text()
  assert.equal(text, text_of(await collect(chat(PROVIDER, { tokens: 60 }))))
})

test('chat: a second attempt gets the stream of the first', async () => {
  const body = { ...CHAT, model: 'gpt-again-js', stream: true, simulate: simulate({ head_ms: 2500 }) }
  const again = client(GATEWAY, { maxRetries: 2, timeout: 1500 })
  assert.equal(text_of(await collect(again.chat.completions.create(body))), text_of(await collect(chat(PROVIDER))))
  assert.equal((await streams('gpt-again-js')).length, 1)
})

test('responses: a stream, with tools and reasoning', async () => {
  const more = { tools: [{ type: 'function', strict: false, ...FUNCTION }] }
  const seen = await same((base) => collect(response(base, { tool_calls: 2, reasoning: 20, ...ODD }, more)))
  assert.deepEqual(
    seen.map((event) => event.sequence_number),
    seen.map((_, place) => place),
  )
  const asked = { ...RESPONSE, ...more, simulate: simulate({ tool_calls: 2, reasoning: 20 }) }
  const whole = await same((base) => client(base).responses.stream(asked).finalResponse())
  assert.equal(whole.output.filter((item) => item.type === 'function_call').length, 2)
})

test('responses: the caller goes and comes back', async () => {
  const whole = await collect(response(PROVIDER, { seed: 32 }))
  const first = []
  for await (const event of await response(GATEWAY, { seed: 32, rate: 100 })) {
    if (first.push(event) === 8) break
  }
  const { id } = first[0].response
  const after = { stream: true, starting_after: first.at(-1).sequence_number }
  const rest = await collect(client(GATEWAY).responses.retrieve(id, after))
  assert.deepEqual(plain([...first, ...rest]), plain(whole))
  const retrieved = plain(await client(GATEWAY).responses.retrieve(id))
  assert.deepEqual(retrieved.output, plain(whole.at(-1).response.output))
})

test('responses: cancelled and deleted', async () => {
  const stream = await response(GATEWAY, { seed: 34, tokens: 1000, rate: 10 })
  const { value } = await stream[Symbol.asyncIterator]().next()
  const { id } = value.response
  assert.equal((await client(GATEWAY).responses.cancel(id)).status, 'cancelled')
  await client(GATEWAY).responses.delete(id)
  await fails(() => client(GATEWAY).responses.retrieve(id), OpenAI.APIError)
})

test('models', async () => {
  const names = async (base) => (await collect(client(base).models.list())).map((model) => model.id)
  const [all, directly] = [await names(GATEWAY), await names(PROVIDER)]
  assert.ok(directly.length)
  assert.deepEqual(
    directly.filter((name) => !all.includes(name)),
    [],
  )
})
