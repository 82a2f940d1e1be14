// Chunks out of the blobs of an image become a blob of their own. They are fetched in the order in which they are stored, in
// few requests, and verified; then they are put in the order in which they are wanted. What can be taken over as it is stored
// is not compressed again, so that the same chunks give the same blob, whatever made them.
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
import { type CompressInto, createCompressorInto, digestOf } from '../codec/codec.ts';
import { BLOCK_SIZE } from '../format/erofs/records.ts';
import type { BlobInfo } from '../image/blob-info.ts';
import { finishBlob } from '../image/blob-writer.ts';
import { ChunkTable } from '../image/chunk-table.ts';
import type { Device } from '../image/device.ts';
import { type HotPlan, isTakenOver } from '../image/hot-blob.ts';
import { writeFully } from './layer-blob.ts';

export interface HotBlobOptions {
  readonly plan: HotPlan;
  readonly devices: readonly Device[];
  readonly readerOf: (blobId: string) => BlobReader;
  /** Where it is written; another file beside it holds the chunks meanwhile. Whoever gave it removes both. */
  readonly path: string;
  readonly signal: AbortSignal;
  /** Gets the bytes fetched so far. */
  readonly onProgress?: (state: { readonly done: number; readonly total: number }) => void;
}

export interface HotBlob {
  readonly info: BlobInfo;
  /** Chunks that were stored in a way the blob cannot hold. */
  readonly recompressed: number;
}

/** @throws NaiadError what the readers throw; CHUNK_DIGEST_MISMATCH, NO_SPACE, IO */
export async function writeHotBlob(options: HotBlobOptions): Promise<HotBlob> {
  const gatheredPath = `${options.path}-chunks`;
  await using gathered = await create(gatheredPath);
  const gather = new Gather(options, gathered, gatheredPath);
  await gather.run();
  await using file = await create(options.path);
  const info = await arrange(options, gather.stored, { from: gathered, to: file });
  return { info, recompressed: gather.recompressed };
}

/** A chunk as it is to be stored, and where it waits for that. */
interface Gathered {
  readonly at: number;
  readonly storedSize: number;
  readonly compressed: boolean;
  readonly digest: Uint8Array;
}

interface DeviceFetch extends Fetch {
  readonly device: number;
}

class Gather {
  /** By index in the hot blob. */
  readonly stored: Gathered[] = [];
  recompressed = 0;
  readonly #options: HotBlobOptions;
  readonly #file: FileHandle;
  readonly #path: string;
  readonly #compress: CompressInto;
  /** By device, of the chunks to take from there their indexes in the hot blob. */
  readonly #wanted: readonly Map<number, number>[];
  #end = 0;

  constructor(options: HotBlobOptions, file: FileHandle, path: string) {
    const { plan, devices } = options;
    this.#options = options;
    this.#file = file;
    this.#path = path;
    this.#compress = createCompressorInto(plan.compressor, { sizeMax: CHUNK_SIZE_MAX });
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

  async #keep(fetch: DeviceFetch, bytes: Uint8Array): Promise<void> {
    const device = this.#options.devices[fetch.device] as Device;
    const pieces: Uint8Array[] = [];
    for (const unit of fetch.units) {
      const start = unit.compressedOffset - fetch.offset;
      const stored = bytes.subarray(start, start + unit.compressedSize);
      const unpacked = unpackUnit(device, unit, stored);
      for (const chunk of unit.chunks) {
        const piece = this.#storedForm(fetch.device, chunk, { stored, content: chunkOf(device, chunk, unpacked) });
        pieces.push(piece);
      }
    }
    // Their places were taken one after the other, without a pause.
    const all = Buffer.concat(pieces);
    const end = this.#end;
    try {
      for (let done = 0; done < all.length; ) {
        const at = end - all.length + done;
        done += (await this.#file.write(all, done, all.length - done, at)).bytesWritten;
      }
    } catch (error) {
      throw systemError(error, `writing chunks to ${this.#path}`);
    }
  }

  /** The bytes to store of a verified chunk; their place in the file is taken. */
  #storedForm(
    from: number,
    chunk: number,
    { stored, content }: { readonly stored: Uint8Array; readonly content: Uint8Array },
  ): Uint8Array {
    const { plan, devices } = this.#options;
    const device = devices[from] as Device;
    const index = this.#wanted[from]?.get(chunk) as number;
    const digest = device.digester === plan.digester ? device.chunks.digest(chunk) : digestOf(plan.digester, content);
    let piece = stored;
    if (!isTakenOver(device, chunk, plan.compressor)) {
      // The compressor's memory is its own, and used again for the next chunk.
      piece = Uint8Array.from(this.#compress(content) ?? content);
      this.recompressed++;
    }
    const compressed = piece.length !== content.length;
    this.stored[index] = { at: this.#end, storedSize: piece.length, compressed, digest: Uint8Array.from(digest) };
    this.#end += piece.length;
    return piece;
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
    await writeFully(to, bytes, path);
    filled = 0;
  };
  for (const [index, { at, storedSize, compressed, digest }] of stored.entries()) {
    throwIfAborted(signal);
    const { device, chunk } = plan.chunks[index] as HotPlan['chunks'][number];
    const { chunks: source } = devices[device] as Device;
    const uncompressedSize = source.uncompressedSize(chunk);
    const placed = { compressedOffset: dataSize, compressedSize: storedSize, uncompressedOffset: deviceEnd };
    chunks.add({ ...placed, uncompressedSize, compressed, crc32: source.crc32(chunk) }, digest);
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
  for (const section of sections) await writeFully(to, section, path);
  return info;
}

async function create(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx+', 0o600);
  } catch (error) {
    throw systemError(error, `making ${path}`);
  }
}
