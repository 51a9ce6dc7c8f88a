// What was measured, one line of JSON each, for docs/performance.md.

export function figure(name, values) {
  const rounded = Object.entries(values).map(([key, value]) => [key, typeof value === 'number' ? Math.round(value) : value])
  console.log(JSON.stringify({ figure: name, ...Object.fromEntries(rounded) }))
}
