// What RAFS v6 adds to EROFS: the extended super block, the blob table, the chunk table (rafs/src/metadata/layout/v6.rs;
// the chunk record is v5's, layout/v5.rs).
import { ascii, bytes, type RecordOf, record, reserved, u32, u53, u64 } from '../record.ts';

/** How a bootstrap of version 5 begins; recognised only to be refused by name. */
export const rafsV5Head = record('rafs.v5_head', 8, {
  magic: u32(0, '0x52414653, "SFAR"'),
  version: u32(4, '0x500 for version 5'),
});
export const RAFS_V5_MAGIC = 0x5241_4653;

export const EXT_SUPERBLOCK_OFFSET = 1152;
export const extSuperblock = record('rafs.superblock_ext', 256, {
  flags: u64(0, 'compressor, digester and properties, see the flag table'),
  blobTableOffset: u53(8, 'bytes from the start of the file; a multiple of 4096'),
  blobTableSize: u32(16, 'bytes; a multiple of 256'),
  chunkSize: u32(20, 'bytes; a power of two from 4096 to 16 MiB'),
  chunkTableOffset: u53(24, 'bytes from the start of the file; a multiple of 4096'),
  chunkTableSize: u53(32, 'bytes; a multiple of 80; 0 when there is none'),
  prefetchTableOffset: u53(40, 'bytes from the start of the file; a multiple of 8'),
  prefetchTableSize: u32(48, 'bytes; a multiple of 4'),
  reserved: reserved(52, 204),
});

/** Bits of `flags` (rafs/src/metadata/mod.rs, RafsSuperFlags). Compressors and digesters: algorithms.ts. */
export const SUPER_FLAGS = {
  explicitUidGid: 0x10n,
  hasXattr: 0x20n,
  inlinedChunkDigest: 0x100n,
  tarfs: 0x200n,
  encryptionNone: 0x0100_0000n,
  encryptionAes: 0x0200_0000n,
} as const;
/** Bits that may be set at all; the top six are reserved for compatible additions. */
export const SUPER_FLAGS_KNOWN = 0xff00_03ffn;

export const blobEntry = record('rafs.blob_entry', 256, {
  blobId: ascii(0, 64, 'sha256 of the blob, 64 hex digits'),
  blobIndex: u32(64, 'position in the table'),
  chunkSize: u32(68, 'as in the super block'),
  chunkCount: u32(72, 'chunks of the blob, 1 to 2^24'),
  compressor: u32(76, '0 none, 1 lz4 block, 2 gzip, 3 zstd'),
  digester: u32(80, '0 blake3, 1 sha256'),
  features: u32(84, 'see the feature table'),
  compressedSize: u53(88, 'bytes of the stored blob; in some images less'),
  uncompressedSize: u53(96, 'bytes of the device; a multiple of 4096'),
  tocSize: u32(104, 'bytes of the TOC and its tar header; 0 when unknown'),
  ciCompressor: u32(108, 'compressor of the stored chunk-info table'),
  ciOffset: u53(112, 'offset of the chunk-info table in the blob'),
  ciCompressedSize: u53(120, 'its stored bytes'),
  ciUncompressedSize: u53(128, 'its bytes once decompressed'),
  tocDigest: bytes(136, 32, 'sha256 of the TOC and its tar header; zero when unknown'),
  metaDigest: bytes(168, 32, 'for blobs with separate metadata, refused here; else zero'),
  metaSize: u53(200, 'likewise'),
  cipherIv: u53(208, 'zero'),
  cipher: u32(216, '0: not encrypted'),
  reserved: reserved(220, 36),
});
export type BlobEntry = RecordOf<typeof blobEntry>;

/** Bits of `features` (storage/src/device.rs, BlobFeatures). */
export const BLOB_FEATURES = {
  aligned: 0x1,
  inlinedFsMeta: 0x2,
  chunkInfoV2: 0x4,
  zran: 0x8,
  separate: 0x10,
  inlinedChunkDigest: 0x20,
  tarfs: 0x40,
  batch: 0x80,
  encrypted: 0x100,
  chunkDictGenerated: 0x200,
  separatedWithPrefetchFiles: 0x400,
  external: 0x800,
  hasTarHeader: 0x1000_0000,
  hasToc: 0x2000_0000,
  capTarToc: 0x4000_0000,
} as const;
/** Bits that make nydus refuse a blob (bits 12 to 15 and 31). */
export const BLOB_FEATURES_REFUSED = 0x8000_f000;

export const chunkRecord = record('rafs.chunk', 80, {
  digest: bytes(0, 32, 'digest of the uncompressed bytes'),
  blobIndex: u32(32, 'blob the chunk is in'),
  flags: u32(36, '0x1 compressed, 0x10 crc32 present; others unset'),
  compressedSize: u32(40, 'bytes stored; 0 for a chunk in a batch'),
  uncompressedSize: u32(44, 'bytes of the chunk'),
  compressedOffset: u53(48, 'offset in the blob'),
  uncompressedOffset: u53(56, 'offset on the device'),
  fileOffset: u53(64, 'offset in the first file that uses it'),
  index: u32(72, 'index in the chunk-info table of the blob'),
  crc32: u32(76, 'CRC-32C of the uncompressed bytes'),
});
export type ChunkRecord = RecordOf<typeof chunkRecord>;
export const CHUNK_FLAGS = { compressed: 0x1, hole: 0x2, encrypted: 0x4, batch: 0x8, hasCrc32: 0x10 } as const;
