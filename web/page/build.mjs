// Builds the page into the directory that is its argument (the one inside the Python package unless told otherwise):
// one script, one style sheet, the HTML and the icon as they are, and the licences of everything that is bundled.
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = new URL('./', import.meta.url)
const out = new URL(`file://${process.argv[2] ?? fileURLToPath(new URL('../../src/tusplyr/web/page', here))}/`)

await rm(out, { recursive: true, force: true })
await mkdir(out, { recursive: true })
const { metafile } = await build({
  absWorkingDir: fileURLToPath(here),
  entryPoints: ['src/page.js', 'src/page.css'],
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  charset: 'utf8',
  legalComments: 'none', // whole licences are beside it
  banner: { js: '/* Licences of what is bundled here: licences.txt */' },
  outdir: fileURLToPath(out),
  metafile: true,
})
for (const name of ['index.html', 'icon.svg']) await copyFile(new URL(`src/${name}`, here), new URL(name, out))
await writeFile(new URL('licences.txt', out), await licences(Object.keys(metafile.inputs)))

/** Return the licence of every package that one of these files is of. */
async function licences(inputs) {
  const packages = new Set(inputs.map((path) => path.match(/^(node_modules\/(?:@[^/]+\/)?[^/]+)\//)?.[1]).filter(Boolean))
  const texts = []
  for (const path of [...packages].sort()) {
    const folder = new URL(`${path}/`, here)
    const { name, version, license, homepage } = JSON.parse(await readFile(new URL('package.json', folder), 'utf8'))
    const names = await readdir(folder)
    const file = names.find((found) => /^licen[cs]e/i.test(found)) ?? names.find((found) => /^readme/i.test(found))
    const text = await readFile(new URL(file, folder), 'utf8')
    const own = /^readme/i.test(file) ? text.match(/^#+ licen[cs]e[^]*/im)?.[0] : text // some keep it there
    if (!own) throw new Error(`${name} comes without a licence`)
    texts.push(`${name} ${version} (${license})${homepage ? `, ${homepage}` : ''}\n\n${own.trim()}\n`)
  }
  return `This page is made with the following packages.\n\n${texts.join(`\n${'-'.repeat(80)}\n\n`)}`
}
