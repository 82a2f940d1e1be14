// A trace by file: what of it was touched, when first, and how long its readers waited.
import { displayBytes } from '../base/bytes.ts';
import { formatSize } from '../base/units.ts';
import type { Touch, Trace } from '../format/trace/trace.ts';

export interface TracedFile {
  /** For people; empty for chunks of which no path is known. */
  readonly path: string;
  readonly touches: number;
  /** Of the chunks that were touched, uncompressed; 0 where the trace does not say. */
  readonly bytes: number;
  readonly firstAtMs: number;
  /** Touches that waited, and for how long all of them. */
  readonly stalls: number;
  readonly waitMs: number;
}

export interface TraceSummary {
  readonly files: readonly TracedFile[];
  readonly touches: number;
  readonly bytes: number;
  readonly stalls: number;
  /** Summed over all readers; they may have waited at the same time. */
  readonly waitMs: number;
  /** Of the last touch. */
  readonly lastAtMs: number;
}

/** Touches by path, for people, in the order of their first touch. */
export function touchesByPath({ touches }: Trace): ReadonlyMap<string, readonly Touch[]> {
  const files = new Map<string, Touch[]>();
  for (const touch of touches) {
    const path = displayBytes(touch.path);
    const own = files.get(path);
    if (own) own.push(touch);
    else files.set(path, [touch]);
  }
  return files;
}

/** Files in the order of their first touch. */
export function summarise(trace: Trace): TraceSummary {
  return {
    ...totals(trace.touches),
    files: [...touchesByPath(trace)].map(([path, own]) => ({ path, firstAtMs: own[0]?.atMs ?? 0, ...totals(own) })),
    lastAtMs: trace.touches.reduce((last, { atMs }) => Math.max(last, atMs), 0),
  };
}

/** The same with the number of its files alone; `cut` where there was more than a trace holds. */
export interface TraceBrief extends Omit<TraceSummary, 'files'> {
  readonly files: number;
  readonly cut?: boolean;
}

export function briefOf(trace: Trace): TraceBrief {
  const summary = summarise(trace);
  return { ...summary, files: summary.files.length, ...(trace.cut && { cut: true }) };
}

/** In half a sentence, for people. */
export function briefText({ touches, files, bytes, cut }: TraceBrief): string {
  const more = cut ? '; there were more than a trace holds' : '';
  return `${touches} first touches of ${files} files, ${formatSize(bytes)}${more}`;
}

/** Counts and sums of touches. */
export function totals(touches: readonly Touch[]) {
  const stalled = touches.filter(({ waitMs }) => waitMs > 0);
  return {
    touches: touches.length,
    bytes: touches.reduce((sum, { size = 0 }) => sum + size, 0),
    stalls: stalled.length,
    waitMs: stalled.reduce((sum, { waitMs }) => sum + waitMs, 0),
  };
}
