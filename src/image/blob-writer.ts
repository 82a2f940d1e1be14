// The part of a blob behind its chunk data. Sections and their order: builder/src/core/blob.rs, storage/src/meta/toc.rs.
import { createHash } from 'node:crypto';
import { assert } from '../base/assert.ts';
import { alignUp } from '../base/units.ts';
import { createCompressor } from '../codec/codec.ts';
import { packChunkInfoV1 } from '../format/blob/chunk-info.ts';
import {
  BLOB_HEADER_MAGIC,
  blobHeader,
  chunkInfoV1,
  TOC_FLAGS,
  type TocEntry,
  tocEntry,
} from '../format/blob/records.ts';
import { encodeSectionHeader } from '../format/blob/section.ts';
import { BLOCK_SIZE } from '../format/erofs/records.ts';
import { COMPRESSORS, type CompressorName, type DigesterName } from '../format/rafs/algorithms.ts';
import { BLOB_FEATURES } from '../format/rafs/records.ts';
import { viewOf } from '../format/record.ts';
import type { BlobInfo } from './blob-info.ts';
import type { ChunkTable } from './chunk-table.ts';

/** Features of every blob we write: aligned chunks, digests, tar-like framing and TOC. */
export const BLOB_FEATURES_WRITTEN =
  (BLOB_FEATURES.aligned |
    BLOB_FEATURES.inlinedChunkDigest |
    BLOB_FEATURES.hasTarHeader |
    BLOB_FEATURES.hasToc |
    BLOB_FEATURES.capTarToc) >>>
  0;

/** A sha256, as Node's `Hash` is one. */
export interface BlobHash {
  update(bytes: Uint8Array): unknown;
  copy(): { digest(): Buffer };
  digest(): Buffer;
}

export interface BlobDataSummary {
  /** In CI order, with where each was stored; at least one. */
  readonly chunks: ChunkTable;
  readonly compressor: CompressorName;
  readonly digester: DigesterName;
  /** Bytes of chunk data written so far; the tail starts there. */
  readonly dataSize: number;
  /** sha256 over exactly that chunk data. It is consumed: updated with the tail and finished. */
  readonly hash: BlobHash;
}

/** The bytes to write behind the chunk data, in order, and what the bootstrap records of the finished blob. */
export function finishBlob(data: BlobDataSummary): { sections: Uint8Array[]; info: BlobInfo } {
  const { chunks, hash, dataSize } = data;
  assert(chunks.count > 0, 'a blob without chunks is not written');
  const sections: Uint8Array[] = [];
  let position = dataSize;
  const append = (...parts: Uint8Array[]) => {
    for (const part of parts) {
      sections.push(part);
      hash.update(part);
      position += part.length;
    }
  };

  append(encodeSectionHeader('image.blob', dataSize));
  const dataDigest = hash.copy().digest();
  const uncompressedSize = deviceSize(chunks);
  const toc: TocEntry[] = [tocRow('image.blob', TOC_FLAGS.raw, dataDigest, 0, dataSize, uncompressedSize)];

  const table = encodeChunkInfo(chunks);
  const stored = storeTable(table, data.compressor);
  const ciOffset = position;
  const header = blobHeader.encode({
    magic: BLOB_HEADER_MAGIC,
    features: BLOB_FEATURES_WRITTEN,
    ciCompressor: COMPRESSORS[stored.compressor].id,
    ciEntries: chunks.count,
    ciOffset,
    ciCompressedSize: stored.bytes.length,
    ciUncompressedSize: table.length,
    contextsOffset: 0,
    contextsSize: 0,
    contextsCount: 0,
    magic2: BLOB_HEADER_MAGIC,
  });
  append(stored.bytes, header, encodeSectionHeader('blob.meta', stored.bytes.length + header.length));
  const tocFlags =
    stored.compressor === 'none' ? TOC_FLAGS.raw : stored.compressor === 'lz4' ? TOC_FLAGS.lz4 : TOC_FLAGS.zstd;
  toc.push(
    tocRow('blob.meta', tocFlags, sha256(table), ciOffset, stored.bytes.length, table.length),
    tocRow(
      'blob.meta.header',
      TOC_FLAGS.raw,
      sha256(header),
      ciOffset + stored.bytes.length,
      header.length,
      header.length,
    ),
  );

  const digests = encodeDigests(chunks);
  toc.push(tocRow('blob.digest', TOC_FLAGS.raw, sha256(digests), position, digests.length, digests.length));
  append(digests, encodeSectionHeader('blob.digest', digests.length));

  const entries = Buffer.concat(toc.map((entry) => tocEntry.encode(entry)));
  const tocHeader = encodeSectionHeader('rafs.blob.toc', entries.length);
  append(entries, tocHeader);
  return {
    sections,
    info: {
      blobId: hash.digest().toString('hex'),
      compressor: data.compressor,
      digester: data.digester,
      features: BLOB_FEATURES_WRITTEN,
      chunks,
      compressedSize: position,
      uncompressedSize,
      ciCompressor: stored.compressor,
      ciOffset,
      ciCompressedSize: stored.bytes.length,
      ciUncompressedSize: table.length,
      tocSize: entries.length + tocHeader.length,
      tocDigest: sha256(Buffer.concat([entries, tocHeader])),
    },
  };
}

/** Bytes of the device that holds `chunks`: the end of the last one, block-aligned. */
export function deviceSize(chunks: ChunkTable): number {
  const last = chunks.count - 1;
  return alignUp(chunks.uncompressedOffset(last) + chunks.uncompressedSize(last), BLOCK_SIZE);
}

function encodeChunkInfo(chunks: ChunkTable): Uint8Array {
  const table = new Uint8Array(chunks.count * chunkInfoV1.size);
  const view = viewOf(table);
  for (let index = 0; index < chunks.count; index++) {
    const packed = packChunkInfoV1({
      compressedOffset: chunks.compressedOffset(index),
      compressedSize: chunks.compressedSize(index),
      uncompressedOffset: chunks.uncompressedOffset(index),
      uncompressedSize: chunks.uncompressedSize(index),
    });
    chunkInfoV1.write(view, index * chunkInfoV1.size, packed);
  }
  return table;
}

/** The chunk-info table is compressed like the chunks are, unless that does not make it smaller. */
function storeTable(table: Uint8Array, compressor: CompressorName): { compressor: CompressorName; bytes: Uint8Array } {
  const bytes = createCompressor(compressor)(table);
  return bytes.length < table.length
    ? { compressor, bytes: Uint8Array.from(bytes) }
    : { compressor: 'none', bytes: table };
}

function encodeDigests(chunks: ChunkTable): Uint8Array {
  const digests = new Uint8Array(chunks.count * 32);
  for (let index = 0; index < chunks.count; index++) digests.set(chunks.digest(index), index * 32);
  return digests;
}

function tocRow(
  name: string,
  flags: number,
  digest: Uint8Array,
  compressedOffset: number,
  compressedSize: number,
  uncompressedSize: number,
): TocEntry {
  return { flags, name, digest, compressedOffset, compressedSize, uncompressedSize };
}

function sha256(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest();
}
