// Reports small enough to be kept with the documentation: every run with its figures, the course of one run of each way. Pure.
import type { ColdstartRun } from './coldstart-bench.ts';
import { reportOf } from './report.ts';
import type { ColdstartReport } from './report-model.ts';

/** Points of a curve that is kept. */
const CURVE_POINTS_MAX = 30;
/** Files waited for that are kept of a run. */
const STALLS_MAX = 3;

/** What `report` says, summed up anew from its own runs: a report of an older version gets what this one tells. */
function rebuilt(report: ColdstartReport): ColdstartReport {
  const { ways, link, limit, targets, failIf, version, ...rest } = report;
  const { measured, ...plain } = link;
  const named = ways.map(({ key, mode, driver, what }) => ({ key, mode, driver, what }));
  return { ...reportOf({ ...rest, ways: named, measuredLink: measured }, { ...rest, link: plain }), failIf };
}

/** The same with times in milliseconds, without the lines of requests, and with the curve of one run a way. */
export function condensed(report: ColdstartReport): ColdstartReport {
  const plotted = new Set(report.ways.map(({ key, figures }) => middleRun(report.runs, key, figures.ready.p50)));
  const runs = report.runs.map((run) => condensedRun(run, plotted.has(run)));
  return roundedTimes(rebuilt({ ...report, runs }));
}

/** Of the runs of a way with a curve, the one nearest to the median. */
function middleRun(runs: readonly ColdstartRun[], way: string, median: number): ColdstartRun | undefined {
  const distance = ({ readySeconds }: ColdstartRun) => Math.abs(readySeconds - median);
  return runs.filter((run) => run.way === way && run.curve.length > 0).toSorted((a, b) => distance(a) - distance(b))[0];
}

function condensedRun(run: ColdstartRun, plotted: boolean): ColdstartRun {
  const every = Math.max(1, run.curve.length / CURVE_POINTS_MAX);
  const isKept = (index: number) =>
    index === run.curve.length - 1 || Math.floor(index / every) !== Math.floor((index - 1) / every);
  return roundedTimes({
    ...run,
    curve: plotted ? run.curve.filter((_, index) => isKept(index)) : [],
    requests: [],
    stalls: run.stalls?.toSorted((a, b) => b.seconds - a.seconds).slice(0, STALLS_MAX),
  });
}

/** Every number with a fraction, to three digits after the point. */
function roundedTimes<T>(value: T): T {
  return JSON.parse(JSON.stringify(value), (_, part) =>
    typeof part === 'number' ? Math.round(part * 1e3) / 1e3 : part,
  ) as T;
}
