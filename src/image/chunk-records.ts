// The chunk table of a bootstrap: one record per chunk that the image uses, of all blobs, by digest.

import { u53At, wordsOf } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { alignUp } from '../base/units.ts';
import { BLOCK_SIZE } from '../format/erofs/records.ts';
import { CHUNK_FLAGS, type ChunkRecord, chunkRecord } from '../format/rafs/records.ts';
import { viewOf, wordsIn } from '../format/record.ts';
import { PlacementCheck } from './blob-reader.ts';
import type { Bootstrap } from './bootstrap-reader.ts';
import { type Complain, complainByThrowing } from './bootstrap-tables.ts';
import { type Chunk, ChunkTable, firstAbove } from './chunk-table.ts';

/** Larger than how many records there can be: what a bootstrap is at most, by the size of one. A chunk index times it is exact still. */
const RECORDS_MAX = 2 ** 28;

const WORD = wordsIn(chunkRecord);
const RECORD_WORDS = chunkRecord.size / 4;

/**
 * The records of one blob, by chunk index, read where they lie: an image has tens of thousands of them, and all that a mount
 * does first is to go through them.
 */
export class BlobRecords {
  readonly #table: Uint8Array;
  /** Of the chunks that have a record: their indexes, ascending, and which one of the table it is. */
  readonly #indexes: Uint32Array;
  readonly #records: Uint32Array;

  /** `keys` of records of `table` as `keyOf` makes them; of several records of a chunk the last counts. */
  constructor(table: Uint8Array, keys: readonly number[]) {
    this.#table = table;
    const sorted = new Float64Array(keys).sort(); // Numbers, and so without an object each.
    const indexes = new Uint32Array(sorted.length);
    const records = new Uint32Array(sorted.length);
    let count = 0;
    for (let at = 0; at < sorted.length; at++) {
      const key = sorted[at] as number;
      const index = Math.floor(key / RECORDS_MAX);
      if (count > 0 && indexes[count - 1] === index) count--;
      indexes[count] = index;
      records[count++] = key - index * RECORDS_MAX;
    }
    this.#indexes = indexes.subarray(0, count);
    this.#records = records.subarray(0, count);
  }

  static keyOf(index: number, record: number): number {
    return index * RECORDS_MAX + record;
  }

  /** Chunks that have a record. */
  get size(): number {
    return this.#indexes.length;
  }

  get(index: number): ChunkRecord | undefined {
    const nth = firstAbove(this.size, (at) => this.index(at) >= index);
    return nth < this.size && this.index(nth) === index
      ? chunkRecord.read(viewOf(this.#table), this.record(nth) * chunkRecord.size)
      : undefined;
  }

  /** Indexes of the chunks, ascending. */
  indexes(): Uint32Array {
    return this.#indexes;
  }

  /** The chunk that has the `nth` record in the order of the chunks. */
  index(nth: number): number {
    return this.#indexes[nth] as number;
  }

  /** Which one of the table that record is. */
  record(nth: number): number {
    return this.#records[nth] as number;
  }
}

/** The records of each blob; those that cannot be used are complained of and left out. A chunk the image does not use has none. */
export function recordsByBlob(bootstrap: Bootstrap, complain: Complain = complainByThrowing): readonly BlobRecords[] {
  const table = chunkTableIn(bootstrap);
  const words = wordsOf(table);
  const keys = bootstrap.blobs.map((): number[] => []);
  for (let at = 0, record = 0; at < words.length; at += RECORD_WORDS, record++) {
    const ofBlob = words[at + WORD.blobIndex] as number;
    const chunkIndex = words[at + WORD.index] as number;
    const size = words[at + WORD.uncompressedSize] as number;
    const chunkFlags = words[at + WORD.flags] as number;
    const blob = bootstrap.blobs[ofBlob];
    if (!blob || chunkIndex >= blob.chunkCount || size > bootstrap.chunkSize) {
      const what = `blob ${ofBlob}, chunk ${chunkIndex}, ${size} bytes`;
      complain('BOOTSTRAP_INVALID', `chunk table: record ${record} is of ${what}`);
    } else if ((chunkFlags & (CHUNK_FLAGS.encrypted | CHUNK_FLAGS.hole)) !== 0) {
      complain('BOOTSTRAP_UNSUPPORTED', `chunk table: record ${record} has flags 0x${chunkFlags.toString(16)}`);
    } else keys[ofBlob]?.push(BlobRecords.keyOf(chunkIndex, record));
  }
  return keys.map((ofBlob) => new BlobRecords(table, ofBlob));
}

function chunkTableIn({ bytes, tables }: Bootstrap): Uint8Array {
  const { chunkTableOffset, chunkTableSize } = tables.extSuperblock;
  return bytes.subarray(chunkTableOffset, chunkTableOffset + chunkTableSize);
}

/**
 * The chunks of a blob from its records alone, so that a mount needs nothing of the blob but chunk data. Chunks without a
 * record are absent.
 */
export function tableFromRecords(
  bootstrap: Bootstrap,
  blobIndex: number,
  records: BlobRecords,
  complain: Complain = complainByThrowing,
): ChunkTable {
  const blob = bootstrap.blobs[blobIndex];
  if (!blob) throw new NaiadError('BUG', `no blob ${blobIndex}`);
  const words = wordsOf(chunkTableIn(bootstrap));
  const placement = new PlacementCheck(blob);
  const table = new ChunkTable();
  const chunk = newChunk();
  let end = 0;
  // By the records and not by the count that the bootstrap claims, which may be in the millions for a few of them.
  const absent = (upTo: number) => {
    const count = upTo - table.count;
    if (count === 0) return;
    table.addAbsent(end, count);
    // Every chunk takes at least a block, so this stays at or before where the next one really starts.
    end += count * BLOCK_SIZE;
  };
  for (let nth = 0; nth < records.size; nth++) {
    const index = records.index(nth);
    absent(index);
    const at = records.record(nth) * RECORD_WORDS;
    readChunk(words, at, chunk);
    const complaint =
      placement.complaint(chunk) ??
      (chunk.uncompressedOffset < end ? 'leaves no room for the chunks before it' : undefined) ??
      (!chunk.compressed && chunk.compressedSize !== chunk.uncompressedSize
        ? 'is raw, but of another size stored'
        : undefined);
    if (complaint) complain('BOOTSTRAP_INVALID', `chunk table: chunk ${index} of blob ${blobIndex} ${complaint}`);
    table.addWithDigestAt(chunk, words, at + WORD.digest);
    end = alignUp(chunk.uncompressedOffset + chunk.uncompressedSize, BLOCK_SIZE);
  }
  absent(blob.chunkCount);
  return table;
}

/** Of tens of thousands, one after the other in the same object. */
type FilledChunk = { -readonly [Name in keyof Chunk]: Chunk[Name] };

function newChunk(): FilledChunk {
  const places = { compressedOffset: 0, compressedSize: 0, uncompressedOffset: 0, uncompressedSize: 0 };
  return { ...places, compressed: false, crc32: 0 };
}

/** Fills in what the record whose words start at `at` says of where a chunk is. */
function readChunk(words: Uint32Array, at: number, chunk: FilledChunk): void {
  const flags = words[at + WORD.flags] as number;
  chunk.compressedOffset = u53At(words, at + WORD.compressedOffset);
  chunk.compressedSize = words[at + WORD.compressedSize] as number;
  chunk.uncompressedOffset = u53At(words, at + WORD.uncompressedOffset);
  chunk.uncompressedSize = words[at + WORD.uncompressedSize] as number;
  chunk.compressed = (flags & CHUNK_FLAGS.compressed) !== 0;
  chunk.crc32 = (flags & CHUNK_FLAGS.hasCrc32) !== 0 ? (words[at + WORD.crc32] as number) : 0;
}
