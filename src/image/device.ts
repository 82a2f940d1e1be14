// The one model of an image that everything downstream of reading knows: a bootstrap, and per blob a device.
import type { CompressorName, DigesterName } from '../format/rafs/algorithms.ts';
import type { ChunkTable } from './chunk-table.ts';

/** A blob seen as a block device: byte ranges of it map to chunks, chunks to ranges of the stored blob. */
export interface Device {
  /** sha256 of the stored blob, 64 lowercase hex digits. */
  readonly blobId: string;
  /** Size of the device in bytes, a multiple of the block size. */
  readonly size: number;
  readonly compressor: CompressorName;
  readonly digester: DigesterName;
  readonly chunks: ChunkTable;
}
