// Charts as SVG text: lines over two axes. No library: what a README shows is a few paths and labels.

import type { Chart, Series } from './result.js'

const WIDTH = 760
const HEIGHT = 380
const LEFT = 70
const RIGHT = 210
const TOP = 40
const BOTTOM = 50
/** The first is ours, the next three are the bare servers'. */
const COLOURS = ['#d9480f', '#495057', '#868e96', '#495057', '#1971c2', '#2f9e44', '#e67700', '#9c36b5']

export function draw({ title, x, y, logarithmic, series }: Chart): string {
  const xs = series.flatMap(({ points }) => points.map(point => point[0]))
  const ys = series.flatMap(({ points }) => points.map(point => point[1]))
  const across = linear(0, Math.max(...xs, 1) * 1.03, LEFT, WIDTH - RIGHT)
  const up = logarithmic
    ? decades(Math.min(...ys), Math.max(...ys), HEIGHT - BOTTOM, TOP)
    : linear(0, Math.max(...ys, 1) * 1.05, HEIGHT - BOTTOM, TOP)
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    label(LEFT, 20, title, 'start', 'font-weight="bold"'),
    ...up.ticks.map(
      tick => `${line(LEFT, up.at(tick), WIDTH - RIGHT, up.at(tick))}${label(LEFT - 8, up.at(tick) + 4, short(tick), 'end')}`,
    ),
    ...across.ticks.map(
      tick =>
        `${line(across.at(tick), TOP, across.at(tick), HEIGHT - BOTTOM)}${label(across.at(tick), HEIGHT - BOTTOM + 18, short(tick), 'middle')}`,
    ),
    label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x, 'middle'),
    `<g transform="rotate(-90 16 ${HEIGHT / 2})">${label(16, HEIGHT / 2, y, 'middle')}</g>`,
    ...series.flatMap((one, i) => curve(one, COLOURS[(one.colour ?? i) % COLOURS.length]!, i, across.at, up.at)),
    '</svg>',
  ]
  return `${parts.join('\n')}\n`
}

interface Axis {
  readonly ticks: readonly number[]
  readonly at: (value: number) => number
}

function linear(low: number, high: number, from: number, to: number): Axis {
  const rough = (high - low) / 6
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map(factor => factor * power).find(candidate => candidate >= rough)!
  const ticks: number[] = []
  for (let tick = low; tick <= high * 1.0001; tick += step) ticks.push(tick)
  return { ticks, at: value => round(from + ((value - low) / (high - low)) * (to - from)) }
}

function decades(low: number, high: number, from: number, to: number): Axis {
  const first = Math.floor(Math.log10(low))
  const last = Math.max(first + 1, Math.ceil(Math.log10(high)))
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i))
  return { ticks, at: value => round(from + ((Math.log10(value) - first) / (last - first)) * (to - from)) }
}

function curve({ name, points }: Series, colour: string, i: number, across: Axis['at'], up: Axis['at']): string[] {
  const places = points.map(([x, y]) => `${across(x)},${up(y)}`)
  const legend = TOP + 8 + 20 * i
  return [
    `<polyline points="${places.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
    ...(points.length > 40
      ? []
      : places.map(place => `<circle cx="${place.split(',')[0]}" cy="${place.split(',')[1]}" r="3" fill="${colour}"/>`)),
    `<rect x="${WIDTH - RIGHT + 15}" y="${legend - 8}" width="14" height="4" fill="${colour}"/>`,
    label(WIDTH - RIGHT + 36, legend - 1, name, 'start'),
  ]
}

function line(x1: number, y1: number, x2: number, y2: number): string {
  return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="#dee2e6"/>`
}

function label(x: number, y: number, text: string, anchor: string, more = ''): string {
  const safe = text.replace(/&/g, '&amp;').replace(/</g, '&lt;')
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="#343a40" ${more}>${safe}</text>`
}

const round = (value: number): number => Math.round(value * 10) / 10

function short(value: number): string {
  if (value >= 1_000) return `${Number((value / 1000).toPrecision(3))}k`
  return String(Number(value.toPrecision(3)))
}
