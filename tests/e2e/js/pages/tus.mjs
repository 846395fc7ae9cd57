// The page of an application that uploads with tus-js-client, as the package's own bundle for browsers.
// Which of the installed clients it is, is said in the address: ?tus-js-client
//
//   fetch   let version 5 send with fetch instead of XMLHttpRequest
import { send } from '../send.mjs'

const client = location.search.slice(1)
const script = Object.assign(document.createElement('script'), { src: `/node_modules/${client}/dist/tus.min.js` })
script.onload = () => {
  window.run = async (call) => send(window.tus, chosen(call), { ...call, options: await complete(call) })
}
document.head.append(script)

async function complete({ fetch, options }) {
  if (!fetch) return options
  const { FetchHttpStack } = await import('/made/fetch.js')
  return { ...options, httpStack: new FetchHttpStack() }
}

function chosen({ stream }) {
  const [file] = document.querySelector('input').files
  return stream ? streamOf(file) : file
}

// Version 4 takes the reader of a stream, version 5 the stream.
function streamOf(file) {
  return client === 'tus-js-client' ? file.stream().getReader() : file.stream()
}
