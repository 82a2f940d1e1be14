// From stored bytes to the chunks in them, verified. Everything that shows a byte of an image goes through here.
import { short } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { decompress, digestOf } from '../codec/codec.ts';
import type { Device } from '../image/device.ts';
import type { FetchUnit } from './fetch-plan.ts';

/** The bytes of a stored unit once decompressed, into `room` as `decompress` does. @throws NaiadError CHUNK_INVALID. */
export function unpackUnit(device: Device, unit: FetchUnit, stored: Uint8Array, room?: Uint8Array): Uint8Array {
  return unit.compressed ? decompress(device.compressor, stored, unit.uncompressedSize, room) : stored;
}

/**
 * Chunk `index` within its unpacked unit, as a view; its digest is right.
 * @throws NaiadError CHUNK_DIGEST_MISMATCH, CHUNK_INVALID.
 */
export function chunkOf(device: Device, index: number, unpacked: Uint8Array): Uint8Array {
  const start = device.chunks.batch(index)?.offset ?? 0;
  const chunk = unpacked.subarray(start, start + device.chunks.uncompressedSize(index));
  verifyChunk(device, index, chunk);
  return chunk;
}

/** @throws NaiadError CHUNK_DIGEST_MISMATCH, CHUNK_INVALID. */
export function verifyChunk(device: Device, index: number, chunk: Uint8Array): void {
  const { chunks: table, digester, blobId } = device;
  const what = `chunk ${index} of blob ${short(blobId)}`;
  if (chunk.length !== table.uncompressedSize(index)) {
    throw new NaiadError('CHUNK_INVALID', `${what}: ${chunk.length} bytes, expected ${table.uncompressedSize(index)}`);
  }
  const expected = table.digest(index);
  const got = digestOf(digester, chunk);
  if (Buffer.compare(got, expected) === 0) return;
  const [expectedHex, gotHex] = [expected, got].map((digest) => short(Buffer.from(digest).toString('hex')));
  throw new NaiadError('CHUNK_DIGEST_MISMATCH', `${what}: expected ${digester} ${expectedHex}, got ${gotHex}`, {
    hint: 'The registry or something on the way to it gives wrong bytes; "naiad check --data" on the image lists them all.',
  });
}
