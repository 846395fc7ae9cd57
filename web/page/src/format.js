// How figures are written for a person. Binary units, as the server's documents have them.
const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']

export function bytes(count) {
  const power = count < 1024 ? 0 : Math.min(Math.floor(Math.log2(count) / 10), UNITS.length - 1)
  const value = count / 1024 ** power
  return `${power && value < 100 ? value.toFixed(1) : Math.round(value)} ${count === 1 ? 'byte' : UNITS[power]}`
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`
}

export function percent(part, whole) {
  return whole ? Math.floor((100 * part) / whole) : 100
}

/** Numbers from 0 to 1 that look like sound, always the same ones for the same text. */
export function bars(text, count) {
  let seed = 2166136261
  for (const mark of text) seed = Math.imul(seed ^ mark.codePointAt(0), 16777619)
  const noise = () => {
    seed = Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d)
    seed = Math.imul(seed ^ (seed >>> 12), 0x297a2d39)
    seed ^= seed >>> 15
    return (seed >>> 0) / 2 ** 32
  }
  const swells = [17, 7, 3].map((every) => ({ every, at: Array.from({ length: count / every + 2 }, noise) }))
  const swell = ({ every, at }, bar) => {
    const [index, part] = [Math.floor(bar / every), (bar % every) / every]
    return at[index] + (at[index + 1] - at[index]) * part * part * (3 - 2 * part)
  }
  const loud = Array.from({ length: count }, (_, bar) => {
    const [long, middle, short] = swells.map((one) => swell(one, bar))
    return (0.2 + long) * (0.15 + middle) * (0.3 + short) * (0.6 + 0.4 * noise())
  })
  const loudest = Math.max(...loud)
  return loud.map((value) => 0.1 + 0.9 * (value / loudest) ** 0.75)
}
