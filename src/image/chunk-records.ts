// The chunk table of a bootstrap: one record per chunk that the image uses, of all blobs, by digest.
import { NaiadError } from '../base/errors.ts';
import { alignUp } from '../base/units.ts';
import { BLOCK_SIZE } from '../format/erofs/records.ts';
import { CHUNK_FLAGS, type ChunkRecord, chunkRecord } from '../format/rafs/records.ts';
import { viewOf } from '../format/record.ts';
import { PlacementCheck } from './blob-reader.ts';
import type { Bootstrap } from './bootstrap-reader.ts';
import { type Complain, complainByThrowing } from './bootstrap-tables.ts';
import { ChunkTable } from './chunk-table.ts';

/** All records as they are stored; those that cannot be used are complained of and left out. */
export function* chunkRecords(bootstrap: Bootstrap, complain: Complain = complainByThrowing): Iterable<ChunkRecord> {
  const { chunkTableOffset, chunkTableSize } = bootstrap.tables.extSuperblock;
  const view = viewOf(bootstrap.bytes);
  for (let at = chunkTableOffset; at < chunkTableOffset + chunkTableSize; at += chunkRecord.size) {
    const chunk = chunkRecord.read(view, at);
    const blob = bootstrap.blobs[chunk.blobIndex];
    if (!blob || chunk.index >= blob.chunkCount || chunk.uncompressedSize > bootstrap.chunkSize) {
      const what = `blob ${chunk.blobIndex}, chunk ${chunk.index}, ${chunk.uncompressedSize} bytes`;
      complain('BOOTSTRAP_INVALID', `chunk table: the record at ${at} is of ${what}`);
      continue;
    }
    if ((chunk.flags & (CHUNK_FLAGS.encrypted | CHUNK_FLAGS.hole)) !== 0) {
      complain('BOOTSTRAP_UNSUPPORTED', `chunk table: the record at ${at} has flags 0x${chunk.flags.toString(16)}`);
      continue;
    }
    yield chunk;
  }
}

/** The records of each blob, by chunk index; a chunk the image does not use has none. */
export function recordsByBlob(
  bootstrap: Bootstrap,
  complain: Complain = complainByThrowing,
): ReadonlyMap<number, ChunkRecord>[] {
  const blobs = bootstrap.blobs.map(() => new Map<number, ChunkRecord>());
  for (const chunk of chunkRecords(bootstrap, complain)) blobs[chunk.blobIndex]?.set(chunk.index, chunk);
  return blobs;
}

/**
 * The chunks of a blob from its records alone, so that a mount needs nothing of the blob but chunk data. Chunks without a
 * record are absent.
 */
export function tableFromRecords(
  bootstrap: Bootstrap,
  blobIndex: number,
  records: ReadonlyMap<number, ChunkRecord>,
  complain: Complain = complainByThrowing,
): ChunkTable {
  const blob = bootstrap.blobs[blobIndex];
  if (!blob) throw new NaiadError('BUG', `no blob ${blobIndex}`);
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
  for (const [index, chunk] of [...records].sort(([a], [b]) => a - b)) {
    absent(index);
    const compressed = (chunk.flags & CHUNK_FLAGS.compressed) !== 0;
    const crc32 = (chunk.flags & CHUNK_FLAGS.hasCrc32) !== 0 ? chunk.crc32 : 0;
    const complaint =
      placement.complaint({ ...chunk, compressed }) ??
      (chunk.uncompressedOffset < end ? 'leaves no room for the chunks before it' : undefined) ??
      (!compressed && chunk.compressedSize !== chunk.uncompressedSize
        ? 'is raw, but of another size stored'
        : undefined);
    if (complaint) complain('BOOTSTRAP_INVALID', `chunk table: chunk ${index} of blob ${blobIndex} ${complaint}`);
    table.add({ ...chunk, compressed, crc32 }, chunk.digest);
    end = alignUp(chunk.uncompressedOffset + chunk.uncompressedSize, BLOCK_SIZE);
  }
  absent(blob.chunkCount);
  return table;
}
