// The plots of a page. These functions are written into the page as text and run in a browser: everything they use is inside
// them, given to them, or another one of them.
import type { ColdstartReport } from './report-model.ts';

/** Of @observablehq/plot, as far as it is used here. */
type PlotLibrary = Readonly<
  Record<
    'ruleX' | 'text' | 'dot' | 'tickX' | 'barX' | 'lineY',
    (values: readonly unknown[], options: object) => unknown
  >
> & { plot(options: object): unknown };

interface PageElement {
  append(child: unknown): void;
}

/** Options that plots have in common. */
interface Common {
  readonly width: number;
  readonly marginBottom: number;
  readonly style: object;
}

/** Draws into `<div id="plot-INDEX-NAME">` of each report, and of several into `plot-overview`. */
function drawPlots(
  reports: readonly ColdstartReport[],
  names: readonly string[],
  Plot: PlotLibrary,
  elementOf: (id: string) => PageElement,
): void {
  const common = { width: 940, marginBottom: 42, style: { background: 'transparent', fontSize: '13px' } };
  const draw = (name: string, options: object) => elementOf(`plot-${name}`).append(Plot.plot(options));
  if (reports.length > 1) draw('overview', overviewPlot(reports, names, Plot, common));
  reports.forEach((report, index) => {
    draw(`${index}-ready`, readyPlot(report, Plot, common));
    draw(`${index}-phases`, phasesPlot(report, Plot, common));
    draw(`${index}-bytes`, bytesPlot(report, Plot, common));
  });
}

/** How every way compares with a full pull, a row a report. */
function overviewPlot(
  reports: readonly ColdstartReport[],
  names: readonly string[],
  Plot: PlotLibrary,
  common: Common,
): object {
  const shares = reports.flatMap(({ ways }, index) => {
    const row = names[index] as string;
    return ways.flatMap(({ key, toFullPull }) =>
      toFullPull === undefined ? [] : [{ row, way: key, share: toFullPull }],
    );
  });
  const rows = [...new Set(shares.map(({ row }) => row))];
  return {
    ...common,
    height: 70 + rows.length * 26,
    marginLeft: 24 + 7.5 * Math.max(0, ...rows.map((row) => row.length)),
    x: { label: 'time to ready / that of a full pull', labelOffset: 36, grid: true, zero: true },
    y: { domain: rows, label: null, grid: true },
    color: { domain: [...new Set(shares.map(({ way }) => way))], legend: true },
    marks: [
      Plot.ruleX([1], { stroke: 'currentColor', strokeDasharray: '4 3' }),
      Plot.dot(shares, { x: 'share', y: 'row', stroke: 'way', fill: 'way', fillOpacity: 0.35, r: 5 }),
    ],
  };
}

/** Every run, and the medians. */
function readyPlot(report: ColdstartReport, Plot: PlotLibrary, common: Common): object {
  const keys = report.ways.map(({ key }) => key);
  const { seconds } = report.limit;
  return {
    ...common,
    marginLeft: 150,
    height: 64 + keys.length * 30,
    y: { domain: keys, label: null },
    x: {
      label: 'seconds to ready',
      labelOffset: 36,
      domain: [0, Math.max(seconds, ...report.runs.map((run) => run.readySeconds)) * 1.03],
      grid: true,
    },
    color: { domain: keys },
    marks: [
      Plot.ruleX([seconds], { stroke: 'currentColor', strokeDasharray: '4 3' }),
      Plot.text([seconds], { x: (value: number) => value, frameAnchor: 'top', dy: -12, text: () => 'limit' }),
      Plot.dot(report.runs, { x: 'readySeconds', y: 'way', stroke: 'way', fill: 'way', fillOpacity: 0.35, r: 5 }),
      Plot.tickX(report.ways, {
        x: (way: ColdstartReport['ways'][number]) => way.figures.ready.p50,
        y: 'key',
        stroke: 'currentColor',
        strokeWidth: 2.5,
      }),
    ],
  };
}

/** The parts of the start, one bar a way. */
function phasesPlot({ ways }: ColdstartReport, Plot: PlotLibrary, common: Common): object {
  const phases = ['resolve', 'bootstrap', 'pull', 'mount', 'create', 'run'] as const;
  const parts = ways.flatMap(({ key, phases: own }) =>
    phases.flatMap((phase) => (own[phase] ? [{ key, phase, seconds: own[phase].p50 }] : [])),
  );
  return {
    ...common,
    marginLeft: 150,
    height: 60 + ways.length * 28,
    y: { domain: ways.map(({ key }) => key), label: null },
    x: { label: 'seconds, medians', labelOffset: 36, grid: true },
    color: { domain: phases, legend: true, scheme: 'observable10' },
    marks: [Plot.barX(parts, { x: 'seconds', y: 'key', fill: 'phase', order: phases, inset: 0.5 })],
  };
}

/** What came over the link: of each way the run nearest to the median of those whose course is known. */
function bytesPlot({ ways, runs }: ColdstartReport, Plot: PlotLibrary, common: Common): object {
  const curves = ways.flatMap(({ key, figures }) => {
    const own = runs.filter((run) => run.way === key && run.curve.length > 0);
    const distance = (run: (typeof own)[number]) => Math.abs(run.readySeconds - figures.ready.p50);
    const middle = own.toSorted((a, b) => distance(a) - distance(b))[0];
    if (!middle) return [];
    const last = middle.curve.at(-1)?.[1] ?? 0;
    const points = [[0, 0], ...middle.curve, [middle.readySeconds, last]] as [number, number][];
    return points.map(([seconds, bytes]) => ({ way: key, seconds, megabytes: bytes / 1e6 }));
  });
  return {
    ...common,
    height: 300,
    marginLeft: 60,
    x: { label: 'seconds since the start', labelOffset: 36, grid: true },
    y: { label: 'MB received until ready', grid: true },
    color: { domain: ways.map(({ key }) => key), legend: true },
    marks: [Plot.lineY(curves, { x: 'seconds', y: 'megabytes', stroke: 'way', curve: 'step-after', strokeWidth: 2 })],
  };
}

/** JavaScript that draws the reports of the element `reports`, called `names`, with the library `Plot`, and shows all on paper. */
export function plotScript(names: readonly string[]): string {
  const asText = JSON.stringify(names).replaceAll('<', '\\u003c');
  const functions = [drawPlots, overviewPlot, readyPlot, phasesPlot, bytesPlot];
  return [
    ...functions.map(String),
    `drawPlots(JSON.parse(document.getElementById('reports').textContent), ${asText}, Plot, (id) => document.getElementById(id));`,
    "addEventListener('beforeprint', () => { for (const part of document.querySelectorAll('details')) part.open = true; });",
  ].join('\n');
}
