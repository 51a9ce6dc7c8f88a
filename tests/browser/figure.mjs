// What was measured, one line of JSON each, for docs/performance.md.

export function figure(name, values) {
  const rounded = (_, value) => (typeof value === 'number' ? Math.round(value) : value)
  console.log(JSON.stringify({ figure: name, ...values }, rounded))
}
