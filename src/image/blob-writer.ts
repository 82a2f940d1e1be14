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
import { CHUNK_DIGEST_SIZE, type ChunkTable } from './chunk-table.ts';

/** Features of every blob we write: aligned chunks, digests, tar-like framing and TOC. */
const BLOB_FEATURES_WRITTEN =
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

/**
 * The bytes to write behind the chunk data, in order, and what the bootstrap records of the finished blob. A section is made
 * piece by piece as it is asked for: those of millions of chunks need not be in memory.
 */
export function finishBlob(data: BlobDataSummary): { sections: Iterable<Uint8Array>; info: BlobInfo } {
  const { chunks, hash, dataSize } = data;
  assert(chunks.count > 0, 'a blob without chunks is not written');
  const sections: Iterable<Uint8Array>[] = [];
  let position = dataSize;
  const append = (...parts: Uint8Array[]) => appendPieces(parts);
  const appendPieces = (pieces: Iterable<Uint8Array>) => {
    sections.push(pieces);
    const own = createHash('sha256');
    const start = position;
    for (const piece of pieces) {
      hash.update(piece);
      own.update(piece);
      position += piece.length;
    }
    return { digest: own.digest(), size: position - start };
  };

  append(encodeSectionHeader('image.blob', dataSize));
  const dataDigest = hash.copy().digest();
  const uncompressedSize = deviceSize(chunks);
  const toc: TocEntry[] = [tocRow('image.blob', TOC_FLAGS.raw, dataDigest, 0, dataSize, uncompressedSize)];

  const table = storeTable(chunks, data.compressor);
  const ciOffset = position;
  const { size: ciCompressedSize } = appendPieces(table.pieces);
  const header = blobHeader.encode({
    magic: BLOB_HEADER_MAGIC,
    features: BLOB_FEATURES_WRITTEN,
    ciCompressor: COMPRESSORS[table.compressor].id,
    ciEntries: chunks.count,
    ciOffset,
    ciCompressedSize,
    ciUncompressedSize: table.size,
    contextsOffset: 0,
    contextsSize: 0,
    contextsCount: 0,
    magic2: BLOB_HEADER_MAGIC,
  });
  append(header, encodeSectionHeader('blob.meta', ciCompressedSize + header.length));
  const headerOffset = ciOffset + ciCompressedSize;
  toc.push(
    tocRow('blob.meta', tocFlagOf(table.compressor), table.digest, ciOffset, ciCompressedSize, table.size),
    tocRow('blob.meta.header', TOC_FLAGS.raw, sha256(header), headerOffset, header.length, header.length),
  );

  const digestsOffset = position;
  const digests = appendPieces({ [Symbol.iterator]: () => digestPieces(chunks) });
  toc.push(tocRow('blob.digest', TOC_FLAGS.raw, digests.digest, digestsOffset, digests.size, digests.size));
  append(encodeSectionHeader('blob.digest', digests.size));

  const entries = Buffer.concat(toc.map((entry) => tocEntry.encode(entry)));
  const tocHeader = encodeSectionHeader('rafs.blob.toc', entries.length);
  append(entries, tocHeader);
  return {
    sections: flatten(sections),
    info: {
      blobId: hash.digest().toString('hex'),
      compressor: data.compressor,
      digester: data.digester,
      features: BLOB_FEATURES_WRITTEN,
      chunks,
      compressedSize: position,
      uncompressedSize,
      ciCompressor: table.compressor,
      ciOffset,
      ciCompressedSize,
      ciUncompressedSize: table.size,
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

/** A chunk-info table is compressed in one piece; one of more chunks than this is not: it would be in memory twice. */
const COMPRESSED_TABLE_CHUNKS_MAX = 2 ** 21;
const RECORDS_PER_PIECE = 4096;

interface StoredTable {
  readonly compressor: CompressorName;
  readonly pieces: Iterable<Uint8Array>;
  /** Of the table before it is compressed. */
  readonly digest: Uint8Array;
  readonly size: number;
}

/** The chunk-info table, compressed like the chunks are, unless that does not make it smaller. */
function storeTable(chunks: ChunkTable, compressor: CompressorName): StoredTable {
  const size = chunks.count * chunkInfoV1.size;
  const pieces = { [Symbol.iterator]: () => chunkInfoPieces(chunks) };
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  const digest = hash.digest();
  if (chunks.count > COMPRESSED_TABLE_CHUNKS_MAX) return { compressor: 'none', pieces, digest, size };
  const bytes = createCompressor(compressor)(Buffer.concat([...pieces]));
  if (bytes.length >= size) return { compressor: 'none', pieces, digest, size };
  return { compressor, pieces: [Uint8Array.from(bytes)], digest, size };
}

function* chunkInfoPieces(chunks: ChunkTable): Generator<Uint8Array, void, void> {
  for (let first = 0; first < chunks.count; first += RECORDS_PER_PIECE) {
    const count = Math.min(RECORDS_PER_PIECE, chunks.count - first);
    const piece = new Uint8Array(count * chunkInfoV1.size);
    const view = viewOf(piece);
    for (let index = 0; index < count; index++) {
      const packed = packChunkInfoV1({
        compressedOffset: chunks.compressedOffset(first + index),
        compressedSize: chunks.compressedSize(first + index),
        uncompressedOffset: chunks.uncompressedOffset(first + index),
        uncompressedSize: chunks.uncompressedSize(first + index),
      });
      chunkInfoV1.write(view, index * chunkInfoV1.size, packed);
    }
    yield piece;
  }
}

function tocFlagOf(compressor: CompressorName): number {
  return compressor === 'none' ? TOC_FLAGS.raw : compressor === 'lz4' ? TOC_FLAGS.lz4 : TOC_FLAGS.zstd;
}

const DIGESTS_PER_PIECE = 2048;

function* digestPieces(chunks: ChunkTable): Generator<Uint8Array, void, void> {
  for (let first = 0; first < chunks.count; first += DIGESTS_PER_PIECE) {
    const count = Math.min(DIGESTS_PER_PIECE, chunks.count - first);
    const piece = new Uint8Array(count * CHUNK_DIGEST_SIZE);
    for (let index = 0; index < count; index++) piece.set(chunks.digest(first + index), index * CHUNK_DIGEST_SIZE);
    yield piece;
  }
}

function* flatten(sections: Iterable<Iterable<Uint8Array>>): Generator<Uint8Array, void, void> {
  for (const section of sections) yield* section;
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
