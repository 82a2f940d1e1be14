// What a file's bytes are: bootstrap, devices and caches. How the kernel asks for them is the drivers' business.

import type { BlobReader } from '../backend/blob-reader.ts';
import { counted, newReadCounters, type ReadCounters } from '../backend/counted.ts';
import { openDevices } from '../backend/devices.ts';
import { limited } from '../backend/limited.ts';
import { Lanes } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { FETCHES_IN_FLIGHT_MAX } from '../base/limits.ts';
import type { FilesOf } from '../cache/cache-files.ts';
import { type CacheCounters, ChunkCache, newCacheCounters } from '../cache/chunk-cache.ts';
import type { Space } from '../cache/space.ts';
import type { Bootstrap, Extent } from '../image/bootstrap-reader.ts';
import { ReadAhead } from './read-ahead.ts';

export interface ImageFsOptions {
  readonly bootstrap: Bootstrap;
  readonly readerOf: (blobId: string) => BlobReader;
  readonly filesOf: FilesOf;
  readonly space?: Space | undefined;
  readonly signal?: AbortSignal;
}

/** What a mount did since it began. */
export interface ImageFsCounters {
  /** Reads of files, those of them that had to wait for a fetch, and the bytes given. */
  reads: number;
  waits: number;
  readBytes: number;
  /** Reads that ended in an error, and the last one's message. */
  errors: number;
  lastError: string | undefined;
  readonly backend: ReadCounters;
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
  readonly #readAhead: ReadAhead;

  private constructor(bootstrap: Bootstrap, caches: readonly ChunkCache[], counters: ImageFsCounters) {
    this.bootstrap = bootstrap;
    this.caches = caches;
    this.#counters = counters;
    this.#readAhead = new ReadAhead(bootstrap.chunkSize);
  }

  /** Opens the caches of all devices; fetches no file data. The caller disposes of the result. */
  static async open(options: ImageFsOptions): Promise<ImageFs> {
    const { bootstrap, filesOf, space } = options;
    const backend = newReadCounters();
    const cache = newCacheCounters();
    const lanes = new Lanes(FETCHES_IN_FLIGHT_MAX);
    const readerOf = (blobId: string) => limited(counted(options.readerOf(blobId), backend), lanes);
    const caches: ChunkCache[] = [];
    try {
      for (const device of await openDevices(bootstrap, readerOf, options.signal)) {
        const reader = readerOf(device.blobId);
        caches.push(await ChunkCache.open({ device, reader, filesOf, counters: cache, space }));
      }
    } catch (error) {
      await Promise.all(caches.map((opened) => opened[Symbol.asyncDispose]()));
      throw error;
    }
    const counters = { reads: 0, waits: 0, readBytes: 0, errors: 0, lastError: undefined, backend, cache };
    return new ImageFs(bootstrap, caches, counters);
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

  /**
   * Makes bytes of a regular file present, for a driver that then reads them by itself.
   * @throws NaiadError when they cannot be had; counted as an error.
   */
  async fetch(nid: number, offset: number, size: number): Promise<void> {
    try {
      await this.#fetch(nid, offset, size, this.bootstrap.extents(nid, offset, size));
    } catch (error) {
      this.#failed(error);
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
      if (extents.every((extent) => this.#cache(extent).isReady(rangeOf(extent)))) return this.#copy(extents, buffer);
      return this.#waitAndCopy(nid, offset, extents, buffer).catch((error) => this.#failed(error));
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** Per device, in blob order. Walks the chunk maps. */
  coverage(): DeviceCoverage[] {
    return this.caches.map((cache) => ({ blobId: cache.device.blobId, ...cache.coverage() }));
  }

  /** Reads that wait end with CANCELED. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.caches.map((cache) => cache[Symbol.asyncDispose]()));
  }

  async #waitAndCopy(nid: number, offset: number, extents: readonly Extent[], buffer: Uint8Array): Promise<number> {
    this.#counters.waits++;
    await this.#fetch(nid, offset, buffer.length, extents);
    return this.#copy(extents, buffer);
  }

  async #fetch(nid: number, offset: number, size: number, extents: readonly Extent[]): Promise<void> {
    const ahead = this.#readAhead.afterMiss(nid, offset, size);
    const waiting = this.#ensure(extents);
    // Whoever reads there gets the error; nobody asked yet.
    if (ahead > 0) this.#ensureFile(nid, offset + size, ahead).catch(() => undefined);
    await waiting;
  }

  async #ensureFile(nid: number, offset: number, size: number): Promise<void> {
    await this.#ensure(this.bootstrap.extents(nid, offset, size));
  }

  async #ensure(extents: readonly Extent[]): Promise<void> {
    await Promise.all(extents.map((extent) => this.#cache(extent).ensure(rangeOf(extent))));
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

function rangeOf(extent: Extent): { offset: number; size: number } {
  return { offset: extent.deviceOffset, size: extent.size };
}
