// The chunk table of a bootstrap: one record per chunk that the image uses, of all blobs, by digest.
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

/**
 * The records of one blob, by chunk index, read where they lie: an image has tens of thousands of them, and all that a mount
 * does first is to go through them.
 */
export class BlobRecords {
  readonly #view: DataView;
  readonly #tableOffset: number;
  /** Of each record the chunk index and its number in the table, ascending: as numbers, and so without an object each. */
  readonly #keys: Float64Array;

  /** `keys` of the records as `keyOf` makes them; of several records of a chunk the last counts. */
  constructor(view: DataView, tableOffset: number, keys: readonly number[]) {
    this.#view = view;
    this.#tableOffset = tableOffset;
    const sorted = new Float64Array(keys).sort();
    this.#keys = sorted.filter(
      (key, at) => at + 1 === sorted.length || indexOf(key) !== indexOf(sorted[at + 1] as number),
    );
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
    return nth < this.size && this.index(nth) === index ? chunkRecord.read(this.#view, this.place(nth)) : undefined;
  }

  /** Indexes of the chunks, ascending. */
  indexes(): Uint32Array {
    return Uint32Array.from(this.#keys, indexOf);
  }

  /** The chunk that has the `nth` record in the order of the chunks. */
  index(nth: number): number {
    return indexOf(this.#keys[nth] as number);
  }

  /** Where that record lies. */
  place(nth: number): number {
    return this.#tableOffset + ((this.#keys[nth] as number) % RECORDS_MAX) * chunkRecord.size;
  }
}

function indexOf(key: number): number {
  return Math.floor(key / RECORDS_MAX);
}

/** The records of each blob; those that cannot be used are complained of and left out. A chunk the image does not use has none. */
export function recordsByBlob(bootstrap: Bootstrap, complain: Complain = complainByThrowing): readonly BlobRecords[] {
  const { chunkTableOffset, chunkTableSize } = bootstrap.tables.extSuperblock;
  const view = viewOf(bootstrap.bytes);
  const keys = bootstrap.blobs.map((): number[] => []);
  const { blobIndex, index, uncompressedSize, flags } = chunkRecord.fields;
  for (
    let at = chunkTableOffset, record = 0;
    at < chunkTableOffset + chunkTableSize;
    at += chunkRecord.size, record++
  ) {
    const ofBlob = blobIndex.read(view, at);
    const chunkIndex = index.read(view, at);
    const size = uncompressedSize.read(view, at);
    const chunkFlags = flags.read(view, at);
    const blob = bootstrap.blobs[ofBlob];
    if (!blob || chunkIndex >= blob.chunkCount || size > bootstrap.chunkSize) {
      const what = `blob ${ofBlob}, chunk ${chunkIndex}, ${size} bytes`;
      complain('BOOTSTRAP_INVALID', `chunk table: the record at ${at} is of ${what}`);
    } else if ((chunkFlags & (CHUNK_FLAGS.encrypted | CHUNK_FLAGS.hole)) !== 0) {
      complain('BOOTSTRAP_UNSUPPORTED', `chunk table: the record at ${at} has flags 0x${chunkFlags.toString(16)}`);
    } else keys[ofBlob]?.push(BlobRecords.keyOf(chunkIndex, record));
  }
  return keys.map((ofBlob) => new BlobRecords(view, chunkTableOffset, ofBlob));
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
  const view = viewOf(bootstrap.bytes);
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
    const at = records.place(nth);
    const chunk = chunkAt(view, at);
    const complaint =
      placement.complaint(chunk) ??
      (chunk.uncompressedOffset < end ? 'leaves no room for the chunks before it' : undefined) ??
      (!chunk.compressed && chunk.compressedSize !== chunk.uncompressedSize
        ? 'is raw, but of another size stored'
        : undefined);
    if (complaint) complain('BOOTSTRAP_INVALID', `chunk table: chunk ${index} of blob ${blobIndex} ${complaint}`);
    table.add(chunk, chunkRecord.fields.digest.read(view, at));
    end = alignUp(chunk.uncompressedOffset + chunk.uncompressedSize, BLOCK_SIZE);
  }
  absent(blob.chunkCount);
  return table;
}

/** What a record says of where a chunk is. Field by field: a whole record would cost four times as much. */
function chunkAt(view: DataView, at: number): Chunk {
  const { flags, crc32, compressedOffset, compressedSize, uncompressedOffset, uncompressedSize } = chunkRecord.fields;
  const chunkFlags = flags.read(view, at);
  return {
    compressedOffset: compressedOffset.read(view, at),
    compressedSize: compressedSize.read(view, at),
    uncompressedOffset: uncompressedOffset.read(view, at),
    uncompressedSize: uncompressedSize.read(view, at),
    compressed: (chunkFlags & CHUNK_FLAGS.compressed) !== 0,
    crc32: (chunkFlags & CHUNK_FLAGS.hasCrc32) !== 0 ? crc32.read(view, at) : 0,
  };
}
