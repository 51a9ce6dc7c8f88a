// What the tests can ask of the page, and of a worker: plain values in, plain values out.
import { Follower } from './follower.mjs'
import { Session } from './session.mjs'

const sessions = []
const followers = []
const keep = (list, entry) => list.push(entry) - 1

export const judge = {
  async open(url, options) {
    const session = await Session.open(url, options)
    return { session: keep(sessions, session), welcome: session.welcome }
  },
  say: (at, ...messages) => sessions[at].say(...messages),
  raw: (at, bytes) => sessions[at].raw(bytes),
  hear: (at, types, subscription) => sessions[at].hear(types, subscription),
  subscribe: (at, message, options) => sessions[at].subscribe(message, options),
  release: (at, subscription) => sessions[at].release(subscription),
  watch: (at, options) => sessions[at].watch(options),
  acks: (at) => sessions[at].acks(),
  close: (at, code) => sessions[at].close(code),
  intrude: (at, kind) => sessions[at].intrude(kind),
  datagrams: (at, count) => sessions[at].datagrams(count),
  gone: (at) => sessions[at].gone(),
  report: (at, subscription) => sessions[at].viewings.get(subscription)?.report() ?? null,
  gap: (at, subscription) => sessions[at].viewings.get(subscription).take_gap(),
  over: async (at, subscription) => (await sessions[at].over(subscription)).report(),
  refusal: async (at) => (await sessions[at].refusal()).report(),
  reached: async (at, subscription, cursor) =>
    (await sessions[at].until(subscription, ({ answer }) => answer.cursor >= cursor)).report(),
  facts: (at) => {
    const { lost, pings, rtts_ms, inbox } = sessions[at]
    return { lost, pings, rtts_ms, inbox }
  },
  follow(streams, options) {
    const follower = new Follower(streams, options)
    const done = follower.run()
    done.catch(() => {})
    return keep(followers, { follower, done })
  },
  async followed(at) {
    const { follower, done } = followers[at]
    await done
    return follower.report()
  },
  progress: (at) => followers[at].follower.progress(),
}
