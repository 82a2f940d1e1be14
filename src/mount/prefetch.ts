// Fetching chunks that nobody waits for yet, in a given order: neighbours come in one request, readers go first, and failures of
// the registry are waited out.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Priority } from '../backend/fetch-counters.ts';
import { NaiadError } from '../base/errors.ts';
import { PREFETCH_PORTION, PREFETCH_RETRY_MS, PREFETCH_WINDOW } from '../base/limits.ts';
import type { ChunkCache } from '../cache/chunk-cache.ts';
import type { ImageChunk } from '../image/trace-chunks.ts';

export interface PrefetchProgress {
  /** `waiting`: the registry failed, and is asked again. `stopped`: given up, `why` tells. */
  readonly state: 'running' | 'waiting' | 'done' | 'stopped';
  readonly why: string | undefined;
  /** What it was given up for. */
  readonly error?: unknown;
  /** Chunks that were asked for so far and are settled, and their uncompressed bytes; what was there before is among them. */
  readonly chunks: number;
  readonly bytes: number;
  /** Chunks that arrived wrong and are left to whoever reads them. */
  readonly wrongChunks: number;
  /** Of all chunks that are wanted; known of an array, or when it was told. */
  readonly chunksTotal?: number;
  readonly bytesTotal?: number;
}

export interface PrefetchOptions {
  /** `hot`: a container will read it soon. `background`: nobody may ever. */
  readonly priority: Exclude<Priority, 'demand'>;
  /** Uncompressed bytes of all chunks, where they are known without going through them. */
  readonly bytesTotal?: number;
  /** All chunks of a device in one request: they are stored in the order they are wanted in. */
  readonly stream?: boolean | undefined;
  /** Pause after a failure of the registry; for tests. */
  readonly retryMs?: number;
}

/** Neighbours in the order of asking that are on one device. */
interface Portion {
  readonly cache: ChunkCache;
  readonly chunks: number[];
  bytes: number;
}

export class Prefetch implements AsyncDisposable {
  /** Resolves when all chunks were brought or it has stopped. Never rejects. */
  readonly done: Promise<void>;
  readonly #caches: readonly ChunkCache[];
  readonly #options: PrefetchOptions;
  readonly #stop = new AbortController();
  #progress: PrefetchProgress = { state: 'running', why: undefined, chunks: 0, bytes: 0, wrongChunks: 0 };

  /**
   * Starts at once. `caches` are those of the image, in blob order. `chunks` is read as it is needed; what is no chunk
   * of the image is passed over. Dispose of it before the caches.
   */
  constructor(caches: readonly ChunkCache[], chunks: Iterable<ImageChunk>, options: PrefetchOptions) {
    this.#caches = caches;
    this.#options = options;
    if (options.bytesTotal !== undefined) this.#progress = { ...this.#progress, bytesTotal: options.bytesTotal };
    else if (Array.isArray(chunks)) this.#progress = { ...this.#progress, ...totalsOf(caches, chunks) };
    this.done = this.#run(chunks).then(
      () => this.#set({ state: 'done', why: undefined }),
      (error) => this.#set({ state: 'stopped', why: error instanceof Error ? error.message : String(error), error }),
    );
  }

  get progress(): PrefetchProgress {
    return this.#progress;
  }

  /** Ends it: what is on its way still comes, nothing else does. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new NaiadError('CANCELED', 'the prefetch was stopped'));
    await this.done;
  }

  async #run(chunks: Iterable<ImageChunk>): Promise<void> {
    const running = new Set<Promise<void>>();
    let failure: { error: unknown } | undefined;
    let asked = 0;
    for (const portion of portions(this.#caches, chunks, this.#sizeMax)) {
      while (asked > 0 && asked + portion.bytes > PREFETCH_WINDOW) await Promise.race(running);
      if (failure || this.#stop.signal.aborted) break;
      asked += portion.bytes;
      const one: Promise<void> = this.#bring(portion)
        .catch((error) => {
          failure ??= { error };
        })
        .finally(() => {
          asked -= portion.bytes;
          running.delete(one);
        });
      running.add(one);
      // Lists of what is there already must not hold up those who read.
      await immediately();
    }
    await Promise.all(running);
    this.#stop.signal.throwIfAborted();
    if (failure) throw failure.error;
  }

  get #sizeMax(): number {
    return this.#options.stream ? Number.POSITIVE_INFINITY : PREFETCH_PORTION;
  }

  /** Tries until it works. */
  async #bring({ cache, chunks, bytes }: Portion): Promise<void> {
    const { signal } = this.#stop;
    const { priority, stream } = this.#options;
    const told = { chunks: 0, bytes: 0 };
    const onPresent = (index: number) => {
      const size = cache.device.chunks.uncompressedSize(index);
      told.chunks++;
      told.bytes += size;
      this.#count(1, size);
    };
    for (;;) {
      try {
        const wrong = await cache.prefetch(chunks, { priority, signal, stream, onPresent });
        // The rest was there before, or is wrong.
        this.#count(chunks.length - told.chunks, bytes - told.bytes, wrong);
        return;
      } catch (error) {
        const mayWork = error instanceof NaiadError && (error.kind === 'unavailable' || error.kind === 'canceled');
        if (signal.aborted || cache.closed || !mayWork) throw error;
        this.#set({ state: 'waiting', why: error.message });
        await sleep(this.#options.retryMs ?? PREFETCH_RETRY_MS, undefined, { signal });
      }
    }
  }

  #count(chunks: number, bytes: number, wrong = 0): void {
    const before = this.#progress;
    this.#progress = {
      ...before,
      ...{ state: 'running', why: undefined, chunks: before.chunks + chunks },
      ...{ bytes: before.bytes + bytes, wrongChunks: before.wrongChunks + wrong },
    };
  }

  #set(change: Pick<PrefetchProgress, 'state' | 'why' | 'error'>): void {
    this.#progress = { ...this.#progress, ...change };
  }
}

function totalsOf(
  caches: readonly ChunkCache[],
  chunks: readonly ImageChunk[],
): Required<Pick<PrefetchProgress, 'chunksTotal' | 'bytesTotal'>> {
  let [chunksTotal, bytesTotal] = [0, 0];
  for (const { bytes, chunks: some } of portions(caches, chunks)) {
    chunksTotal += some.length;
    bytesTotal += bytes;
  }
  return { chunksTotal, bytesTotal };
}

function* portions(
  caches: readonly ChunkCache[],
  chunks: Iterable<ImageChunk>,
  sizeMax = PREFETCH_PORTION,
): Generator<Portion> {
  let portion: Portion | undefined;
  for (const { device, chunk } of chunks) {
    const cache = caches[device];
    if (!cache || chunk < 0 || chunk >= cache.device.chunks.count) continue;
    const size = cache.device.chunks.uncompressedSize(chunk);
    if (portion && (portion.cache !== cache || portion.bytes + size > sizeMax)) {
      yield portion;
      portion = undefined;
    }
    portion ??= { cache, chunks: [], bytes: 0 };
    portion.chunks.push(chunk);
    portion.bytes += size;
  }
  if (portion) yield portion;
}

function immediately(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
