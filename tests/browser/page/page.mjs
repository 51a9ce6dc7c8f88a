import { judge } from './judge.mjs'

const calls = []
let worker = null

function in_worker(name, values) {
  worker ??= new Worker('worker.mjs', { type: 'module' })
  worker.onmessage = ({ data: { call, value, error } }) => {
    const { resolve, reject } = calls[call]
    if (error === undefined) resolve(value)
    else reject(new Error(error))
  }
  return new Promise((resolve, reject) => {
    const call = calls.push({ resolve, reject }) - 1
    worker.postMessage({ call, name, values })
  })
}

window.ask = (place, name, values) => (place === 'worker' ? in_worker(name, values) : judge[name](...values))
