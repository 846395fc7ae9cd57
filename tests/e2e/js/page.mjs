// Drives the page of the server in Chromium for tests/e2e: one JSON object as the only argument, one JSON object as the
// only line of output. It decides nothing: every step is the test's, and what a step answers is the test's to judge.
//
//   executable   of the browser        options   of its context (viewport, colorScheme, …)
//   steps        a list of [name, argument]; see `can`
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import axe from 'axe-core'
import { chromium } from 'playwright-core'

const { executable, options, steps } = JSON.parse(process.argv[2])
const QUIET = ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run']
const LIMIT = 60_000 // ms for one step
const TELLING = ['text', 'focused', 'download', 'overflow', 'kept', 'barriers'] // steps whose answers are reported, in order
const complaints = []
const answers = []

const browser = await chromium.launch({
  executablePath: executable,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', ...QUIET],
})
const context = await browser.newContext(options)
await context.addInitScript(() => {
  addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective}`))
})
const page = await context.newPage()
page.setDefaultTimeout(LIMIT)
page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
page.on('pageerror', (error) => complaints.push(error.message))
const network = await context.newCDPSession(page)
await network.send('Network.enable')

let letGo = () => {} // see `withhold`
let choose = () => {}
page.on('filechooser', (chooser) => choose(chooser)) // from the start: to begin listening takes the browser a while

const named = () => {
  const { activeElement: focused } = document
  return focused.getAttribute('aria-label') ?? focused.labels?.[0]?.innerText.trim() ?? focused.innerText.trim()
}

const can = {
  goto: (url) => page.goto(url),
  reload: () => page.reload(),
  choose: (paths) => page.setInputFiles('#file', paths),
  fill: ([selector, text]) => page.fill(selector, text),
  click: (name) => page.getByRole('button', { name, exact: true }).click(),
  // Bytes a second that go out; null: all that it can.
  throttle: (rate) =>
    network.send('Network.emulateNetworkConditions', {
      offline: false,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput: rate ?? -1,
    }),
  // Requests of that method to an upload wait until `deliver`.
  withhold: (method) => {
    const until = new Promise((resolve) => {
      letGo = resolve
    })
    return page.route('**/files/*', async (route) => {
      if (route.request().method() === method) await until
      await route.continue()
    })
  },
  deliver: () => letGo(),
  // Until a row is in a state, and its bar at a share of it.
  until: async ([name, state, share = 0]) => {
    const row = page.locator('.upload').filter({ has: page.getByRole('heading', { name, exact: true }) })
    await row.and(page.locator(`[data-state="${state}"]`)).waitFor()
    const bar = await row.getByRole('progressbar').elementHandle()
    await page.waitForFunction(([of, least]) => Number(of.getAttribute('aria-valuenow')) >= least, [bar, share])
  },
  text: (selector) => page.locator(selector).allTextContents(),
  // By the keyboard alone: to the control of that name, and a key; a key may open the choice of a file.
  tab: async (name) => {
    for (let count = 0; count < 40; count++) {
      await page.keyboard.press('Tab')
      if ((await page.evaluate(named)) === name) return
    }
    throw new Error(`no way to ${name} by the keyboard`)
  },
  press: (key) => page.keyboard.press(key),
  pick: async ([key, paths]) => {
    const chosen = new Promise((resolve) => {
      choose = (chooser) => resolve(chooser.setFiles(paths))
    })
    await page.keyboard.press(key)
    await chosen
  },
  focused: () => page.evaluate(named),
  see: (text) => page.getByText(text, { exact: true }).waitFor(),
  heard: async (text) => {
    await page.getByRole('log').filter({ hasText: text }).waitFor()
  },
  download: async (name) => {
    const begun = page.waitForEvent('download')
    await page.getByRole('link', { name, exact: true }).click()
    const content = await readFile(await (await begun).path()) // it is gone with the browser
    return createHash('sha256').update(content).digest('hex')
  },
  // What axe finds wrong for those who do not see or use a mouse, as "rule: element".
  barriers: async () => {
    await page.evaluate(axe.source)
    const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ['violations'] }))
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target}`))
  },
  kept: async () => [await page.inputValue('#token'), await page.evaluate(() => localStorage.length)],
  overflow: () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth),
  picture: async (path) => {
    await page.mouse.move(0, 0) // no button looks touched
    await page.screenshot({ path, fullPage: true })
  },
}

let failed = null
try {
  for (const [name, argument] of steps) {
    const answer = await can[name](argument)
    if (TELLING.includes(name)) answers.push(answer)
  }
} catch (error) {
  failed = error.message
}
await browser.close()
process.stdout.write(`${JSON.stringify({ failed, answers, complaints })}\n`)
