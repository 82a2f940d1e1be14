// What a bootstrap says of its blobs, and how its files refer to their chunks.
import { alignUp } from '../base/units.ts';
import { BLOCK_SIZE, chunkAddress, DEVICE_SLOTS_OFFSET, deviceSlot } from '../format/erofs/records.ts';
import { COMPRESSORS, DIGESTERS } from '../format/rafs/algorithms.ts';
import type { BlobEntry } from '../format/rafs/records.ts';
import type { BlobInfo } from './blob-info.ts';
import type { ChunkAddress } from './bootstrap-reader.ts';

/** Blob starts on the flat device are aligned to this (rafs v6 builder, since 2.3). */
const FLAT_DEVICE_ALIGNMENT = 512 * 1024;

/** Writes one slot a blob, in order, into a bootstrap of `fileSize` bytes. */
export function writeDeviceSlots(
  view: DataView,
  blobs: readonly Pick<BlobInfo, 'blobId' | 'uncompressedSize'>[],
  fileSize: number,
): void {
  let flatEnd = fileSize;
  for (const [index, { blobId, uncompressedSize }] of blobs.entries()) {
    const blocks = uncompressedSize / BLOCK_SIZE;
    const mappedBlkaddr = alignUp(flatEnd, FLAT_DEVICE_ALIGNMENT) / BLOCK_SIZE;
    flatEnd = (mappedBlkaddr + blocks) * BLOCK_SIZE;
    deviceSlot.write(view, DEVICE_SLOTS_OFFSET + index * deviceSlot.size, {
      tag: blobId,
      blocks,
      // Beyond 32 bits a flat device cannot be addressed; per-blob devices, which everybody uses, do not look at it.
      mappedBlkaddr: Math.min(mappedBlkaddr, 0xffff_ffff),
    });
  }
}

/** The row of a blob in the blob table. */
export function blobEntryOf(
  blob: BlobInfo,
  { blobIndex, chunkSize }: { readonly blobIndex: number; readonly chunkSize: number },
): BlobEntry {
  return {
    blobId: blob.blobId,
    blobIndex,
    chunkSize,
    chunkCount: blob.chunks.count,
    compressor: COMPRESSORS[blob.compressor].id,
    digester: DIGESTERS[blob.digester].id,
    features: blob.features,
    compressedSize: blob.compressedSize,
    uncompressedSize: blob.uncompressedSize,
    tocSize: blob.tocSize,
    ciCompressor: COMPRESSORS[blob.ciCompressor].id,
    ciOffset: blob.ciOffset,
    ciCompressedSize: blob.ciCompressedSize,
    ciUncompressedSize: blob.ciUncompressedSize,
    tocDigest: blob.tocDigest,
    metaDigest: new Uint8Array(32),
    metaSize: 0,
    cipherIv: 0,
    cipher: 0,
  };
}

export function writeChunkAddress(
  view: DataView,
  at: number,
  { blobIndex, chunkIndex, deviceOffset }: ChunkAddress,
): void {
  chunkAddress.write(view, at, {
    chunkLow: chunkIndex & 0xffff,
    device: ((chunkIndex >>> 16) << 8) | (blobIndex + 1),
    block: deviceOffset / BLOCK_SIZE,
  });
}

/** Exponents of the chunk format have five bits above the block size; the kernel takes sizes it can shift. */
const KERNEL_CHUNK_SIZE_MAX = 2 ** 43;

/**
 * The chunk size the kernel is told of a file: when all its chunks follow each other on one device, the power of two that
 * covers the file, so that one lookup maps all of it (builder/src/core/node.rs). Every address is stored all the same.
 */
export function mappedChunkSize(
  { size, chunkSize }: { readonly size: number; readonly chunkSize: number },
  addressOf: (position: number) => Pick<ChunkAddress, 'blobIndex' | 'deviceOffset'>,
): number {
  if (size <= chunkSize) return chunkSize;
  const covering = 2 ** Math.ceil(Math.log2(size));
  if (covering > KERNEL_CHUNK_SIZE_MAX) return chunkSize;
  const first = addressOf(0);
  for (let position = Math.ceil(size / chunkSize) - 1; position > 0; position--) {
    const { blobIndex, deviceOffset } = addressOf(position);
    if (blobIndex !== first.blobIndex || deviceOffset !== first.deviceOffset + position * chunkSize) return chunkSize;
  }
  return covering;
}
