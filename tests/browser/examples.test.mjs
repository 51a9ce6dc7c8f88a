// The examples, as people would run them: the plain one from a file server, the other one installed and built by Vite.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { request } from './provider.mjs'
import { Site } from './site.mjs'
import { Stage } from './stage.mjs'

const REPOSITORY = join(import.meta.dirname, '../..')
const EXAMPLES = join(REPOSITORY, 'examples')
const CLIENT = join(REPOSITORY, 'client')

let directory
let plain
let chat
let stage
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tokencast-examples-'))
  plain = await Site.start(join(directory, 'examples/plain'))
  chat = await Site.start(join(directory, 'examples/react-vite/dist'))
  stage = await Stage.set({ config: { http: { cors_origins: [plain.origin, chat.origin] } } })
  // As it stands, but for where the gateway is.
  const source = await readFile(join(EXAMPLES, 'plain/index.html'), 'utf8')
  const page = source.replace('http://127.0.0.1:8080', stage.gateway.url)
  assert.notEqual(page, source)
  await mkdir(plain.root, { recursive: true })
  await writeFile(join(plain.root, 'index.html'), page)
})
after(async () => {
  plain?.close()
  chat?.close()
  await stage?.strike()
  await rm(directory, { recursive: true })
})

async function opened(query) {
  const page = await stage.browser.tab()
  await page.goto(`${plain.origin}/index.html${query}`)
  return page
}

test('plain: a stream from its start, with its end', async () => {
  const body = request(1, { tokens: 100, rate: 60 })
  const { id } = await stage.gateway.cast(body)
  const page = await opened(`?stream=${encodeURIComponent(stage.url(id))}`)
  await page.waitForFunction(() => /tokens\/s/.test(document.querySelector('#status').textContent))
  await page.waitForFunction(() => document.querySelector('#status').textContent === 'completed')
  assert.equal(await page.textContent('#text'), (await stage.provider.texts(body))[0])
  await page.close()
})

test('plain: stopped by its button', async () => {
  const { id } = await stage.gateway.cast(request(2, { tokens: 100_000, rate: 60 }))
  const page = await opened(`?stream=${encodeURIComponent(stage.url(id))}`)
  await page.click('#stop')
  await page.waitForFunction(() => document.querySelector('#status').textContent === 'cancelled')
  assert.equal(await page.textContent('#text'), await stage.gateway.text(id))
  await page.close()
})

test('plain: no stream, and one that is none', async () => {
  for (const [query, status] of [
    ['', '?stream=URL'], ['?stream=nonsense', 'expected https'], [`?stream=${stage.url('nobody')}`, 'no such stream'],
  ]) {
    const page = await opened(query)
    await page.waitForFunction((status) => document.querySelector('#status').textContent.includes(status), status)
    assert.equal(await page.textContent('#text'), '')
    await page.close()
  }
})

test('React and Vite: a chat that survives being loaded again', async () => {
  const example = join(directory, 'examples/react-vite')
  const sources = (source) => !/node_modules|[/]dist$/.test(source)
  await cp(join(EXAMPLES, 'react-vite'), example, { recursive: true, filter: sources })
  for (const name of ['package.json', 'dist']) {
    await cp(join(CLIENT, name), join(directory, 'client', name), { recursive: true })
  }
  const environment = { ...process.env, VITE_GATEWAY: stage.gateway.url }
  const run = (...args) => promisify(execFile)('npm', args, { cwd: example, env: environment })
  await run('ci', '--no-audit', '--no-fund', '--prefer-offline')
  await run('run', 'build')

  const page = await stage.browser.tab()
  await page.goto(`${chat.origin}/index.html`)
  const ask = async (question) => {
    await page.fill('input', question)
    await page.press('input', 'Enter')
  }
  const answers = () => page.locator('.answer').allTextContents()
  const done = (count) => page.waitForFunction((count) => {
    const told = [...document.querySelectorAll('small')].map(({ textContent }) => textContent)
    return told.length === count && told.every((text) => text === 'completed')
  }, count)
  await ask('What is a token?')
  await page.waitForFunction(() => document.querySelector('.answer')?.textContent.length > 50)
  await page.reload()
  await done(1)
  await ask('And a stream?')
  await done(2)
  const { streams } = await stage.gateway.call('/v1/streams?limit=2')
  const texts = await Promise.all(streams.reverse().map(({ id }) => stage.gateway.text(id)))
  assert.deepEqual(await answers(), texts)
  assert.notEqual(texts[0], texts[1])
  assert.deepEqual(await page.locator('.question').allTextContents(), ['What is a token?', 'And a stream?'])
  await ask('Stop!')
  await page.locator('footer button').click()
  await page.waitForFunction(() => [...document.querySelectorAll('small')].at(-1).textContent === 'cancelled')
  assert.deepEqual(stage.browser.complaints, [])
  await page.close()
})
