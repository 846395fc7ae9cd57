// What the page asks the server beside the uploads themselves.
const TUS = { 'Tus-Resumable': '1.0.0' }

export class Server {
  constructor(endpoint, authorization) {
    this.endpoint = endpoint
    this.authorization = authorization
  }

  /** Return the status document of an upload. */
  async status(url) {
    const response = await fetch(`${url}/status`, { headers: this.authorization() })
    if (!response.ok) throw new Error(`The server answered ${response.status}.`)
    return response.json()
  }

  /** Return how many bytes of an upload are safe; null when there is no such upload any more.
   *
   * It asks without `Tus-Resumable`, which interrupts nobody: another window may be sending this upload.
   */
  async offset(url) {
    const response = await fetch(url, { method: 'HEAD', headers: this.authorization() })
    if (response.status === 404 || response.status === 410) return null
    if (!response.ok) throw new Error(`The server answered ${response.status}.`)
    return Number(response.headers.get('Upload-Offset'))
  }

  /** Return whether the server knows the token. It is asked for an upload that is not there: 404 is a yes. */
  async admits() {
    const response = await fetch(`${this.endpoint}/${'0'.repeat(32)}`, { method: 'HEAD', headers: this.authorization() })
    if (![401, 404, 410].includes(response.status)) throw new Error(`The server answered ${response.status}.`)
    return response.status !== 401
  }

  async discard(url) {
    await fetch(url, { method: 'DELETE', headers: { ...TUS, ...this.authorization() } })
  }

  /** Return the stored content, for a download that has to bring a token. */
  async content(url) {
    const response = await fetch(url, { headers: this.authorization() })
    if (!response.ok) throw new Error(`The server answered ${response.status}.`)
    return response.blob()
  }
}

/** Return the SHA-256 of a file in hex; null where the browser does not offer it or the file is a long one. */
export async function sha256(file, longest) {
  if (!globalThis.crypto?.subtle || file.size > longest) return null
  const digest = await crypto.subtle.digest('SHA-256', await file.arrayBuffer())
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
