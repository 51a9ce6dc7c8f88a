// How the tests reach a judge: `window.ask(place, name, values)` runs one of its functions in the page, or in a worker.

export function serve_page(judge, worker_script) {
  const calls = []
  let worker = null

  function in_worker(name, values) {
    worker ??= new Worker(worker_script, { type: 'module' })
    worker.onmessage = ({ data: { call, value, error, unhandled } }) => {
      if (unhandled !== undefined) throw new Error(`unhandled in the worker: ${unhandled}`)
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
}

export function serve_worker(judge) {
  addEventListener('unhandledrejection', ({ reason }) => postMessage({ unhandled: String(reason?.stack ?? reason) }))
  onmessage = async ({ data: { call, name, values } }) => {
    try {
      postMessage({ call, value: await judge[name](...values) })
    } catch (error) {
      postMessage({ call, error: error.message })
    }
  }
}
