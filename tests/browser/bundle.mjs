// A page with a bundle of its own, in a directory of its own.
import { build } from 'esbuild'
import { cp, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const HERE = import.meta.dirname
const CLIENT = join(HERE, '../../client/dist')

/** Builds `directory`/app.jsx, in development mode, so that strict mode is strict. One React, also for the client. */
export async function bundle(directory) {
  const out = await mkdtemp(join(tmpdir(), 'tokencast-bundle-'))
  await cp(join(HERE, directory, 'index.html'), join(out, 'index.html'))
  await build({
    entryPoints: [join(HERE, directory, 'app.jsx')],
    outfile: join(out, 'app.js'),
    bundle: true,
    format: 'esm',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"development"' },
    alias: {
      '@tokencast/client/react': join(CLIENT, 'react.js'),
      react: join(HERE, 'node_modules/react'),
      'react-dom': join(HERE, 'node_modules/react-dom'),
    },
    logLevel: 'error',
  })
  return out
}
