// The chunk table of a bootstrap: one record per chunk that the image uses, of all blobs, by digest.

import { wordsOf } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { alignUp } from '../base/units.ts';
import { BLOCK_SIZE } from '../format/erofs/records.ts';
import { CHUNK_FLAGS, type ChunkRecord, chunkRecord } from '../format/rafs/records.ts';
import { viewOf } from '../format/record.ts';
import { PlacementCheck } from './blob-reader.ts';
import type { Bootstrap } from './bootstrap-reader.ts';
import { type Complain, complainByThrowing } from './bootstrap-tables.ts';
import { type Chunk, ChunkTable, firstAbove } from './chunk-table.ts';

/** Larger than how many records there can be: what a bootstrap is at most, by the size of one. A chunk index times it is exact still. */
const RECORDS_MAX = 2 ** 28;

/** The fields of a record, by the 32-bit word in which each starts. */
const WORD = Object.fromEntries(Object.entries(chunkRecord.fields).map(([name, { offset }]) => [name, offset / 4])) as {
  readonly [Name in keyof typeof chunkRecord.fields]: number;
};
const RECORD_WORDS = chunkRecord.size / 4;

/**
 * The records of one blob, by chunk index, read where they lie: an image has tens of thousands of them, and all that a mount
 * does first is to go through them.
 */
export class BlobRecords {
  readonly #table: Uint8Array;
  /** Of each record the chunk index and its number in the table, ascending: as numbers, and so without an object each. */
  readonly #keys: Float64Array;

  /** `keys` of records of `table` as `keyOf` makes them; of several records of a chunk the last counts. */
  constructor(table: Uint8Array, keys: readonly number[]) {
    this.#table = table;
    const sorted = new Float64Array(keys).sort();
    let count = 0;
    for (let at = 0; at < sorted.length; at++) {
      const key = sorted[at] as number;
      if (count > 0 && indexOf(sorted[count - 1] as number) === indexOf(key)) count--;
      sorted[count++] = key;
    }
    this.#keys = sorted.subarray(0, count);
  }

  static keyOf(index: number, record: number): number {
    return index * RECORDS_MAX + record;
  }

  /** Chunks that have a record. */
  get size(): number {
    return this.#keys.length;
  }

  get(index: number): ChunkRecord | undefined {
    const nth = firstAbove(this.#keys.length, (at) => indexOf(this.#keys[at] as number) >= index);
    return nth < this.size && this.index(nth) === index
      ? chunkRecord.read(viewOf(this.#table), this.record(nth) * chunkRecord.size)
      : undefined;
  }

  /** Indexes of the chunks, ascending. */
  indexes(): Uint32Array {
    return Uint32Array.from(this.#keys, indexOf);
  }

  /** The chunk that has the `nth` record in the order of the chunks. */
  index(nth: number): number {
    return indexOf(this.#keys[nth] as number);
  }

  /** Which one of the table that record is. */
  record(nth: number): number {
    return (this.#keys[nth] as number) % RECORDS_MAX;
  }
}

function indexOf(key: number): number {
  return Math.floor(key / RECORDS_MAX);
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
  let end = 0;
  // By the records and not by the count that the bootstrap claims, which may be in the millions for a few of them.
  const absent = (upTo: number) => {
    const count = upTo - table.count;
    if (count > 0) table.addAbsent(end, count);
    // Every chunk takes at least a block, so this stays at or before where the next one really starts.
    end += count * BLOCK_SIZE;
  };
  for (let nth = 0; nth < records.size; nth++) {
    const index = records.index(nth);
    absent(index);
    const at = records.record(nth) * RECORD_WORDS;
    const chunk = chunkAt(words, at);
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

/** What the record whose words start at `at` says of where a chunk is. */
function chunkAt(words: Uint32Array, at: number): Chunk {
  const flags = words[at + WORD.flags] as number;
  return {
    compressedOffset: u53At(words, at + WORD.compressedOffset),
    compressedSize: words[at + WORD.compressedSize] as number,
    uncompressedOffset: u53At(words, at + WORD.uncompressedOffset),
    uncompressedSize: words[at + WORD.uncompressedSize] as number,
    compressed: (flags & CHUNK_FLAGS.compressed) !== 0,
    crc32: (flags & CHUNK_FLAGS.hasCrc32) !== 0 ? (words[at + WORD.crc32] as number) : 0,
  };
}

function u53At(words: Uint32Array, at: number): number {
  return (words[at] as number) + (words[at + 1] as number) * 2 ** 32;
}
