// The plots of a page. This function is written into the page as text and runs in a browser: everything it uses is inside it
// or is given to it.
import type { ColdstartReport } from './report.ts';

/** Of @observablehq/plot, as far as it is used here. */
type PlotLibrary = Readonly<
  Record<
    'ruleX' | 'text' | 'dot' | 'tickX' | 'barX' | 'lineY',
    (values: readonly unknown[], options: object) => unknown
  >
> & { plot(options: object): unknown };

interface PageElement {
  append(child: unknown): void;
  clientWidth: number;
}

/** Draws into `<div id="plot-INDEX-NAME">` of each report. */
export function drawPlots(
  reports: readonly ColdstartReport[],
  Plot: PlotLibrary,
  elementOf: (id: string) => PageElement,
): void {
  const phases = ['resolve', 'bootstrap', 'pull', 'mount', 'create', 'run'] as const;
  reports.forEach((report, index) => {
    const keys = report.ways.map(({ key }) => key);
    const common = {
      width: 860,
      marginLeft: 110,
      marginBottom: 42,
      style: { background: 'transparent', fontSize: '13px' },
      y: { domain: keys, label: null },
    };
    const draw = (name: string, options: object) => elementOf(`plot-${index}-${name}`).append(Plot.plot(options));
    draw('ready', {
      ...common,
      height: 60 + keys.length * 34,
      x: {
        label: 'seconds to ready',
        labelOffset: 36,
        domain: [0, Math.max(...report.runs.map((run) => run.readySeconds)) * 1.03],
        grid: true,
      },
      marks: [
        Plot.ruleX([report.limit.seconds], { stroke: 'currentColor', strokeDasharray: '4 3' }),
        Plot.text([report.limit.seconds], {
          x: (value: number) => value,
          frameAnchor: 'top',
          dy: -12,
          text: () => 'limit',
        }),
        Plot.dot(report.runs, { x: 'readySeconds', y: 'way', stroke: 'way', fill: 'way', fillOpacity: 0.35, r: 5 }),
        Plot.tickX(report.ways, {
          x: (way: ColdstartReport['ways'][number]) => way.figures.ready.p50,
          y: 'key',
          stroke: 'currentColor',
          strokeWidth: 2.5,
        }),
      ],
      color: { domain: keys },
    });
    const parts = report.ways.flatMap(({ key, phases: own }) =>
      phases.flatMap((phase) => (own[phase] ? [{ key, phase, seconds: own[phase].p50 }] : [])),
    );
    draw('phases', {
      ...common,
      height: 60 + keys.length * 30,
      x: { label: 'seconds, medians', labelOffset: 36, grid: true },
      color: { domain: phases, legend: true, scheme: 'observable10' },
      marks: [Plot.barX(parts, { x: 'seconds', y: 'key', fill: 'phase', order: phases, inset: 0.5 })],
    });
    // Of each way the run in the middle.
    const curves = report.ways.flatMap(({ key, figures }) => {
      const runs = report.runs.filter((run) => run.way === key && run.curve.length > 0);
      const distance = (run: (typeof runs)[number]) => Math.abs(run.readySeconds - figures.ready.p50);
      const middle = runs.toSorted((a, b) => distance(a) - distance(b))[0];
      if (!middle) return [];
      const last = middle.curve.at(-1)?.[1] ?? 0;
      const points = [[0, 0], ...middle.curve, [middle.readySeconds, last]] as [number, number][];
      return points.map(([seconds, bytes]) => ({ way: key, seconds, megabytes: bytes / 1e6 }));
    });
    draw('bytes', {
      width: common.width,
      height: 280,
      marginLeft: 60,
      style: common.style,
      x: { label: 'seconds', grid: true },
      y: { label: 'MB received until ready', grid: true },
      color: { domain: keys, legend: true },
      marks: [Plot.lineY(curves, { x: 'seconds', y: 'megabytes', stroke: 'way', curve: 'step-after', strokeWidth: 2 })],
    });
  });
}
