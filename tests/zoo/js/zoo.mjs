// What all tests of the zoo share: where everybody is, what is asked for, and the comparison.
import assert from 'node:assert/strict'

/** `OLDER` says that these are the majors before. */
export const { PROVIDER, GATEWAY, LOCKED, KEY, OLDER } = JSON.parse(process.env.ZOO)

export const QUESTION = 'Go on.'
export const SCHEMA = {
  type: 'object',
  properties: { city: { type: 'string' }, days: { type: 'integer' } },
  required: ['city'],
}

/** What the simulated provider is to do: always the same, at once. */
export const simulate = (wanted = {}) => ({ seed: 7, tokens: 40, rate: 0, ...wanted })

/** The same as a model's name, for clients that send nothing else. */
export const named = (model, wanted = {}) =>
  [model, ...Object.entries(simulate(wanted)).map(([name, value]) => `${name}=${value}`)].join(';')

/** Whatever is valid and odd: the smallest pieces, half an emoji each, one very long line. */
export const ODD = { split: 5, emoji_halves: true, huge_line: 200_000 }

/** What no streaming call can be answered with. */
export const REFUSED_ANSWERS = [
  { content_type: 'text/html' },
  { content_type: 'application/json' },
  { gzip_header: true },
  { redirect: true },
]

export async function collect(stream) {
  const all = []
  for await (const one of await stream) all.push(one)
  return all
}

/** Plain data of whatever an SDK gives. */
export const plain = (value) => JSON.parse(JSON.stringify(value))

/** Calls the gateway and the provider; both have to give the same, which is returned. */
export async function same(call) {
  const [through, directly] = [plain(await call(GATEWAY)), plain(await call(PROVIDER))]
  assert.deepEqual(through, directly)
  assert.ok(through)
  return through
}

/** The call has to throw this class with these properties, and a sentence. */
export async function fails(call, kind, properties = {}) {
  let error
  try {
    await call()
  } catch (thrown) {
    error = thrown
  }
  assert.ok(error, 'nothing was thrown')
  assert.ok(error instanceof kind, `${error.constructor.name} is no ${kind.name}: ${error.stack}`)
  for (const [name, value] of Object.entries(properties)) assert.equal(error[name], value, `${name} of ${error}`)
  assert.match(error.message, /\w+ \w+ \w+/, 'a sentence')
  return error
}

/** The call has to throw this at the gateway with the same words as at the provider. */
export async function fails_alike(call, kind, properties) {
  const through = await fails(() => call(GATEWAY), kind, properties)
  const directly = await fails(() => call(PROVIDER), kind, properties)
  assert.equal(through.constructor, directly.constructor)
  assert.equal(through.message, directly.message)
}

/** What came before the error, and the error. */
export async function until_it_fails(stream) {
  const seen = []
  try {
    for await (const one of await stream) seen.push(plain(one))
  } catch (error) {
    return { seen, error }
  }
  assert.fail(`a clean end: ${JSON.stringify(seen.at(-1))}`)
}

export async function ask(path, options = {}) {
  const response = await fetch(GATEWAY + path, { headers: { accept: 'application/json' }, ...options })
  assert.ok(response.ok, `${path}: ${response.status}`)
  return response.json()
}

/** The streams of this model that the gateway has started. */
export const streams = async (model) =>
  (await ask('/v1/streams?limit=1000')).streams.filter((stream) => stream.model === model)

/** The end of a stream, once it is there. */
export async function end(stream) {
  let answer = { cursor: 0, end: null }
  while (!answer.end) answer = await ask(`/v1/streams/${stream}/events?after=${answer.cursor}&wait_s=20`)
  return answer.end
}
