// In: one JSON string per line, a body in base64. Out: one line per body, a JSON array of its events.
import { readFileSync } from 'node:fs'
import { createParser } from 'eventsource-parser'

for (const line of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const events = []
  const parser = createParser({
    onEvent: ({ event, data }) => events.push({ event: event ?? null, data }),
  })
  // The parser strips the BOM itself; were the decoder to do so too, two of them would vanish.
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  parser.feed(decoder.decode(Buffer.from(JSON.parse(line), 'base64')))
  console.log(JSON.stringify(events))
}
