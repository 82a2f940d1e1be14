// The cached bytes of one device: makes chunks present on demand, each once however many readers wait for it.
// Order of every chunk: fetch, verify its digest, write, then set its bit.
import type { BlobReader, ByteRange } from '../backend/blob-reader.ts';
import { chunkOf, unpackAside } from '../backend/chunk-content.ts';
import type { Priority } from '../backend/fetch-counters.ts';
import { chunksOfUnit, type FetchUnit, unitsOf } from '../backend/fetch-plan.ts';
import { deadlineFailure, type FetchRequest, FetchScheduler, type FetchTarget } from '../backend/fetch-scheduler.ts';
import { short } from '../base/bytes.ts';
import { abortReason, deferred, throwIfAborted } from '../base/concurrency.ts';
import { hasCode, NaiadError } from '../base/errors.ts';
import { giveBack, SLAB_SIZE_MAX, takeSlab } from '../base/slabs.ts';
import { bitmapOffset } from '../format/cache/chunk-map.ts';
import type { Device } from '../image/device.ts';
import { type CacheCounters, newCacheCounters } from './cache-counters.ts';
import { type BlobFiles, currentBootId, type FilesOf } from './cache-files.ts';
import type { ChunkMapFile } from './chunk-map-file.ts';
import { Quarantine } from './quarantine.ts';
import type { Space } from './space.ts';
import { StoredChunks } from './stored-chunks.ts';

export interface EnsureOptions {
  /** Ends the waiting, not the load, which others may share. */
  readonly signal?: AbortSignal | undefined;
  /** Who waits; `demand` when nothing is said. A load that is under way is raised to it. */
  readonly priority?: Priority;
  /** How long a demand waits before it fails; FETCH_DEADLINE_MS when nothing is said. */
  readonly deadlineMs?: number | undefined;
}

export interface PrefetchOptions extends Pick<FetchRequest, 'priority' | 'stream'> {
  readonly signal: AbortSignal;
  /** Called for each chunk that was missing, once it is present. */
  readonly onPresent?: ((index: number) => void) | undefined;
}

type LoadOptions = FetchRequest & Pick<EnsureOptions, 'signal'>;

export interface ChunkCacheOptions {
  readonly device: Device;
  /** Of the stored blob. Retries and limits are its business. */
  readonly reader: BlobReader;
  readonly filesOf: FilesOf;
  readonly counters?: CacheCounters;
  /** Shared by all caches of a process; one of its own when there is none. */
  readonly scheduler?: FetchScheduler | undefined;
  /** Milliseconds; for tests. */
  readonly clock?: () => number;
  /** Of the directory that the files are in; where it is not given, a full disk is final. */
  readonly space?: Space | undefined;
  /** Of this boot; for tests. */
  readonly bootId?: string;
}

export class ChunkCache implements AsyncDisposable {
  readonly device: Device;
  readonly files: BlobFiles;
  readonly counters: CacheCounters;
  readonly #stored: StoredChunks;
  readonly #map: ChunkMapFile;
  readonly #loading = new Map<number, Promise<void>>();
  readonly #scheduler: FetchScheduler;
  readonly #target: FetchTarget;
  readonly #quarantine: Quarantine;
  readonly #closing = new AbortController();

  private constructor(options: ChunkCacheOptions, stored: StoredChunks) {
    this.device = options.device;
    this.counters = options.counters ?? newCacheCounters();
    this.files = stored.opened.files;
    this.#scheduler = options.scheduler ?? new FetchScheduler();
    this.#quarantine = new Quarantine(options.clock);
    this.#target = {
      reader: options.reader,
      signal: this.#closing.signal,
      publish: (unit, bytes) => this.#publishUnit(unit, bytes),
      wanted: () => this.#missingUnits(),
    };
    this.#stored = stored;
    this.#map = stored.map;
  }

  /** Opens or creates the files of the device. The caller disposes of the cache. @throws NaiadError */
  static async open(options: ChunkCacheOptions): Promise<ChunkCache> {
    const { device, filesOf, space, bootId = currentBootId() } = options;
    return new ChunkCache(options, await StoredChunks.open(device, { filesOf, bootId, space }));
  }

  /** Descriptor of the data file: bytes at device offsets, true where `isReady`. Closed by disposing. */
  get dataFd(): number {
    return this.#stored.opened.data.fd;
  }

  /** Descriptor of the chunk map, for readers that map it: see `readyBitsOffset`. Closed by disposing. */
  get mapFd(): number {
    return this.#map.fd;
  }

  /** True once it ends: nothing comes into it any more. */
  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Where the ready bits start in the chunk map: bit i % 8, lowest first, of byte i / 8 there. */
  get readyBitsOffset(): number {
    return bitmapOffset(this.device.chunks.count, 'ready');
  }

  /** Where each chunk starts on the device, ascending: a chunk reaches to the next one's start, the last one to the
   *  end of the device. A fresh array. */
  starts(): BigUint64Array<ArrayBuffer> {
    const { chunks } = this.device;
    const starts = new BigUint64Array(chunks.count);
    const words = new Uint32Array(starts.buffer); // A bigint each would be an object each.
    for (let index = 0; index < chunks.count; index++) {
      const start = chunks.uncompressedOffset(index);
      words[index * 2] = start;
      words[index * 2 + 1] = Math.floor(start / 2 ** 32);
    }
    return starts;
  }

  /** True when there is nothing to fetch for a chunk. Never waits. */
  isPresent(index: number): boolean {
    return this.#map.has(index) || !this.device.chunks.hasDigest(index);
  }

  /** True when every chunk of the range is present. Never waits. */
  isReady(range: ByteRange): boolean {
    if (range.size === 0) return true;
    const { first, last } = this.#chunksOf(range);
    for (let index = first; index <= last; index++) if (!this.#map.has(index)) return false;
    return true;
  }

  /**
   * Makes every chunk of the device range present. Joins loads that are under way. A failure is not remembered, and the
   * next call tries again; but for chunks that keep arriving wrong, which are left alone for a while.
   * @throws NaiadError CHUNK_DIGEST_MISMATCH, NO_SPACE, what the reader throws; REGISTRY_UNAVAILABLE when the time is used
   *   up; CANCELED after close.
   */
  async ensure(range: ByteRange, options: EnsureOptions = {}): Promise<void> {
    if (range.size === 0) return;
    const { first, last } = this.#chunksOf(range);
    const missing: number[] = [];
    for (let index = first; index <= last; index++) if (!this.#map.has(index)) missing.push(index);
    await this.#ensureChunks(missing, options);
  }

  /**
   * As `ensure`, for a kernel that reads the device in whole blocks: padding, and chunks that the image does not use, are
   * left as they are. Every chunk of the image that the range touches is present afterwards.
   */
  async ensureAround(range: ByteRange, options: EnsureOptions = {}): Promise<void> {
    await this.#ensureChunks(this.#missingAround(range), options);
  }

  /** True when `ensureAround` would have nothing to do. Never waits. */
  isReadyAround(range: ByteRange): boolean {
    return this.#missingAround(range).length === 0;
  }

  #missingAround(range: ByteRange): number[] {
    const { chunks: table } = this.device;
    const missing: number[] = [];
    const end = range.offset + range.size;
    for (let index = table.indexAt(range.offset) ?? 0; index < table.count; index++) {
      if (table.uncompressedOffset(index) >= end) break;
      if (!this.isPresent(index)) missing.push(index);
    }
    return missing;
  }

  /**
   * Fetches chunks, in any order, that nobody waits for yet, and resolves when they are present. Those that arrive wrong, or did
   * lately, are left to whoever reads them; returns how many. When `signal` fires, what has no request yet is not fetched.
   * @throws NaiadError as `ensure`, but for wrong chunks; CANCELED also when another who wanted the same gave it up
   */
  async prefetch(indices: readonly number[], options: PrefetchOptions): Promise<number> {
    const { signal, priority, stream, onPresent } = options;
    const missing = indices.filter((index) => !this.isPresent(index));
    const wanted = missing.filter((index) => !this.#quarantine.reasonFor(index));
    const loads = this.#load(wanted, { priority, signal, deadlineMs: this.#scheduler.deadlineMs, stream });
    for (const [at, load] of loads.entries()) load.then(() => onPresent?.(wanted[at] as number)).catch(() => undefined);
    const giveUp = () => {
      for (const index of wanted) this.#scheduler.withdraw(this.#target, index, abortReason(signal));
    };
    signal.addEventListener('abort', giveUp, { once: true });
    const results = await Promise.allSettled(loads);
    signal.removeEventListener('abort', giveUp);
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    const other = failures.find((error) => !isWrong(error));
    if (other !== undefined) throw other;
    return missing.length - wanted.length + failures.length;
  }

  async #ensureChunks(missing: readonly number[], options: EnsureOptions): Promise<void> {
    const { signal, priority = 'demand', deadlineMs = this.#scheduler.deadlineMs } = options;
    if (priority === 'demand') this.counters.misses += missing.length;
    for (const index of missing) {
      const reason = this.#quarantine.reasonFor(index);
      if (reason) throw reason;
    }
    const loads = this.#load(missing, { signal, priority, deadlineMs });
    if (loads.length === 0) return;
    await waitForAll(loads, {
      signal,
      deadlineMs: priority === 'demand' ? deadlineMs : undefined,
      late: () => {
        const index = missing.find((one) => this.#loading.has(one)) ?? 0;
        const what = `chunk ${index} of blob ${short(this.device.blobId)}`;
        return deadlineFailure(what, deadlineMs, this.#scheduler.whyNot(this.#target, index));
      },
    });
  }

  /** Joins the loads of chunks that are missing, and begins those that are not under way. */
  #load(missing: readonly number[], { signal, ...asked }: LoadOptions): Promise<void>[] {
    throwIfAborted(this.#closing.signal);
    throwIfAborted(signal);
    for (const index of missing)
      if (this.#loading.has(index)) this.#scheduler.raise(this.#target, index, asked.priority);
    const starting = missing.filter((index) => !this.#loading.has(index));
    this.#startLoading(starting, asked);
    return missing.map((index) => this.#loading.get(index) ?? Promise.resolve());
  }

  /**
   * Fetches chunks whose bytes in the cache turned out to be wrong, and writes the right ones over them. Their bits stay
   * as they are until then, so that no reader meets less than before. Returns those that are right now.
   * @throws NaiadError what the reader throws; NO_SPACE, IO
   */
  async refetch(indices: readonly number[]): Promise<number[]> {
    throwIfAborted(this.#closing.signal);
    const right: number[] = [];
    let failure: unknown;
    const wanted = indices.filter((index) => this.device.chunks.hasDigest(index));
    const asked = { priority: 'background', deadlineMs: this.#scheduler.deadlineMs } as const;
    for (const unit of unitsOf(this.device.chunks, wanted)) {
      const { promise, resolve } = deferred<unknown>();
      this.#scheduler.request(this.#target, unit, asked, resolve);
      const error = await promise;
      if (error === undefined) right.push(...unit.chunks);
      else if (!isWrong(error)) failure ??= error;
    }
    if (failure !== undefined) throw failure;
    return right;
  }

  /** Copies bytes of the device that are ready. @throws NaiadError IO. */
  readReady(buffer: Uint8Array, deviceOffset: number): void {
    this.#stored.read(buffer, deviceOffset);
  }

  /** Chunks and uncompressed bytes that are present. Walks the whole map. */
  coverage(): ReturnType<StoredChunks['coverage']> {
    return this.#stored.coverage();
  }

  /** Ends what is loading, brings what is there to disk so that it is trusted after a reboot, and closes the files. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new NaiadError('CANCELED', `the cache of blob ${short(this.device.blobId)} was closed`));
    this.#scheduler.cancel(this.#target, this.#closing.signal.reason);
    await Promise.allSettled(this.#loading.values());
    await this.#stored[Symbol.asyncDispose]();
  }

  /** First and last chunk of a range. @throws NaiadError BLOB_INVALID where no chunk has bytes for all of it. */
  #chunksOf(range: ByteRange): { first: number; last: number } {
    const { chunks: table, blobId } = this.device;
    const end = range.offset + range.size;
    const first = table.indexAt(range.offset);
    let index = first ?? 0;
    let position = range.offset;
    while (first !== undefined && index < table.count && table.uncompressedOffset(index) <= position) {
      position = table.uncompressedOffset(index) + table.uncompressedSize(index);
      if (position >= end) return { first, last: index };
      index++;
    }
    throw new NaiadError('BLOB_INVALID', `no chunk of blob ${short(blobId)} holds device bytes ${position} to ${end}`);
  }

  /** Registers a load for each of `indices` (none loading) and lets them run, in that order. */
  #startLoading(indices: readonly number[], asked: FetchRequest): void {
    if (indices.length === 0) return;
    const settle = new Map<number, { resolve: () => void; reject: (error: unknown) => void }>();
    for (const wanted of indices) {
      for (const index of chunksOfUnit(this.device.chunks, wanted)) {
        if (settle.has(index) || this.#loading.has(index) || this.#map.has(index)) continue;
        if (index !== wanted && !this.device.chunks.hasDigest(index)) continue; // Of a batch, but not of this image.
        const { promise, resolve, reject } = deferred<void>();
        promise.catch(() => undefined); // Nobody may be waiting for a neighbour in a batch.
        this.#loading.set(index, promise);
        settle.set(index, {
          resolve: () => {
            this.#loading.delete(index);
            resolve();
          },
          reject: (error) => {
            this.#loading.delete(index);
            reject(error);
          },
        });
      }
    }
    const done = (index: number, error?: unknown) => {
      const handles = settle.get(index);
      settle.delete(index);
      if (error === undefined) handles?.resolve();
      else handles?.reject(error);
    };
    this.#request([...settle.keys()], asked, done).catch((error) => {
      for (const index of [...settle.keys()]) done(index, error);
    });
  }

  async #request(indices: readonly number[], asked: FetchRequest, done: Done): Promise<void> {
    // Another process may have been faster.
    const [first, last] = indices.reduce(
      ([low, high], index) => [Math.min(low, index), Math.max(high, index)],
      [Number.POSITIVE_INFINITY, 0],
    );
    this.#map.refresh(first, last);
    const toFetch: number[] = [];
    for (const index of indices) {
      if (this.#map.has(index)) done(index);
      else if (this.#map.isSuspect(index) && (await this.#stored.reverify(index))) {
        this.counters.reverifiedChunks++;
        done(index);
      } else toFetch.push(index);
    }
    const units = new Map<number, FetchUnit>();
    for (const unit of unitsOf(this.device.chunks, toFetch)) for (const index of unit.chunks) units.set(index, unit);
    for (const unit of new Set(toFetch.map((index) => units.get(index) as FetchUnit))) {
      this.#scheduler.request(this.#target, unit, asked, (error) => {
        for (const index of unit.chunks) {
          // Of a batch, some chunks can be right and others wrong.
          if (error === undefined || this.#map.has(index)) done(index);
          else this.#fail(index, error, done);
        }
      });
    }
  }

  #fail(index: number, error: unknown, done: Done): void {
    if (isWrong(error)) {
      this.#quarantine.add(index, error);
      this.counters.quarantines++;
    }
    done(index, error);
  }

  /** What a blob that comes whole may bring, ascending. */
  #missingUnits(): FetchUnit[] {
    const { chunks, size } = this.device;
    return unitsOf(chunks, this.#missingAround({ offset: 0, size }));
  }

  /** Verifies and publishes the chunks of a unit. @throws NaiadError of the first that is wrong, after the others */
  async #publishUnit(unit: FetchUnit, stored: Uint8Array): Promise<void> {
    const room = unit.uncompressedSize > SLAB_SIZE_MAX ? undefined : takeSlab(unit.uncompressedSize);
    try {
      await this.#publishChunks(unit, stored, room);
    } finally {
      if (room) giveBack(room.buffer);
    }
  }

  async #publishChunks(unit: FetchUnit, stored: Uint8Array, room: Uint8Array | undefined): Promise<void> {
    let whole: Uint8Array | undefined;
    let wrong: NaiadError | undefined;
    for (const index of unit.chunks) {
      try {
        whole ??= await unpackAside(this.device, unit, stored, room);
        const chunk = chunkOf(this.device, index, whole);
        await this.#stored.publish(index, chunk);
        this.#quarantine.release(index);
        this.counters.fetchedChunks++;
        this.counters.fetchedChunkBytes += chunk.length;
      } catch (error) {
        if (!isWrong(error)) throw error;
        this.counters.badChunks++;
        wrong ??= error;
      }
    }
    if (wrong) throw wrong;
  }
}

type Done = (index: number, error?: unknown) => void;

/** True when a chunk came, and is not the one that was asked for. */
function isWrong(error: unknown): error is NaiadError {
  return hasCode(error, 'CHUNK_DIGEST_MISMATCH', 'CHUNK_INVALID');
}

/** Waits for all, so that a failure of one chunk does not leave the others unwatched; throws the first failure. */
async function waitForAll(
  loads: readonly Promise<void>[],
  { signal, deadlineMs, late }: Pick<EnsureOptions, 'signal' | 'deadlineMs'> & { readonly late: () => NaiadError },
): Promise<void> {
  const all = Promise.allSettled(loads).then((results) => {
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  });
  const ended = deferred<void>();
  const onAbort = () => ended.resolve();
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer = deadlineMs === undefined ? undefined : setTimeout(() => ended.reject(late()), deadlineMs);
  try {
    await Promise.race([all, ended.promise]);
    throwIfAborted(signal);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    all.catch(() => undefined);
  }
}
