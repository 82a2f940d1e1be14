// Every device of an image as a plain complete file, filled from its blobs without cache or mount: what the kernel is given
// as `device=`, and what file contents are checked against.
import { closeSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { BlobReader } from '../../src/backend/blob-reader.ts';
import { openDevices } from '../../src/backend/devices.ts';
import { NaiadError } from '../../src/base/errors.ts';
import { decompress, digestOf } from '../../src/codec/codec.ts';
import type { Bootstrap } from '../../src/image/bootstrap-reader.ts';
import type { Device } from '../../src/image/device.ts';

/** Writes `<blobId>.data` below `dir` for each device, every chunk checked; returns the paths in device order. */
export async function fillDevices(
  bootstrap: Bootstrap,
  readerOf: (blobId: string) => BlobReader,
  dir: string,
): Promise<string[]> {
  const devices = await openDevices(bootstrap, readerOf);
  const paths: string[] = [];
  for (const device of devices) {
    const path = join(dir, `${device.blobId}.data`);
    await fillDevice(device, readerOf(device.blobId), path);
    paths.push(path);
  }
  return paths;
}

async function fillDevice(device: Device, reader: BlobReader, path: string): Promise<void> {
  const file = openSync(path, 'w');
  try {
    ftruncateSync(file, device.size);
    const { chunks } = device;
    for (let index = 0; index < chunks.count; index++) {
      if (chunks.uncompressedSize(index) === 0) continue;
      const bytes = await readChunk(device, index, reader);
      if (!Buffer.from(digestOf(device.digester, bytes)).equals(chunks.digest(index))) {
        throw new NaiadError('CHUNK_DIGEST_MISMATCH', `chunk ${index} of ${device.blobId}`);
      }
      writeSync(file, bytes, 0, bytes.length, chunks.uncompressedOffset(index));
    }
  } finally {
    closeSync(file);
  }
}

async function readChunk({ chunks, compressor }: Device, index: number, reader: BlobReader): Promise<Uint8Array> {
  const size = chunks.compressedSize(index);
  const stored = await reader.readAt({ offset: chunks.compressedOffset(index), size });
  const batch = chunks.batch(index);
  const unitSize = batch ? batch.uncompressedBatchSize : chunks.uncompressedSize(index);
  const unit = size === unitSize || !chunks.compressed(index) ? stored : decompress(compressor, stored, unitSize);
  return batch ? unit.subarray(batch.offset, batch.offset + chunks.uncompressedSize(index)) : unit;
}

/** Blobs as files of one directory, named by id. */
export function blobsIn(dir: string): (blobId: string) => BlobReader {
  return (blobId) => ({
    name: `${dir}/${blobId}`,
    readAt: ({ offset, size }) => {
      const file = openSync(join(dir, blobId), 'r');
      try {
        const bytes = Buffer.alloc(size);
        const count = readSync(file, bytes, 0, size, offset);
        if (count !== size) throw new NaiadError('SIZE_MISMATCH', `${blobId}: ${count} of ${size} bytes at ${offset}`);
        return Promise.resolve(bytes);
      } finally {
        closeSync(file);
      }
    },
  });
}
