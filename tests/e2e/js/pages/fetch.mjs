// The part of tus-js-client 5 that its own bundle leaves out.
export { FetchHttpStack } from 'tus-js-client-next/browser/FetchHttpStack'
