// One upload as a person sees it: a row of the list.
//
// Owns the row's elements and what stands in them. Knows nothing of Uppy or tus: it is told facts, and says which
// button was pressed.
import { bars, bytes, duration, percent } from './format.js'

const BARS = 90
const WINDOW = 4000 // ms over which the speed is measured

const WORDS = {
  waiting: 'Waiting',
  sending: 'Sending',
  paused: 'Paused',
  pulled: 'Cable out',
  again: 'Trying again',
  stored: 'Stored',
  received: 'All bytes are safe; it is being published',
  failed: 'Failed',
  left: 'Interrupted',
}

export class Row extends EventTarget {
  #at
  #seen = []
  #drawn = false
  #heard = ''

  constructor(template, { name, size, key }) {
    super()
    this.name = name
    this.size = size
    this.state = 'waiting'
    this.sent = 0 // bytes handed to the network
    this.safe = 0 // bytes that the server has acknowledged
    this.known = false // whether these two are facts: before the server has answered there is no share to tell
    this.joints = [] // offsets from which it was continued
    this.note = ''
    this.element = template.content.firstElementChild.cloneNode(true)
    this.#at = Object.fromEntries([...this.element.querySelectorAll('[data-at]')].map((part) => [part.dataset.at, part]))
    this.#at.name.textContent = name
    this.#at.track.setAttribute('aria-label', name)
    for (const height of bars(key, BARS)) {
      const bar = document.createElement('i')
      bar.style.setProperty('--height', height.toFixed(3))
      this.#at.bars.append(bar)
    }
    for (const button of this.element.querySelectorAll('button[data-do]')) {
      button.setAttribute('aria-label', `${button.textContent.trim()}: ${name}`)
      button.addEventListener('click', () => this.dispatchEvent(new Event(button.dataset.do)))
    }
    this.#at.link.addEventListener('click', (event) => {
      if (!this.dispatchEvent(new Event('download', { cancelable: true }))) event.preventDefault()
    })
    this.draw()
  }

  /** Take note of facts, and show them soon. */
  tell(facts) {
    if (facts.state && facts.state !== 'sending') this.#seen = []
    Object.assign(this, facts)
    if (this.#drawn) return
    this.#drawn = true
    requestAnimationFrame(() => this.draw())
  }

  /** So many bytes were handed to the network. */
  progress(sent) {
    const now = performance.now()
    if (sent < this.sent) this.#seen = []
    this.#seen = [...this.#seen.filter(([when]) => now - when < WINDOW), [now, sent]]
    this.tell({ sent, state: 'sending', note: '', known: true })
  }

  /** The server said how many bytes it has; `again` when that is where the upload is continued. */
  acknowledged(safe, again) {
    const joints = again && safe > 0 && safe < this.size ? [...this.joints, safe] : this.joints
    this.tell({ safe, joints, sent: Math.max(safe, again ? 0 : this.sent), known: true })
  }

  /** Show what the server stored, and whether it is what the person has on disk (null: that was not looked at). */
  prove({ file_id: fileId, sha256, key, url }, same) {
    this.#at.id.textContent = fileId
    this.#at.digest.textContent = sha256
    this.#at.key.textContent = key
    this.#at.link.href = url
    this.#at.same.hidden = same === null
    this.#at.same.classList.toggle('differs', same === false)
    this.#at.same.textContent = same ? 'the same as on your disk' : 'not what is on your disk'
    this.#at.proof.hidden = false
    this.element.querySelector('[data-at="link"]').setAttribute('aria-label', `Download the stored file: ${this.name}`)
  }

  speed() {
    if (this.#seen.length < 2) return null
    const [[began, first], [ended, last]] = [this.#seen[0], this.#seen.at(-1)]
    return ended - began > 250 ? (1000 * (last - first)) / (ended - began) : null
  }

  focus() {
    const button = [...this.element.querySelectorAll('button, a[href]')].find((found) => found.checkVisibility())
    button?.focus()
  }

  draw() {
    this.#drawn = false
    const done = this.state === 'stored' || this.state === 'received'
    const [sent, safe] = done ? [this.size, this.size] : [this.sent, this.safe]
    const share = percent(sent, this.size)
    const held = this.element.contains(document.activeElement) && document.activeElement
    this.element.dataset.state = this.state
    if (held && !held.checkVisibility()) this.focus() // the button that was pressed has gone
    this.#at.state.textContent = WORDS[this.state]
    this.#at.figures.textContent = this.#figures(done, sent)
    this.#at.note.textContent = this.note
    this.#at.note.hidden = !this.note
    const known = done || this.known
    if (known) this.#at.track.setAttribute('aria-valuenow', String(share))
    this.#at.track.setAttribute('aria-valuetext', known ? `${share} %, ${WORDS[this.state]}` : WORDS[this.state])
    const upTo = (offset) => (this.size ? Math.floor((BARS * offset) / this.size) : BARS)
    const joints = new Set(this.joints.map(upTo))
    for (const [at, bar] of [...this.#at.bars.children].entries()) {
      bar.className = at < upTo(safe) ? 'safe' : at < upTo(sent) ? 'sent' : ''
      if (joints.has(at)) bar.classList.add('joint')
    }
    this.#at.joints.textContent = this.#told()
    if (WORDS[this.state] !== this.#heard && this.state !== 'waiting') {
      this.#heard = WORDS[this.state]
      const told = `${this.name}: ${this.#heard}${known ? `, ${share} %` : ''}. ${this.note}`
      this.dispatchEvent(new CustomEvent('heard', { detail: told.trim() }))
    }
  }

  #figures(done, sent) {
    if (done || !this.known) return bytes(this.size)
    const speed = this.state === 'sending' ? this.speed() : null
    const rest = speed ? ` · ${bytes(speed)}/s · ${duration((this.size - sent) / speed)} left` : ''
    return `${bytes(sent)} of ${bytes(this.size)}${rest}`
  }

  #told() {
    const count = this.joints.length
    return count ? `continued ${count === 1 ? 'once' : count === 2 ? 'twice' : `${count} times`}` : ''
  }
}
