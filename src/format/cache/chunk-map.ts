// State file of a partly filled blob: which chunks lie verified in its data file, and what they were verified against.
//
//   header (4096) | ready bits | durable bits | suspect bits | claims: batch header, claim, claim, …, batch header, …
//
// Each bitmap is padded to 4096. Bit i is bit i % 8 (lowest first) of byte i / 8. What each promises:
//   ready    the chunk's bytes are in the data file and had their digest. True within the boot named in the header.
//   durable  the same, and the bytes had reached the disk before the bit was set. True for ever.
//   suspect  the chunk may be there; it counts only after its digest was checked again.
// Bits of `ready` and `durable` are set after what they promise holds, and are idempotent, so that processes which
// share the file need no lock: a bit lost to a concurrent write of its byte costs one more fetch, never wrong bytes.
//
// A claim says where a chunk lies on the device and what digest it has. Images know only the chunks that they use, so
// each image that opens the blob appends one batch with what it adds. A batch counts when no claim of it contradicts
// the batches before it that count; all readers replay the same bytes, so all agree.

import { alignUp } from '../../base/units.ts';
import { DIGESTERS } from '../rafs/algorithms.ts';
import { ascii, bytes, type RecordOf, record, reserved, u32, u53, u64 } from '../record.ts';

export const CHUNK_MAP_MAGIC = 'naiadmap';
/** Raised with every change of this file or of what a data file holds. Maps of other versions are started anew. */
export const CHUNK_MAP_VERSION = 1;

export const chunkMapHeader = record('cache.chunk_map_header', 4096, {
  magic: ascii(0, 8, 'naiadmap'),
  version: u32(8, 'version of this layout, 1'),
  chunkCount: u32(12, 'chunks of the blob; bits used of each bitmap'),
  deviceSize: u53(16, 'bytes of the data file'),
  dataInode: u64(24, 'inode number of the data file this map speaks of'),
  dataBirthNs: u64(32, 'its birth time in ns since 1970, 0 where the file system keeps none'),
  bootId: ascii(40, 40, 'boot during which `ready` was last written, from /proc/sys/kernel/random/boot_id'),
  blobId: ascii(80, 64, 'the blob'),
  reserved: reserved(144, 3952),
});
export type ChunkMapHeader = RecordOf<typeof chunkMapHeader>;

export const CLAIM_BATCH_MAGIC = 0x6d69616c;
export const claimBatch = record('cache.claim_batch', 64, {
  magic: u32(0, '0x6D69616C'),
  count: u32(4, 'claims that follow'),
  digest: bytes(8, 32, 'sha256 of those claims, so that a torn batch is seen'),
  reserved: reserved(40, 24),
});

export const claim = record('cache.claim', 64, {
  chunkIndex: u32(0, 'index of the chunk; ascending within a batch'),
  uncompressedSize: u32(4, 'bytes of the chunk'),
  uncompressedOffset: u53(8, 'where it lies on the device'),
  digester: u32(16, `algorithm of the digest: blake3 ${DIGESTERS.blake3.id}, sha256 ${DIGESTERS.sha256.id}`),
  reserved: reserved(20, 12),
  digest: bytes(32, 32, 'digest of the uncompressed bytes'),
});

const CHUNK_MAP_BITMAPS = ['ready', 'durable', 'suspect'] as const;
export type ChunkMapBitmap = (typeof CHUNK_MAP_BITMAPS)[number];

/** Bytes that hold one bit a chunk. */
export function bitmapSize(chunkCount: number): number {
  return Math.ceil(chunkCount / 8);
}

/** Where a bitmap starts in the file. */
export function bitmapOffset(chunkCount: number, bitmap: ChunkMapBitmap): number {
  return chunkMapHeader.size + CHUNK_MAP_BITMAPS.indexOf(bitmap) * alignUp(bitmapSize(chunkCount), 4096);
}

/** Where the claims start in the file. */
export function claimsOffset(chunkCount: number): number {
  return chunkMapHeader.size + CHUNK_MAP_BITMAPS.length * alignUp(bitmapSize(chunkCount), 4096);
}
