// useChat without React: the AI SDK's Chat, and the two transports that come with it, at the gateway's own door for it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Chat } from '@ai-sdk/react'
import { WorkflowChatTransport } from '@ai-sdk/workflow/client'
import { createOpenAI } from '@ai-sdk/openai'
import { DefaultChatTransport, streamText } from 'ai'
import { GATEWAY, KEY, LOCKED, PROVIDER, QUESTION, ask, end, named, plain } from './zoo.mjs'

const api = `${GATEWAY}/api/chat`
let chats = 0

/** A tab: a chat with a transport of its own, which sends what the provider is to do as the model's name. */
function tab(wanted = {}, { id = `chat-${++chats}`, messages = [], transport, ...options } = {}) {
  const body = { model: named('gpt-chat', wanted) }
  transport ??= new DefaultChatTransport({ api, body, ...options })
  const errors = []
  const chat = new Chat({ id, messages, transport, onError: (error) => errors.push(error) })
  return Object.assign(chat, { errors })
}

/** Counts what goes over the wire, and can break it off behind so many bytes. */
function wire({ break_after } = {}) {
  const calls = []
  const fetch_ = async (url, init) => {
    const response = await fetch(url, init)
    calls.push({ url: String(url), method: init?.method ?? 'GET', status: response.status, headers: response.headers })
    if (break_after === undefined || !response.body) return response
    const left = { bytes: break_after }
    break_after = undefined
    const cut = new TransformStream({
      transform(chunk, controller) {
        controller.enqueue(chunk.slice(0, Math.max(0, left.bytes)))
        left.bytes -= chunk.length
        if (left.bytes <= 0) controller.terminate()
      },
    })
    return new Response(response.body.pipeThrough(cut), response)
  }
  return { calls, fetch: fetch_ }
}

const text_of = (message) =>
  message.parts
    .filter((part) => part.type === 'text')
    .map((part) => part.text)
    .join('')
const parts_of = (message, type) => message.parts.filter((part) => part.type === type)

/** What streamText says when it asks the provider directly. */
async function said(wanted) {
  const model = createOpenAI({ baseURL: `${PROVIDER}/v1`, apiKey: 'none' }).chat(named('gpt-chat', wanted))
  return streamText({ model, prompt: QUESTION }).text
}

/** Resolves once the chat's answer has some text. */
async function begun(chat) {
  while (!(chat.messages.at(-1)?.role === 'assistant' && text_of(chat.messages.at(-1)).length > 20)) {
    await new Promise((resolve) => chat['~registerMessagesCallback'](resolve))
  }
}

test('an answer, and another one', async () => {
  const chat = tab()
  await chat.sendMessage({ text: QUESTION })
  await chat.sendMessage({ text: 'And then?' })
  assert.deepEqual([chat.status, chat.errors], ['ready', []])
  assert.deepEqual(
    chat.messages.map((message) => message.role),
    ['user', 'assistant', 'user', 'assistant'],
  )
  for (const answer of [chat.messages[1], chat.messages[3]]) assert.equal(text_of(answer), await said())
})

test('an answer of Anthropic', async () => {
  const chat = tab({}, { body: { model: named('claude-chat', { reasoning: 10 }) } })
  await chat.sendMessage({ text: QUESTION })
  await chat.sendMessage({ text: 'And then?' })
  assert.deepEqual([chat.status, chat.errors], ['ready', []])
  for (const answer of [chat.messages[1], chat.messages[3]]) {
    assert.equal(text_of(answer), await said({ reasoning: 10 }))
    assert.ok(parts_of(answer, 'reasoning')[0].text)
  }
})

test('reasoning, and usage as metadata', async () => {
  const chat = tab({ reasoning: 20 })
  await chat.sendMessage({ text: QUESTION })
  const answer = chat.messages.at(-1)
  assert.equal(text_of(answer), await said({ reasoning: 20 }))
  const [reasoning] = parts_of(answer, 'reasoning')
  assert.ok(reasoning.text.length > 20)
  assert.equal(reasoning.state, 'done')
  assert.equal(answer.metadata.usage.outputTokens, 60)
})

test('a file, and the answer regenerated', async () => {
  const chat = tab()
  const files = [{ type: 'file', mediaType: 'image/png', url: 'data:image/png;base64,iVBORw0KGgo=' }]
  await chat.sendMessage({ text: QUESTION, files })
  assert.deepEqual(chat.errors, [])
  const [, first] = chat.messages
  await chat.regenerate()
  assert.equal(chat.messages.length, 2)
  assert.equal(text_of(chat.messages[1]), text_of(first))
  assert.notEqual(chat.messages[1].id, first.id)
})

test('an error in mid-stream, an upstream that breaks off', async () => {
  const whole = await said()
  for (const wanted of [{ error_after: 9 }, { cut_after: 9 }, { eof_after: 9 }]) {
    const chat = tab(wanted)
    await chat.sendMessage({ text: QUESTION })
    assert.equal(chat.status, 'error', JSON.stringify(wanted))
    assert.match(chat.error.message, /\w+ \w+ \w+/)
    const text = text_of(chat.messages.at(-1))
    assert.ok(text && whole.startsWith(text), text)
  }
})

test('what is refused', async () => {
  const refused = async (chat, pattern) => {
    await chat.sendMessage({ text: QUESTION })
    assert.equal(chat.status, 'error')
    assert.match(chat.error.message, pattern)
  }
  await refused(tab({}, { body: { model: 'nobody' } }), /no provider serves/)
  const locked = (key) => ({ api: `${LOCKED}/api/chat`, headers: { authorization: `Bearer ${key}` } })
  await refused(tab({}, locked('wrong')), /\w+ \w+ \w+/)
  await refused(tab({ status: 429 }), /429/)
  const chat = tab({}, locked(KEY))
  await chat.sendMessage({ text: QUESTION })
  assert.equal(text_of(chat.messages.at(-1)), await said())
})

test('a reload in mid-stream, and a second tab', async () => {
  const wanted = { tokens: 80, rate: 60 }
  const first = tab(wanted)
  const sent = first.sendMessage({ text: QUESTION })
  await begun(first)
  // Both know what a page would have kept, and the first has a part of the answer already.
  const reloaded = tab(wanted, { id: first.id, messages: plain(first.messages) })
  const second = tab(wanted, { id: first.id, messages: plain(first.messages.slice(0, 1)) })
  await Promise.all([reloaded.resumeStream(), second.resumeStream(), sent])
  const whole = await said({ tokens: 80 })
  for (const chat of [first, reloaded, second]) {
    assert.deepEqual([chat.status, chat.errors, chat.messages.length], ['ready', [], 2])
    assert.equal(text_of(chat.messages[1]), whole)
    assert.equal(chat.messages[1].id, first.messages[1].id)
  }
  // Nothing runs there any more.
  const late = wire()
  const again = tab(wanted, { id: first.id, messages: plain(first.messages), fetch: late.fetch })
  await again.resumeStream()
  assert.deepEqual([late.calls.map((call) => call.status), again.messages.length], [[204], 2])
})

test('a tab that is closed does not stop the stream; a stop does', async () => {
  const first = wire()
  const chat = tab({ tokens: 60, rate: 60 }, { fetch: first.fetch })
  const sent = chat.sendMessage({ text: QUESTION })
  await begun(chat)
  await chat.stop()
  await sent
  const stream = first.calls[0].headers.get('x-workflow-run-id')
  assert.equal((await end(stream)).reason, 'completed')

  const second = wire()
  const endless = tab({ tokens: 5000, rate: 50 }, { fetch: second.fetch })
  const going = endless.sendMessage({ text: QUESTION })
  await begun(endless)
  const stopped = await fetch(`${api}/${endless.id}/stream`, { method: 'DELETE' })
  assert.equal(stopped.status, 204)
  await going
  assert.equal((await end(second.calls[0].headers.get('x-workflow-run-id'))).reason, 'cancelled')
})

const workflow = (wanted, net, options = {}) =>
  new WorkflowChatTransport({
    api,
    fetch: net.fetch,
    prepareSendMessagesRequest: ({ id, messages, trigger }) => ({
      body: { id, messages, trigger, model: named('gpt-chat', wanted) },
    }),
    ...options,
  })

test('WorkflowChatTransport: an answer', async () => {
  const net = wire()
  const chat = tab({}, { transport: workflow({ reasoning: 10 }, net) })
  await chat.sendMessage({ text: QUESTION })
  assert.deepEqual([chat.status, chat.errors], ['ready', []])
  assert.equal(text_of(chat.messages.at(-1)), await said({ reasoning: 10 }))
  assert.deepEqual(
    net.calls.map((call) => call.method),
    ['POST'],
  )
})

test('WorkflowChatTransport: a connection that breaks off is taken up behind the last chunk', async () => {
  const net = wire({ break_after: 1200 })
  const chat = tab({}, { transport: workflow({ tokens: 60, rate: 100 }, net) })
  await chat.sendMessage({ text: QUESTION })
  assert.deepEqual([chat.status, chat.errors], ['ready', []])
  assert.equal(text_of(chat.messages.at(-1)), await said({ tokens: 60 }))
  assert.deepEqual(
    net.calls.map((call) => [call.method, call.status]),
    [
      ['POST', 200],
      ['GET', 200],
    ],
  )
  assert.match(net.calls[1].url, /startIndex=[1-9]/)
})

test('WorkflowChatTransport: the last chunks are enough to go on', async () => {
  const net = wire()
  const chat = tab({}, { transport: workflow({}, net) })
  await chat.sendMessage({ text: QUESTION })
  const run = net.calls[0].headers.get('x-workflow-run-id')
  const late = wire()
  const transport = workflow({}, late, {
    initialStartIndex: -5,
    prepareReconnectToStreamRequest: () => ({ api: `${api}/${run}/stream` }),
  })
  const again = tab({}, { transport, messages: plain(chat.messages.slice(0, 1)) })
  await again.resumeStream()
  assert.deepEqual([again.status, again.errors], ['ready', []])
  // A part is told from its beginning.
  assert.equal(text_of(again.messages.at(-1)), await said())
  assert.match(late.calls[0].url, /startIndex=-5/)
  assert.match(late.calls[0].headers.get('x-workflow-stream-tail-index'), /^\d+$/)
})

test('WorkflowChatTransport: an upstream that breaks off is asked for once', async () => {
  const net = wire()
  const chat = tab({}, { transport: workflow({ cut_after: 9 }, net) })
  await chat.sendMessage({ text: QUESTION })
  assert.equal(chat.status, 'error')
  assert.equal(net.calls.length, 1, JSON.stringify(net.calls))
})

test('a stream that is in a chat is told as any other', async () => {
  const net = wire()
  const chat = tab({}, { fetch: net.fetch })
  await chat.sendMessage({ text: QUESTION })
  const stream = net.calls[0].headers.get('x-workflow-run-id')
  const state = await ask(`/v1/streams/${stream}`)
  assert.equal(state.choices[0].text, text_of(chat.messages.at(-1)))
  assert.equal(state.metadata.chat, chat.id)
})
