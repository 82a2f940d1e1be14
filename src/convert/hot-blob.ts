// Chunks out of the blobs of an image become a blob of their own. They are fetched in the order in which they are stored, in
// few requests, verified, and compressed as far as it goes: every start waits for these bytes, and they are few. Then they are
// put in the order in which they are wanted. The same chunks give the same blob, however they were stored before.
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import type { BlobReader } from '../backend/blob-reader.ts';
import { chunkOf, unpackUnit } from '../backend/chunk-content.ts';
import { type Fetch, planFetches } from '../backend/fetch-plan.ts';
import { assert } from '../base/assert.ts';
import { forEachBounded, throwIfAborted } from '../base/concurrency.ts';
import { CHUNK_SIZE_MAX, FETCHES_IN_FLIGHT_MAX } from '../base/limits.ts';
import { systemError } from '../base/system-error.ts';
import { alignUp } from '../base/units.ts';
import { writeFully } from '../base/write-fully.ts';
import { digestOf } from '../codec/codec.ts';
import { BLOCK_SIZE } from '../format/erofs/records.ts';
import type { BlobInfo } from '../image/blob-info.ts';
import { finishBlob } from '../image/blob-writer.ts';
import { ChunkTable } from '../image/chunk-table.ts';
import type { Device } from '../image/device.ts';
import type { HotPlan } from '../image/hot-blob.ts';
import { writeBlob } from './blob-file.ts';
import { CompressPool, type Slot } from './compress-pool.ts';
import { poolOptions } from './options.ts';

export interface HotBlobOptions {
  readonly plan: HotPlan;
  readonly devices: readonly Device[];
  readonly readerOf: (blobId: string) => BlobReader;
  /** Of zstd; `HOT_LEVEL_DEFAULT` when left out. */
  readonly level?: number | undefined;
  /** Where it is written; another file beside it holds the chunks meanwhile. Whoever gave it removes both. */
  readonly path: string;
  readonly signal: AbortSignal;
  /** Gets the bytes fetched so far. */
  readonly onProgress?: (state: { readonly done: number; readonly total: number }) => void;
}

/**
 * Measured on what Flask, SQLAlchemy and requests read at their start, 38.0 MB: 14.92 MB at level 3, 14.17 at 6, 13.73 at 15,
 * 12.82 at 19 and at 22. Level 19 takes 0.3 s of CPU for a megabyte, once; decompressing takes the same time for all.
 */
const HOT_LEVEL_DEFAULT = 19;

/** @throws NaiadError what the readers throw; CHUNK_DIGEST_MISMATCH, NO_SPACE, IO */
export async function writeHotBlob(options: HotBlobOptions): Promise<BlobInfo> {
  const gatheredPath = `${options.path}-chunks`;
  await using gathered = await create(gatheredPath);
  const stored = await gather(options, gathered, gatheredPath);
  await using file = await create(options.path);
  return await arrange(options, stored, { from: gathered, to: file });
}

async function gather(options: HotBlobOptions, file: FileHandle, path: string): Promise<readonly Gathered[]> {
  const { plan, devices, level = HOT_LEVEL_DEFAULT } = options;
  const { compressor } = plan;
  const sizes = plan.chunks.map(({ device, chunk }) => (devices[device] as Device).chunks.uncompressedSize(chunk));
  const chunkSize = Math.max(...sizes);
  await using pool = new CompressPool(
    poolOptions({
      compressor,
      level: compressor === 'zstd' ? level : undefined,
      chunkSize,
      jobs: FETCHES_IN_FLIGHT_MAX,
    }),
  );
  const all = new Gather(options, { pool, file, path });
  await all.run();
  return all.stored;
}

/** A chunk as it is to be stored, and where it waits for that. */
interface Gathered {
  readonly at: number;
  readonly storedSize: number;
  /** CRC-32C of the chunk. */
  readonly crc32: number;
  readonly digest: Uint8Array;
}

interface DeviceFetch extends Fetch {
  readonly device: number;
}

/** Where chunks go on their way. */
interface GatherInto {
  readonly pool: CompressPool;
  readonly file: FileHandle;
  readonly path: string;
}

class Gather {
  /** By index in the hot blob. */
  readonly stored: Gathered[] = [];
  readonly #options: HotBlobOptions;
  readonly #into: GatherInto;
  /** By device, of the chunks to take from there their indexes in the hot blob. */
  readonly #wanted: readonly Map<number, number>[];
  #end = 0;

  constructor(options: HotBlobOptions, into: GatherInto) {
    const { plan, devices } = options;
    this.#options = options;
    this.#into = into;
    this.#wanted = devices.map(() => new Map());
    for (const [index, { device, chunk }] of plan.chunks.entries()) this.#wanted[device]?.set(chunk, index);
  }

  async run(): Promise<void> {
    const { devices, readerOf, signal, onProgress } = this.#options;
    const fetches = this.#wanted.flatMap((wanted, device) => {
      const ascending = [...wanted.keys()].sort((a, b) => a - b);
      const plan = planFetches((devices[device] as Device).chunks, ascending);
      return plan.map((fetch): DeviceFetch => ({ ...fetch, device }));
    });
    const total = fetches.reduce((sum, { size }) => sum + size, 0);
    let done = 0;
    await forEachBounded(fetches, { inFlightMax: FETCHES_IN_FLIGHT_MAX, signal }, async (fetch, own) => {
      const { blobId } = devices[fetch.device] as Device;
      const bytes = await readerOf(blobId).readAt({ offset: fetch.offset, size: fetch.size }, own);
      throwIfAborted(own);
      await this.#keep(fetch, bytes);
      done += fetch.size;
      onProgress?.({ done, total });
    });
  }

  /** Verifies the chunks of a fetch and keeps them, as many at once as a slot holds. */
  async #keep(fetch: DeviceFetch, bytes: Uint8Array): Promise<void> {
    const device = this.#options.devices[fetch.device] as Device;
    let slot: Slot | undefined;
    let members: number[] = [];
    try {
      for (const unit of fetch.units) {
        const start = unit.compressedOffset - fetch.offset;
        const unpacked = unpackUnit(device, unit, bytes.subarray(start, start + unit.compressedSize));
        for (const chunk of unit.chunks) {
          const content = chunkOf(device, chunk, unpacked);
          if (slot && !slot.fits(content.length)) {
            await this.#store(slot, members);
            this.#into.pool.release(slot);
            [slot, members] = [undefined, []];
          }
          slot ??= await this.#into.pool.acquire();
          slot.room(content.length).set(content);
          slot.add(content.length);
          members.push(this.#place(fetch.device, chunk, content));
        }
      }
      if (slot) await this.#store(slot, members);
    } finally {
      if (slot) this.#into.pool.release(slot);
    }
  }

  /** The chunk's index in the hot blob; its digest is noted. */
  #place(from: number, chunk: number, content: Uint8Array): number {
    const { plan, devices } = this.#options;
    const device = devices[from] as Device;
    const index = this.#wanted[from]?.get(chunk) as number;
    const digest = device.digester === plan.digester ? device.chunks.digest(chunk) : digestOf(plan.digester, content);
    this.stored[index] = { at: 0, storedSize: 0, crc32: 0, digest: Uint8Array.from(digest) };
    return index;
  }

  /** Compresses the chunks of a slot and writes them behind those that were there. */
  async #store(slot: Slot, members: readonly number[]): Promise<void> {
    const { pool, file, path } = this.#into;
    await pool.compress(slot);
    const { bytes, storedSizes, crcs } = slot;
    const start = this.#end;
    for (const [i, index] of members.entries()) {
      const [storedSize, crc32] = [storedSizes[i] as number, crcs[i] as number];
      this.stored[index] = { ...(this.stored[index] as Gathered), at: this.#end, storedSize, crc32 };
      this.#end += storedSize;
    }
    const size = this.#end - start;
    try {
      await writeFully(file, bytes.subarray(0, size), start);
    } catch (error) {
      throw systemError(error, `writing chunks to ${path}`);
    }
  }
}

/** Bytes copied at once: a chunk fits. */
const COPY_SIZE = CHUNK_SIZE_MAX;

async function arrange(
  { plan, devices, path, signal }: HotBlobOptions,
  stored: readonly Gathered[],
  { from, to }: { readonly from: FileHandle; readonly to: FileHandle },
): Promise<BlobInfo> {
  const hash = createHash('sha256');
  const chunks = new ChunkTable();
  const copy = Buffer.allocUnsafe(COPY_SIZE);
  let [filled, dataSize, deviceEnd] = [0, 0, 0];
  const flush = async () => {
    const bytes = copy.subarray(0, filled);
    hash.update(bytes);
    await writeBlob(to, bytes, { path, position: null });
    filled = 0;
  };
  for (const [index, { at, storedSize, crc32, digest }] of stored.entries()) {
    throwIfAborted(signal);
    const { device, chunk } = plan.chunks[index] as HotPlan['chunks'][number];
    const { chunks: source } = devices[device] as Device;
    const uncompressedSize = source.uncompressedSize(chunk);
    const placed = { compressedOffset: dataSize, compressedSize: storedSize, uncompressedOffset: deviceEnd };
    chunks.add({ ...placed, uncompressedSize, compressed: storedSize !== uncompressedSize, crc32 }, digest);
    deviceEnd = alignUp(deviceEnd + uncompressedSize, BLOCK_SIZE);
    dataSize += storedSize;
    if (filled + storedSize > copy.length) await flush();
    const { bytesRead } = await from.read(copy, filled, storedSize, at);
    assert(bytesRead === storedSize, 'what was written can be read');
    filled += storedSize;
  }
  await flush();
  const { compressor, digester } = plan;
  const { sections, info } = finishBlob({ chunks, compressor, digester, dataSize, hash });
  for (const section of sections) await writeBlob(to, section, { path, position: null });
  return info;
}

async function create(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx+', 0o600);
  } catch (error) {
    throw systemError(error, `making ${path}`);
  }
}
