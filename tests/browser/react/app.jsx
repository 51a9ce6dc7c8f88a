// Any number of streams under React's strict mode. The tests say which, and read what was rendered.
import { Profiler, StrictMode, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { useTokenStream } from '@tokencast/client/react'

/** By id: commits, and the most of them within one animation frame. */
const commits = {}
let frames = 0
const count = () => {
  frames += 1
  requestAnimationFrame(count)
}
requestAnimationFrame(count)

function committed(id) {
  const of_stream = (commits[id] ??= { count: 0, frame: -1, in_frame: 0, in_frame_max: 0 })
  of_stream.count += 1
  of_stream.in_frame = of_stream.frame === frames ? of_stream.in_frame + 1 : 1
  of_stream.frame = frames
  of_stream.in_frame_max = Math.max(of_stream.in_frame_max, of_stream.in_frame)
}

function Answer({ id, gateway, transport }) {
  const { text, state, end, error, stop } = useTokenStream(id, { gateway, transport })
  return (
    <article data-state={state} data-stream={id} data-end={end?.reason} data-error={error?.code}>
      <pre>{text}</pre>
      <button onClick={stop}>Stop</button>
    </article>
  )
}

function App() {
  const [shown, show] = useState([])
  window.show = show
  return shown.map(({ key, ...props }) => (
    <Profiler id={props.id ?? 'none'} key={key} onRender={committed}>
      <Answer {...props} />
    </Profiler>
  ))
}

window.commits = () => commits
createRoot(document.querySelector('#root')).render(<StrictMode><App /></StrictMode>)
