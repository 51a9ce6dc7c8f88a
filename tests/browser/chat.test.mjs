// The example of the AI SDK, installed and built by Vite, over the gateway's own door for it.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { TokencastChatTransport } from '../../client/dist/ai.js'
import { until } from './process.mjs'
import { request } from './provider.mjs'
import { Site } from './site.mjs'
import { Stage } from './stage.mjs'

const REPOSITORY = join(import.meta.dirname, '../..')

let directory
let site
let stage
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tokencast-chat-'))
  const example = join(directory, 'examples/chat')
  site = await Site.start(join(example, 'dist'))
  const ai_sdk = { provider: 'simulated', model: 'gpt-simulated' }
  stage = await Stage.set({ config: { ai_sdk, http: { cors_origins: [site.origin] } } })
  const sources = (source) => !/node_modules|[/]dist$/.test(source)
  await cp(join(REPOSITORY, 'examples/chat'), example, { recursive: true, filter: sources })
  for (const name of ['package.json', 'dist']) {
    await cp(join(REPOSITORY, 'client', name), join(directory, 'client', name), { recursive: true })
  }
  const run = (...args) => promisify(execFile)('npm', args, { cwd: example, env: { ...process.env, VITE_GATEWAY: stage.gateway.url } })
  await run('ci', '--no-audit', '--no-fund', '--prefer-offline')
  await run('run', 'build')
})
after(async () => {
  site?.close()
  await stage?.strike()
  await rm(directory, { recursive: true })
})

async function opened(chat) {
  const page = await stage.browser.tab()
  await page.goto(`${site.origin}/index.html#${chat}`)
  await ready(page)
  return page
}

async function ask(page, question) {
  await page.fill('input', question)
  await page.press('input', 'Enter')
}

const status = (page, status) =>
  page.waitForFunction((status) => document.querySelector('footer').textContent === status, status)
const ready = (page) => status(page, 'ready')
const said = (page, role = 'assistant') => page.locator(`.${role}`).allTextContents()

/** Resolves once so many answers have begun and the last has some text. */
const begun = (page, answers = 1) => page.waitForFunction((answers) => {
  const all = document.querySelectorAll('.assistant')
  return all.length === answers && all[answers - 1].textContent.length > 50
}, answers)

const begun_and_ready = async (page, answers) => {
  await begun(page, answers)
  await ready(page)
}

/** The streams so far, the latest first. */
const streams = async () => (await stage.gateway.call('/v1/streams?limit=10')).streams

test('an answer, and another one', async () => {
  const page = await opened('plain')
  await ask(page, 'What is a token?')
  await begun_and_ready(page, 1)
  await ask(page, 'And a stream?')
  await begun_and_ready(page, 2)
  const [second, first] = await streams()
  assert.deepEqual(await said(page), [await stage.gateway.text(first.id), await stage.gateway.text(second.id)])
  assert.deepEqual(await said(page, 'user'), ['What is a token?', 'And a stream?'])
  assert.ok(await stage.gateway.metric('tokencast_webtransport_handshakes_total', 'outcome="accepted"') > 0)
  await page.close()
})

test('loaded again in mid-stream it goes on, and finished it is there', async () => {
  const before = (await streams()).length
  const page = await opened('reloaded')
  await ask(page, 'What is a token?')
  for (let times = 0; times < 3; times += 1) {
    await begun(page)
    assert.equal((await streams())[0].status, 'running')
    await page.reload()
  }
  await begun_and_ready(page, 1)
  const [{ id }, ...others] = await streams()
  assert.equal(others.length, before)
  const expected = [await stage.gateway.text(id)]
  assert.deepEqual(await said(page), expected)
  await page.reload()
  await ready(page)
  assert.deepEqual(await said(page), expected)
  await page.close()
})

test('a second tab follows, whether it was there before or comes in the middle', async () => {
  const first = await opened('tabs')
  const second = await opened('tabs')
  await ask(first, 'What is a token?')
  await begun(second)
  const third = await opened_in_mid_stream('tabs')
  const tabs = [first, second, third]
  for (const tab of tabs) await begun_and_ready(tab, 1)
  const [{ id }] = await streams()
  const expected = await stage.gateway.text(id)
  for (const tab of tabs) {
    assert.deepEqual(await said(tab), [expected])
    assert.deepEqual(await said(tab, 'user'), ['What is a token?'])
  }
  // And the other way round.
  await ask(second, 'And a stream?')
  for (const tab of tabs) await begun_and_ready(tab, 2)
  for (const tab of tabs) assert.deepEqual(await said(tab), await said(second))
  for (const tab of tabs) await tab.close()
})

async function opened_in_mid_stream(chat) {
  const page = await stage.browser.tab()
  await page.goto(`${site.origin}/index.html#${chat}`)
  await status(page, 'streaming')
  return page
}

test('stopped in one tab, it ends in both and at the provider; closed, it ends nowhere', async () => {
  const first = await opened('stopped')
  const second = await opened('stopped')
  await ask(first, 'What is a token?')
  for (const tab of [first, second]) await begun(tab)
  const [{ id }] = await streams()
  await second.getByRole('button', { name: 'Stop' }).click()
  for (const tab of [first, second]) await ready(tab)
  const { end } = await stage.gateway.ended(id)
  assert.deepEqual([end.reason, end.code], ['cancelled', 'stopped'])
  const text = await stage.gateway.text(id)
  for (const tab of [first, second]) assert.deepEqual(await said(tab), [text])

  await ask(first, 'And a stream?')
  await begun(first, 2)
  const [{ id: next }] = await streams()
  for (const tab of [first, second]) await tab.close()
  await until('nobody', async () => (await stage.gateway.state(next)).viewers === 0)
  assert.equal((await stage.gateway.ended(next)).end.reason, 'completed')
  assert.deepEqual(stage.browser.complaints, [])
})

test('a gateway that dies: what it had said stays, the chat says why it is no more, and goes on', async () => {
  const page = await opened('killed')
  await ask(page, 'What is a token?')
  await begun(page)
  const [{ id }] = await streams()
  await stage.gateway.kill()
  await stage.gateway.restart()
  const { end } = await stage.gateway.ended(id)
  assert.deepEqual([end.reason, end.code], ['interrupted', 'restart'])
  await status(page, end.message)
  assert.deepEqual(await said(page), [await stage.gateway.text(id)])
  await ask(page, 'And a stream?')
  await begun_and_ready(page, 2)
  await page.close()
})

/** What is said in one delta or in many is the same; cursors are where frames end. */
function joined(chunks) {
  const all = []
  for (const chunk of chunks.filter(({ type }) => type !== 'data-tokencast')) {
    const last = all.at(-1)
    const continues = last?.type === chunk.type && last.id === chunk.id && last.toolCallId === chunk.toolCallId
    if (continues && chunk.type === 'tool-input-delta') last.inputTextDelta += chunk.inputTextDelta
    else if (continues && /-delta$/.test(chunk.type)) last.delta += chunk.delta
    else all.push({ ...chunk })
  }
  return all
}

async function of_view(id) {
  const body = await (await fetch(`${stage.gateway.url}/v1/streams/${id}/ui`)).text()
  const data = body.split('\n\n').map((block) => /^data: (.*)$/s.exec(block)?.[1])
  return data.filter((data) => data && data !== '[DONE]').map((data) => JSON.parse(data))
}

async function of_transport(id) {
  const transport = new TokencastChatTransport({
    gateway: stage.gateway.url,
    fetch: async () => new Response(null, { headers: { 'tokencast-stream-id': id } }),
  })
  const chunks = []
  for await (const chunk of await transport.reconnectToStream({ chatId: 'any' })) chunks.push(chunk)
  return chunks
}

const tool = (name) => ({ type: 'function', function: { name, parameters: { type: 'object' } } })
const usage = { stream_options: { include_usage: true } }

for (const [what, simulate, extra, last] of [
  ['text', {}, usage, 'finish'],
  ['reasoning, text and calls', { reasoning: 20, tool_calls: 3 }, { ...usage, tools: [tool('a'), tool('b')] }, 'finish'],
  ['nothing but a refusal', { refusal: true }, {}, 'finish'],
  ['the first of three choices', { reasoning: 5, emoji_halves: true }, { n: 3 }, 'finish'],
  ['a cut', { cut_after: 9 }, {}, 'error'],
  ['an error in the middle of a call', { tokens: 2, tool_calls: 2, error_after: 8 }, { tools: [tool('a')] }, 'error'],
]) {
  test(`the transport says what the view \`ui\` says: ${what}`, async () => {
    const { id } = await stage.gateway.cast({ ...request(7, { tokens: 40, rate: 0, ...simulate }), ...extra })
    await stage.gateway.ended(id)
    const chunks = joined(await of_transport(id))
    assert.equal(chunks.at(-1).type, last)
    assert.deepEqual(chunks, joined(await of_view(id)))
  })
}
