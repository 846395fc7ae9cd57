// One upload by an unmodified tus-js-client, in Node and in a browser alike. It decides nothing: every
// choice is the test's.
//
//   endpoint   where to create               uploadUrl  where to continue instead
//   options    passed to tus.Upload as they are (chunkSize, retryDelays, …)
//   metadata   pairs for Upload-Metadata     resume     look into the URL storage first
//   abortAt    stop once that many bytes were accepted; with `terminate`, delete the upload as well

export function describe(request, response) {
  return {
    method: request.getMethod(),
    override: request.getHeader('X-HTTP-Method-Override') ?? null,
    status: response.getStatus(),
    offset: Number(response.getHeader('Upload-Offset')),
    fileId: response.getHeader('Tusplyr-File-Id') ?? null,
  }
}

export async function send({ Upload }, input, call) {
  const { endpoint, uploadUrl, metadata = {}, options, abortAt, terminate, resume } = call
  const requests = []
  let end
  const report = new Promise((resolve) => {
    end = (outcome, error) => {
      const cause = error ? String(error.message ?? error) : null
      resolve({ outcome, url: upload.url, error: cause, requests })
    }
  })
  const upload = new Upload(input, {
    endpoint,
    uploadUrl,
    metadata,
    ...options,
    onAfterResponse(request, response) {
      requests.push(describe(request, response))
    },
    async onChunkComplete(_size, accepted) {
      if (abortAt === undefined || accepted < abortAt) return
      await upload.abort(terminate)
      end('aborted')
    },
    onSuccess: () => end('success'),
    onError: (error) => end('error', error),
  })
  if (resume) {
    const [previous] = await upload.findPreviousUploads()
    upload.resumeFromPreviousUpload(previous)
  }
  upload.start()
  return report
}
