// What to fetch first, as a trace says: from a file, or from beside the image. A trace that is broken, too large or of
// something else is told of, and the mount goes on without it.
import { unlessAborted } from '../base/concurrency.ts';
import { type Kind, NaiadError } from '../base/errors.ts';
import { runInTurns } from '../base/steps.ts';
import { formatSize } from '../base/units.ts';
import type { Trace } from '../format/trace/trace.ts';
import { matchTraceSteps, type TracedImage } from '../image/trace-chunks.ts';
import { describeApplied } from '../trace/applied-text.ts';
import { chooseTrace, fetchTrace, tracesOf } from '../trace/attached.ts';
import { readTrace } from '../trace/read-trace.ts';
import type { ImageSource } from '../transport/transport.ts';
import type { FillSource } from './background-fill.ts';
import type { FetchRequest } from './fetch-request.ts';

/** What came of looking for a trace; nothing at all where there is none and nobody asked for one. */
export interface TraceUse {
  readonly source?: FillSource;
  /** A sentence. */
  readonly why?: string;
}

/** A trace to use, and what it is called; or why there is none. */
type FoundTrace = { readonly trace: Trace; readonly name: string } | { readonly why: string } | undefined;

/** Where a trace may lie. */
export interface TracePlace {
  readonly source: ImageSource;
  readonly manifestDigest: string;
  /** What others who mount it at the same time look for, by name; their looking ends with `signal`. */
  readonly shared?: { readonly signal: AbortSignal; readonly found: Map<string, Promise<FoundTrace>> };
}

/**
 * What a trace says to fetch first. It is looked for from the moment its place is known, beside everything else that a mount
 * does. Disposing ends that.
 */
export class TraceLookup implements AsyncDisposable {
  readonly #request: FetchRequest;
  readonly #over = new AbortController();
  #found: Promise<FoundTrace> | undefined;
  #used: Promise<TraceUse> = Promise.resolve({});

  constructor(request: FetchRequest) {
    this.#request = request;
  }

  /** `place` is where the image comes from. Not called for images that come from nowhere: a bootstrap file. */
  begin(place?: TracePlace): void {
    if (this.#request.prefetch === 'none') return;
    const { prefetchTrace, traceName } = this.#request;
    const { signal } = this.#over;
    const shared = prefetchTrace === undefined ? place?.shared : undefined;
    if (shared) {
      const name = JSON.stringify(traceName ?? null);
      const looking = shared.found.get(name) ?? findTrace(this.#request, place, shared.signal);
      shared.found.set(name, looking);
      this.#found = unlessAborted(looking, signal);
    } else this.#found = findTrace(this.#request, place, signal);
    this.#found.catch(() => undefined); // Whoever uses it hears of it.
  }

  /** `isHere`: there is nothing to fetch, so that it need not be known either, unless somebody names one. */
  use(image: TracedImage, { isHere }: { readonly isHere: boolean }): Promise<TraceUse> {
    const { prefetchTrace, traceName } = this.#request;
    if (isHere && prefetchTrace === undefined && traceName === undefined) return this.#used;
    if (!this.#found) this.begin();
    this.#used = Promise.resolve(this.#found).then((found) => useTrace(found, image, this.#over.signal));
    this.#used.catch(() => undefined);
    return this.#used;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort(new NaiadError('CANCELED', 'the mount has ended'));
    await Promise.allSettled([this.#found, this.#used]);
  }
}

/** Looks for the trace that `request` wants. Rejects after `signal` alone. */
async function findTrace(
  request: FetchRequest,
  place: TracePlace | undefined,
  signal: AbortSignal,
): Promise<FoundTrace> {
  const { prefetchTrace, traceName } = request;
  if (prefetchTrace !== undefined) {
    return await told('The trace', [], async () => {
      return { trace: await readTrace(prefetchTrace, signal), name: prefetchTrace };
    });
  }
  // A registry that does not let us look was not asked for anything that was promised.
  const silent: readonly Kind[] = traceName === undefined ? ['unavailable', 'denied'] : [];
  const name = traceName ?? 'auto';
  return await told(`The trace ${name} beside the image`, silent, () => besideImage(place, name, signal));
}

/** What to fetch first. Rejects after `signal` alone. */
async function useTrace(found: FoundTrace, image: TracedImage, signal: AbortSignal): Promise<TraceUse> {
  if (!found || 'why' in found) return found ?? {};
  const { trace, name } = found;
  const used = await told(`The trace ${name}`, [], async () => {
    const { chunks, applied } = await runInTurns(matchTraceSteps(trace, image), signal);
    const why = `Trace ${name}: ${describeApplied(applied)}`;
    if (chunks.length === 0) return { why: `${why}.` };
    const source: FillSource = { why: `the trace ${name}`, priority: 'hot', chunks };
    return { why: `${why}; ${chunks.length} chunks, ${formatSize(applied.storedBytes)} to fetch first.`, source };
  });
  return used ?? {};
}

/** Makes a sentence of a failure; nothing of those of the kinds `silent`. */
async function told<T>(
  what: string,
  silent: readonly Kind[],
  look: () => Promise<T>,
): Promise<T | { readonly why: string } | undefined> {
  try {
    return await look();
  } catch (error) {
    if (!(error instanceof NaiadError) || error.kind === 'canceled' || error.kind === 'bug') throw error;
    return silent.includes(error.kind) ? undefined : { why: `${what} is not used: ${error.message}.` };
  }
}

async function besideImage(
  place: TracePlace | undefined,
  name: string,
  signal: AbortSignal,
): Promise<{ readonly trace: Trace; readonly name: string } | undefined> {
  if (name === 'none') return undefined;
  const traces = place && (await tracesOf(place.source, place.manifestDigest, signal));
  if (!traces && name === 'auto') return undefined;
  const entry = chooseTrace(traces ?? [], name);
  return entry && place && { trace: await fetchTrace(place.source, entry, signal), name: entry.name };
}
