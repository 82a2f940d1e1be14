// All chunks of one blob, in a table: an image of 10 GB has 10,000 to 3,000,000 of them, and objects would cost ten times
// the memory. A chunk table says where a range of the blob's *device* (uncompressed, block-aligned) lies in the blob.
import { assert } from '../base/assert.ts';
import { Table } from '../base/columns.ts';
import { CHUNKS_PER_BLOB_MAX } from '../base/limits.ts';
import type { PagePool } from '../base/page-pool.ts';
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

type Stored = Pick<Chunk, 'compressedOffset' | 'compressedSize' | 'compressed' | 'crc32'>;

/** Several small chunks compressed as one unit: where a chunk lies in the unit's uncompressed bytes. */
export interface BatchSlice {
  readonly uncompressedBatchSize: number;
  readonly offset: number;
}

/** Bytes of a chunk's digest, whatever made it. */
export const CHUNK_DIGEST_SIZE = 32;
const DIGEST_WORDS = CHUNK_DIGEST_SIZE / 4;
const NO_DIGEST = new Uint8Array(CHUNK_DIGEST_SIZE);

/** Neighbouring chunks of which nothing is known. They take no memory, however many a bootstrap claims. */
interface AbsentRun {
  readonly first: number;
  readonly count: number;
  readonly uncompressedOffset: number;
  /** Rows of the chunks before it. */
  readonly rows: number;
}

/**
 * Where chunk `index` lies on the device, how many bytes it has there, and its digest: in the words of `page` from `digestAt`
 * on, which are neither kept nor written to.
 */
export type VisitContent = (index: number, offset: number, size: number, page: Uint32Array, digestAt: number) => void;

/** What a row has, in 32-bit words. */
const DIGEST = 0;
const COMPRESSED_OFFSET_LOW = 8;
/** Upper bits of the offset, and whether the chunk is compressed as the lowest bit. */
const COMPRESSED_OFFSET_HIGH = 9;
const COMPRESSED_SIZE = 10;
const UNCOMPRESSED_BLOCK = 11;
const UNCOMPRESSED_SIZE = 12;
const CRC32 = 13;
const ROW_WORDS = 14;

export class ChunkTable {
  #count = 0;
  /** Chunks that are present; each has a row of the table. */
  #rows = 0;
  #uncompressedTotal = 0;
  readonly #absent: AbsentRun[] = [];
  /** How many runs started at or before the chunk asked for last: most go through all chunks in order. */
  #runsBefore = 0;
  readonly #table: Table;
  readonly #batches = new Map<number, BatchSlice>();

  /** With a pool, of column pages, the memory is the pool's. */
  constructor(pool?: PagePool) {
    this.#table = new Table(ROW_WORDS, pool);
  }

  get count(): number {
    return this.#count;
  }

  /** Uncompressed bytes of all chunks that are present. */
  get uncompressedTotal(): number {
    return this.#uncompressedTotal;
  }

  /** Appends a chunk and returns its index; an offset that is not on a block, which only a broken image has, is rounded down. The digest is copied; `batch` only where the chunk shares a unit. */
  add(chunk: Chunk, digest: Uint8Array, batch?: BatchSlice): number {
    assert(digest.length === CHUNK_DIGEST_SIZE, 'a chunk digest has 32 bytes');
    const page = this.#table.roomFor(this.#rows);
    const start = this.#table.startOf(this.#rows);
    new Uint8Array(page.buffer, page.byteOffset + (start + DIGEST) * 4, CHUNK_DIGEST_SIZE).set(digest);
    if (batch) this.#batches.set(this.#count, batch);
    return this.#append(chunk, page, start);
  }

  /** As `add`, with the digest out of `words`, where it starts at `at`: of tens of thousands, none takes an object. */
  addWithDigestAt(chunk: Chunk, words: Uint32Array, at: number): number {
    const page = this.#table.roomFor(this.#rows);
    const start = this.#table.startOf(this.#rows);
    for (let i = 0; i < DIGEST_WORDS; i++) page[start + DIGEST + i] = words[at + i] as number;
    return this.#append(chunk, page, start);
  }

  /** `page` has room for its row at `start`. */
  #append(chunk: Chunk, page: Uint32Array, start: number): number {
    const index = this.#count;
    assert(index < CHUNKS_PER_BLOB_MAX, 'a blob holds fewer than 2^24 chunks');
    page[start + UNCOMPRESSED_BLOCK] = chunk.uncompressedOffset / BLOCK_SIZE;
    page[start + UNCOMPRESSED_SIZE] = chunk.uncompressedSize;
    store(page, start, chunk);
    this.#uncompressedTotal += chunk.uncompressedSize;
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
    if (row === undefined) return 0;
    const high = this.#table.get(row, COMPRESSED_OFFSET_HIGH) >>> 1;
    return high * 2 ** 32 + this.#table.get(row, COMPRESSED_OFFSET_LOW);
  }
  compressedSize(index: number): number {
    return this.#word(index, COMPRESSED_SIZE);
  }
  uncompressedOffset(index: number): number {
    const row = this.#row(index);
    if (row !== undefined) return this.#table.get(row, UNCOMPRESSED_BLOCK) * BLOCK_SIZE;
    const { first, uncompressedOffset } = this.#runBefore(index) as AbsentRun;
    return uncompressedOffset + (index - first) * BLOCK_SIZE;
  }
  /** 0 for a chunk that is not present, and only then. */
  uncompressedSize(index: number): number {
    return this.#word(index, UNCOMPRESSED_SIZE);
  }
  compressed(index: number): boolean {
    return (this.#word(index, COMPRESSED_OFFSET_HIGH) & 1) === 1;
  }
  crc32(index: number): number {
    return this.#word(index, CRC32);
  }
  batch(index: number): BatchSlice | undefined {
    return this.#batches.get(index);
  }
  /** A view of the chunk's 32 digest bytes, zeros when it is not present; do not keep it. */
  digest(index: number): Uint8Array {
    const row = this.#row(index);
    return row === undefined ? NO_DIGEST : this.#table.bytes(row, DIGEST, CHUNK_DIGEST_SIZE);
  }

  /** False where the chunk is not present or has no digest: it cannot be verified. */
  hasDigest(index: number): boolean {
    const row = this.#row(index);
    return row !== undefined && hasDigest(this.#table.pageOf(row), this.#table.startOf(row));
  }

  /** Visits the chunks that have a digest, ascending. Of tens of thousands, none takes an object. */
  forEachVerifiable(visit: VisitContent): void {
    let run = 0;
    for (let index = 0, row = 0; row < this.#rows; index++, row++) {
      for (let next = this.#absent[run]; next?.first === index; next = this.#absent[++run]) index += next.count;
      const page = this.#table.pageOf(row);
      const start = this.#table.startOf(row);
      if (!hasDigest(page, start)) continue;
      const offset = (page[start + UNCOMPRESSED_BLOCK] as number) * BLOCK_SIZE;
      visit(index, offset, page[start + UNCOMPRESSED_SIZE] as number, page, start + DIGEST);
    }
  }

  /** Fills in where a chunk was stored, for writers that learn it after `add`. */
  setStored(index: number, stored: Stored): void {
    const row = this.#row(index);
    assert(row !== undefined, 'the chunk is present');
    store(this.#table.roomFor(row), this.#table.startOf(row), stored);
  }

  /** The chunk that holds device offset `offset`, or undefined past the end. Padding belongs to the chunk before it. */
  indexAt(offset: number): number | undefined {
    const after = firstAbove(this.#count, (index) => this.uncompressedOffset(index) > offset);
    return after === 0 ? undefined : after - 1;
  }

  /** All that is said of the chunks, piece by piece; do not keep a piece. Tables that say the same give the same bytes. */
  *content(): Iterable<Uint8Array> {
    yield Buffer.from(JSON.stringify([this.#count, this.#absent, [...this.#batches]]));
    yield* this.#table.content(this.#rows);
  }

  /** A word of the chunk's row; 0 when it is absent. */
  #word(index: number, word: number): number {
    const row = this.#row(index);
    return row === undefined ? 0 : this.#table.get(row, word);
  }

  /** The row of a chunk; undefined when it is absent. */
  #row(index: number): number | undefined {
    assert(index >= 0 && index < this.#count, 'a chunk index is below the count');
    const run = this.#runBefore(index);
    if (!run) return index;
    const behind = index - run.first - run.count;
    return behind < 0 ? undefined : run.rows + behind;
  }

  /** The last run of absent chunks that starts at or before `index`. */
  #runBefore(index: number): AbsentRun | undefined {
    const runs = this.#absent;
    if (runs.length === 0) return undefined;
    const before = runs[this.#runsBefore - 1];
    const behind = runs[this.#runsBefore];
    if ((!before || before.first <= index) && (!behind || behind.first > index)) return before;
    this.#runsBefore = firstAbove(runs.length, (i) => (runs[i] as AbsentRun).first > index);
    return runs[this.#runsBefore - 1];
  }
}

function hasDigest(page: Uint32Array, start: number): boolean {
  for (let i = start + DIGEST; i < start + DIGEST + DIGEST_WORDS; i++) if (page[i] !== 0) return true;
  return false;
}

/** Writes where a chunk was stored into its row, which starts at `start` in `page`. */
function store(
  page: Uint32Array,
  start: number,
  { compressedOffset, compressedSize, compressed, crc32 }: Stored,
): void {
  const high = Math.floor(compressedOffset / 2 ** 32);
  page[start + COMPRESSED_OFFSET_LOW] = compressedOffset;
  page[start + COMPRESSED_OFFSET_HIGH] = high * 2 + (compressed ? 1 : 0);
  page[start + COMPRESSED_SIZE] = compressedSize;
  page[start + CRC32] = crc32;
}

/** The first of 0…count-1 for which `isAbove` holds, which then holds for all behind it; `count` when none does. */
export function firstAbove(count: number, isAbove: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isAbove(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
