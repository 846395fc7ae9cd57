// A network cable that can be pulled.
//
// Stands where tus-js-client has its HTTP stack. While the cable is out, requests that are running fail as they would
// in a dead network, and those that are tried again wait until it is back; what happens then is the client's own doing.
// Tells how every request ended by an event `wire`, for whoever wants to watch.
import { DefaultHttpStack } from 'tus-js-client'

export class Cable extends EventTarget {
  #stack = new DefaultHttpStack()
  #running = new Set()
  #waiting = new Set()
  #pulled = false

  get pulled() {
    return this.#pulled
  }

  pull() {
    this.#pulled = true
    for (const cut of this.#running) cut()
    this.#running.clear()
  }

  plug() {
    this.#pulled = false
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const go of waiting) go()
  }

  /** Run `go` as soon as the cable is in; return how to call that off. */
  wait(go) {
    if (!this.#pulled) go()
    else this.#waiting.add(go)
    return () => this.#waiting.delete(go)
  }

  /** Have `cut` called when the cable is pulled; return how to call that off. */
  watch(cut) {
    this.#running.add(cut)
    return () => this.#running.delete(cut)
  }

  tell(detail) {
    this.dispatchEvent(new CustomEvent('wire', { detail }))
  }

  createRequest(method, url) {
    return new Wire(this, this.#stack.createRequest(method, url))
  }

  getName() {
    return 'Cable'
  }
}

class Wire {
  #cable
  #inner
  #forget = []
  #cut = null // tells that the running request was ended before its answer

  constructor(cable, inner) {
    this.#cable = cable
    this.#inner = inner
  }

  getMethod() {
    return this.#inner.getMethod()
  }

  getURL() {
    return this.#inner.getURL()
  }

  setHeader(name, value) {
    this.#inner.setHeader(name, value)
  }

  getHeader(name) {
    return this.#inner.getHeader(name)
  }

  setProgressHandler(handler) {
    this.#inner.setProgressHandler(handler)
  }

  getUnderlyingObject() {
    return this.#inner.getUnderlyingObject()
  }

  async send(body) {
    const method = this.getMethod()
    const from = method === 'PATCH' ? Number(this.getHeader('Upload-Offset')) : null
    try {
      await new Promise((resolve) => this.#forget.push(this.#cable.wait(resolve)))
      this.#cut = () => this.#cable.tell({ method, from, cut: true })
      const response = await new Promise((resolve, reject) => {
        this.#forget.push(
          this.#cable.watch(() => {
            this.abort()
            reject(new Error('The cable is out.'))
          }),
        )
        this.#inner.send(body).then(resolve, reject)
      })
      this.#cable.tell({ method, from, status: response.getStatus(), offset: response.getHeader('Upload-Offset') })
      return response
    } finally {
      this.#calm()
    }
  }

  abort() {
    this.#cut?.()
    this.#calm()
    return this.#inner.abort()
  }

  #calm() {
    for (const forget of this.#forget) forget()
    this.#forget = []
    this.#cut = null
  }
}
