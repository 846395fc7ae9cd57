// Drives an unmodified tus-js-client for tests/e2e: one JSON object of options as the only argument,
// one JSON object as the only line of output. It decides nothing: every choice is the test's.
//
//   endpoint   where to create               uploadUrl  where to continue instead
//   path       the file to send              metadata   pairs for Upload-Metadata
//   options    passed to tus.Upload as they are (chunkSize, retryDelays, …)
//   abortAt    stop once that many bytes were accepted; with `terminate`, delete the upload as well
import { createReadStream } from 'node:fs'
import { Upload } from 'tus-js-client'

const { endpoint, uploadUrl, path, metadata = {}, options, abortAt, terminate } = JSON.parse(process.argv[2])
const requests = []

function report(outcome, upload, error) {
  const cause = error ? String(error.message ?? error) : null
  process.stdout.write(`${JSON.stringify({ outcome, url: upload.url, error: cause, requests })}\n`)
  // Exit by hand: sockets that the test's proxy left hanging would keep the process alive.
  process.exit(outcome === 'error' ? 1 : 0)
}

const upload = new Upload(createReadStream(path), {
  endpoint,
  uploadUrl,
  metadata,
  ...options,
  onAfterResponse(request, response) {
    requests.push({
      method: request.getMethod(),
      override: request.getHeader('X-HTTP-Method-Override') ?? null,
      status: response.getStatus(),
      offset: Number(response.getHeader('Upload-Offset')),
      fileId: response.getHeader('Tusplyr-File-Id') ?? null,
    })
  },
  async onChunkComplete(_size, accepted) {
    if (abortAt === undefined || accepted < abortAt) return
    await upload.abort(terminate)
    report('aborted', upload)
  },
  onSuccess: () => report('success', upload),
  onError: (error) => report('error', upload, error),
})
upload.start()
