// Packing of chunk-info records: two forms that say the same, v1 in 16 bytes, v2 in 24 with CRC and batches.
import type { RecordOf } from '../record.ts';
import { CHUNK_V2_FLAGS, type chunkInfoV1, type chunkInfoV2 } from './records.ts';

export interface ChunkLocation {
  readonly compressedOffset: number;
  readonly compressedSize: number;
  readonly uncompressedOffset: number;
  readonly uncompressedSize: number;
}

export interface ChunkLocationV2 extends ChunkLocation {
  readonly flags: number;
  readonly crc32: number;
  /** Only of a batched chunk: which batch, and where in its uncompressed bytes. */
  readonly batchIndex: number;
  readonly batchOffset: number;
}

const LOW_20 = 0xf_ffffn;

/** @see storage/src/meta/chunk_info_v1.rs */
export function packChunkInfoV1(chunk: ChunkLocation): RecordOf<typeof chunkInfoV1> {
  const usize = BigInt(chunk.uncompressedSize - 1);
  const csize = BigInt(chunk.compressedSize - 1);
  return {
    u: BigInt(chunk.uncompressedOffset) | ((usize & LOW_20) << 44n) | ((usize >> 20n) << 8n),
    c: BigInt(chunk.compressedOffset) | ((csize & LOW_20) << 44n) | ((csize >> 20n) << 40n),
  };
}

export function unpackChunkInfoV1({ u, c }: RecordOf<typeof chunkInfoV1>): ChunkLocation {
  return {
    uncompressedOffset: Number(u & 0x0000_0fff_ffff_f000n),
    uncompressedSize: Number((u >> 44n) | (((u >> 8n) & 0xfn) << 20n)) + 1,
    compressedOffset: Number(c & 0x0000_00ff_ffff_ffffn),
    compressedSize: Number((c >> 44n) | (((c >> 40n) & 0xfn) << 20n)) + 1,
  };
}

/** @see storage/src/meta/chunk_info_v2.rs */
export function unpackChunkInfoV2({ u, c, d }: RecordOf<typeof chunkInfoV2>): ChunkLocationV2 {
  const flags = Number(u >> 56n);
  const batched = (flags & CHUNK_V2_FLAGS.batch) !== 0;
  return {
    uncompressedOffset: Number(u & 0xffff_ffffn) * 4096,
    uncompressedSize: Number((u >> 32n) & 0xff_ffffn) + 1,
    compressedOffset: Number(c & 0x0000_00ff_ffff_ffffn),
    compressedSize: Number(c >> 40n),
    flags,
    crc32: batched ? 0 : Number(d & 0xffff_ffffn),
    batchIndex: Number(d >> 32n),
    batchOffset: Number(d & 0xffff_ffffn),
  };
}
