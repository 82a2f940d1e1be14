// What to fetch first, as a trace says: from a file, or from beside the image. A trace that is broken, too large or of
// something else is told of, and the mount goes on without it.
import { NaiadError } from '../base/errors.ts';
import { runInTurns } from '../base/steps.ts';
import { formatSize } from '../base/units.ts';
import type { Trace } from '../format/trace/trace.ts';
import { matchTraceSteps, type TracedImage } from '../image/trace-chunks.ts';
import { chooseTrace, fetchTrace, tracesOf } from '../trace/attached.ts';
import { readTrace } from '../trace/read-trace.ts';
import { describeApplied } from '../trace/staleness.ts';
import type { ConvertedImage } from '../transport/image.ts';
import type { FillSource } from './background-fill.ts';
import type { FetchRequest } from './fetch-request.ts';

/** What came of looking for a trace; nothing at all where there is none and nobody asked for one. */
export interface TraceUse {
  readonly source?: FillSource;
  /** A sentence. */
  readonly why?: string;
}

/** Never rejects but after `signal`. */
export async function useTrace(
  request: FetchRequest,
  image: ConvertedImage,
  traced: TracedImage,
  signal: AbortSignal,
): Promise<TraceUse> {
  const { prefetchTrace, traceName = 'auto' } = request;
  const what = prefetchTrace === undefined ? `The trace ${traceName} beside the image` : `The trace ${prefetchTrace}`;
  try {
    const found =
      prefetchTrace === undefined
        ? await besideImage(image, traceName, signal)
        : { trace: await readTrace(prefetchTrace, signal), name: prefetchTrace };
    if (!found) return {};
    const { chunks, applied } = await runInTurns(matchTraceSteps(found.trace, traced), signal);
    const why = `Trace ${found.name}: ${describeApplied(applied)}`;
    if (chunks.length === 0) return { why: `${why}.` };
    const told = `${why}; ${chunks.length} chunks, ${formatSize(applied.storedBytes)} to fetch first.`;
    return { why: told, source: { why: `the trace ${found.name}`, priority: 'hot', chunks } };
  } catch (error) {
    if (!(error instanceof NaiadError) || error.code === 'CANCELED' || error.code === 'BUG') throw error;
    // A registry that does not let us look was not asked for anything that was promised.
    const asked = prefetchTrace !== undefined || request.traceName !== undefined;
    if (!asked && (error.kind === 'unavailable' || error.kind === 'denied')) return {};
    return { why: `${what} is not used: ${error.message}.` };
  }
}

async function besideImage(
  { source, manifestDigest }: ConvertedImage,
  name: string,
  signal: AbortSignal,
): Promise<{ readonly trace: Trace; readonly name: string } | undefined> {
  if (name === 'none' || manifestDigest === undefined || !source) return undefined;
  const traces = await tracesOf(source, manifestDigest, signal);
  if (!traces && name === 'auto') return undefined;
  const entry = chooseTrace(traces ?? [], name);
  return entry && { trace: await fetchTrace(source, entry, signal), name: entry.name };
}
