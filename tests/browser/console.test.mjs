// The console at `/`, used as a person would: by its words, its buttons and its keyboard.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { afterEach, test } from 'node:test'
import { until } from './process.mjs'
import { request } from './provider.mjs'
import { Stage } from './stage.mjs'

const KEY = 'a key for the console of these tests'
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js')

let stage
afterEach(() => stage?.strike())

async function console_page({ forwarded = false, config = {}, at = '' } = {}) {
  stage = await Stage.set({ forwarded, config })
  const page = await stage.browser.tab()
  await page.setViewportSize({ width: 1600, height: 1000 })
  await page.goto(`${stage.gateway.url}/${at}`)
  return page
}

const transcripts = (page) => page.locator('.pane .transcript').allTextContents()
const shown = (page, text) => until(`“${text}”`, () => page.getByText(text).first().isVisible())
const several = async (page, panes, characters) => until(`${panes} panes of ${characters} characters`, async () => {
  const texts = await transcripts(page)
  return texts.length === panes && texts.every((text) => text.length >= characters)
})

/** Starts a stream whose end the test decides, and shows it. */
async function running(page, simulate = {}) {
  const { id } = await stage.gateway.cast(request(1, { tokens: 100_000, rate: 50, ...simulate }))
  await several(page, 2, 50)
  return id
}

test('a stream is started and arrives over both transports, whole and the same', async () => {
  const page = await console_page()
  await until('providers', async () => (await page.getByLabel('Provider').inputValue()) === 'simulated')
  await page.getByLabel('Prompt').fill('Say something.')
  await page.getByLabel('Prompt').press('Control+Enter')
  await until('the end', async () => (await page.locator('.pane .chip.good').count()) === 2)
  const id = await page.locator('#stage-title').textContent()
  const text = await stage.gateway.text(id)
  assert.deepEqual(await transcripts(page), [text, text])
  await shown(page, '✓ 2 panes, the same text')
  const state = await stage.gateway.state(id)
  await shown(page, state.hash)
  const download = page.waitForEvent('download')
  await page.getByRole('button', { name: 'Save raw bytes' }).click()
  const raw = await readFile(await (await download).path())
  assert.equal(createHash('sha256').update(raw).digest('hex'), state.hash)
})

test('cut, gone on, joined late and from now on; then stopped for everybody', async () => {
  const page = await console_page()
  const id = await running(page)
  const pane = (name) => page.getByRole('article', { name, exact: true })
  await pane('SSE').getByRole('button', { name: 'Cut' }).click()
  await shown(page, 'Cut by you.')
  const text = () => pane('SSE').locator('.transcript').textContent()
  const before = await text()
  await page.getByRole('button', { name: '+ late, with a snapshot' }).click()
  await page.getByRole('button', { name: '+ from now on' }).click()
  await several(page, 4, 50)
  assert.equal(await text(), before)
  await pane('SSE').getByRole('button', { name: 'Go on' }).click()
  await until('the rest', async () => (await text()).length > before.length + 50)
  assert.equal(await pane('SSE').locator('[data-stat=reconnects]').textContent(), '1')
  await page.getByRole('button', { name: 'Cut all' }).click()
  await until('four cuts', async () => (await page.locator('.chip.state.bad').count()) === 4)
  await page.getByRole('button', { name: 'All go on' }).click()

  await page.getByRole('button', { name: 'Stop for everybody' }).click()
  await until('the end', async () => (await page.locator('.chip.state.warn', { hasText: 'cancelled' }).count()) === 4)
  const whole = await stage.gateway.text(id)
  const texts = await transcripts(page)
  assert.deepEqual(texts.slice(0, 3), [whole, whole, whole])
  assert.ok(whole.endsWith(texts[3]) && texts[3] !== '')
})

test('what has ended is listed, chosen by keyboard, read and linked to', async () => {
  const page = await console_page()
  const { id } = await stage.gateway.cast(request(3, { tokens: 60, rate: 0, reasoning: 10 }), { id: 'one-to-read' })
  await stage.gateway.ended(id)
  await page.getByLabel('Show').selectOption('completed')
  await page.getByRole('button', { name: id }).focus()
  await page.keyboard.press('Enter')
  await shown(page, 'The record')
  const text = await stage.gateway.text(id)
  await until('the text', async () => (await transcripts(page))[0]?.endsWith(text))
  await page.goto('about:blank')
  await page.goto(`${stage.gateway.url}/#${id}`)
  await until('the text by its link', async () => (await transcripts(page))[0]?.endsWith(text))
  await page.getByLabel('Show').selectOption('failed')
  await shown(page, 'No stream yet')
})

test('a gateway with keys asks for one; a wrong one is said to be', async () => {
  const sha256 = createHash('sha256').update(KEY).digest('hex')
  const locked = await console_page({ config: { auth: { keys: [{ name: 'console', sha256 }] } } })
  const dialog = locked.getByRole('dialog', { name: 'Key' })
  await until('the question', () => dialog.isVisible())
  await dialog.getByLabel('Key').fill('another one')
  await dialog.getByRole('button', { name: 'Use' }).click()
  await until('the question again', () => dialog.isVisible())
  await dialog.getByLabel('Key').fill(KEY)
  await dialog.getByRole('button', { name: 'Use' }).click()
  await until('providers', async () => (await locked.getByLabel('Provider').inputValue()) === 'simulated')
  await locked.getByRole('button', { name: 'Start' }).click()
  await several(locked, 2, 50)
})

test('a gateway that is gone is said to be, and its viewers go on when it is back', async () => {
  const page = await console_page()
  const id = await running(page)
  await stage.gateway.kill()
  await shown(page, 'The gateway cannot be reached.')
  await stage.gateway.restart()
  await until('the end', async () => (await page.locator('.chip.state', { hasText: 'interrupted' }).count()) === 2)
  const text = await stage.gateway.text(id)
  assert.deepEqual(await transcripts(page), [text, text])
  await until('no trouble', async () => !(await page.getByText('The gateway cannot be reached.').isVisible()))
})

test('the path check says how streams come, and why not otherwise', async () => {
  const page = await console_page({ forwarded: true })
  await until('WebTransport', async () => (await page.locator('#path-word').textContent()) === 'WebTransport')
  stage.network.dark = true
  await page.locator('#path-open').click()
  await shown(page, 'No session comes about')
  await shown(page, 'UDP port')
  await shown(page, 'Streams come over SSE')
  await page.keyboard.press('Escape')
  assert.equal(await page.locator('#path-word').textContent(), 'SSE only')
})

test('it is readable by everybody: axe finds nothing, in both schemes, on a phone and on a desk', async () => {
  const page = await console_page()
  await running(page)
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [360, 1600]) {
      await page.emulateMedia({ colorScheme })
      await page.setViewportSize({ width, height: 900 })
      await until('a layout', async () => (await page.evaluate(() => document.documentElement.clientWidth)) === width)
      await page.evaluate(await readFile(axe, 'utf8'))
      const { violations } = await page.evaluate(() => window.axe.run())
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
      assert.deepEqual(found, [], `${colorScheme}, ${width}`)
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
      assert.ok(overflow <= 0, `${width}: ${overflow} pixels stand out`)
    }
  }
})

test('a pane stays at the end of a live text until its reader scrolls up', async () => {
  const page = await console_page()
  await running(page, { rate: 300 })
  const [first] = await page.locator('.transcript').all()
  const from_end = () => first.evaluate((element) => element.scrollHeight - element.scrollTop - element.clientHeight)
  await until('the end', async () => (await from_end()) < 40)
  await page.getByRole('button', { name: '+ SSE' }).click()
  await page.setViewportSize({ width: 1600, height: 700 })
  await until('the end of a smaller pane', async () => (await from_end()) < 40)
  // Ten pixels below the top of a text that is hardly longer than its pane are still its end.
  await until('a long text', async () => (await first.evaluate((element) => element.scrollTop)) > 100)
  await first.evaluate((element) => { element.scrollTop = 10 })
  await page.waitForTimeout(600)
  assert.equal(await first.evaluate((element) => element.scrollTop), 10)
})

test('its picture for the README', async () => {
  const page = await console_page()
  await page.emulateMedia({ colorScheme: 'dark' })
  await page.setViewportSize({ width: 1600, height: 900 })
  for (const number of [1, 2, 3]) {
    const { id } = await stage.gateway.cast(request(number, { tokens: 40 * number, rate: 0 }), { id: `answer-${number}` })
    await stage.gateway.ended(id)
  }
  await stage.gateway.cast(request(7, { tokens: 2000, rate: 60 }), { id: 'answer-4' })
  await several(page, 2, 600)
  await page.getByRole('article', { name: 'SSE' }).getByRole('button', { name: 'Cut' }).click()
  await page.getByRole('button', { name: '+ late, with a snapshot' }).click()
  await until('a while', async () => Number(await page.locator('[data-stat=seq]').first().textContent()) > 420)
  const path = process.env.SCREENSHOT
  const picture = await page.screenshot({ path, animations: 'disabled' })
  assert.ok(picture.length > 50_000)
})
