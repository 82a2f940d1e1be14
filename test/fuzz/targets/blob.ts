// Blobs behind bootstraps: tables of chunks, digests and contents, and every chunk's data.
// An input is the size of the bootstrap (u32), the bootstrap, and the blob.
import type { BlobReader } from '../../../src/backend/blob-reader.ts';
import { loadChunkTable, openDevices } from '../../../src/backend/devices.ts';
import { NaiadError } from '../../../src/base/errors.ts';
import { decompress, digestOf } from '../../../src/codec/codec.ts';
import { SECTION_HEADER_SIZE } from '../../../src/format/blob/records.ts';
import { readToc, TOC_SIZE_MAX } from '../../../src/image/blob-reader.ts';
import { Bootstrap } from '../../../src/image/bootstrap-reader.ts';
import { type BlobRecords, recordsByBlob } from '../../../src/image/chunk-records.ts';
import type { Device } from '../../../src/image/device.ts';
import type { FuzzTarget } from '../target.ts';

export function readerOf(blob: Buffer): BlobReader {
  return {
    name: 'fuzzed',
    readAt: ({ offset, size }) => {
      if (offset + size > blob.length)
        return Promise.reject(new NaiadError('SIZE_MISMATCH', 'past the end of the blob'));
      return Promise.resolve(blob.subarray(offset, offset + size));
    },
  };
}

export function splitInput(input: Buffer): { bytes: Buffer; blob: Buffer } {
  const end = input.length < 4 ? 0 : 4 + input.readUInt32LE(0);
  return { bytes: input.subarray(4, end), blob: input.subarray(end) };
}

async function readChunks({ chunks, compressor, digester }: Device, blob: BlobReader): Promise<void> {
  for (let index = 0; index < Math.min(chunks.count, 64); index++) {
    const size = chunks.compressedSize(index);
    const stored = await blob.readAt({ offset: chunks.compressedOffset(index), size });
    const unitSize = chunks.batch(index)?.uncompressedBatchSize ?? chunks.uncompressedSize(index);
    const unit = chunks.compressed(index) ? decompress(compressor, stored, unitSize) : stored;
    digestOf(digester, unit);
  }
}

export const blobTarget: FuzzTarget = {
  name: 'blob',
  async run(input) {
    const { bytes, blob } = splitInput(input);
    const reader = readerOf(blob);
    let failure: unknown;
    try {
      readToc(blob.subarray(-TOC_SIZE_MAX), blob.length);
    } catch (error) {
      failure = error;
    }
    const bootstrap = Bootstrap.parse(bytes);
    const devices = await openDevices(bootstrap, () => reader);
    for (const device of devices) await readChunks(device, reader);
    const records = recordsByBlob(bootstrap);
    for (const view of bootstrap.blobs) await loadChunkTable(view, reader, records[view.blobIndex] as BlobRecords);
    if (failure) throw failure;
  },
  hotspots: (input) => {
    const end = input.length < 4 ? 0 : 4 + input.readUInt32LE(0);
    const tail = Math.min(6144, Math.max(0, input.length - end));
    return [
      { offset: 4 + 4096, size: 256 },
      { offset: 4 + 1408, size: 128 },
      { offset: Math.max(4, end - 4096), size: 4096 },
      { offset: input.length - tail, size: tail },
      { offset: Math.max(0, input.length - SECTION_HEADER_SIZE), size: Math.min(SECTION_HEADER_SIZE, input.length) },
    ];
  },
};
