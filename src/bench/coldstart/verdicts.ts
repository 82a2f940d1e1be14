// Several reports seen together: what was promised, by image and link, and what a reader takes away. Pure.
import { imageName, reportName, shown } from './figures-text.ts';
import { type ColdstartReport, TARGET_KINDS, type Target, type TargetKind } from './report-model.ts';
import type { Mode } from './way.ts';

/** A target of one report. `worst` is the way that is furthest from it. */
export interface Verdict {
  readonly kind: TargetKind;
  readonly met: boolean;
  readonly worst: Target;
  /** Ways that it was asked of. */
  readonly ways: number;
}

/** By kind, those that were asked of the report; no verdict where it is not promised or could not be measured. */
function verdictsOf({ targets }: Pick<ColdstartReport, 'targets'>): Verdict[] {
  return TARGET_KINDS.flatMap((kind) => {
    const own = targets.filter((target) => target.kind === kind);
    const [worst] = own.toSorted((a, b) => Number(a.met) - Number(b.met) || ratioOf(b) - ratioOf(a));
    return worst ? [{ kind, met: worst.met, worst, ways: own.length }] : [];
  });
}

function ratioOf({ got }: Target): number {
  return Number.parseFloat(got);
}

/** Wins and losses alike, from the figures. */
export function summarySentences(reports: readonly ColdstartReport[]): string[] {
  const links = [...new Set(reports.map(({ link }) => link.text))];
  const fewest = Math.min(...reports.map(({ containers }) => containers));
  const told = links.flatMap((link) => {
    const own = reports.filter((report) => report.link.text === link && report.containers === fewest);
    return [timesFaster('optimized', link, own), timesFaster('lazy', link, own)].filter((line) => line !== undefined);
  });
  const verdicts = reports.flatMap(verdictsOf);
  const met = verdicts.filter((verdict) => verdict.met).length;
  return [...told, ...manyAtOnce(reports), `${met} of ${verdicts.length} targets were reached.`];
}

/** So much longer many containers of an image may take together than one alone. */
const MANY_MAX = 1.15;

/** Containers at once against one of the same image over the same link; `local` tells what the machine itself can. */
function manyAtOnce(reports: readonly ColdstartReport[]): string[] {
  return reports.flatMap((many) => {
    const isAlone = ({ image, link, containers }: ColdstartReport) =>
      containers === 1 && image.reference === many.image.reference && link.text === many.link.text;
    const one = many.containers > 1 ? reports.find(isAlone) : undefined;
    const ratio = (mode: Mode) => {
      const [ofMany, ofOne] = [many, one].map(
        (report) => report?.ways.find((way) => way.mode === mode)?.figures.ready.p50,
      );
      return ofMany !== undefined && ofOne !== undefined ? ofMany / ofOne : undefined;
    };
    const [optimized, local] = [ratio('optimized'), ratio('local')];
    if (optimized === undefined) return [];
    const machine = local === undefined ? '' : `, from the local disk ${local.toFixed(2)} ×`;
    const verdict = optimized <= MANY_MAX ? 'reached' : 'missed';
    return [
      `${reportName(many)}: optimized takes ${optimized.toFixed(2)} × of one alone${machine}; ${MANY_MAX} × is promised: ${verdict}.`,
    ];
  });
}

function timesFaster(mode: Mode, link: string, reports: readonly ColdstartReport[]): string | undefined {
  const found = reports.flatMap((report) => {
    const ratios = report.ways.flatMap((way) => (way.mode === mode && way.toFullPull ? [1 / way.toFullPull] : []));
    return ratios.length === 0 ? [] : [{ name: imageName(report), times: Math.min(...ratios) }];
  });
  const sorted = found.toSorted((a, b) => a.times - b.times);
  const [least, most] = [sorted[0], sorted.at(-1)];
  if (!least || !most) return undefined;
  const each = ({ name, times }: typeof least) => `${times.toFixed(1)} × (${name})`;
  const range = least === most ? each(least) : `from ${each(least)} to ${each(most)}`;
  return `Over ${link}, ${mode} against a full pull: ${range} as fast.`;
}

/** Rows of the table of targets after its head: the name of the row, then a cell a kind. */
export function targetRows(
  reports: readonly ColdstartReport[],
): { report: ColdstartReport; cells: (Verdict | undefined)[] }[] {
  return reports.map((report) => {
    const verdicts = verdictsOf(report);
    return { report, cells: TARGET_KINDS.map((kind) => verdicts.find((verdict) => verdict.kind === kind)) };
  });
}

export const TARGET_HEADS: Readonly<Record<TargetKind, string>> = {
  limit: 'optimized ≤ 1.15 × limit',
  faster: 'optimized ≤ 0.33 × full-pull',
  'never-slower': 'lazy, trace, optimized ≤ 1.05 × full-pull',
  bytes: 'optimized: bytes ≤ 1.1 × touched',
};

/** What a cell says: the verdict, the figure, and of which way where several were asked. */
export function verdictText({ met, worst, ways }: Verdict): string {
  return `${met ? 'yes' : 'no'}, ${worst.got}${ways > 1 ? ` (${worst.way})` : ''}`;
}

/** `app-node, 1gbit,1ms: …`, one for each target that was missed, and for each way that could not be measured. */
export function missedLines(reports: readonly ColdstartReport[]): string[] {
  return reports.flatMap((report) => {
    const missed = report.targets.filter(({ met }) => !met);
    const lines = [
      ...missed.map(({ text, got, why }) => `${text}: no, ${got}; ${why ?? ''}`),
      ...report.refused.map(({ key, why }) => `${key} was not measured: ${why}`),
    ];
    return lines.map((line) => `${reportName(report)}: ${line}`);
  });
}

/** A row of times to ready. */
export function readyCells({ ways, limit }: ColdstartReport, keys: readonly string[]): string[] {
  const times = keys.map((key) => ways.find((way) => way.key === key)?.figures.ready.p50);
  return [...times, limit.seconds].map((seconds) => shown(seconds, 'seconds'));
}
