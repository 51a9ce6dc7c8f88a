// Certificates in files, as an operator would bring them; short-lived, so that a page may pin them.
import { execFile } from 'node:child_process'
import { createHash, X509Certificate } from 'node:crypto'
import { readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** Writes `fullchain.pem` and `privkey.pem`, each in one step, and says by which hash a page knows them. */
export async function write_certificate(directory) {
  const [chain, key] = ['fullchain.pem', 'privkey.pem'].map((name) => join(directory, name))
  await promisify(execFile)('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '13',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1',
    '-out', `${chain}.new`, '-keyout', `${key}.new`,
  ])
  await rename(`${key}.new`, key)
  await rename(`${chain}.new`, chain)
  const { raw } = new X509Certificate(await readFile(chain))
  return { chain, key, hash: { algorithm: 'sha-256', value: createHash('sha256').update(raw).digest('hex') } }
}
