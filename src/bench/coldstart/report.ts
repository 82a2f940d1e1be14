// What a benchmark of starts found, as it is printed, written and plotted: summed up from the raw runs, which stay in it.
// Pure.
import { spreadOf } from '../statistics.ts';
import type { ColdstartOutcome, ColdstartRun } from './coldstart-bench.ts';
import type { Link } from './link.ts';
import {
  type ColdstartReport,
  FIGURES,
  type Limit,
  type ReportContext,
  type Summary,
  type WayReport,
} from './report-model.ts';
import { targetsOf } from './targets.ts';
import { PHASES, type Stall } from './way.ts';

const STALLS_MAX = 20;
/** Round trips before the first file can be read: the manifest, then config and bootstrap together. */
const METADATA_ROUND_TRIPS = 2;

/** Percentiles are values that were measured; all is NaN of none. */
export function summaryOf(values: readonly number[]): Summary {
  const { median, min, max } = spreadOf(values);
  const sorted = values.toSorted((a, b) => a - b);
  const p90 = sorted[Math.max(0, Math.ceil(sorted.length * 0.9) - 1)] ?? Number.NaN;
  return { p50: median, p90, min, max, mean: sorted.reduce((sum, value) => sum + value, 0) / sorted.length };
}

/** The report; `failIf` is filled in by whoever was given conditions. */
export function reportOf(outcome: ColdstartOutcome, context: ReportContext): ColdstartReport {
  const { ways, measuredLink, ...rest } = outcome;
  const limit = limitOf(outcome, context.link);
  const full = medianReady(outcome, 'full-pull');
  const reports = ways.map((way): WayReport => {
    const runs = outcome.runs.filter((run) => run.way === way.key);
    const ready = summaryOf(runs.map(FIGURES.ready.of)).p50;
    return {
      ...way,
      chosen: runs.find(({ what }) => what !== undefined)?.what,
      runs: runs.length,
      figures: mapValues(FIGURES, ({ of }) => summaryOf(runs.map(of))),
      phases: phasesOf(runs),
      toFullPull: full === undefined ? undefined : ready / full,
      // The limit is of starts that have to fetch.
      toLimit: way.mode === 'local' || way.mode === 'warm' ? undefined : ready / limit.seconds,
      stalls: stallsOf(runs),
    };
  });
  const report = {
    ...{ version: 1 as const, ...context, ...rest },
    ...{ link: { ...context.link, measured: measuredLink }, limit, ways: reports, failIf: [] },
  };
  return { ...report, targets: targetsOf(report) };
}

function mapValues<K extends string, V, W>(table: Readonly<Record<K, V>>, of: (value: V) => W): Record<K, W> {
  return Object.fromEntries(Object.entries(table).map(([key, value]) => [key, of(value as V)])) as Record<K, W>;
}

function medianReady({ runs }: ColdstartOutcome, way: string): number | undefined {
  const own = runs.filter((run) => run.way === way);
  return own.length === 0 ? undefined : summaryOf(own.map(FIGURES.ready.of)).p50;
}

function phasesOf(runs: readonly ColdstartRun[]): WayReport['phases'] {
  const present = PHASES.filter((phase) => runs.some((run) => run.phases[phase] !== undefined));
  return Object.fromEntries(present.map((phase) => [phase, summaryOf(runs.map((run) => run.phases[phase] ?? 0))]));
}

function limitOf(outcome: ColdstartOutcome, { bytesPerSecond, rttMs }: Link): Limit {
  const metadataSeconds = (METADATA_ROUND_TRIPS * rttMs) / 1000 + outcome.image.metadataSize / bytesPerSecond;
  const { hotBytes } = outcome;
  const hotSeconds = hotBytes === undefined ? undefined : hotBytes / bytesPerSecond;
  const localSeconds = medianReady(outcome, 'local');
  const seconds = metadataSeconds + Math.max(hotSeconds ?? 0, localSeconds ?? 0);
  return { seconds, metadataSeconds, hotBytes, hotSeconds, localSeconds };
}

function stallsOf(runs: readonly ColdstartRun[]): Stall[] {
  const byPath = new Map<string, { count: number; seconds: number }>();
  for (const { path, count, seconds } of runs.flatMap(({ stalls = [] }) => stalls)) {
    const known = byPath.get(path) ?? { count: 0, seconds: 0 };
    byPath.set(path, { count: known.count + count, seconds: known.seconds + seconds });
  }
  return [...byPath]
    .map(([path, stall]) => ({ path, ...stall }))
    .sort((a, b) => b.seconds - a.seconds)
    .slice(0, STALLS_MAX);
}
