// The records of a blob behind its chunk data (storage/src/meta/mod.rs, chunk_info_v1.rs, chunk_info_v2.rs, batch.rs, toc.rs).
//
//   data | h image.blob | chunk-info table | header | h blob.meta | digests | h blob.digest | TOC | h rafs.blob.toc
//
// `h NAME` is a 512-byte tar header that *follows* the section it names, so that a reader finds its way from the end.
import { ascii, bytes, type RecordOf, record, reserved, u32, u53, u64 } from '../record.ts';

export const BLOB_HEADER_MAGIC = 0xb10bb10b;
export const blobHeader = record('blob.header', 4096, {
  magic: u32(0, '0xB10BB10B'),
  features: u32(4, 'as in the blob table'),
  ciCompressor: u32(8, 'compressor of the stored chunk-info table'),
  ciEntries: u32(12, 'number of chunks'),
  ciOffset: u53(16, 'offset of the chunk-info table in the blob'),
  ciCompressedSize: u53(24, 'its stored bytes'),
  ciUncompressedSize: u53(32, 'its bytes once decompressed, contexts included'),
  contextsOffset: u53(40, 'where batch contexts start in the uncompressed table'),
  contextsSize: u53(48, 'their bytes'),
  contextsCount: u32(56, 'their number'),
  reserved: reserved(60, 4032),
  magic2: u32(4092, '0xB10BB10B'),
});
export type BlobHeader = RecordOf<typeof blobHeader>;

export const chunkInfoV1 = record('blob.chunk_info_v1', 16, {
  u: u64(0, 'uncompressed offset in bits 12-43; size - 1: low 20 bits in 44-63, high 4 in 8-11'),
  c: u64(8, 'compressed offset in bits 0-39; size - 1: low 20 bits in 44-63, high 4 in 40-43'),
});

export const chunkInfoV2 = record('blob.chunk_info_v2', 24, {
  u: u64(0, 'uncompressed offset / 4096 in bits 0-31; size - 1 in 32-55; flags in 56-63'),
  c: u64(8, 'compressed offset in bits 0-39; size in 40-63'),
  d: u64(16, 'CRC-32C in bits 0-31; in a batch: offset in the batch, and the batch in bits 32-63'),
});
export const CHUNK_V2_FLAGS = { compressed: 0x1, zran: 0x2, batch: 0x4, encrypted: 0x8, hasCrc32: 0x10 } as const;

export const batchContext = record('blob.batch_context', 40, {
  compressedSize: u32(0, 'bytes of the batch as stored'),
  uncompressedSize: u32(4, 'bytes of the batch once decompressed'),
  reserved: reserved(8, 32),
});

export const tocEntry = record('blob.toc_entry', 128, {
  flags: u32(0, '1 stored raw, 2 zstd, 4 lz4 block'),
  reserved: reserved(4, 4),
  name: ascii(8, 16, 'image.blob, blob.meta, blob.meta.header, blob.digest or image.boot'),
  digest: bytes(24, 32, 'sha256 of the uncompressed section'),
  compressedOffset: u53(56, 'offset in the blob'),
  compressedSize: u53(64, 'bytes stored'),
  uncompressedSize: u53(72, 'bytes once decompressed'),
  reserved2: reserved(80, 48),
});
export type TocEntry = RecordOf<typeof tocEntry>;
export const TOC_FLAGS = { raw: 1, zstd: 2, lz4: 4 } as const;

export const SECTION_HEADER_SIZE = 512;
export const sectionHeader = record('blob.section_header', 512, {
  name: ascii(0, 100, 'name of the section before it'),
  mode: reserved(100, 8),
  uid: reserved(108, 8),
  gid: reserved(116, 8),
  size: bytes(124, 12, 'bytes of the section: 11 octal digits and NUL, or GNU base-256'),
  mtime: ascii(136, 12, '00000000000'),
  checksum: bytes(148, 8, 'sum of all bytes with this field as spaces: 7 octal digits and NUL'),
  typeflag: ascii(156, 1, '0'),
  linkname: reserved(157, 100),
  magic: ascii(257, 8, 'ustar and two spaces'),
  reserved: reserved(265, 247),
});
