// Drives pages in headless Chromium for tests/e2e: one JSON object a line in, one JSON object a line out.
// The browser lives as long as standard input is open; each line has a profile of its own.
//
//   page    the address to open             path   a file for the page's <input>
//   calls   arguments for the page's `run`, one load of the page each; a call with `until` is cut short
//           by the next load, once that address answers
import { createInterface } from 'node:readline'
import { chromium } from 'playwright-core'

const LIMIT = 100_000 // ms for one line
const quiet = ['disable-quic', 'no-first-run', 'disable-background-networking', 'disable-component-update']
const flags = ['no-sandbox', 'disable-gpu', 'disable-dev-shm-usage', 'disable-sync', ...quiet]

async function visit(page, { page: address, path, calls }) {
  let report
  for (const [number, call] of calls.entries()) {
    await (number ? page.reload() : page.goto(address))
    await page.waitForFunction(() => window.run)
    if (path) await page.setInputFiles('input', path)
    const running = page.evaluate((one) => window.run(one), call)
    if (call.until) {
      running.catch(() => {}) // it dies with its page
      await fetch(new URL(call.until, address))
    } else {
      report = await running
    }
  }
  return report
}

async function answer(browser, line) {
  const context = await browser.newContext()
  const problems = []
  try {
    const page = await context.newPage()
    page.setDefaultTimeout(LIMIT)
    page.on('pageerror', (error) => problems.push(String(error)))
    const late = new Promise((_, reject) => setTimeout(reject, LIMIT, new Error('the page did not come to an end')))
    return await Promise.race([visit(page, JSON.parse(line)), late])
  } catch (error) {
    return { outcome: 'driver', error: [String(error), ...problems].join('\n') }
  } finally {
    await context.close()
  }
}

const browser = await chromium.launch({ executablePath: process.argv[2], args: flags.map((flag) => `--${flag}`) })
process.stdout.write(`${JSON.stringify({ outcome: 'ready', version: browser.version() })}\n`)
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(browser, line))}\n`)
}
await browser.close()
process.exit(0) // the time limits of answered lines are still running
