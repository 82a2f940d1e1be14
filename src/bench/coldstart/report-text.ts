// A report for a terminal, and for a page of this project's documentation. Pure.
import { imageText, limitText, linkText, machineText, shown, wayText } from './figures-text.ts';
import { type ColdstartReport, FIGURES, type Figure, type WayReport } from './report-model.ts';
import { PHASES } from './way.ts';

/** Rows of a table with their head; the first column names the rows. */
export interface TextTable {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** What stands above the tables. */
export function headLines(report: ColdstartReport): string[] {
  const { image, ready, rounds, containers, pageCache } = report;
  return [
    `${image.reference}: ${imageText(report)}`,
    `link: ${linkText(report.link)}`,
    machineText(report),
    `ready: ${ready}; ${rounds} rounds, ${containers} at once, page cache ${pageCache}`,
    `limit: ${limitText(report)}`,
  ];
}

export function readyTable({ ways }: ColdstartReport): TextTable {
  const row = (way: WayReport) => {
    const { ready } = way.figures;
    const times = [ready.p50, ready.min, ready.max].map((value) => shown(value, 'seconds'));
    return [wayText(way), ...times, shown(way.toFullPull, 'ratio'), shown(way.toLimit, 'ratio')];
  };
  return { head: ['time to ready', 'median', 'least', 'most', 'of full-pull', 'of the limit'], rows: ways.map(row) };
}

export function phasesTable({ ways }: ColdstartReport): TextTable {
  const phases = PHASES.filter((phase) => ways.some((way) => way.phases[phase]));
  const row = (way: WayReport) => [wayText(way), ...phases.map((phase) => shown(way.phases[phase]?.p50, 'seconds'))];
  return { head: ['of it, medians', ...phases], rows: ways.map(row) };
}

export function costTable({ ways, containers }: ColdstartReport): TextTable {
  const titles: Partial<Record<Figure, string>> = {
    ...(containers > 1 && { first: 'first ready' }),
    bytes: 'bytes until ready',
    requests: 'requests',
    'bytes-after': 'bytes after',
    'requests-after': 'requests',
    cpu: 'CPU',
    memory: 'peak memory',
  };
  const figures = Object.keys(titles) as Figure[];
  const row = (way: WayReport) => [
    wayText(way),
    ...figures.map((figure) => shown(way.figures[figure].p50, FIGURES[figure].unit)),
  ];
  return { head: ['medians', ...figures.map((figure) => titles[figure] as string)], rows: ways.map(row) };
}

const STALLS_SHOWN = 8;

/** The files most waited for, by way. */
export function stallLines({ ways }: ColdstartReport): string[] {
  return ways.flatMap((way) => {
    if (way.stalls.length === 0) return [];
    const lines = way.stalls
      .slice(0, STALLS_SHOWN)
      .map(
        ({ path, count, seconds }) =>
          `  ${shown(seconds / way.runs, 'seconds')} ${shown(count / way.runs, 'count')} × ${path}`,
      );
    return [`${way.key} waited, a run, for`, ...lines];
  });
}

/** What was promised, wished for and refused. */
export function verdictLines({ targets, failIf, refused }: ColdstartReport): string[] {
  return [
    ...targets.map(({ text, met, got, why }) => `${met ? 'yes' : 'NO '}  ${text}: ${got}${why ? `; ${why}` : ''}`),
    ...failIf.map(({ text, failed, why }) => `${failed ? 'FAILED' : 'passed'}  ${text}: ${why}`),
    ...refused.map(({ key, why }) => `not measured: ${key}: ${why}`),
  ];
}
