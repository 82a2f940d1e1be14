// From stored bytes to the chunks in them, verified. Everything that shows a byte of an image goes through here.
import { short } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { KiB } from '../base/units.ts';
import { decompress, digestOf } from '../codec/codec.ts';
import type { Device } from '../image/device.ts';
import { addonIfBuilt } from '../native/load.ts';
import type { FetchUnit } from './fetch-plan.ts';

/** The bytes of a stored unit once decompressed, into `room` as `decompress` does. @throws NaiadError CHUNK_INVALID. */
export function unpackUnit(device: Device, unit: FetchUnit, stored: Uint8Array, room?: Uint8Array): Uint8Array {
  return unit.compressed ? decompress(device.compressor, stored, unit.uncompressedSize, room) : stored;
}

/** Less than this is unpacked before another thread has woken up. */
const ASIDE_SIZE_MIN = 128 * KiB;

/** As `unpackUnit`, on another thread where that is worth it. `stored` and `room` stay as they are until it is done. */
export async function unpackAside(
  device: Device,
  unit: FetchUnit,
  stored: Uint8Array,
  room: Uint8Array | undefined,
): Promise<Uint8Array> {
  if (room && unit.compressed && device.compressor === 'zstd' && room.length >= ASIDE_SIZE_MIN) {
    const size = await addonIfBuilt()?.zstdDecompress(room, stored);
    if (size === room.length) return room;
  }
  return unpackUnit(device, unit, stored, room); // Whatever else it is that is wrong with it is found here.
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
