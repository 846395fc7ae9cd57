// The page at /: uploads through Uppy and tus-js-client, and shows what resumable means.
//
// Owns the wiring of the controls to Uppy and of Uppy's events to the rows.
import { Uppy } from '@uppy/core'
import Tus from '@uppy/tus'
import { Cable } from './cable.js'
import { bytes } from './format.js'
import { findLeft, forget, keyOf } from './left.js'
import { Row } from './row.js'
import { Server, sha256 } from './server.js'

const RETRIES = [0, 500, 1000, 2000, ...Array(60).fill(5000)] // ms; long enough for a deploy, or a walk to the router
const COMPARED = 256 * 1024 * 1024 // bytes of a file that is hashed here, too
const PATIENCE = 2000 // ms between two looks at an upload that is not published yet
const LOOKS = [500, 2000, 6000] // ms; the server may only just have noticed that the page before this one is gone
const LINES = 200 // of what went over the wire
const HEARD = 10 // sentences for those who listen
const TOKEN = 'tusplyr:token'

const at = (id) => document.getElementById(id)
const endpoint = new URL(document.body.dataset.endpoint, document.baseURI).href
const cable = new Cable()
const server = new Server(endpoint, authorization)
const rows = new Map() // by Uppy's file id
const left = new Map() // by storage key
const refused = new Set() // Uppy's file ids, of those that the server wants a token for

const quiet = { debug() {}, warn() {}, error() {} } // what went wrong stands in the rows
const uppy = new Uppy({ autoProceed: true, logger: quiet })
uppy.use(Tus, {
  endpoint,
  httpStack: cable,
  headers: authorization,
  retryDelays: RETRIES,
  removeFingerprintOnSuccess: true,
  limit: 3,
})

function authorization() {
  const token = sessionStorage.getItem(TOKEN)
  return token ? { Authorization: `Bearer ${token}` } : {}
}

function say(text) {
  const line = document.createElement('p')
  line.textContent = text
  at('heard').append(line)
  while (at('heard').children.length > HEARD) at('heard').firstElementChild.remove()
}

// Files come in

function take(files) {
  for (const file of files) {
    const old = uppy.getFiles().find(({ data }) => isSame(data, file))
    if (old && !old.progress.uploadComplete) {
      rows.get(old.id).tell({ note: 'It was chosen again, and is here already.' })
      continue
    }
    if (old) uppy.removeFile(old.id)
    uppy.addFile({ name: file.name, type: file.type, data: file, source: 'page' })
  }
}

function isSame(one, other) {
  return ['name', 'size', 'type', 'lastModified'].every((fact) => one[fact] === other[fact])
}

at('file').addEventListener('change', (event) => {
  take(event.target.files)
  event.target.value = '' // so that the same file can be chosen again
})

let over = 0
addEventListener('dragenter', () => document.body.classList.toggle('over', ++over > 0))
addEventListener('dragleave', () => document.body.classList.toggle('over', --over > 0))
addEventListener('dragover', (event) => event.preventDefault())
addEventListener('drop', (event) => {
  event.preventDefault()
  over = 0
  document.body.classList.remove('over')
  const items = [...event.dataTransfer.items].filter(({ kind }) => kind === 'file')
  const folders = items.filter((item) => item.webkitGetAsEntry()?.isDirectory)
  at('folders').hidden = folders.length === 0
  take(items.filter((item) => !folders.includes(item)).map((item) => item.getAsFile()))
})

uppy.on('file-added', (file) => {
  const row = new Row(at('row'), { name: file.name, size: file.size, key: file.name + file.size })
  const followed = replaceLeft(file.id, row)
  rows.set(file.id, row)
  uppy.setFileState(file.id, { tus: watched(row) })
  row.addEventListener('pause', () => uppy.pauseResume(file.id))
  row.addEventListener('resume', () => uppy.pauseResume(file.id))
  row.addEventListener('retry', () => retry(file.id))
  for (const end of ['discard', 'hide']) row.addEventListener(end, () => uppy.removeFile(file.id))
  row.addEventListener('download', (event) => {
    if (!('Authorization' in authorization())) return
    event.preventDefault() // a link cannot bring the token
    save(row).catch((error) => row.tell({ note: error.message }))
  })
  if (cable.pulled) row.tell({ state: 'pulled' })
  show(row)
  if (followed) row.focus()
})

/** Let a row take the place of what an earlier visit has left of the same file; say whether the focus was there. */
function replaceLeft(id, row) {
  let followed = false
  for (const [key, old] of left) {
    if (!key.startsWith(keyOf(id, endpoint))) continue
    left.delete(key)
    row.tell({ sent: old.safe, safe: old.safe }) // to be seen; it is told when the server has said it again
    followed ||= old.element.contains(document.activeElement)
    old.element.remove()
  }
  return followed
}

function retry(id) {
  refused.delete(id)
  uppy.retryUpload(id).catch(() => {}) // how it ends is told by events
}

/** Options of one upload that tell its row what goes on. */
function watched(row) {
  return {
    onAfterResponse: (request, response) => {
      const offset = response.getHeader('Upload-Offset')
      if (offset !== null) row.acknowledged(Number(offset), request.getMethod() === 'HEAD')
    },
    onShouldRetry: (error, _attempt, _options, decide) => {
      const again = decide(error)
      if (again) row.tell({ state: cable.pulled ? 'pulled' : 'again' })
      return again
    },
  }
}

function show(row) {
  row.addEventListener('heard', (event) => say(event.detail))
  at('uploads').prepend(row.element)
  at('none').hidden = true
}

// What Uppy says of them

uppy.on('upload-progress', (file, { bytesUploaded }) => {
  if (!uppy.getFile(file.id)?.isPaused && !cable.pulled) rows.get(file.id)?.progress(bytesUploaded)
})

uppy.on('upload-pause', (file, paused) => {
  const going = cable.pulled ? 'pulled' : 'waiting'
  rows.get(file.id)?.tell({ state: paused ? 'paused' : going })
})

uppy.on('upload-success', async (file, { uploadURL }) => {
  const row = rows.get(file.id)
  row.url = uploadURL
  row.tell({ state: 'received', note: '' })
  try {
    let document = await server.status(uploadURL)
    while (document.status === 'received') {
      await new Promise((resolve) => setTimeout(resolve, PATIENCE))
      document = await server.status(uploadURL)
    }
    const own = await sha256(file.data, COMPARED).catch(() => null)
    row.prove({ ...document, url: uploadURL }, own && own === document.sha256)
    row.tell({ state: 'stored' })
  } catch (error) {
    row.tell({ note: `It is complete, but its status cannot be read: ${error.message}` })
  }
})

uppy.on('upload-error', (file, error, response) => {
  const told = response?.body?.xhr?.responseText?.trim()
  rows.get(file.id)?.tell({ state: 'failed', note: told || 'The server cannot be reached.' })
  if (response?.status !== 401) return
  refused.add(file.id)
  askForToken()
})

uppy.on('file-removed', (file) => {
  rows.get(file.id)?.element.remove()
  rows.delete(file.id)
  refused.delete(file.id)
  at('none').hidden = rows.size + left.size > 0
  at('file').focus()
})

async function save(row) {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(await server.content(row.url))
  link.download = row.name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}

// The cable

at('cable').addEventListener('click', () => {
  if (cable.pulled) cable.plug()
  else cable.pull()
  const { pulled } = cable
  document.body.classList.toggle('pulled', pulled)
  at('cable').setAttribute('aria-pressed', String(pulled))
  at('cable-word').textContent = pulled ? 'Plug it in again' : 'Pull the cable'
  for (const [id, row] of rows) {
    const running = ['waiting', 'sending', 'again', 'pulled'].includes(row.state)
    if (running && !uppy.getFile(id).isPaused) row.tell({ state: pulled ? 'pulled' : 'waiting' })
  }
  say(pulled ? 'The cable is out.' : 'The cable is in again.')
})

cable.addEventListener('wire', ({ detail: { method, from, status, offset, cut } }) => {
  const line = document.createElement('li')
  const part = (kind, text) => {
    const element = document.createElement('span')
    element.className = kind
    element.textContent = text
    line.append(element, ' ')
  }
  part('method', method)
  if (from !== null) part('from', `from byte ${from.toLocaleString('en')}`)
  if (cut) part('cut', '✕ cut')
  else part(status < 400 ? 'fine' : 'cut', `→ ${status}`)
  if (offset) part('offset', `${Number(offset).toLocaleString('en')} bytes are safe`)
  at('wire').prepend(line)
  while (at('wire').children.length > LINES) at('wire').lastElementChild.remove()
})

// The token

function askForToken() {
  at('token').setAttribute('aria-invalid', 'true')
  at('token').focus()
}

if (document.body.dataset.token === 'yes') {
  at('token-part').hidden = false
  at('token').value = sessionStorage.getItem(TOKEN) ?? ''
  at('token').addEventListener('input', () => {
    sessionStorage.setItem(TOKEN, at('token').value)
    at('token').removeAttribute('aria-invalid')
    at('token-told').textContent = ''
  })
  at('token-part').addEventListener('submit', (event) => {
    event.preventDefault()
    tryToken()
  })
}

/** Ask the server whether it knows the token; if it does, go on with what it has refused. */
async function tryToken() {
  const asked = sessionStorage.getItem(TOKEN)
  const knows = await server.admits().catch(() => null)
  if (asked !== sessionStorage.getItem(TOKEN)) return // another one is being typed
  const told = { true: 'Token accepted.', false: 'The server does not know this token.', null: 'The server cannot be reached.' }[knows]
  at('token-told').textContent = told
  say(told)
  if (knows === false) askForToken()
  if (!knows) return
  at('token').removeAttribute('aria-invalid')
  for (const id of [...refused]) retry(id)
  showLeft()
}

// What an earlier visit has left

async function showLeft() {
  if (document.body.dataset.token === 'yes' && !sessionStorage.getItem(TOKEN)) return
  for (const { key, url, name, size } of await findLeft(endpoint)) {
    if (isShown(key)) continue
    const safe = await server.offset(url).catch(() => undefined)
    if (safe === undefined || isShown(key)) continue // it cannot be asked now; it is kept for the next visit
    if (safe === null) {
      await forget(key)
      continue
    }
    const row = new Row(at('row'), { name, size, key: name + size })
    left.set(key, row)
    tellLeft(row, safe)
    for (const later of LOOKS) setTimeout(() => lookAgain(key, url, row), later)
    row.addEventListener('choose', () => at('file').click())
    row.addEventListener('discard', async () => {
      left.delete(key)
      row.element.remove()
      at('none').hidden = rows.size + left.size > 0
      at('file').focus()
      await forget(key)
      await server.discard(url).catch(() => {})
    })
    show(row)
  }
}

/** Whether what is kept under this key has a row: as left, or because its file was chosen meanwhile. */
function isShown(key) {
  return left.has(key) || [...rows.keys()].some((id) => key.startsWith(keyOf(id, endpoint)))
}

function tellLeft(row, safe) {
  const note = `${bytes(safe)} are safe on the server. Choose the same file again, and it goes on from there.`
  row.tell({ state: 'left', sent: safe, safe, note, known: true })
}

async function lookAgain(key, url, row) {
  const safe = left.has(key) && (await server.offset(url).catch(() => null))
  if (safe && left.has(key)) tellLeft(row, safe)
}

showLeft()
