// The page of an application that uploads with Uppy, bundled as applications are. What a user would do
// is said by the test:
//
//   pauseAt    press pause once so many bytes were sent, look at the upload from outside, press resume
//   cancelAt   remove the file once so many bytes were sent
import { Uppy } from '@uppy/core'
import Tus from '@uppy/tus'
import { describe } from '../send.mjs'

window.run = ({ endpoint, options, pauseAt = Infinity, cancelAt = Infinity }) => {
  const requests = []
  const uppy = new Uppy()
  const [data] = document.querySelector('input').files
  const id = uppy.addFile({ name: data.name, type: data.type, data })
  let paused = null

  async function pause() {
    paused = {}
    uppy.pauseResume(id)
    paused = await (await fetch(`${uppy.getFile(id).tus.uploadUrl}/status`)).json()
    uppy.pauseResume(id)
  }

  return new Promise((resolve) => {
    const report = (outcome, url, error = null) => resolve({ outcome, url, error, requests, paused })

    uppy.use(Tus, {
      endpoint,
      ...options,
      onAfterResponse(request, response) {
        requests.push(describe(request, response))
        if (request.getMethod() === 'DELETE') report('cancelled', request.getURL())
      },
    })
    uppy.on('upload-progress', (_file, { bytesUploaded }) => {
      if (bytesUploaded >= cancelAt && uppy.getFile(id)) uppy.removeFile(id)
      else if (bytesUploaded >= pauseAt && !paused) pause()
    })
    uppy.on('upload-success', (_file, { uploadURL }) => report('success', uploadURL))
    uppy.on('upload-error', (_file, error) => report('error', null, String(error)))
    uppy.upload()
  })
}
