// In: one JSON object per line, {"dialect", "file"}: a recorded body. Out: one line per body, what the provider's own SDK
// makes of it: {"text", "reasoning", "tool_calls": [{"id", "name", "arguments"}], "usage", "finish", "error"}. Null is
// what that SDK does not tell.
import { readFileSync } from 'node:fs'
import Anthropic from '@anthropic-ai/sdk'
import { GoogleGenAI } from '@google/genai'
import { Ollama } from 'ollama'
import OpenAI from 'openai'

const options = (fetch) => ({ apiKey: 'none', maxRetries: 0, fetch })
const total = (a, b) => (a == null && b == null ? null : (a ?? 0) + (b ?? 0))
const joined = (parts) => parts.filter((part) => part != null).join('')

// Each takes a fetch that answers with the body, and `seen` for what is known so far: an error ends it early.
const accumulators = {
  async openai_chat(fetch, seen) {
    const stream = new OpenAI(options(fetch)).chat.completions.stream({ model: 'm', messages: [] })
    // The helper keeps only the last piece of fields that it does not know.
    const reasoning = []
    stream.on('chunk', (chunk, snapshot) => {
      const delta = chunk.choices.find((choice) => choice.index === 0)?.delta
      const details = joined((delta?.reasoning_details ?? []).map((detail) => detail.text ?? detail.summary))
      reasoning.push(delta?.reasoning_content || delta?.reasoning || details)
      const choice = snapshot.choices[0]
      const usage = chunk.usage ?? chunk.x_groq?.usage
      if (usage) seen.usage = { input: usage.prompt_tokens, output: usage.completion_tokens }
      seen.text = choice?.message.content ?? ''
      seen.reasoning = joined(reasoning)
      seen.finish = choice?.finish_reason ?? null
      seen.tool_calls = (choice?.message.tool_calls ?? []).map((call) => ({ id: call.id, ...call.function }))
    })
    await stream.done()
  },

  async openai_responses(fetch, seen) {
    const stream = new OpenAI(options(fetch)).responses.stream({ model: 'm', input: 'i' })
    stream.on('event', (event) => {
      if (event.type === 'error') throw new Error(event.message)
    })
    const response = await stream.finalResponse()
    const { output, usage, status } = response
    const parts = (item, type) => (item.content ?? []).filter((part) => part.type === type).map((part) => part.text)
    seen.text = joined(output.flatMap((item) => parts(item, 'output_text')))
    seen.reasoning = joined(
      output.flatMap((item) => {
        const content = parts(item, 'reasoning_text')
        return content.length > 0 ? content : (item.summary ?? []).map((part) => part.text)
      }),
    )
    const json = (value) => (typeof value === 'string' ? value : JSON.stringify(value))
    seen.tool_calls = output
      .filter((item) => item.type.endsWith('_call'))
      .map((item) => ({
        id: item.call_id ?? item.id,
        name: item.name ?? item.type.replace(/_call$/, ''),
        arguments: json(item.arguments ?? item.input ?? item.code ?? item.action ?? item.queries) ?? '',
      }))
    seen.usage = usage && { input: usage.input_tokens, output: usage.output_tokens }
    const asks = output.some((item) => item.call_id && item.type.endsWith('_call'))
    const finish = { completed: asks ? 'tool_calls' : 'stop', incomplete: response.incomplete_details?.reason }
    seen.finish = finish[status] ?? null
    if (response.error) throw new Error(response.error.message)
  },

  async anthropic(fetch, seen) {
    const stream = new Anthropic(options(fetch)).beta.messages.stream({ model: 'm', max_tokens: 1, messages: [] })
    stream.on('streamEvent', (_, { content, usage, stop_reason }) => {
      seen.text = joined(content.map((block) => (block.type === 'text' ? block.text : null)))
      seen.reasoning = joined(content.map((block) => (block.type === 'thinking' ? block.thinking : null)))
      seen.usage = { input: usage.input_tokens, output: usage.output_tokens }
      seen.finish = stop_reason
    })
    await stream.done()
    const calls = stream.receivedMessages.at(-1).content.filter((block) => block.type.endsWith('tool_use'))
    seen.tool_calls = calls.map(({ id, name, input }) => ({ id, name, arguments: JSON.stringify(input) }))
  },

  async gemini(fetch, seen) {
    globalThis.fetch = fetch
    const models = new GoogleGenAI({ apiKey: 'none', vertexai: false }).models
    const stream = await models.generateContentStream({ model: 'm', contents: 'c' })
    Object.assign(seen, { text: '', reasoning: '', tool_calls: [] })
    for await (const { candidates, usageMetadata } of stream) {
      const candidate = candidates?.find(({ index }) => !index)
      for (const part of candidate?.content?.parts ?? []) {
        if (part.text) seen[part.thought ? 'reasoning' : 'text'] += part.text
        const call = part.functionCall
        if (call) seen.tool_calls.push({ id: call.id ?? null, name: call.name, arguments: JSON.stringify(call.args) ?? '' })
      }
      seen.finish = candidate?.finishReason ?? seen.finish
      if (usageMetadata) {
        const { promptTokenCount, toolUsePromptTokenCount, candidatesTokenCount, thoughtsTokenCount } = usageMetadata
        seen.usage = {
          input: total(promptTokenCount, toolUsePromptTokenCount),
          output: total(candidatesTokenCount, thoughtsTokenCount),
        }
      }
    }
  },

  async ollama(fetch, seen) {
    const stream = await new Ollama({ fetch }).chat({ model: 'm', messages: [], stream: true })
    Object.assign(seen, { text: '', reasoning: '', tool_calls: [] })
    for await (const line of stream) {
      seen.text += line.message?.content ?? line.response ?? ''
      seen.reasoning += line.message?.thinking ?? line.thinking ?? ''
      for (const call of line.message?.tool_calls ?? []) {
        const { name, arguments: args } = call.function
        seen.tool_calls.push({ id: call.id ?? null, name, arguments: JSON.stringify(args) })
      }
      seen.finish = line.done_reason ?? seen.finish
      const { prompt_eval_count: input = null, eval_count: output = null } = line
      if (input != null || output != null) seen.usage = { input, output }
    }
  },
}

const type = { ollama: 'application/x-ndjson' }

for (const line of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const { dialect, file } = JSON.parse(line)
  const headers = { 'content-type': type[dialect] ?? 'text/event-stream' }
  const fetch = async () => new Response(readFileSync(file), { headers })
  const seen = { text: null, reasoning: null, tool_calls: null, usage: null, finish: null, error: null }
  try {
    await accumulators[dialect](fetch, seen)
  } catch (error) {
    seen.error = String(error.message ?? error)
  }
  console.log(JSON.stringify(seen))
}
