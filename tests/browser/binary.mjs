// The gateway's binary, as `run` has built or found it.
import { existsSync } from 'node:fs'

export const binary = process.env.TOKENCAST_BIN
if (!binary || !existsSync(binary)) {
  throw new Error('TOKENCAST_BIN names no binary: start the tests with tests/browser/run')
}

/** The environment without what is meant for some other gateway. */
export const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith('TOKENCAST_') && !name.startsWith('OPENAI_')),
)
