#!/usr/bin/env node
// A ticket of your own making: prints what lets a viewer watch all streams whose id begins so.
//
//   ticket.mjs KEY_FILE KID PREFIX [SECONDS] [stop]
//
// KEY_FILE has a private key of Ed25519 (PEM), or a secret that the gateway has, too.
import { readFile } from 'node:fs/promises'
import { SignJWT, importPKCS8 } from 'jose'

const [file, kid, prefix, seconds = '600', stop] = process.argv.slice(2)
if (!prefix) {
  console.error('ticket.mjs KEY_FILE KID PREFIX [SECONDS] [stop]')
  process.exit(2)
}

const text = await readFile(file, 'utf8')
const alg = text.startsWith('-----BEGIN') ? 'EdDSA' : 'HS256'
// The line break at the end of a file is not part of a secret.
const key = alg === 'EdDSA' ? await importPKCS8(text, alg) : new TextEncoder().encode(text.replace(/\r?\n$/, ''))

const can = stop ? ['watch', 'stop'] : ['watch']
const ticket = await new SignJWT({ prefix, can })
  .setProtectedHeader({ alg, kid })
  .setAudience('tokencast')
  .setExpirationTime(`${seconds} seconds`)
  .sign(key)
console.log(ticket)
