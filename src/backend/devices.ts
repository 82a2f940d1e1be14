// From a bootstrap to its devices: usually without touching a blob; blobs with batches, or bootstraps without a chunk
// table, need the tail of the blob as well.
import { short } from '../base/bytes.ts';
import { forEachBounded } from '../base/concurrency.ts';
import { NaiadError } from '../base/errors.ts';
import { FETCHES_IN_FLIGHT_MAX } from '../base/limits.ts';
import type { ChunkRecord } from '../format/rafs/records.ts';
import { hasFeature, readChunkInfo, readDigests, tailRanges } from '../image/blob-reader.ts';
import type { Bootstrap } from '../image/bootstrap-reader.ts';
import type { BlobView } from '../image/bootstrap-tables.ts';
import { type BlobRecords, recordsByBlob, tableFromRecords } from '../image/chunk-records.ts';
import { CHUNK_DIGEST_SIZE, type ChunkTable } from '../image/chunk-table.ts';
import type { Device } from '../image/device.ts';
import type { BlobReader } from './blob-reader.ts';

/** The devices of an image, in blob order. Only blobs whose tail is needed are read. */
export async function openDevices(
  bootstrap: Bootstrap,
  readerOf: (blobId: string) => BlobReader,
  signal?: AbortSignal,
): Promise<Device[]> {
  const records = recordsByBlob(bootstrap);
  const tables = new Map<number, ChunkTable>();
  await forEachBounded(bootstrap.blobs, { inFlightMax: FETCHES_IN_FLIGHT_MAX, signal }, async (blob, abort) => {
    const own = records[blob.blobIndex] as BlobRecords;
    const table =
      own.size > 0 && !hasFeature(blob, 'batch')
        ? tableFromRecords(bootstrap, blob.blobIndex, own)
        : await loadChunkTable(blob, readerOf(blob.blobId), own, abort);
    tables.set(blob.blobIndex, table);
  });
  return bootstrap.blobs.map(({ blobId, blobIndex, uncompressedSize, compressor, digester }) => ({
    blobId,
    size: uncompressedSize,
    compressor,
    digester,
    chunks: tables.get(blobIndex) as ChunkTable,
  }));
}

/**
 * The chunk table out of the blob itself, with digests from the blob, or from the bootstrap's records.
 * @throws NaiadError BLOB_UNSUPPORTED when neither has digests: nothing could be verified.
 */
export async function loadChunkTable(
  blob: BlobView,
  reader: BlobReader,
  records: BlobRecords,
  signal?: AbortSignal,
): Promise<ChunkTable> {
  const ranges = tailRanges(blob);
  const info = await reader.readAt(ranges.info, signal);
  if (ranges.digests) return readChunkInfo(blob, info, readDigests(blob, await reader.readAt(ranges.digests, signal)));
  if (records.size === 0) {
    throw new NaiadError(
      'BLOB_UNSUPPORTED',
      `blob ${short(blob.blobId)} has no chunk digests, here or in the bootstrap`,
      {
        hint: 'Data that cannot be verified is never read; convert the image again.',
      },
    );
  }
  const digests = new Uint8Array(blob.chunkCount * CHUNK_DIGEST_SIZE);
  for (const index of records.indexes())
    digests.set((records.get(index) as ChunkRecord).digest, index * CHUNK_DIGEST_SIZE);
  return readChunkInfo(blob, info, digests);
}
