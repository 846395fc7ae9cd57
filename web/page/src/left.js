// Uploads that an earlier visit to this page began and did not end.
//
// tus-js-client writes the address of each upload into localStorage when it is created and takes it out when it is
// complete. The content cannot be kept there: the person has to choose the same file again, and then Uppy gives it the
// same id, by which the address is found.
import { defaultOptions } from 'tus-js-client'

const storage = defaultOptions.urlStorage

/** The beginning of the key under which an upload of this file is kept. */
export function keyOf(fileId, endpoint) {
  return `tus::${['tus', fileId, endpoint].join('-')}::`
}

export async function findLeft(endpoint) {
  const found = await storage.findAllUploads()
  return found
    .filter(({ uploadUrl, urlStorageKey }) => uploadUrl && urlStorageKey.includes(`-${endpoint}::`))
    .sort((one, other) => Date.parse(one.creationTime) - Date.parse(other.creationTime))
    .map(({ urlStorageKey, uploadUrl, size, metadata }) => ({
      key: urlStorageKey,
      url: uploadUrl,
      size: size ?? 0,
      name: metadata?.filename ?? metadata?.name ?? 'unnamed',
    }))
}

export async function forget(key) {
  await storage.removeUpload(key)
}
