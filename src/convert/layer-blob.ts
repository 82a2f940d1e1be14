// The chunks of one layer become its blob: files are cut, chunks digested and looked up on this thread, new ones compressed
// by the pool, and written in the order they were cut, so that the blob depends on the layer and the options alone.
import { assert } from '../base/assert.ts';
import { NaiadError } from '../base/errors.ts';
import {
  BLOB_COMPRESSED_SIZE_MAX,
  BLOB_UNCOMPRESSED_SIZE_MAX,
  CHUNK_REFS_PER_LAYER_MAX,
  CHUNKS_PER_BLOB_MAX,
} from '../base/limits.ts';
import type { PagePool } from '../base/page-pool.ts';
import { alignUp } from '../base/units.ts';
import { isZeroPiece } from '../base/zeros.ts';
import { ChunkIndex } from '../chunk/chunk-index.ts';
import { digestOf } from '../codec/codec.ts';
import { BLOCK_SIZE } from '../format/erofs/records.ts';
import type { CompressorName, DigesterName } from '../format/rafs/algorithms.ts';
import type { BlobInfo } from '../image/blob-info.ts';
import { finishBlob } from '../image/blob-writer.ts';
import { ChunkTable } from '../image/chunk-table.ts';
import { type ChunkRef, chunkRef } from '../image/tree.ts';
import { createStreamHash } from '../native/stream-hash.ts';
import { BlobFile } from './blob-file.ts';
import type { CompressPool, Slot } from './compress-pool.ts';
import type { Meter } from './meter.ts';

export interface LayerBlobOptions {
  readonly pool: CompressPool;
  /** Where the blob is written; must not exist. Whoever gave it removes it. */
  readonly path: string;
  /** Whether it will be synced to disk before anybody reads it. */
  readonly durable?: boolean | undefined;
  /** Blob index of the chunk references handed out. */
  readonly blobIndex: number;
  readonly chunkSize: number;
  readonly compressor: CompressorName;
  readonly digester: DigesterName;
  readonly meter: Meter;
  /** For the table of its chunks, which is as good as the pool is; undefined for memory without a bound. */
  readonly memory?: PagePool | undefined;
}

export class LayerBlob implements AsyncDisposable {
  /** Chunks cut, those that the blob had already included; and their bytes. */
  chunksSeen = 0;
  bytesSeen = 0;

  readonly #options: LayerBlobOptions;
  readonly #chunks: ChunkTable;
  readonly #index: ChunkIndex;
  readonly #hash = createStreamHash();
  readonly #file: BlobFile;
  #deviceEnd = 0;
  /** The chunk of zeros alone, once a hole had one. */
  #hole: ChunkRef | undefined;
  #dataSize = 0;
  /** The slot that is being filled, and the chunk index of its first chunk. */
  #slot: Slot | undefined;
  #slotFirst = 0;
  /** Settles when everything submitted so far is written. */
  #written: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;

  private constructor(options: LayerBlobOptions, file: BlobFile) {
    this.#options = options;
    this.#file = file;
    const chunks = new ChunkTable(options.memory);
    this.#chunks = chunks;
    this.#index = new ChunkIndex(
      {
        hasContent: (index, digest, size) =>
          chunks.uncompressedSize(index) === size && Buffer.compare(chunks.digest(index), digest) === 0,
        digest: (index) => chunks.digest(index),
      },
      options.memory,
    );
  }

  static async create(options: LayerBlobOptions): Promise<LayerBlob> {
    return new LayerBlob(options, await BlobFile.create(options.path, options.durable ?? false));
  }

  /** Cuts the `size` bytes of `body` into chunks and returns one reference each. */
  async addFile(size: number, body: AsyncIterable<Uint8Array>): Promise<ChunkRef[]> {
    const { chunkSize } = this.#options;
    const count = Math.ceil(size / chunkSize);
    if (this.chunksSeen + count > CHUNK_REFS_PER_LAYER_MAX)
      throw tooMany(`${CHUNK_REFS_PER_LAYER_MAX} chunks of files`);
    // Of its final length from the start: grown by push, an array for one chunk would hold room for seventeen.
    const refs = new Array<ChunkRef>(count);
    let cut = 0;
    let left = size;
    let partial: { readonly slot: Slot; readonly room: Uint8Array; filled: number } | undefined;
    for await (const piece of body) {
      for (let at = 0; at < piece.length; ) {
        const chunkLength = Math.min(chunkSize, left);
        assert(chunkLength > 0, 'a body has as many bytes as its entry says');
        if (!partial && piece.length - at >= chunkLength) {
          const chunk = piece.subarray(at, at + chunkLength);
          at += chunkLength;
          left -= chunkLength;
          refs[cut++] = this.#knownHole(chunk) ?? (await this.#addWhole(chunk));
          continue;
        }
        if (!partial) {
          const slot = this.#slotFor(chunkLength) ?? (await this.#nextSlot());
          partial = { slot, room: slot.room(chunkLength), filled: 0 };
        }
        const step = Math.min(partial.room.length - partial.filled, piece.length - at);
        partial.room.set(piece.subarray(at, at + step), partial.filled);
        partial.filled += step;
        at += step;
        if (partial.filled < partial.room.length) continue;
        left -= partial.filled;
        const digest = this.#digest(partial.room);
        refs[cut++] = this.#known(digest, partial.filled) ?? this.#addChunk(partial.slot, partial.filled, digest);
        partial = undefined;
      }
    }
    assert(left === 0, 'a body has as many bytes as its entry says');
    return refs;
  }

  /** Writes what is outstanding and the blob's tail; undefined when the layer has no chunks. */
  async finish(): Promise<BlobInfo | undefined> {
    if (this.#slot && this.#slot.count > 0) this.#submit();
    await this.#written;
    if (this.#failure) throw this.#failure.error;
    if (this.#chunks.count === 0) return undefined;
    const { compressor, digester } = this.#options;
    const { sections, info } = finishBlob({
      chunks: this.#chunks,
      compressor,
      digester,
      dataSize: this.#dataSize,
      hash: this.#hash,
    });
    for (const section of sections) await this.#file.append(section);
    await this.#file.finish();
    return info;
  }

  /** Lets go of the slot and closes the file, once all that was submitted has come back. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#slot) this.#options.pool.release(this.#slot);
    this.#slot = undefined;
    await this.#written;
    this.#index.release();
    await this.#file[Symbol.asyncDispose]();
  }

  #digest(chunk: Uint8Array): Uint8Array {
    const start = performance.now();
    const digest = digestOf(this.#options.digester, chunk);
    this.#options.meter.since('digest', start);
    this.chunksSeen++;
    this.bytesSeen += chunk.length;
    return digest;
  }

  #known(digest: Uint8Array, size: number): ChunkRef | undefined {
    const index = this.#index.find(digest, size);
    return index === undefined ? undefined : chunkRef(this.#options.blobIndex, index);
  }

  /** The chunk of a hole, once it is known; digesting terabytes of zeros would take hours. */
  #knownHole(chunk: Uint8Array): ChunkRef | undefined {
    if (this.#hole === undefined || chunk.length !== this.#options.chunkSize || !isZeroPiece(chunk)) return undefined;
    this.chunksSeen++;
    this.bytesSeen += chunk.length;
    return this.#hole;
  }

  /** A chunk that lies in one piece: it need not be copied when the blob has it. */
  async #addWhole(chunk: Uint8Array): Promise<ChunkRef> {
    const digest = this.#digest(chunk);
    const ref = this.#known(digest, chunk.length) ?? (await this.#copyChunk(chunk, digest));
    if (chunk.length === this.#options.chunkSize && isZeroPiece(chunk)) this.#hole = ref;
    return ref;
  }

  async #copyChunk(chunk: Uint8Array, digest: Uint8Array): Promise<ChunkRef> {
    const slot = this.#slotFor(chunk.length) ?? (await this.#nextSlot());
    slot.room(chunk.length).set(chunk);
    return this.#addChunk(slot, chunk.length, digest);
  }

  /** Makes the next `size` bytes in `slot` a chunk of the blob. */
  #addChunk(slot: Slot, size: number, digest: Uint8Array): ChunkRef {
    const uncompressedOffset = this.#deviceEnd;
    const deviceEnd = alignUp(uncompressedOffset + size, BLOCK_SIZE);
    if (this.#chunks.count >= CHUNKS_PER_BLOB_MAX || deviceEnd > BLOB_UNCOMPRESSED_SIZE_MAX) {
      throw tooMany(`${CHUNKS_PER_BLOB_MAX} different chunks or ${BLOB_UNCOMPRESSED_SIZE_MAX} bytes`);
    }
    const unstored = { compressedOffset: 0, compressedSize: size, compressed: false, crc32: 0 };
    const index = this.#chunks.add({ uncompressedOffset, uncompressedSize: size, ...unstored }, digest);
    if (slot.count === 0) this.#slotFirst = index;
    slot.add(size);
    this.#index.add(digest, index);
    this.#deviceEnd = deviceEnd;
    return chunkRef(this.#options.blobIndex, index);
  }

  #slotFor(size: number): Slot | undefined {
    return this.#slot?.fits(size) ? this.#slot : undefined;
  }

  async #nextSlot(): Promise<Slot> {
    if (this.#slot) this.#submit();
    if (this.#failure) throw this.#failure.error;
    const start = performance.now();
    this.#slot = await this.#options.pool.acquire();
    this.#options.meter.since('wait', start);
    return this.#slot;
  }

  #submit(): void {
    const slot = this.#slot;
    assert(slot && slot.count > 0, 'a slot with chunks is submitted');
    const first = this.#slotFirst;
    this.#slot = undefined;
    const compressed = this.#options.pool.compress(slot);
    // After a failure nobody awaits it any more.
    compressed.catch(() => undefined);
    this.#written = this.#written
      .then(async () => {
        await compressed;
        if (!this.#failure) await this.#writeSlot(slot, first);
      })
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#options.pool.release(slot));
  }

  async #writeSlot(slot: Slot, first: number): Promise<void> {
    const { meter } = this.#options;
    const { bytes, storedSizes, crcs, sizes } = slot;
    const start = this.#dataSize;
    for (let i = 0; i < slot.count; i++) {
      const compressedSize = storedSizes[i] as number;
      this.#chunks.setStored(first + i, {
        compressedOffset: this.#dataSize,
        compressedSize,
        compressed: compressedSize !== sizes[i],
        crc32: crcs[i] as number,
      });
      this.#dataSize += compressedSize;
    }
    if (this.#dataSize > BLOB_COMPRESSED_SIZE_MAX) {
      throw new NaiadError('LIMIT_EXCEEDED', `the blob of a layer has more than ${BLOB_COMPRESSED_SIZE_MAX} bytes`);
    }
    const stored = bytes.subarray(0, this.#dataSize - start);
    this.#hash.push(stored);
    const writeStart = performance.now();
    await this.#file.append(stored);
    await this.#hash.settled();
    meter.since('write', writeStart);
  }
}

function tooMany(what: string): NaiadError {
  return new NaiadError('LIMIT_EXCEEDED', `the layer has more than ${what}`, { hint: 'Choose a larger --chunk-size.' });
}
