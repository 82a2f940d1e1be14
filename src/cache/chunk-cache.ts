// The cached bytes of one device: makes chunks present on demand, each once however many readers wait for it.
// Order of every chunk: fetch, verify its digest, write, then set its bit. Nobody reads a byte whose bit is not set.
import { readSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { BlobReader, ByteRange } from '../backend/blob-reader.ts';
import { chunkOf, unpackUnit, verifyChunk } from '../backend/chunk-content.ts';
import { chunksOfUnit, type Fetch, type FetchUnit, planFetches } from '../backend/fetch-plan.ts';
import { assert } from '../base/assert.ts';
import { short } from '../base/bytes.ts';
import { deferred, throwIfAborted } from '../base/concurrency.ts';
import { hasCode, NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { bitmapOffset } from '../format/cache/chunk-map.ts';
import type { Device } from '../image/device.ts';
import { type BlobFiles, CACHE_HINT, currentBootId, type FilesOf, openCacheFiles } from './cache-files.ts';
import type { ChunkMapFile } from './chunk-map-file.ts';
import { isVerifiable } from './claims.ts';
import type { Space } from './space.ts';

/** What a cache did since it was opened. Several caches may share one. */
export interface CacheCounters {
  /** Chunks that a reader had to wait for, for whatever reason. */
  misses: number;
  /** Chunks fetched and published, and their uncompressed bytes. */
  fetchedChunks: number;
  fetchedChunkBytes: number;
  /** Chunks of an earlier boot that still had their digest. */
  reverifiedChunks: number;
  /** Chunks that arrived wrong, each time they did. */
  badChunks: number;
}

export function newCacheCounters(): CacheCounters {
  return { misses: 0, fetchedChunks: 0, fetchedChunkBytes: 0, reverifiedChunks: 0, badChunks: 0 };
}

export interface ChunkCacheOptions {
  readonly device: Device;
  /** Of the stored blob. Retries and limits are its business. */
  readonly reader: BlobReader;
  readonly filesOf: FilesOf;
  readonly counters?: CacheCounters;
  /** Of the directory that the files are in; where it is not given, a full disk is final. */
  readonly space?: Space | undefined;
  /** Of this boot; for tests. */
  readonly bootId?: string;
}

export class ChunkCache implements AsyncDisposable {
  readonly device: Device;
  readonly files: BlobFiles;
  readonly counters: CacheCounters;
  readonly #reader: BlobReader;
  readonly #data: FileHandle;
  readonly #map: ChunkMapFile;
  readonly #loading = new Map<number, Promise<void>>();
  readonly #space: Space | undefined;
  readonly #closing = new AbortController();

  private constructor(options: ChunkCacheOptions, opened: { files: BlobFiles; data: FileHandle; map: ChunkMapFile }) {
    this.device = options.device;
    this.counters = options.counters ?? newCacheCounters();
    this.files = opened.files;
    this.#reader = options.reader;
    this.#space = options.space;
    this.#data = opened.data;
    this.#map = opened.map;
  }

  /** Opens or creates the files of the device. The caller disposes of the cache. @throws NaiadError */
  static async open(options: ChunkCacheOptions): Promise<ChunkCache> {
    const bootId = options.bootId ?? currentBootId();
    const { device, filesOf, space } = options;
    try {
      return new ChunkCache(options, await openCacheFiles(device, filesOf, bootId));
    } catch (error) {
      if (!hasCode(error, 'NO_SPACE') || !(await space?.makeRoom(0))) throw error;
      return new ChunkCache(options, await openCacheFiles(device, filesOf, bootId));
    }
  }

  /** Descriptor of the data file: bytes at device offsets, true where `isReady`. Closed by disposing. */
  get dataFd(): number {
    return this.#data.fd;
  }

  /** Descriptor of the chunk map, for readers that map it: see `readyBitsOffset`. Closed by disposing. */
  get mapFd(): number {
    return this.#map.fd;
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
    for (let index = 0; index < chunks.count; index++) starts[index] = BigInt(chunks.uncompressedOffset(index));
    return starts;
  }

  /** True when every chunk of the range is present. Never waits. */
  isReady(range: ByteRange): boolean {
    if (range.size === 0) return true;
    const { first, last } = this.#chunksOf(range);
    for (let index = first; index <= last; index++) if (!this.#map.has(index)) return false;
    return true;
  }

  /**
   * Makes every chunk of the device range present. Joins loads that are under way; an aborted `signal` ends the waiting,
   * not the load, which others may share. A failure is not remembered: the next call tries again.
   * @throws NaiadError CHUNK_DIGEST_MISMATCH, NO_SPACE, what the reader throws; CANCELED after close.
   */
  async ensure(range: ByteRange, signal?: AbortSignal): Promise<void> {
    if (range.size === 0) return;
    const { first, last } = this.#chunksOf(range);
    const missing: number[] = [];
    for (let index = first; index <= last; index++) if (!this.#map.has(index)) missing.push(index);
    await this.#ensureChunks(missing, signal);
  }

  /**
   * As `ensure`, for a kernel that reads the device in whole blocks: padding, and chunks that the image does not use, are
   * left as they are. Every chunk of the image that the range touches is present afterwards.
   */
  async ensureAround(range: ByteRange, signal?: AbortSignal): Promise<void> {
    const { chunks: table } = this.device;
    const missing: number[] = [];
    const end = range.offset + range.size;
    for (let index = table.indexAt(range.offset) ?? 0; index < table.count; index++) {
      if (table.uncompressedOffset(index) >= end) break;
      if (isVerifiable(table, index) && !this.#map.has(index)) missing.push(index);
    }
    await this.#ensureChunks(missing, signal);
  }

  async #ensureChunks(missing: readonly number[], signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(this.#closing.signal);
    throwIfAborted(signal);
    if (missing.length === 0) return;
    this.counters.misses += missing.length;
    this.#startLoading(missing.filter((index) => !this.#loading.has(index)));
    await waitForAll(
      missing.map((index) => this.#loading.get(index) ?? Promise.resolve()),
      signal,
    );
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
    const wanted = indices.filter((index) => isVerifiable(this.device.chunks, index));
    for (const fetch of planFetches(this.device.chunks, wanted)) {
      await this.#fetch(fetch, (index, error) => {
        if (error === undefined) right.push(index);
        else if (!hasCode(error, 'CHUNK_DIGEST_MISMATCH', 'CHUNK_INVALID')) failure ??= error;
      });
    }
    if (failure !== undefined) throw failure;
    return right;
  }

  /** Copies bytes of the device that are ready. @throws NaiadError IO. */
  readReady(buffer: Uint8Array, deviceOffset: number): void {
    let done = 0;
    while (done < buffer.length) {
      let count: number;
      try {
        count = readSync(this.#data.fd, buffer, done, buffer.length - done, deviceOffset + done);
      } catch (error) {
        throw systemError(error, `cache file ${this.files.data}`, CACHE_HINT);
      }
      if (count === 0) throw new NaiadError('CACHE_INVALID', `${this.files.data} ends at ${deviceOffset + done}`);
      done += count;
    }
  }

  /** Chunks and uncompressed bytes that are present. Walks the whole map. */
  coverage(): { chunks: number; bytes: number; chunksTotal: number; bytesTotal: number } {
    const { chunks: table } = this.device;
    const sum = { chunks: 0, bytes: 0, chunksTotal: table.count, bytesTotal: 0 };
    if (table.count > 0) this.#map.refresh(0, table.count - 1);
    for (let index = 0; index < table.count; index++) {
      const size = table.uncompressedSize(index);
      sum.bytesTotal += size;
      if (!this.#map.has(index)) continue;
      sum.chunks++;
      sum.bytes += size;
    }
    return sum;
  }

  /** Ends what is loading, brings what is there to disk so that it is trusted after a reboot, and closes the files. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new NaiadError('CANCELED', `the cache of blob ${short(this.device.blobId)} was closed`));
    await Promise.allSettled(this.#loading.values());
    try {
      await this.#map.makeDurable(() => this.#data.datasync());
      this.#map.touch();
    } finally {
      this.#map[Symbol.dispose]();
      await this.#data.close();
    }
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

  /** Registers a load for each of `indices` (ascending, none loading) and lets them run. */
  #startLoading(indices: readonly number[]): void {
    if (indices.length === 0) return;
    const settle = new Map<number, { resolve: () => void; reject: (error: unknown) => void }>();
    for (const asked of indices) {
      for (const index of chunksOfUnit(this.device.chunks, asked)) {
        if (settle.has(index) || this.#loading.has(index) || this.#map.has(index)) continue;
        if (index !== asked && !isVerifiable(this.device.chunks, index)) continue; // Of a batch, but not of this image.
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
    this.#load(
      [...settle.keys()].sort((a, b) => a - b),
      done,
    ).then(
      () => assert(settle.size === 0, 'every load ends'),
      (error) => {
        for (const index of [...settle.keys()]) done(index, error);
      },
    );
  }

  async #load(indices: readonly number[], done: (index: number, error?: unknown) => void): Promise<void> {
    this.#map.refresh(indices[0] as number, indices.at(-1) as number); // Another process may have been faster.
    const toFetch: number[] = [];
    for (const index of indices) {
      if (this.#map.has(index) || (this.#map.isSuspect(index) && (await this.#reverify(index)))) done(index);
      else toFetch.push(index);
    }
    await Promise.all(planFetches(this.device.chunks, toFetch).map((fetch) => this.#fetch(fetch, done)));
  }

  async #fetch(fetch: Fetch, done: (index: number, error?: unknown) => void): Promise<void> {
    let bytes: Uint8Array;
    try {
      bytes = await this.#readStored(fetch);
    } catch (error) {
      for (const unit of fetch.units) for (const index of unit.chunks) done(index, error);
      return;
    }
    for (const unit of fetch.units) {
      const at = unit.compressedOffset - fetch.offset;
      await this.#publishUnit(unit, bytes.subarray(at, at + unit.compressedSize), done);
    }
  }

  /** Publishes the chunks of a unit; those that are wrong are fetched once more, alone. */
  async #publishUnit(
    unit: FetchUnit,
    stored: Uint8Array,
    done: (index: number, error?: unknown) => void,
  ): Promise<void> {
    let pending = await this.#publishGood(unit, stored, done);
    if (pending.length === 0) return;
    try {
      const range = { offset: unit.compressedOffset, size: unit.compressedSize };
      pending = await this.#publishGood(
        { ...unit, chunks: pending.map(({ index }) => index) },
        await this.#readStored(range),
        done,
      );
      for (const { index, error } of pending) done(index, error);
    } catch (error) {
      for (const { index } of pending) done(index, error);
    }
  }

  /** Verifies and publishes what is right in `stored`, and returns the rest. */
  async #publishGood(
    unit: FetchUnit,
    stored: Uint8Array,
    done: (index: number, error?: unknown) => void,
  ): Promise<{ index: number; error: NaiadError }[]> {
    const bad: { index: number; error: NaiadError }[] = [];
    let whole: Uint8Array | undefined;
    for (const index of unit.chunks) {
      try {
        whole ??= unpackUnit(this.device, unit, stored);
        const chunk = chunkOf(this.device, index, whole);
        await this.#publish(index, chunk);
        this.counters.fetchedChunks++;
        this.counters.fetchedChunkBytes += chunk.length;
        done(index);
      } catch (error) {
        if (hasCode(error, 'CHUNK_DIGEST_MISMATCH', 'CHUNK_INVALID')) {
          this.counters.badChunks++;
          bad.push({ index, error });
        } else done(index, error);
      }
    }
    return bad;
  }

  async #publish(index: number, chunk: Uint8Array): Promise<void> {
    try {
      await this.#write(index, chunk);
    } catch (error) {
      if (!hasCode(error, 'NO_SPACE') || !(await this.#space?.makeRoom(chunk.length))) throw error;
      await this.#write(index, chunk);
    }
    this.#space?.wrote(chunk.length);
  }

  async #write(index: number, chunk: Uint8Array): Promise<void> {
    try {
      await writeFully(this.#data, chunk, this.device.chunks.uncompressedOffset(index));
      this.#map.add(index); // Last: the bit promises that the bytes are there.
    } catch (error) {
      throw systemError(error, `cache file ${this.files.data}`, CACHE_HINT);
    }
  }

  /** True when a chunk written before a reboot still has its digest. */
  async #reverify(index: number): Promise<boolean> {
    const { chunks: table } = this.device;
    const chunk = new Uint8Array(table.uncompressedSize(index));
    let done = 0;
    while (done < chunk.length) {
      const position = table.uncompressedOffset(index) + done;
      const { bytesRead } = await this.#data.read(chunk, done, chunk.length - done, position);
      if (bytesRead === 0) return false;
      done += bytesRead;
    }
    try {
      verifyChunk(this.device, index, chunk);
    } catch (error) {
      if (hasCode(error, 'CHUNK_DIGEST_MISMATCH')) return false;
      throw error;
    }
    this.#map.add(index);
    this.counters.reverifiedChunks++;
    return true;
  }

  async #readStored(range: ByteRange): Promise<Uint8Array> {
    const bytes = await this.#reader.readAt({ offset: range.offset, size: range.size }, this.#closing.signal);
    if (bytes.length === range.size) return bytes;
    throw new NaiadError(
      'SIZE_MISMATCH',
      `${this.#reader.name}: ${bytes.length} bytes at ${range.offset}, expected ${range.size}`,
    );
  }
}

/** Waits for all, so that a failure of one chunk does not leave the others unwatched; throws the first failure. */
async function waitForAll(loads: readonly Promise<void>[], signal: AbortSignal | undefined): Promise<void> {
  const all = Promise.allSettled(loads).then((results) => {
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  });
  if (!signal) return await all;
  const aborted = deferred<void>();
  const onAbort = () => aborted.resolve();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([all, aborted.promise]);
    throwIfAborted(signal);
  } finally {
    signal.removeEventListener('abort', onAbort);
    all.catch(() => undefined);
  }
}

async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
