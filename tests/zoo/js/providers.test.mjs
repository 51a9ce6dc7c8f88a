// The AI SDK with its providers: openai, openai-compatible, anthropic, google.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createAnthropic } from '@ai-sdk/anthropic'
import * as google from '@ai-sdk/google'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { APICallError, generateText, jsonSchema, streamText, tool } from 'ai'
import { GATEWAY, KEY, LOCKED, PROVIDER, QUESTION, SCHEMA, fails, fails_alike, named, plain, same } from './zoo.mjs'

globalThis.AI_SDK_LOG_WARNINGS = false
// As it is called now, and in the major before.
const create_google = google.createGoogle ?? google.createGoogleGenerativeAI
const tools = { weather: tool({ description: 'The weather', inputSchema: jsonSchema(SCHEMA) }) }

/** Each as its documentation has it, with only the base URL changed. */
const MODELS = {
  'openai chat': (base, wanted, apiKey = 'none') =>
    createOpenAI({ baseURL: `${base}/v1`, apiKey }).chat(named('gpt-zoo', wanted)),
  'openai responses': (base, wanted, apiKey = 'none') =>
    createOpenAI({ baseURL: `${base}/v1`, apiKey }).responses(named('gpt-zoo', wanted)),
  'openai-compatible': (base, wanted, apiKey = 'none') =>
    createOpenAICompatible({ name: 'zoo', baseURL: `${base}/v1`, apiKey }).chatModel(named('gpt-zoo', wanted)),
  anthropic: (base, wanted, apiKey = 'none') =>
    createAnthropic({ baseURL: `${base}/v1`, apiKey })(named('claude-zoo', wanted)),
  google: (base, wanted, apiKey = 'none') =>
    create_google({ baseURL: `${base}/v1beta`, apiKey })(named('gemini-zoo', wanted)),
}

/** Ids that the SDK draws for itself, by the order in which they come; dates and head fields are left out. */
function settled(parts) {
  const ids = new Map()
  const settle = (key, value) => {
    if (['timestamp', 'headers', 'performance', 'request'].includes(key)) return undefined
    const is_id = ['id', 'toolCallId', 'callId', 'responseId'].includes(key) && typeof value === 'string'
    if (!is_id) return value
    if (!ids.has(value)) ids.set(value, `${key} ${ids.size}`)
    return ids.get(value)
  }
  return JSON.parse(JSON.stringify(parts, settle))
}

/** All parts of a stream, errors as what they are, and whatever it was that ended it. */
async function parts_of(model, more = {}) {
  const parts = []
  const result = streamText({ model, prompt: QUESTION, maxRetries: 0, onError() {}, ...more })
  const shown = (error) => (error instanceof Error ? { name: error.name, message: error.message } : error)
  try {
    for await (const part of result.stream ?? result.fullStream) {
      parts.push(part.type === 'error' ? { ...part, error: shown(part.error) } : part)
    }
  } catch (error) {
    parts.push({ type: 'error', error: shown(error), thrown: true })
  }
  return settled(parts)
}

const text_of = (parts) =>
  parts
    .filter((part) => part.type === 'text-delta')
    .map((part) => part.text)
    .join('')
const count = (parts, type) => parts.filter((part) => part.type === type).length

for (const [name, model] of Object.entries(MODELS)) {
  test(`${name}: a stream, and the same as a whole`, async () => {
    const parts = await same((base) => parts_of(model(base)))
    assert.equal(parts.at(-1).type, 'finish')
    const whole = await same(async (base) => (await generateText({ model: model(base), prompt: QUESTION })).text)
    assert.equal(whole, text_of(parts))
    assert.ok(whole.length > 50)
  })

  test(`${name}: tools and reasoning`, async () => {
    const parts = await same((base) => parts_of(model(base, { tool_calls: 2, reasoning: 20 }), { tools }))
    assert.equal(count(parts, 'tool-call'), 2)
    // OpenAI's own chat completions have no reasoning.
    if (name !== 'openai chat') assert.ok(count(parts, 'reasoning-delta') > 0)
  })

  test(`${name}: odd and valid`, async () => {
    await same((base) => parts_of(model(base, { split: 5, emoji_halves: true, huge_line: 100_000 })))
    await same((base) => parts_of(model(base, { line_end: 'lf' })))
  })

  test(`${name}: an error in mid-stream`, async () => {
    const parts = await same((base) => parts_of(model(base, { error_after: 9 })))
    assert.equal(count(parts, 'error'), 1)
    assert.ok(text_of(parts))
  })

  test(`${name}: an upstream that breaks off is an error`, async () => {
    const whole = text_of(await parts_of(model(PROVIDER)))
    for (const wanted of [{ cut_after: 9 }, { eof_after: 9 }]) {
      const parts = await parts_of(model(GATEWAY, wanted))
      const error = parts.find((part) => part.type === 'error')
      assert.match(JSON.stringify(error), /\w+ \w+ \w+/, JSON.stringify(parts.slice(-3)))
      assert.ok(whole.startsWith(text_of(parts)))
      assert.equal(count(parts, 'finish'), 0, JSON.stringify(parts.at(-1)))
    }
  })

  test(`${name}: what is refused`, async () => {
    const asked = (base, wanted, key) =>
      generateText({ model: model(base, wanted, key), prompt: QUESTION, maxRetries: 0 })
    for (const status of [400, 401, 429, 500]) {
      await fails_alike((base) => asked(base, { status }), APICallError, { statusCode: status })
      const parts = await same((base) => parts_of(model(base, { status })))
      assert.match(parts.find((part) => part.type === 'error').error.message, /\w+ \w+ \w+/)
    }
    await fails(() => asked(LOCKED, {}, 'wrong'), APICallError, { statusCode: 401 })
    assert.ok((await asked(LOCKED, {}, KEY)).text)
    const parts = await parts_of(model(LOCKED, {}, 'wrong'))
    assert.equal(plain(parts.find((part) => part.type === 'error')).error.name, 'AI_APICallError')
    assert.ok(text_of(await parts_of(model(LOCKED, {}, KEY))))
  })
}
