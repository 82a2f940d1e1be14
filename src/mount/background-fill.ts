// Fetching what nobody has read yet: first what is known to be read first, then everything, where that is wanted or the reads
// so far say that it will be needed anyway. Readers go before it, always (see backend/fetch-scheduler.ts).
import { setTimeout as sleep } from 'node:timers/promises';
import { NaiadError } from '../base/errors.ts';
import { FILL_SHARE_MIN, FILL_SMALL_MAX, FILL_WATCH_MS } from '../base/limits.ts';
import type { ImageChunk } from '../image/trace-chunks.ts';
import type { PrefetchMode } from './fetch-request.ts';
import { type ImageFs, totalCoverage } from './image-fs.ts';
import { Prefetch, type PrefetchOptions, type PrefetchProgress } from './prefetch.ts';
import { allChunks, chunksOfBlob, chunksOfFiles, filesBelow, listedInodes } from './prefetch-lists.ts';

/** Something to fetch, and why. */
export interface FillSource extends PrefetchOptions {
  readonly why: string;
  readonly chunks: Iterable<ImageChunk>;
}

/** What a fill does, and why. */
export interface FillStatus {
  readonly mode: PrefetchMode;
  /** `watching`: nothing until the reads ask for more. `waiting`: the registry failed, and is asked again. `stopped`: given up,
   *  what is missing is fetched when it is read. */
  readonly state: 'off' | 'watching' | 'filling' | 'waiting' | 'complete' | 'stopped';
  readonly why: string;
  /** Of the present list of chunks. */
  readonly progress?: Omit<PrefetchProgress, 'state' | 'why' | 'error'>;
}

export interface FillOptions {
  readonly mode: PrefetchMode;
  /** A container runs in it, which reads most of a small image at once: that is brought whole. */
  readonly forContainer?: boolean;
  /** Blobs to stream before all else, by their ids. */
  readonly hotBlobIds?: readonly string[];
  /** What to bring after that, before what the image itself lists. */
  readonly first?: readonly FillSource[] | Promise<readonly FillSource[]>;
}

type FilledFs = Pick<ImageFs, 'bootstrap' | 'caches' | 'coverage' | 'counters'>;

export class BackgroundFill implements AsyncDisposable {
  readonly #fs: FilledFs;
  readonly #mode: PrefetchMode;
  readonly #wholeIfSmall: boolean;
  readonly #first: NonNullable<FillOptions['first']>;
  readonly #hotBlobIds: readonly string[];
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #phase: Pick<FillStatus, 'state' | 'why'>;
  #prefetch: Prefetch | undefined;

  /** Starts at once. Dispose of it before the caches. */
  constructor(fs: FilledFs, { mode, forContainer = false, first = [], hotBlobIds = [] }: FillOptions) {
    this.#fs = fs;
    this.#wholeIfSmall = mode === 'auto' && forContainer;
    this.#mode = mode;
    this.#first = first;
    this.#hotBlobIds = hotBlobIds;
    this.#phase = { state: 'off', why: 'nothing is fetched before it is read' };
    this.#running = mode === 'none' ? Promise.resolve() : this.#run().catch((error) => this.#ended(error));
  }

  get status(): FillStatus {
    const running = this.#prefetch?.progress;
    const { state, why } = this.#phase;
    if (!running) return { mode: this.#mode, state, why };
    const { state: doing, why: reason, error: _, ...progress } = running;
    const waits = doing === 'waiting';
    return {
      mode: this.#mode,
      state: waits ? 'waiting' : state,
      why: waits ? `${why}; ${reason}` : why,
      progress,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new NaiadError('CANCELED', 'the mount has ended'));
    await this.#prefetch?.[Symbol.asyncDispose]();
    await this.#running;
  }

  async #run(): Promise<void> {
    const fs = this.#fs;
    for (const blobId of this.#hotBlobIds) {
      const chunks = chunksOfBlob(fs, blobId);
      await this.#bring({ priority: 'hot', stream: true, why: 'the hot blob', chunks });
    }
    // Of an image with a hot blob it is known what a start reads.
    if (this.#wholeIfSmall && this.#hotBlobIds.length === 0 && this.#coverage().bytesTotal <= FILL_SMALL_MAX) {
      await this.#bring({ priority: 'hot', stream: true, why: 'the image is small', chunks: allChunks(fs) });
      this.#phase = { state: 'complete', why: 'the image is small' };
      return;
    }
    this.#phase = { state: 'filling', why: 'what is wanted first is being looked up' };
    for (const source of await this.#first) await this.#bring(source);
    const { files, directories } = listedInodes(fs);
    if (files.length > 0) {
      await this.#bring({ priority: 'hot', why: 'the image lists it', chunks: chunksOfFiles(fs, files) });
    }
    if (this.#mode !== 'all') {
      if (directories.length > 0) {
        const chunks = chunksOfFiles(fs, filesBelow(fs, directories));
        await this.#bring({ priority: 'background', why: 'the image lists its directory', chunks });
      }
      await this.#untilMostIsRead();
    }
    const why = this.#mode === 'all' ? 'everything is wanted' : 'most of the image was read';
    const { bytesTotal } = this.#coverage();
    await this.#bring({ priority: 'background', why, chunks: allChunks(fs), bytesTotal });
    this.#phase = { state: 'complete', why };
  }

  async #bring({ why, chunks, ...options }: FillSource): Promise<void> {
    this.#stop.signal.throwIfAborted();
    this.#phase = { state: 'filling', why };
    const prefetch = new Prefetch(this.#fs.caches, chunks, options);
    this.#prefetch = prefetch;
    await prefetch.done;
    const { progress } = prefetch;
    this.#prefetch = undefined;
    this.#stop.signal.throwIfAborted();
    if (progress.state === 'stopped') throw new Error(`${why}; ${progress.why}`);
  }

  /** Until so much is here that the rest is likely to be read, and readers have gone on to miss something. */
  async #untilMostIsRead(): Promise<void> {
    this.#phase = { state: 'watching', why: `all of it is fetched once ${FILL_SHARE_MIN * 100}% were read` };
    for (let seen = 0; ; ) {
      await sleep(FILL_WATCH_MS, undefined, { signal: this.#stop.signal });
      const { waits } = this.#fs.counters;
      if (waits !== seen && this.#share() >= FILL_SHARE_MIN) return;
      seen = waits;
    }
  }

  /** Of the image's bytes, those that are here. */
  #share(): number {
    const { bytes, bytesTotal } = this.#coverage();
    return bytesTotal === 0 ? 1 : bytes / bytesTotal;
  }

  #coverage(): { bytes: number; bytesTotal: number } {
    return totalCoverage(this.#fs.coverage());
  }

  /** What remains is fetched when it is read; a full disk must not be filled by us. */
  #ended(error: unknown): void {
    if (this.#stop.signal.aborted) return;
    this.#phase = { state: 'stopped', why: error instanceof Error ? error.message : String(error) };
  }
}
