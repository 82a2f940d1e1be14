// Checks a stored blob against what a bootstrap says of it: header, chunk-info table, digests, TOC.
import { createHash } from 'node:crypto';
import { short } from '../base/bytes.ts';
import { type Code, NaiadError } from '../base/errors.ts';
import type { ChunkRecord } from '../format/rafs/records.ts';
import { hasFeature, readToc, TOC_SIZE_MAX } from '../image/blob-reader.ts';
import type { BlobView } from '../image/bootstrap-tables.ts';
import type { Finding } from '../image/check.ts';
import type { BlobRecords } from '../image/chunk-records.ts';
import type { ChunkTable } from '../image/chunk-table.ts';
import type { BlobReader } from './blob-reader.ts';
import { loadChunkTable } from './devices.ts';

/** All that is wrong with the tail of a blob of `blobSize` bytes. Throws only when it cannot be read. */
export async function checkBlobTail(
  blob: BlobView,
  reader: BlobReader,
  blobSize: number,
  records: BlobRecords,
  signal?: AbortSignal,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const attempt = async (step: () => Promise<void>) => {
    try {
      await step();
    } catch (error) {
      if (!(error instanceof NaiadError) || (error.kind !== 'corrupt' && error.kind !== 'unsupported')) throw error;
      findings.push(complaint(error.message, error.code));
    }
  };
  await attempt(async () => {
    const table = await loadChunkTable(blob, reader, records, signal);
    for (const message of differences(table, records)) {
      findings.push(complaint(`blob ${short(blob.blobId)}: ${message}`));
    }
  });
  if (hasFeature(blob, 'hasToc')) {
    await attempt(async () => {
      const size = Math.min(TOC_SIZE_MAX, blobSize);
      const tail = await reader.readAt({ offset: blobSize - size, size }, signal);
      readToc(tail, blobSize);
      if (blob.tocSize === 0 || blob.tocSize > size) return;
      const digest = createHash('sha256').update(tail.subarray(-blob.tocSize)).digest();
      if (digest.equals(blob.tocDigest)) return;
      findings.push(complaint(`blob ${short(blob.blobId)}: its TOC has another digest than recorded`));
    });
  }
  return findings;
}

function complaint(message: string, code: Code = 'BLOB_INVALID'): Finding {
  return { code, message, severity: 'error' };
}

/** Where the blob's own table and the bootstrap's records disagree. */
function* differences(table: ChunkTable, records: BlobRecords): Iterable<string> {
  for (const index of records.indexes()) {
    const record = records.get(index) as ChunkRecord;
    if (!Buffer.from(record.digest).equals(table.digest(index))) yield `chunk ${index}: digests differ`;
    if (record.uncompressedOffset !== table.uncompressedOffset(index)) yield `chunk ${index}: device offsets differ`;
    if (record.uncompressedSize !== table.uncompressedSize(index)) yield `chunk ${index}: sizes differ`;
    // Records of batched chunks have no place of their own.
    if (table.batch(index)) continue;
    const same =
      record.compressedOffset === table.compressedOffset(index) &&
      record.compressedSize === table.compressedSize(index);
    if (!same) yield `chunk ${index}: places in the blob differ`;
  }
}
