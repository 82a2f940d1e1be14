// What a bootstrap records of a blob, for writers.
import type { CompressorName, DigesterName } from '../format/rafs/algorithms.ts';
import type { ChunkTable } from './chunk-table.ts';

export interface BlobInfo {
  /** sha256 of the whole blob, 64 lowercase hex digits. */
  readonly blobId: string;
  readonly compressor: CompressorName;
  readonly digester: DigesterName;
  /** BLOB_FEATURES bits. */
  readonly features: number;
  readonly chunks: ChunkTable;
  /** Bytes of the stored blob. */
  readonly compressedSize: number;
  /** Bytes of the device, a multiple of the block size. */
  readonly uncompressedSize: number;
  readonly ciCompressor: CompressorName;
  readonly ciOffset: number;
  readonly ciCompressedSize: number;
  readonly ciUncompressedSize: number;
  readonly tocSize: number;
  readonly tocDigest: Uint8Array;
}
