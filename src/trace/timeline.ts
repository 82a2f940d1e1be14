// When each file of a trace was touched and waited for: as text for a terminal, and as one page that needs nothing else.
import { formatSize } from '../base/units.ts';
import type { Touch, Trace } from '../format/trace/trace.ts';
import { summarise, touchesByPath } from './files.ts';

interface Row {
  readonly path: string;
  readonly touches: readonly Touch[];
}

/** Of files in the order of their first touch. */
function rowsOf(trace: Trace, rowsMax: number): { readonly rows: readonly Row[]; readonly left: number } {
  const rows = [...touchesByPath(trace)].map(([path, touches]) => ({ path: shownPath(path), touches }));
  return { rows: rows.slice(0, rowsMax), left: Math.max(0, rows.length - rowsMax) };
}

function shownPath(path: string): string {
  return path === '' ? '(unknown)' : path;
}

function endOf(trace: Trace): number {
  const last = trace.touches.reduce((end, { atMs, waitMs }) => Math.max(end, atMs + waitMs), 0);
  return Math.max(last, trace.readyMs ?? 0, 1);
}

/** A line a file: `·` nothing, `▪` touched, `█` somebody waits. */
export function timelineText(trace: Trace, { columns, rowsMax }: { columns: number; rowsMax: number }): string[] {
  const width = Math.max(20, Math.floor(columns / 2));
  const end = endOf(trace);
  const at = (ms: number) => Math.min(width - 1, Math.floor((ms / end) * width));
  const { rows, left } = rowsOf(trace, rowsMax);
  const lines = rows.map(({ path, touches }) => {
    const cells = Array<string>(width).fill('·');
    for (const { atMs } of touches) cells[at(atMs)] = '▪';
    for (const { atMs, waitMs } of touches) if (waitMs > 0) cells.fill('█', at(atMs), at(atMs + waitMs) + 1);
    const room = columns - width - 2;
    return `${cells.join('')}  ${path.length > room ? `…${path.slice(1 - room)}` : path}`;
  });
  const scale = `0${`${Math.round(end)} ms`.padStart(width - 1)}`;
  return [scale, ...lines, ...(left > 0 ? [`… and ${left} more files`] : [])];
}

const ROWS_MAX = 1000;
const CHART_WIDTH = 1000;
const ROW_HEIGHT = 14;
const TICKS = 10;

/** One HTML page with no script and no reference to anything outside; follows light and dark, and prints. */
export function timelinePage(trace: Trace): string {
  const summary = summarise(trace);
  const title = `Trace of ${trace.reference ?? trace.image ?? 'an image'}`;
  const facts = [
    ['runs', String(trace.runs)],
    ...(trace.readyMs === undefined ? [] : [['ready', milliseconds(trace.readyMs)]]),
    ['first touches', String(summary.touches)],
    ['files', String(summary.files.length)],
    ['bytes', formatSize(summary.bytes)],
    ['waited', `${summary.stalls} times, ${milliseconds(summary.waitMs)} in all`],
  ];
  const rows = summary.files.slice(0, ROWS_MAX).map(({ path, touches, bytes, firstAtMs, stalls, waitMs }) => {
    const cells = [milliseconds(firstAtMs), String(touches), formatSize(bytes), String(stalls), milliseconds(waitMs)];
    return `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}<td class="path">${escaped(shownPath(path))}</td></tr>`;
  });
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escaped(title)}</title><style>${STYLE}</style></head><body>
<h1>${escaped(title)}</h1>
<dl>${facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${escaped(value as string)}</dd></div>`).join('')}</dl>
<p>Files in the order of their first touch. <span class="key touch"></span> touched,
<span class="key wait"></span> a reader waits for a fetch${trace.readyMs === undefined ? '' : ', <span class="key ready"></span> ready'}.</p>
${chart(trace)}
<table><thead><tr><th>first</th><th>touches</th><th>bytes</th><th>waits</th><th>waited</th><th>file</th></tr></thead>
<tbody>${rows.join('\n')}</tbody></table>
</body></html>
`;
}

function chart(trace: Trace): string {
  const end = endOf(trace);
  const { rows, left } = rowsOf(trace, ROWS_MAX);
  const x = (ms: number) => Number(((ms / end) * CHART_WIDTH).toFixed(2));
  const height = (rows.length + 2) * ROW_HEIGHT;
  const ticks = Array.from({ length: TICKS + 1 }, (_, index) => {
    const at = (CHART_WIDTH * index) / TICKS;
    const anchor = index === 0 ? 'start' : index === TICKS ? 'end' : 'middle';
    return `<line class="tick" x1="${at}" x2="${at}" y1="${ROW_HEIGHT}" y2="${height}"/><text x="${at}" y="10" text-anchor="${anchor}">${milliseconds((end * index) / TICKS)}</text>`;
  });
  const bars = rows.flatMap(({ path, touches }, row) => {
    const y = (row + 1) * ROW_HEIGHT + 3;
    const marks = touches.map(({ atMs, waitMs }) => {
      const width = Math.max(1.5, x(waitMs));
      return `<rect class="${waitMs > 0 ? 'wait' : 'touch'}" x="${x(atMs)}" y="${y}" width="${width}" height="${ROW_HEIGHT - 5}"/>`;
    });
    return [`<g><title>${escaped(path)}</title>${marks.join('')}</g>`];
  });
  const ready =
    trace.readyMs === undefined
      ? ''
      : `<line class="ready" x1="${x(trace.readyMs)}" x2="${x(trace.readyMs)}" y1="0" y2="${height}"/>`;
  const more = left > 0 ? `<p>… and ${left} more files</p>` : '';
  return `<svg viewBox="0 0 ${CHART_WIDTH} ${height}" role="img" aria-label="timeline">${ticks.join('')}${bars.join('\n')}${ready}</svg>${more}`;
}

function milliseconds(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const STYLE = `
:root{color-scheme:light dark;--ink:#1c1f24;--paper:#fff;--faint:#d7dbe0;--touch:#3b76c4;--wait:#d1495b;--ready:#2a9d5c}
@media (prefers-color-scheme:dark){:root{--ink:#e6e8eb;--paper:#15181c;--faint:#343a42;--touch:#6aa5ee;--wait:#f0717f;--ready:#4fc484}}
body{font:14px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:75rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.3rem;overflow-wrap:anywhere}dl{display:flex;flex-wrap:wrap;gap:.5rem 2rem;margin:0}dt{opacity:.7}dd{margin:0;font-weight:600}
svg{width:100%;height:auto;font:9px system-ui,sans-serif}svg text{fill:var(--ink)}
.tick{stroke:var(--faint);stroke-width:.5}.ready{stroke:var(--ready);stroke-width:1.5}rect.touch{fill:var(--touch)}rect.wait{fill:var(--wait)}
.key{display:inline-block;width:.8em;height:.8em}.key.touch{background:var(--touch)}.key.wait{background:var(--wait)}.key.ready{background:var(--ready)}
table{border-collapse:collapse;margin-top:1rem}th,td{text-align:right;padding:.1rem .7rem;border-top:1px solid var(--faint);white-space:nowrap}
th:last-child,td.path{text-align:left;white-space:normal;overflow-wrap:anywhere}
@media print{body{max-width:none;margin:0}tr,svg{break-inside:avoid}}
`;
