import { judge } from './judge.mjs'

onmessage = async ({ data: { call, name, values } }) => {
  try {
    postMessage({ call, value: await judge[name](...values) })
  } catch (error) {
    postMessage({ call, error: error.message })
  }
}
