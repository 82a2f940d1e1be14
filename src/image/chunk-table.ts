// All chunks of one blob, in columns: an image of 10 GB has 10,000 to 3,000,000 of them, and objects would cost ten times
// the memory. A chunk table says where a range of the blob's *device* (uncompressed, block-aligned) lies in the blob.
import { assert } from '../base/assert.ts';
import { CHUNKS_PER_BLOB_MAX } from '../base/limits.ts';

/** One chunk. Offsets and sizes in bytes. */
export interface Chunk {
  readonly compressedOffset: number;
  /** Bytes stored. Equal to `uncompressedSize` exactly when the chunk is stored raw (unless `batched`). */
  readonly compressedSize: number;
  /** Where the chunk lies on the device; a multiple of the block size. */
  readonly uncompressedOffset: number;
  readonly uncompressedSize: number;
  readonly compressed: boolean;
  /** CRC-32C of the uncompressed bytes; 0 when none is recorded. */
  readonly crc32: number;
}

/** Several small chunks compressed as one unit: where a chunk lies in the unit's uncompressed bytes. */
export interface BatchSlice {
  readonly uncompressedBatchSize: number;
  readonly offset: number;
}

const NO_DIGEST = new Uint8Array(32);

export class ChunkTable {
  #count = 0;
  #capacity: number;
  #compressedOffset: Float64Array;
  #compressedSize: Uint32Array;
  #uncompressedOffset: Float64Array;
  #uncompressedSize: Uint32Array;
  #compressed: Uint8Array;
  #crc32: Uint32Array;
  #digests: Uint8Array;
  readonly #batches = new Map<number, BatchSlice>();

  constructor(capacity = 64) {
    this.#capacity = Math.max(1, capacity);
    this.#compressedOffset = new Float64Array(this.#capacity);
    this.#compressedSize = new Uint32Array(this.#capacity);
    this.#uncompressedOffset = new Float64Array(this.#capacity);
    this.#uncompressedSize = new Uint32Array(this.#capacity);
    this.#compressed = new Uint8Array(this.#capacity);
    this.#crc32 = new Uint32Array(this.#capacity);
    this.#digests = new Uint8Array(this.#capacity * 32);
  }

  get count(): number {
    return this.#count;
  }

  /** Appends a chunk and returns its index. The digest is copied; `batch` only where the chunk shares a unit. */
  add(chunk: Chunk, digest: Uint8Array, batch?: BatchSlice): number {
    const index = this.#count;
    assert(index < CHUNKS_PER_BLOB_MAX, 'a blob holds fewer than 2^24 chunks');
    assert(digest.length === 32, 'a chunk digest has 32 bytes');
    if (index === this.#capacity) this.#grow();
    this.#compressedOffset[index] = chunk.compressedOffset;
    this.#compressedSize[index] = chunk.compressedSize;
    this.#uncompressedOffset[index] = chunk.uncompressedOffset;
    this.#uncompressedSize[index] = chunk.uncompressedSize;
    this.#compressed[index] = chunk.compressed ? 1 : 0;
    this.#crc32[index] = chunk.crc32;
    this.#digests.set(digest, index * 32);
    if (batch) this.#batches.set(index, batch);
    this.#count++;
    return index;
  }

  /**
   * Holds the place of a chunk that nothing is known of but that it starts at or behind `uncompressedOffset`: a merged
   * bootstrap lists only the chunks it uses.
   */
  addAbsent(uncompressedOffset: number): number {
    const nothing = { compressedOffset: 0, compressedSize: 0, uncompressedSize: 0, compressed: false, crc32: 0 };
    return this.add({ ...nothing, uncompressedOffset }, NO_DIGEST);
  }

  /** False for a chunk that the image does not use, and that nothing is known of. */
  present(index: number): boolean {
    return this.uncompressedSize(index) !== 0;
  }

  compressedOffset(index: number): number {
    return this.#compressedOffset[this.#checked(index)] as number;
  }
  compressedSize(index: number): number {
    return this.#compressedSize[this.#checked(index)] as number;
  }
  uncompressedOffset(index: number): number {
    return this.#uncompressedOffset[this.#checked(index)] as number;
  }
  uncompressedSize(index: number): number {
    return this.#uncompressedSize[this.#checked(index)] as number;
  }
  compressed(index: number): boolean {
    return this.#compressed[this.#checked(index)] === 1;
  }
  crc32(index: number): number {
    return this.#crc32[this.#checked(index)] as number;
  }
  batch(index: number): BatchSlice | undefined {
    return this.#batches.get(index);
  }
  /** A view of the chunk's 32 digest bytes; do not keep it across `add`. */
  digest(index: number): Uint8Array {
    return this.#digests.subarray(this.#checked(index) * 32, index * 32 + 32);
  }

  /** Fills in where a chunk was stored, for writers that learn it after `add`. */
  setStored(index: number, stored: Pick<Chunk, 'compressedOffset' | 'compressedSize' | 'compressed' | 'crc32'>): void {
    this.#compressedOffset[this.#checked(index)] = stored.compressedOffset;
    this.#compressedSize[index] = stored.compressedSize;
    this.#compressed[index] = stored.compressed ? 1 : 0;
    this.#crc32[index] = stored.crc32;
  }

  /** The chunk that holds device offset `offset`, or undefined past the end. Padding belongs to the chunk before it. */
  indexAt(offset: number): number | undefined {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#uncompressedOffset[middle] as number) <= offset) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? undefined : low - 1;
  }

  #checked(index: number): number {
    assert(index >= 0 && index < this.#count, `chunk index ${index} of ${this.#count}`);
    return index;
  }

  #grow(): void {
    this.#capacity *= 2;
    const copy = <T extends Float64Array | Uint32Array | Uint8Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.#compressedOffset = copy(this.#compressedOffset, new Float64Array(this.#capacity));
    this.#compressedSize = copy(this.#compressedSize, new Uint32Array(this.#capacity));
    this.#uncompressedOffset = copy(this.#uncompressedOffset, new Float64Array(this.#capacity));
    this.#uncompressedSize = copy(this.#uncompressedSize, new Uint32Array(this.#capacity));
    this.#compressed = copy(this.#compressed, new Uint8Array(this.#capacity));
    this.#crc32 = copy(this.#crc32, new Uint32Array(this.#capacity));
    this.#digests = copy(this.#digests, new Uint8Array(this.#capacity * 32));
  }
}
