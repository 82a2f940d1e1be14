// What this project promises of a start, held against what was measured; where it was missed, the reason, as far as the same
// figures tell one. Pure.
import { shown } from './figures-text.ts';
import { type ColdstartReport, TARGET_KINDS, type Target, type TargetKind, type WayReport } from './report-model.ts';
import type { Phase } from './way.ts';

const TARGET_TEXTS: Readonly<Record<TargetKind, string>> = {
  limit: 'takes at most 1.15 × the limit',
  faster: 'is at least 3 × faster than full-pull',
  'never-slower': 'is never slower than full-pull by more than 5 %',
  bytes: 'fetches at most 1.1 × the stored bytes of the chunks it touches, until ready',
};

/** The most that the figure may be. */
const MAX: Readonly<Record<TargetKind, number>> = { limit: 1.15, faster: 1 / 3, 'never-slower': 1.05, bytes: 1.1 };

/** From here on an image counts as large, in bytes unpacked. */
const LARGE_MIN = 300e6;
const SLOW_LINK_MAX = 100e6 / 8;
/** Parts of a difference below this share of it are not named. */
const PART_MIN = 0.05;
const FILES_NAMED = 3;

type Measured = Pick<ColdstartReport, 'ways' | 'image' | 'link' | 'limit'>;

export function targetsOf(report: Measured): Target[] {
  return report.ways.flatMap((way) =>
    TARGET_KINDS.filter((kind) => isAsked(kind, way, report)).flatMap((kind) => {
      const value = ratioOf(kind, way, report);
      if (value === undefined) return [];
      const met = value <= MAX[kind];
      const got = `${ratioText(value, MAX[kind])} ×`;
      const told = { kind, way: way.key, text: `${way.key} ${TARGET_TEXTS[kind]}`, met, got };
      return [met ? told : { ...told, why: whyMissed(kind, way, report) }];
    }),
  );
}

/** With more digits where two would read as if the verdict were another: 1.052 of 1.05 at most. */
function ratioText(value: number, max: number): string {
  const digits = [2, 3, 4].find((count) => Number(value.toFixed(count)) <= max === value <= max);
  return value.toFixed(digits ?? 5);
}

function isAsked(kind: TargetKind, { mode }: WayReport, { image, link }: Measured): boolean {
  if (kind === 'never-slower') return mode === 'lazy' || mode === 'trace' || mode === 'optimized';
  if (kind === 'faster' && (image.unpackedSize <= LARGE_MIN || link.bytesPerSecond > SLOW_LINK_MAX)) return false;
  return mode === 'optimized';
}

function ratioOf(kind: TargetKind, { toLimit, toFullPull, figures }: WayReport, { limit }: Measured) {
  if (kind === 'limit') return toLimit;
  if (kind !== 'bytes') return toFullPull;
  return limit.hotBytes ? figures.bytes.p50 / limit.hotBytes : undefined;
}

function whyMissed(kind: TargetKind, way: WayReport, report: Measured): string {
  if (kind === 'bytes') return whyMoreBytes(way, report);
  if (kind === 'never-slower') return whySlowerThanFullPull(way, report);
  return kind === 'limit' ? whyOverLimit(way, report) : whyNotFaster(way, report);
}

function whyNotFaster(way: WayReport, report: Measured): string {
  const full = report.ways.find(({ mode }) => mode === 'full-pull');
  const least = full === undefined ? 0 : report.limit.seconds / full.figures.ready.p50;
  const [limit, over] = [shown(report.limit.seconds, 'seconds'), whyOverLimit(way, report)];
  if (least > MAX.faster) return `the limit itself, ${limit}, is ${least.toFixed(2)} × of full-pull; ${over}`;
  return over;
}

type Parts = Readonly<Record<string, number>>;

/** Seconds over the limit, by the parts of the start. */
function whyOverLimit(way: WayReport, { ways, limit }: Measured): string {
  const local = ways.find(({ mode }) => mode === 'local');
  const over = way.figures.ready.p50 - limit.seconds;
  const before = secondsOf(way, ['resolve', 'bootstrap']) - limit.metadataSeconds;
  const mounting = secondsOf(way, ['mount']) - secondsOf(local, ['mount']);
  const creating = secondsOf(way, ['create']) - secondsOf(local, ['create']);
  const parts: Parts = {
    'until the metadata is here': before,
    'until the root is mounted': mounting,
    'making the container': creating,
    'the application itself': over - before - mounting - creating,
  };
  return `${shown(Math.max(0, over), 'seconds')} over the limit: ${partsText(parts, over)}${costText(way)}`;
}

function whySlowerThanFullPull(way: WayReport, { ways }: Measured): string {
  const full = ways.find(({ mode }) => mode === 'full-pull');
  const slower = way.figures.ready.p50 - (full?.figures.ready.p50 ?? 0);
  const before: Phase[] = ['resolve', 'bootstrap', 'pull', 'mount'];
  const more = (phases: readonly Phase[]) => secondsOf(way, phases) - secondsOf(full, phases);
  const parts: Parts = {
    'until the root is mounted': more(before),
    'making the container': more(['create']),
    'the application itself': slower - more(before) - more(['create']),
  };
  return `${shown(slower, 'seconds')} slower: ${partsText(parts, slower)}${costText(way)}`;
}

function whyMoreBytes({ figures }: WayReport, { image, limit }: Measured): string {
  const hot = limit.hotBytes ?? 0;
  const others = figures.bytes.p50 - hot - image.metadataSize;
  const metadata = `${shown(image.metadataSize, 'bytes')} are manifest, config and bootstrap`;
  const without = ((figures.bytes.p50 - image.metadataSize) / hot).toFixed(2);
  const rest = others > 0 ? `, ${shown(others, 'bytes')} other chunks and headers` : '';
  return `${shown(figures.bytes.p50, 'bytes')} for ${shown(hot, 'bytes')} of chunks: ${metadata}${rest} (${without} × without the metadata)`;
}

function secondsOf(way: WayReport | undefined, phases: readonly Phase[]): number {
  return phases.reduce((sum, phase) => sum + (way?.phases[phase]?.p50 ?? 0), 0);
}

/** The parts that matter, the largest first; parts that went better than needed follow as such. */
function partsText(parts: Parts, whole: number): string {
  const told = Object.entries(parts)
    .filter(([, seconds]) => Math.abs(seconds) >= PART_MIN * Math.abs(whole))
    .sort(([, a], [, b]) => b - a)
    .map(([name, seconds]) => `${seconds < 0 ? '−' : '+'}${shown(Math.abs(seconds), 'seconds')} ${name}`);
  return told.join(', ');
}

/** What else the figures tell of a start that is too slow. */
function costText({ figures, stalls, runs }: WayReport): string {
  const waited = stalls.reduce((sum, { seconds }) => sum + seconds, 0) / runs;
  const files = stalls.slice(0, FILES_NAMED).map(({ path }) => path);
  const waits = waited > 0 ? `, reads waited ${shown(waited, 'seconds')} in all, most for ${files.join(', ')}` : '';
  return `; naiad used ${shown(figures.cpu.p50, 'seconds')} of CPU${waits}`;
}
