// The native view over HTTP, into the same answer: what one transport has brought, the other goes on from.

/** Reads to the end of the stream, or of the connection; says whether it was the stream's. */
export async function read_sse(url, answer) {
  let rest = ''
  try {
    const response = await fetch(url)
    if (!response.ok) throw new Error(`${response.status}`)
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + text).split('\n\n')
      rest = blocks.pop()
      for (const block of blocks) take(block, answer)
    }
  } catch {
    // Cut: the answer says how far it came.
  }
  return answer.end !== null
}

function take(block, answer) {
  const fields = new Map(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2)))
  if (!fields.has('data')) return
  const data = JSON.parse(fields.get('data'))
  const id = fields.has('id') ? Number(fields.get('id')) : null
  if (fields.get('event') === 'open') answer.begins(data.after)
  else if (fields.get('event') !== 'bye') answer.event([id, fields.get('event'), data])
}
