// Google's JavaScript SDK.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ApiError, GoogleGenAI } from '@google/genai'
import {
  GATEWAY,
  KEY,
  LOCKED,
  OLDER,
  PROVIDER,
  QUESTION,
  REFUSED_ANSWERS,
  collect,
  end,
  fails,
  fails_alike,
  named,
  plain,
  same,
  simulate,
  streams,
  until_it_fails,
} from './zoo.mjs'

const client = (base, { apiKey = 'none', ...options } = {}) =>
  new GoogleGenAI({ apiKey, httpOptions: { baseUrl: base, ...options } })
const tools = [
  {
    functionDeclarations: [
      { name: 'weather', parameters: { type: 'OBJECT', properties: { city: { type: 'STRING' } } } },
    ],
  },
]

const asked = (wanted, { model = 'gemini-zoo', ...more } = {}) => ({
  model,
  contents: QUESTION,
  config: { httpOptions: { extraBody: { simulate: simulate(wanted) } }, ...more },
})
const start = (base, wanted, more) => client(base).models.generateContentStream(asked(wanted, more))
const whole = (base, wanted, more) => client(base).models.generateContent(asked(wanted, more))
const shown = (chunk) => ({ ...plain(chunk), sdkHttpResponse: undefined })
const chunks = async (...args) => (await collect(start(...args))).map(shown)
const parts_of = (chunks) => chunks.flatMap((chunk) => chunk.candidates[0].content.parts ?? [])
const text_of = (chunks) =>
  parts_of(chunks)
    .map((part) => part.text ?? '')
    .join('')

test('a stream, and the same as a whole', async () => {
  const seen = await same((base) => chunks(base))
  assert.equal(seen.at(-1).candidates[0].finishReason, 'STOP')
  const answer = await same(async (base) => shown(await whole(base)))
  assert.equal(text_of([answer]), text_of(seen))
})

test('both versions of the path', async () => {
  for (const apiVersion of ['v1', 'v1beta']) {
    const streamed = (base) => client(base, { apiVersion }).models.generateContentStream(asked())
    assert.ok((await same(async (base) => (await collect(streamed(base))).map(shown))).length > 20)
  }
})

test('tools and thoughts', async () => {
  const parts = parts_of(await same((base) => chunks(base, { tool_calls: 2, reasoning: 20 }, { tools })))
  assert.deepEqual(
    parts.filter((part) => part.functionCall).map((part) => part.functionCall.name),
    ['weather', 'weather'],
  )
  assert.ok(parts.filter((part) => part.thought).length > 5)
})

test('odd and valid', async () => {
  await same((base) => chunks(base, { split: 5, emoji_halves: true }))
  await same((base) => chunks(base, { line_end: 'lf', huge_line: 100_000 }))
})

test('a chat', async () => {
  await same(async (base) => {
    const chat = client(base).chats.create({ model: named('gemini-zoo') })
    const texts = (await collect(chat.sendMessageStream({ message: QUESTION }))).map((chunk) => chunk.text)
    return [texts, (await chat.sendMessage({ message: 'And then?' })).text]
  })
})

test('an error in mid-stream', async () => {
  const failing = (base) => chunks(base, { error_after: 9 })
  // The major before does not see it.
  if (OLDER) await same(failing)
  else await fails_alike(failing, ApiError)
})

test('an upstream that breaks off is an error', async () => {
  const all = await chunks(PROVIDER)
  for (const wanted of [{ cut_after: 9 }, { eof_after: 9 }]) {
    const { seen, error } = await until_it_fails(start(GATEWAY, wanted))
    // The major before makes a chunk without candidates of it, and sees that the body breaks off.
    if (OLDER) assert.deepEqual([seen.pop().candidates, error.message], [undefined, 'terminated'])
    else assert.ok(error instanceof ApiError && /UNAVAILABLE/.test(error.message), error.stack)
    assert.deepEqual(plain(seen.map(shown)), plain(all.slice(0, 9)))
  }
})

test('what the provider refuses', async () => {
  for (const status of [400, 401, 404, 429, 500]) {
    await fails_alike((base) => start(base, { status }), ApiError, { status })
    await fails_alike((base) => whole(base, { status }), ApiError, { status })
  }
})

test('what the gateway refuses', async () => {
  for (const call of ['generateContentStream', 'generateContent']) {
    const locked = (apiKey, model) => client(LOCKED, { apiKey }).models[call](asked({}, { model }))
    await fails(() => locked('wrong', 'gemini-zoo'), ApiError, { status: 401 })
    await fails(() => locked(KEY, 'nobody'), ApiError, { status: 404 })
    assert.ok(await locked(KEY, 'gemini-zoo'))
  }
  for (const wanted of REFUSED_ANSWERS) {
    await fails(() => start(GATEWAY, wanted), ApiError, { status: 502 })
  }
})

test('the caller goes, and the stream goes on', async () => {
  const model = 'gemini-gone-js'
  for await (const _ of await start(GATEWAY, { tokens: 60, rate: 100 }, { model })) break
  const [stream] = await streams(model)
  assert.equal((await end(stream.id)).reason, 'completed')
  const text = await (await fetch(`${GATEWAY}/v1/streams/${stream.id}/text`)).text()
  assert.equal(text, text_of(await chunks(PROVIDER, { tokens: 60 })))
})

test('models', async () => {
  const names = async (base, options) => (await collect(client(base, options).models.list())).map((model) => model.name)
  assert.ok((await same((base) => names(base, { apiVersion: 'v1beta' }))).length)
  assert.ok((await names(GATEWAY)).length)
})
