// The page of one or several reports: one file that needs nothing else. Numbers stand in tables, so that they are there
// without a script; plots are drawn by Observable Plot, which is inside; the reports themselves are too.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import {
  commandText,
  imageName,
  imageText,
  limitText,
  linkText,
  machineText,
  reportName,
  shown,
  wayText,
} from './figures-text.ts';
import { plotScript } from './page-plots.ts';
import { PAGE_STYLE } from './page-style.ts';
import { type ColdstartReport, FIGURES, type Figure, type Summary, TARGET_KINDS, type Unit } from './report-model.ts';
import { summarySentences, TARGET_HEADS, targetRows, verdictText } from './verdicts.ts';
import { PHASES } from './way.ts';

/** The file of a browser's build that a package brings along. */
function browserBuild(name: string, file: string): string {
  const main = createRequire(import.meta.url).resolve(name);
  // Its folder in node_modules, wherever its entry is.
  const root = main.slice(0, main.lastIndexOf(join('node_modules', name)) + join('node_modules', name).length);
  return readFileSync(join(root, file), 'utf8');
}

/** A whole HTML document. */
export function coldstartPage(reports: readonly ColdstartReport[]): string {
  const title = reports.length === 1 ? `Cold start of ${imageName(reports[0] as ColdstartReport)}` : 'Cold starts';
  return [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    // Nothing is asked of any network, whatever this page is put into.
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">`,
    '<link rel="icon" href="data:,">',
    `<title>${escaped(title)}</title>`,
    `<style>${PAGE_STYLE}</style>`,
    '</head>',
    '<body>',
    `<h1>${escaped(title)}</h1>`,
    `<ul class="summary">${summarySentences(reports)
      .map((text) => `<li>${escaped(text)}</li>`)
      .join('')}</ul>`,
    ...(reports.length > 1 ? [overview(reports), overviewPlot(), targetsTable(reports)] : []),
    ...reports.map((report, index) => section(report, index)),
    `<script type="application/json" id="reports">${JSON.stringify(reports).replaceAll('<', '\\u003c')}</script>`,
    `<script>${inScript(browserBuild('d3', 'dist/d3.min.js'))}</script>`,
    `<script>${inScript(browserBuild('@observablehq/plot', 'dist/plot.umd.min.js'))}</script>`,
    `<script>${inScript(plotScript(reports.map(reportName)))}</script>`,
    '</body>',
    '</html>',
    '',
  ].join('\n');
}

function inScript(text: string): string {
  return text.replaceAll('</script', '<\\/script');
}

function overview(reports: readonly ColdstartReport[]): string {
  const keys = [...new Set(reports.flatMap(({ ways }) => ways.map(({ key }) => key)))];
  const rows = reports.map((report, index) => {
    const cells = keys.map((key) => {
      const way = report.ways.find((one) => one.key === key);
      return way ? cell(`${index}/${key}.ready.p50`, way.figures.ready.p50, 'seconds') : '<td>–</td>';
    });
    const rounds = `<td>${report.rounds}</td>`;
    return `<tr>${rowHead(report, index)}${rounds}${cells.join('')}${cell(`${index}/limit`, report.limit.seconds, 'seconds')}</tr>`;
  });
  return tableOf(['median time to ready', 'rounds', ...keys, 'limit'], rows);
}

function overviewPlot(): string {
  const text = 'Median time to ready as a share of a full pull over the same link; less is better, above 1 is a loss.';
  return `<figure><figcaption>${text}</figcaption><div id="plot-overview"></div></figure>`;
}

function targetsTable(reports: readonly ColdstartReport[]): string {
  const rows = targetRows(reports).map(({ report, cells }, index) => {
    const verdicts = cells.map((verdict) => {
      if (!verdict) return '<td>–</td>';
      return `<td class="${verdict.met ? 'met' : 'missed'}">${escaped(verdictText(verdict))}</td>`;
    });
    return `<tr>${rowHead(report, index)}${verdicts.join('')}</tr>`;
  });
  const table = tableOf(['targets', ...TARGET_KINDS.map((kind) => TARGET_HEADS[kind])], rows);
  return `<div class="wrapped">${table}</div><p>Why a target was missed stands with each image. A dash where it is not promised.</p>`;
}

function rowHead(report: ColdstartReport, index: number): string {
  return `<th><a href="#report-${index}">${escaped(reportName(report))}</a></th>`;
}

/** A table that scrolls where it is too wide; `rows` are HTML. */
function tableOf(head: readonly string[], rows: readonly string[]): string {
  const cells = head.map((text) => `<th>${escaped(text)}</th>`).join('');
  return `<div class="wide"><table><thead><tr>${cells}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

function section(report: ColdstartReport, index: number): string {
  const { created, ready, containers, rounds, pageCache } = report;
  const facts: [string, string][] = [
    ['image', imageText(report)],
    ['link', linkText(report.link)],
    ['machine', machineText(report)],
    ['measured', `${created}, ${rounds} rounds, ${containers} at once, ready: ${ready}, page cache ${pageCache}`],
    ['command', commandText(report)],
    ['limit', limitText(report)],
  ];
  return [
    `<section id="report-${index}">`,
    `<h2>${escaped(reportName(report))}</h2>`,
    `<dl>${facts.map(([name, text]) => `<dt>${name}</dt><dd>${escaped(text)}</dd>`).join('')}</dl>`,
    figuresTable(report, index),
    `<figure><figcaption>Every run; the bar is the median.</figcaption><div id="plot-${index}-ready"></div></figure>`,
    phasesTable(report, index),
    `<figure><figcaption>What the time goes into.</figcaption><div id="plot-${index}-phases"></div></figure>`,
    `<figure><figcaption>What came over the link, in a run near the median.</figcaption><div id="plot-${index}-bytes"></div></figure>`,
    stallsTable(report),
    targetsList(report),
    '</section>',
  ].join('\n');
}

const FIGURE_TITLES: Readonly<Record<Figure, string>> = {
  ready: 'ready',
  first: 'first ready',
  bytes: 'bytes until ready',
  'bytes-after': 'bytes after',
  requests: 'requests until ready',
  'requests-after': 'requests after',
  cpu: 'CPU',
  memory: 'peak memory',
};

function figuresTable({ ways, containers }: ColdstartReport, index: number): string {
  const figures = (Object.keys(FIGURES) as Figure[]).filter((figure) => figure !== 'first' || containers > 1);
  const rows = ways.map((way) => {
    const id = `${index}/${way.key}`;
    const cells = figures.map((figure) => spreadCell(`${id}.${figure}`, way.figures[figure], FIGURES[figure].unit));
    const ratios = [cell(`${id}.toFullPull`, way.toFullPull, 'ratio'), cell(`${id}.toLimit`, way.toLimit, 'ratio')];
    return `<tr><th title="${escaped(way.what)}">${escaped(wayText(way))}</th>${cells.join('')}${ratios.join('')}</tr>`;
  });
  const titles = figures.map((figure) => FIGURE_TITLES[figure]);
  return tableOf(['median (least – most)', ...titles, 'of full-pull', 'of the limit'], rows);
}

function phasesTable({ ways }: ColdstartReport, index: number): string {
  const phases = PHASES.filter((phase) => ways.some((way) => way.phases[phase]));
  const rows = ways.map((way) => {
    const cells = phases.map((phase) => cell(`${index}/${way.key}.${phase}.p50`, way.phases[phase]?.p50, 'seconds'));
    return `<tr><th>${escaped(wayText(way))}</th>${cells.join('')}</tr>`;
  });
  return tableOf(['medians', ...phases], rows);
}

function stallsTable({ ways }: ColdstartReport): string {
  const rows = ways.flatMap(({ key, stalls }) =>
    stalls.map(
      ({ path, count, seconds }) =>
        `<tr><th>${escaped(key)}</th><td class="text">${escaped(path)}</td><td>${count}</td><td>${shown(seconds, 'seconds')}</td></tr>`,
    ),
  );
  if (rows.length === 0) return '';
  const table = tableOf(['way', 'file', 'waits', 'time'], rows);
  return `<details><summary>Files that the application waited for, over all runs</summary>${table}</details>`;
}

function targetsList({ targets, failIf, refused }: ColdstartReport): string {
  const item = (good: boolean, text: string) =>
    `<li class="${good ? 'met' : 'missed'}">${good ? 'yes' : '<strong>no</strong>'}: ${escaped(text)}</li>`;
  const items = [
    ...targets.map(({ text, met, got, why }) => item(met, `${text}: ${got}${why === undefined ? '' : `; ${why}`}`)),
    ...failIf.map(({ text, failed, why }) => item(!failed, `not ${text} (${why})`)),
    ...refused.map(({ key, why }) => `<li>not measured: ${escaped(`${key}: ${why}`)}</li>`),
  ];
  return items.length === 0 ? '' : `<h3>Targets</h3><ul>${items.join('')}</ul>`;
}

function cell(id: string, value: number | undefined, unit: Unit | 'ratio'): string {
  if (value === undefined) return '<td>–</td>';
  return `<td data-figure="${escaped(id)}" data-value="${value}">${shown(value, unit)}</td>`;
}

function spreadCell(id: string, { p50, min, max }: Summary, unit: Unit): string {
  const spread = min === max ? '' : ` <small>${shown(min, unit)} – ${shown(max, unit)}</small>`;
  return `<td data-figure="${escaped(id)}.p50" data-value="${p50}">${shown(p50, unit)}${spread}</td>`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
