// A provider that is silent for longer than the gateway's heartbeat, at every door at once.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import { createAnthropic } from '@ai-sdk/anthropic'
import * as google from '@ai-sdk/google'
import { createOpenAI } from '@ai-sdk/openai'
import { Chat } from '@ai-sdk/react'
import { GoogleGenAI } from '@google/genai'
import { DefaultChatTransport, streamText } from 'ai'
import { Ollama } from 'ollama'
import OpenAI from 'openai'
import { GATEWAY, PROVIDER, QUESTION, collect, named, plain } from './zoo.mjs'

const create_google = google.createGoogle ?? google.createGoogleGenerativeAI
/** Two heartbeats are in it. */
const SILENT = { first_byte_ms: 31_000 }
const messages = [{ role: 'user', content: QUESTION }]
const apiKey = 'none'
globalThis.AI_SDK_LOG_WARNINGS = false

const openai = (base) => new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0 })
const parts = async (model) =>
  (await collect(streamText({ model, prompt: QUESTION, maxRetries: 0 }).textStream)).join('')

const CLIENTS = {
  'openai chat': (base, wanted) =>
    collect(openai(base).chat.completions.create({ model: named('gpt-slow', wanted), messages, stream: true })),
  'openai responses': (base, wanted) =>
    collect(openai(base).responses.create({ model: named('gpt-slow', wanted), input: QUESTION, stream: true })),
  anthropic: (base, wanted) => {
    const sdk = new Anthropic({ baseURL: base, apiKey, maxRetries: 0 })
    return collect(
      sdk.messages.create({ model: named('claude-slow', wanted), max_tokens: 500, messages, stream: true }),
    )
  },
  genai: async (base, wanted) => {
    const sdk = new GoogleGenAI({ apiKey, httpOptions: { baseUrl: base } })
    const stream = sdk.models.generateContentStream({ model: named('gemini-slow', wanted), contents: QUESTION })
    return (await collect(stream)).map((chunk) => ({ ...chunk, sdkHttpResponse: undefined }))
  },
  ollama: (base, wanted) =>
    collect(new Ollama({ host: base }).chat({ model: named('llama-slow', wanted), messages, stream: true })),
  'ai, openai chat': (base, wanted) =>
    parts(createOpenAI({ baseURL: `${base}/v1`, apiKey }).chat(named('gpt-slow', wanted))),
  'ai, openai responses': (base, wanted) =>
    parts(createOpenAI({ baseURL: `${base}/v1`, apiKey }).responses(named('gpt-slow', wanted))),
  'ai, anthropic': (base, wanted) =>
    parts(createAnthropic({ baseURL: `${base}/v1`, apiKey })(named('claude-slow', wanted))),
  'ai, google': (base, wanted) =>
    parts(create_google({ baseURL: `${base}/v1beta`, apiKey })(named('gemini-slow', wanted))),
}

/** Without the names that models have here, which say how slow they are. */
const settled = (seen) => JSON.parse(JSON.stringify(plain(seen)).replaceAll(/;first_byte_ms=\d+/g, ''))

describe('silence', { concurrency: true }, () => {
  for (const [name, call] of Object.entries(CLIENTS)) {
    test(name, async () => {
      const [slow, quick] = await Promise.all([call(GATEWAY, { ...SILENT, seed: 9 }), call(PROVIDER, { seed: 9 })])
      assert.ok(slow.length > 10)
      assert.deepEqual(settled(slow), settled(quick))
    })
  }

  test('useChat', async () => {
    const body = { model: named('gpt-chat', SILENT) }
    const chat = new Chat({ transport: new DefaultChatTransport({ api: `${GATEWAY}/api/chat`, body }) })
    await chat.sendMessage({ text: QUESTION })
    assert.equal(chat.status, 'ready')
    assert.ok(chat.messages.at(-1).parts.find((part) => part.type === 'text').text.length > 50)
  })

  test('there is a heartbeat in it', async () => {
    const heartbeats = { '/v1/chat/completions': ': hb\n', '/v1/messages': 'event: ping\ndata: {"type": "ping"}\n\n' }
    await Promise.all(
      Object.entries(heartbeats).map(async ([path, heartbeat]) => {
        const model = named(path === '/v1/messages' ? 'claude-slow' : 'gpt-slow', SILENT)
        const body = JSON.stringify({ model, messages, max_tokens: 500, stream: true })
        const response = await fetch(GATEWAY + path, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body,
        })
        const text = await response.text()
        assert.ok(text.startsWith(heartbeat.repeat(2)), JSON.stringify(text.slice(0, 80)))
      }),
    )
  })
})
