// Drives tus-js-client in Node for tests/e2e: one JSON object as the only argument (see send.mjs), one
// JSON object as the only line of output.
//
//   client     the name under which its package is installed
//   path       the file to send              stream     as a stream of unknown length
import { createReadStream } from 'node:fs'
import { PassThrough } from 'node:stream'
import { send } from './send.mjs'

const call = JSON.parse(process.argv[2])
const file = createReadStream(call.path)
const report = await send(await import(call.client), call.stream ? file.pipe(new PassThrough()) : file, call)
process.stdout.write(`${JSON.stringify(report)}\n`)
// Exit by hand: sockets that the test's proxy left hanging would keep the process alive.
process.exit(report.outcome === 'error' ? 1 : 0)
