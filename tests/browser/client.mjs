// What has to be true of whatever a client has followed to a good end.
import assert from 'node:assert/strict'

/** Every way of the client tells the provider's text, and the gateway's end. */
export async function exact(stage, id, body, report) {
  const [text] = await stage.provider.texts(body)
  assert.deepEqual(report.problems, [])
  for (const way of ['text', 'folded', 'painted', 'iterated']) assert.equal(report[way], text, way)
  assert.deepEqual(report.end, (await stage.gateway.state(id)).end)
  assert.deepEqual([report.ends, report.errors, report.thrown], [[report.end], [], null])
  assert.deepEqual([report.outcome.reason, report.end.reason], ['ended', 'completed'])
  assert.equal(report.repaints, 0)
  assert.deepEqual(stage.browser.complaints, [])
}
