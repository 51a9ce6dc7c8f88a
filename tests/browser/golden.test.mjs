// The golden fixtures of the wire, decoded by what the page decodes with, in chunks of every awkward size.
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Splitter } from './page/wire.mjs'
import { Viewing } from './page/viewing.mjs'

const FIXTURES = join(import.meta.dirname, '../fixtures/webtransport')

/** Whole streams, as against messages of the control stream. */
const is_stream = (values) => values.every(Array.isArray)

const names = (await readdir(FIXTURES)).filter((name) => name.endsWith('.bin')).map((name) => name.slice(0, -4))
assert.ok(names.length > 0, `no fixtures in ${FIXTURES}`)

for (const name of names) {
  test(`golden: ${name}`, async () => {
    const bytes = await readFile(join(FIXTURES, `${name}.bin`))
    const expected = JSON.parse(await readFile(join(FIXTURES, `${name}.json`), 'utf8'))
    for (const size of [1, 2, 3, 7, 64, bytes.length]) {
      const splitter = new Splitter()
      const values = []
      for (let at = 0; at < bytes.length; at += size) values.push(...splitter.push(bytes.subarray(at, at + size)))
      assert.deepEqual(values, expected, `in chunks of ${size}`)
      assert.equal(splitter.rest, 0)
    }
    if (!is_stream(expected)) return
    const viewing = new Viewing()
    for (const record of expected) viewing.record(record)
    viewing.finish(0)
    assert.deepEqual(viewing.answer.problems, [])
  })
}
