// Several recordings as one: what every start touches comes first, in the order in which starts touch it; what only some do
// comes after, the more frequent first. The order of the inputs makes no difference.
import { NaiadError } from '../base/errors.ts';
import { TRACE_RUNS_MAX, TRACE_TOUCHES_MAX } from '../base/limits.ts';
import type { Touch, Trace } from '../format/trace/trace.ts';

export interface MergeOptions {
  /** Leaves out what fewer runs touched. */
  readonly runsMin?: number | undefined;
}

/** Touches of this share of the runs are the start; the rest depends on who starts it. */
const COMMON_SHARE = 0.5;

interface Gathered {
  readonly key: string;
  readonly touch: Touch;
  runs: number;
  /** Sums over runs: place in the order, as a share of the trace; times. */
  place: number;
  atMs: number;
  waitMs: number;
}

/** What makes two touches the same: the content, or the place where that is not known. */
export function touchKey({ chunk, path, offset, size }: Touch): string {
  return chunk ?? `${path}\0${offset}\0${size ?? ''}`;
}

/** @throws NaiadError LIMIT_EXCEEDED */
export function mergeTraces(traces: readonly Trace[], { runsMin = 1 }: MergeOptions = {}): Trace {
  const runs = traces.reduce((sum, trace) => sum + trace.runs, 0);
  if (runs > TRACE_RUNS_MAX) throw new NaiadError('LIMIT_EXCEEDED', `${runs} runs; at most ${TRACE_RUNS_MAX}`);
  const gathered = new Map<string, Gathered>();
  for (const trace of traces) gather(trace, gathered);
  const isCommon = (one: Gathered) => one.runs >= runs * COMMON_SHARE;
  const order = (a: Gathered, b: Gathered) =>
    Number(isCommon(b)) - Number(isCommon(a)) ||
    (isCommon(a) ? 0 : b.runs - a.runs) ||
    a.place / a.runs - b.place / b.runs ||
    (a.key < b.key ? -1 : 1);
  const kept = [...gathered.values()].filter((one) => one.runs >= runsMin).sort(order);
  const cut = kept.length > TRACE_TOUCHES_MAX || traces.some((trace) => trace.cut);
  return {
    image: shared(traces.map(({ image }) => image)),
    reference: shared(traces.map(({ reference }) => reference)),
    runs,
    readyMs: medianReady(traces),
    ...(cut && { cut }),
    touches: kept.slice(0, TRACE_TOUCHES_MAX).map(({ touch, ...sums }) => ({
      ...touch,
      ...{ atMs: sums.atMs / sums.runs, waitMs: sums.waitMs / sums.runs, runs: sums.runs },
    })),
  };
}

function gather(trace: Trace, gathered: Map<string, Gathered>): void {
  const seen = new Set<string>();
  for (const [index, touch] of trace.touches.entries()) {
    const key = touchKey(touch);
    if (seen.has(key)) continue; // A list may name a file twice.
    seen.add(key);
    const one = gathered.get(key) ?? { key, touch, runs: 0, place: 0, atMs: 0, waitMs: 0 };
    // Of several names of one content always the same.
    const first = one.touch.path <= touch.path ? one.touch : touch;
    gathered.set(key, {
      key,
      touch: first,
      runs: one.runs + touch.runs,
      place: one.place + (touch.runs * index) / trace.touches.length,
      atMs: one.atMs + touch.runs * touch.atMs,
      waitMs: one.waitMs + touch.runs * touch.waitMs,
    });
  }
}

function shared<T>(values: readonly T[]): T | undefined {
  return values.every((value) => value === values[0]) ? values[0] : undefined;
}

/** Each trace counts as often as it has runs. */
function medianReady(traces: readonly Trace[]): number | undefined {
  const known = traces.flatMap(({ readyMs, runs }) => (readyMs === undefined ? [] : [{ readyMs, runs }]));
  known.sort((a, b) => a.readyMs - b.readyMs);
  let left = known.reduce((sum, { runs }) => sum + runs, 0) / 2;
  return known.find(({ runs }) => {
    left -= runs;
    return left <= 0;
  })?.readyMs;
}
