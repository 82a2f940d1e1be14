// What a file's bytes are: bootstrap, devices and caches. How the kernel asks for them is the drivers' business.

import type { BlobReader, ByteRange } from '../backend/blob-reader.ts';
import { counted, newReadCounters, type ReadCounters } from '../backend/counted.ts';
import type { FetchScheduler } from '../backend/fetch-scheduler.ts';
import { type OnRead, timed } from '../backend/timed.ts';
import { NaiadError } from '../base/errors.ts';
import { type CacheCounters, newCacheCounters } from '../cache/cache-counters.ts';
import type { ChunkCache } from '../cache/chunk-cache.ts';
import type { Bootstrap, Extent } from '../image/bootstrap-reader.ts';
import type { CacheDirectory } from './cache-directory.ts';
import type { CachePool, PooledCache } from './cache-pool.ts';
import { FirstTouches, type RecordedTouches } from './first-touches.ts';
import { rangeAround } from './read-around.ts';

export interface ImageFsOptions {
  readonly bootstrap: Bootstrap;
  readonly readerOf: (blobId: string) => BlobReader;
  /** Shared by all mounts of this process. */
  readonly pool: CachePool;
  readonly directory: CacheDirectory;
  /** The registry that blobs come from; undefined when they are on this machine. */
  readonly host?: string | undefined;
  /** How long a read waits for its bytes. */
  readonly fetchDeadlineMs?: number | undefined;
  readonly signal?: AbortSignal;
  readonly observer?: MountObserver | undefined;
}

/** Gets durations, in seconds, of what is slow. */
export interface MountObserver {
  /** A read that was not in the cache waited so long. */
  stalled(seconds: number): void;
  /** A request to the registry took so long; undefined bytes when it failed. */
  fetched(seconds: number, bytes: number | undefined): void;
}

/** What a mount did since it began. */
export interface ImageFsCounters {
  /** Reads of files, those of them that had to wait for a fetch, and the bytes given. */
  reads: number;
  waits: number;
  readBytes: number;
  /** Milliseconds that reads have waited for fetches: together, and the longest. */
  waitMsSum: number;
  waitMsMax: number;
  /** Reads that ended in an error, and the last one's message. */
  errors: number;
  lastError: string | undefined;
  readonly backend: ReadCounters;
  /** Of the caches this mount reads, by whichever mount. */
  readonly cache: CacheCounters;
}

/** Reads that a driver answered by itself from the caches. */
export type OwnReads = Pick<ImageFsCounters, 'reads' | 'waits' | 'readBytes' | 'errors'>;

export interface DeviceCoverage {
  readonly blobId: string;
  readonly chunks: number;
  readonly chunksTotal: number;
  /** Uncompressed. */
  readonly bytes: number;
  readonly bytesTotal: number;
}

export class ImageFs implements AsyncDisposable {
  readonly bootstrap: Bootstrap;
  /** Of the devices, in blob order; for drivers that read them natively. Closed with this. */
  readonly caches: readonly ChunkCache[];
  readonly #counters: ImageFsCounters;
  #ownReads: (() => OwnReads) | undefined;
  #ownTouches: (() => RecordedTouches) | undefined;
  readonly #touches: FirstTouches;
  readonly #pooled: readonly PooledCache[];
  readonly #observer: MountObserver | undefined;
  readonly #deadlineMs: number | undefined;
  /** What fetches its blobs, and those of all images of the same registry. */
  readonly scheduler: FetchScheduler;

  private constructor(options: ImageFsOptions, pooled: readonly PooledCache[], backend: ReadCounters) {
    this.bootstrap = options.bootstrap;
    this.#observer = options.observer;
    this.#deadlineMs = options.fetchDeadlineMs;
    this.#pooled = pooled;
    this.scheduler = options.pool.scheduler(options.host);
    this.caches = pooled.map(({ cache }) => cache);
    this.#touches = new FirstTouches(this.caches.map(({ device }) => device));
    const cache = sinceNow(this.caches.map(({ counters }) => counters));
    this.#counters = {
      ...{ reads: 0, waits: 0, readBytes: 0, waitMsSum: 0, waitMsMax: 0, errors: 0, lastError: undefined, backend },
      get cache() {
        return cache();
      },
    };
  }

  /** Opens the caches of all devices; fetches no file data. The caller disposes of the result. */
  static async open(options: ImageFsOptions): Promise<ImageFs> {
    const { bootstrap, pool, directory } = options;
    const backend = newReadCounters();
    const onRead: OnRead = (seconds, bytes) => options.observer?.fetched(seconds, bytes);
    const readerOf = (blobId: string) => timed(counted(options.readerOf(blobId), backend), onRead);
    const devices = await pool.devices(bootstrap, readerOf, options.signal);
    const opening = await Promise.allSettled(
      devices.map((device) => pool.open({ directory, device, reader: readerOf(device.blobId), host: options.host })),
    );
    const pooled = opening.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const failed = opening.find((one) => one.status === 'rejected');
    if (!failed) return new ImageFs(options, pooled, backend);
    await Promise.all(pooled.map((opened) => opened[Symbol.asyncDispose]()));
    throw failed.reason;
  }

  /** A snapshot. */
  get counters(): ImageFsCounters {
    const own = this.#ownReads?.();
    if (!own) return { ...this.#counters };
    const { reads, waits, readBytes, errors } = this.#counters;
    return {
      ...this.#counters,
      reads: reads + own.reads,
      waits: waits + own.waits,
      readBytes: readBytes + own.readBytes,
      errors: errors + own.errors,
    };
  }

  /** Has the reads of a driver counted, as `source` tells them. */
  countReads(source: () => OwnReads): void {
    this.#ownReads = source;
  }

  /** Has a driver tell of the first touches of its own reads; then those that come here are not recorded. */
  recordTouches(source: () => RecordedTouches): void {
    this.#ownTouches = source;
  }

  /** First touches of chunks since the mount began, in order. */
  get touches(): RecordedTouches {
    return this.#ownTouches?.() ?? this.#touches.recorded;
  }

  /**
   * Makes bytes of a regular file present, for a driver that then reads them by itself.
   * @throws NaiadError when they cannot be had; counted as an error.
   */
  async fetch(nid: number, offset: number, size: number): Promise<void> {
    try {
      await this.#fetch(nid, offset, this.bootstrap.extents(nid, offset, size));
    } catch (error) {
      this.#failed(error);
    }
  }

  /**
   * Makes a range of a device present, for a kernel that reads devices in whole blocks and waits for this one. Counted as a
   * read that waits.
   * @throws NaiadError when it cannot be had; counted as an error.
   */
  async fetchBlocks(blobIndex: number, range: ByteRange): Promise<void> {
    const cache = this.caches[blobIndex] as ChunkCache;
    const began = performance.now();
    this.#counters.reads++;
    if (cache.isReadyAround(range)) {
      // Told of for a recording, or since it came a moment ago.
      this.#touches.ofDevice(blobIndex, range);
      this.#counters.readBytes += range.size;
      return;
    }
    this.#counters.waits++;
    try {
      const waiting = cache.ensureAround(range, { deadlineMs: this.#deadlineMs });
      this.#touches.ofDevice(blobIndex, range, waiting);
      fetchAround(cache, range);
      await waiting;
      this.#counters.readBytes += range.size;
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#stalled(performance.now() - began);
    }
  }

  /**
   * Fills `buffer` with the bytes of a regular file from `offset`, cut at its end, and returns how many.
   * Synchronous where the cache has them all, else a promise: most reads must not pay for a turn of the event loop.
   * @throws NaiadError (or rejects with one) when bytes cannot be had; the buffer's content is then undefined.
   */
  read(nid: number, offset: number, buffer: Uint8Array): number | Promise<number> {
    this.#counters.reads++;
    try {
      const extents = this.bootstrap.extents(nid, offset, buffer.length);
      const ready = extents.every((extent) => this.#cache(extent).isReady(rangeOf(extent)));
      if (ready) {
        this.#touches.ofFile({ nid, offset }, extents);
        return this.#copy(extents, buffer);
      }
      return this.#waitAndCopy(nid, offset, extents, buffer).catch((error) => this.#failed(error));
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** Per device, in blob order. Walks the chunk maps. */
  coverage(): DeviceCoverage[] {
    return this.caches.map((cache) => ({ blobId: cache.device.blobId, ...cache.coverage() }));
  }

  /** Gives its caches back; in those that nobody else has open, reads that wait end with CANCELED. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#pooled.map((cache) => cache[Symbol.asyncDispose]()));
  }

  async #waitAndCopy(nid: number, offset: number, extents: readonly Extent[], buffer: Uint8Array): Promise<number> {
    this.#counters.waits++;
    await this.#fetch(nid, offset, extents);
    return this.#copy(extents, buffer);
  }

  async #fetch(nid: number, offset: number, extents: readonly Extent[]): Promise<void> {
    const began = performance.now();
    const waiting = this.#ensure(extents).finally(() => this.#stalled(performance.now() - began));
    if (!this.#ownTouches) this.#touches.ofFile({ nid, offset }, extents, waiting);
    for (const extent of extents) fetchAround(this.#cache(extent), rangeOf(extent));
    await waiting;
  }

  #stalled(ms: number): void {
    this.#counters.waitMsSum += ms;
    this.#counters.waitMsMax = Math.max(this.#counters.waitMsMax, ms);
    this.#observer?.stalled(ms / 1000);
  }

  async #ensure(extents: readonly Extent[]): Promise<void> {
    const options = { deadlineMs: this.#deadlineMs };
    await Promise.all(extents.map((extent) => this.#cache(extent).ensure(rangeOf(extent), options)));
  }

  #copy(extents: readonly Extent[], buffer: Uint8Array): number {
    let done = 0;
    for (const extent of extents) {
      this.#cache(extent).readReady(buffer.subarray(done, done + extent.size), extent.deviceOffset);
      done += extent.size;
    }
    this.#counters.readBytes += done;
    return done;
  }

  #cache(extent: Extent): ChunkCache {
    const cache = this.caches[extent.blobIndex];
    if (!cache) throw new NaiadError('BOOTSTRAP_INVALID', `a file refers to blob ${extent.blobIndex}`);
    return cache;
  }

  #failed(error: unknown): never {
    this.#counters.errors++;
    this.#counters.lastError = error instanceof NaiadError ? `${error.code}: ${error.message}` : String(error);
    throw error;
  }
}

/** Of all devices together. */
export function totalCoverage(devices: readonly DeviceCoverage[]): { bytes: number; bytesTotal: number } {
  const sum = (of: (device: DeviceCoverage) => number) => devices.reduce((total, device) => total + of(device), 0);
  return { bytes: sum(({ bytes }) => bytes), bytesTotal: sum(({ bytesTotal }) => bytesTotal) };
}

/** What `counters` count from here on, summed: others may have counted in them before. */
function sinceNow(counters: readonly CacheCounters[]): () => CacheCounters {
  const sum = () => {
    const total = newCacheCounters();
    for (const one of counters) {
      for (const name of Object.keys(total) as (keyof CacheCounters)[]) total[name] += one[name];
    }
    return total;
  };
  const before = sum();
  return () => {
    const now = sum();
    for (const name of Object.keys(now) as (keyof CacheCounters)[]) now[name] -= before[name];
    return now;
  };
}

/** Begins to fetch what is close to a read that waits. */
function fetchAround(cache: ChunkCache, range: ByteRange): void {
  // Whoever reads there gets the error; nobody asked yet.
  cache.ensureAround(rangeAround(cache, range), { priority: 'hot' }).catch(() => undefined);
}

function rangeOf(extent: Extent): { offset: number; size: number } {
  return { offset: extent.deviceOffset, size: extent.size };
}
