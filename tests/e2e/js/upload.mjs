// Drives tus-js-client in Node for tests/e2e: one JSON object as the only argument (see send.mjs), one
// JSON object as the only line of output.
//
//   client     the name under which its package is installed
//   path       the file to send              stream     as a stream of unknown length
//   storage    the file in which the client remembers addresses
import { createReadStream } from 'node:fs'
import { PassThrough } from 'node:stream'
import { send } from './send.mjs'

const { client, path, stream, storage, ...call } = JSON.parse(process.argv[2])
if (storage) call.options.urlStorage = await storageIn(storage)
const file = createReadStream(path)
const report = await send(await import(client), stream ? file.pipe(new PassThrough()) : file, call)
process.stdout.write(`${JSON.stringify(report)}\n`)
// Exit by hand: sockets that the test's proxy left hanging would keep the process alive.
process.exit(report.outcome === 'error' ? 1 : 0)

// Version 4 exports it beside everything else, version 5 by itself.
async function storageIn(place) {
  const released = await import('tus-js-client')
  const coming = await import('tus-js-client-next/node/FileUrlStorage')
  const { FileUrlStorage } = client === 'tus-js-client' ? released : coming
  return new FileUrlStorage(place)
}
