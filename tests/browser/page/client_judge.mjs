// What the tests can ask of a page that uses the client, and of its worker.
import { Following } from './following.mjs'

const followings = []
const long_tasks = []

export const judge = {
  follow(url, options) {
    return followings.push(new Following(url, options)) - 1
  },
  async done(at) {
    await followings[at].done
    return followings[at].report()
  },
  report: (at) => followings[at].report(),
  text: (at) => followings[at].answer.text(),
  reached: (at, characters) => followings[at].reached(characters),
  gap: (at) => followings[at].take_gap(),
  stop: (at) => followings[at].stop(),
  close: (at) => followings[at].follow.close(),
  reconnect: (at) => followings[at].follow.reconnect(),
  watch_long_tasks() {
    new PerformanceObserver((list) => long_tasks.push(...list.getEntries().map(({ duration }) => duration)))
      .observe({ type: 'longtask' })
  },
  long_tasks: () => long_tasks,
}
