// All chunks of one blob, in columns: an image of 10 GB has 10,000 to 3,000,000 of them, and objects would cost ten times
// the memory. A chunk table says where a range of the blob's *device* (uncompressed, block-aligned) lies in the blob.
import { assert } from '../base/assert.ts';
import { ByteArena, Column } from '../base/columns.ts';
import { CHUNKS_PER_BLOB_MAX } from '../base/limits.ts';
import { BLOCK_SIZE } from '../format/erofs/records.ts';

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

const DIGEST_SIZE = 32;
const NO_DIGEST = new Uint8Array(DIGEST_SIZE);

/** Neighbouring chunks of which nothing is known. They take no memory, however many a bootstrap claims. */
interface AbsentRun {
  readonly first: number;
  readonly count: number;
  readonly uncompressedOffset: number;
  /** Rows of the chunks before it. */
  readonly rows: number;
}

export class ChunkTable {
  #count = 0;
  /** Chunks that are present; each has a row of the columns. */
  #rows = 0;
  readonly #absent: AbsentRun[] = [];
  readonly #compressedOffset = new Column(Float64Array);
  readonly #compressedSize = new Column(Uint32Array);
  readonly #uncompressedOffset = new Column(Float64Array);
  readonly #uncompressedSize = new Column(Uint32Array);
  readonly #compressed = new Column(Uint8Array);
  readonly #crc32 = new Column(Uint32Array);
  readonly #digests = new ByteArena();
  readonly #batches = new Map<number, BatchSlice>();

  get count(): number {
    return this.#count;
  }

  /** Appends a chunk and returns its index. The digest is copied; `batch` only where the chunk shares a unit. */
  add(chunk: Chunk, digest: Uint8Array, batch?: BatchSlice): number {
    const index = this.#count;
    const row = this.#rows;
    assert(index < CHUNKS_PER_BLOB_MAX, 'a blob holds fewer than 2^24 chunks');
    assert(digest.length === DIGEST_SIZE, 'a chunk digest has 32 bytes');
    this.#compressedOffset.set(row, chunk.compressedOffset);
    this.#compressedSize.set(row, chunk.compressedSize);
    this.#uncompressedOffset.set(row, chunk.uncompressedOffset);
    this.#uncompressedSize.set(row, chunk.uncompressedSize);
    this.#compressed.set(row, chunk.compressed ? 1 : 0);
    this.#crc32.set(row, chunk.crc32);
    this.#digests.view(this.#digests.reserve(DIGEST_SIZE), DIGEST_SIZE).set(digest);
    if (batch) this.#batches.set(index, batch);
    this.#rows++;
    this.#count++;
    return index;
  }

  /**
   * Holds the places of `count` chunks that nothing is known of but that they start at or behind `uncompressedOffset`, at
   * least a block apart: a merged bootstrap lists only the chunks it uses.
   */
  addAbsent(uncompressedOffset: number, count = 1): void {
    assert(this.#count + count <= CHUNKS_PER_BLOB_MAX, 'a blob holds fewer than 2^24 chunks');
    this.#absent.push({ first: this.#count, count, uncompressedOffset, rows: this.#rows });
    this.#count += count;
  }

  /** False for a chunk that the image does not use, and that nothing is known of. */
  present(index: number): boolean {
    return this.#row(index) !== undefined;
  }

  compressedOffset(index: number): number {
    const row = this.#row(index);
    return row === undefined ? 0 : this.#compressedOffset.get(row);
  }
  compressedSize(index: number): number {
    const row = this.#row(index);
    return row === undefined ? 0 : this.#compressedSize.get(row);
  }
  uncompressedOffset(index: number): number {
    const row = this.#row(index);
    if (row !== undefined) return this.#uncompressedOffset.get(row);
    const { first, uncompressedOffset } = this.#runBefore(index) as AbsentRun;
    return uncompressedOffset + (index - first) * BLOCK_SIZE;
  }
  /** 0 for a chunk that is not present, and only then. */
  uncompressedSize(index: number): number {
    const row = this.#row(index);
    return row === undefined ? 0 : this.#uncompressedSize.get(row);
  }
  compressed(index: number): boolean {
    const row = this.#row(index);
    return row !== undefined && this.#compressed.get(row) === 1;
  }
  crc32(index: number): number {
    const row = this.#row(index);
    return row === undefined ? 0 : this.#crc32.get(row);
  }
  batch(index: number): BatchSlice | undefined {
    return this.#batches.get(index);
  }
  /** A view of the chunk's 32 digest bytes, zeros when it is not present; do not keep it across `add`. */
  digest(index: number): Uint8Array {
    const row = this.#row(index);
    return row === undefined ? NO_DIGEST : this.#digests.view(row * DIGEST_SIZE, DIGEST_SIZE);
  }

  /** Fills in where a chunk was stored, for writers that learn it after `add`. */
  setStored(index: number, stored: Pick<Chunk, 'compressedOffset' | 'compressedSize' | 'compressed' | 'crc32'>): void {
    const row = this.#row(index);
    assert(row !== undefined, 'the chunk is present');
    this.#compressedOffset.set(row, stored.compressedOffset);
    this.#compressedSize.set(row, stored.compressedSize);
    this.#compressed.set(row, stored.compressed ? 1 : 0);
    this.#crc32.set(row, stored.crc32);
  }

  /** The chunk that holds device offset `offset`, or undefined past the end. Padding belongs to the chunk before it. */
  indexAt(offset: number): number | undefined {
    const after = firstAbove(this.#count, (index) => this.uncompressedOffset(index) > offset);
    return after === 0 ? undefined : after - 1;
  }

  /** The row of a chunk; undefined when it is absent. */
  #row(index: number): number | undefined {
    assert(index >= 0 && index < this.#count, `chunk index ${index} of ${this.#count}`);
    const run = this.#runBefore(index);
    if (!run) return index;
    const behind = index - run.first - run.count;
    return behind < 0 ? undefined : run.rows + behind;
  }

  /** The last run of absent chunks that starts at or before `index`. */
  #runBefore(index: number): AbsentRun | undefined {
    if (this.#absent.length === 0) return undefined;
    return this.#absent[firstAbove(this.#absent.length, (i) => (this.#absent[i] as AbsentRun).first > index) - 1];
  }
}

/** The first of 0…count-1 for which `isAbove` holds, which then holds for all behind it; `count` when none does. */
function firstAbove(count: number, isAbove: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isAbove(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
