// Debian's Chromium without a window. `ask` runs one of the judge's functions in the page, or in its worker.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { Process, until } from './process.mjs'

const ARGUMENTS = [
  '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync',
  // Without it, handshakes that fail, as some must here, delay those that come after them.
  '--webtransport-developer-mode',
]

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium'
const ANSWER_MS_MAX = 30_000

/** What the page waits for and never comes is told by name. */
async function in_time(what, answer) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ANSWER_MS_MAX} ms`)), ANSWER_MS_MAX)
  })
  answer.catch(() => {})
  return Promise.race([answer, late]).finally(() => clearTimeout(timer))
}

async function asking(page) {
  await page.waitForFunction(() => window.ask)
  const asked = (place) => (name, ...values) => in_time(`${name}(${JSON.stringify(values).slice(0, 200)})`,
    page.evaluate(([place, name, values]) => window.ask(place, name, values), [place, name, values]))
  return { page, ask: asked('page'), ask_worker: asked('worker'), close: () => page.close() }
}

export class Browser {
  #context
  #process = null
  #directory
  #complaints = []

  /** With `hiding`, only the tab in front is visible, as for people; otherwise all of them are. */
  static async start({ hiding = false } = {}) {
    const browser = new Browser()
    browser.#directory = await mkdtemp(join(tmpdir(), 'tokencast-chromium-'))
    if (hiding) {
      await browser.#attach()
      return browser
    }
    browser.#context = await chromium.launchPersistentContext(browser.#directory, {
      executablePath: EXECUTABLE,
      headless: true,
      args: ARGUMENTS,
      // Pages are kept when they are left, as for people.
      ignoreDefaultArgs: ['--disable-back-forward-cache'],
    })
    return browser
  }

  /** A page of the site; or one of somebody else, `at` a URL, that loads the site's script. */
  async page(site, at) {
    const page = await this.tab()
    await page.goto(at ?? `${site.origin}/page/index.html`)
    if (at) await page.addScriptTag({ url: `${site.origin}/page/page.mjs`, type: 'module' })
    return asking(page)
  }

  /** A page of the site that uses the client. `requests` has the URL of whatever it asks for. */
  async client(site) {
    const page = await this.tab()
    const requests = []
    page.on('request', (request) => requests.push(request.url()))
    await page.goto(`${site.origin}/page/client.html`)
    return { requests, ...(await asking(page)) }
  }

  /** An empty page, whose complaints are ours. */
  async tab() {
    const page = await this.#context.newPage()
    page.on('pageerror', (error) => this.#complaints.push(error.stack))
    page.on('console', (message) => {
      if (message.type() === 'error' && !/Failed to load resource|WebTransport|ERR_|CORS policy/.test(message.text())) {
        this.#complaints.push(message.text())
      }
    })
    return page
  }

  /** What pages have complained of so far: uncaught errors, unhandled rejections. */
  get complaints() {
    return this.#complaints
  }

  /** To a browser of our own, which keeps the defaults that a launched one is given away. */
  async #attach() {
    const args = ['--headless', '--remote-debugging-port=0', `--user-data-dir=${this.#directory}`, ...ARGUMENTS]
    this.#process = new Process(EXECUTABLE, args, {})
    const endpoint = await until('the browser', () => /DevTools listening on (\S+)/.exec(this.#process.output)?.[1])
    const browser = await chromium.connectOverCDP(endpoint, { noDefaults: true })
    this.#context = browser.contexts()[0]
  }

  async close() {
    await this.#context.close()
    await this.#process?.end('SIGKILL')
    await rm(this.#directory, { recursive: true, force: true })
    assert.deepEqual(this.#complaints, [], 'errors that the page did not expect')
  }
}
