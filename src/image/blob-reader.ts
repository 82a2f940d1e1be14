// The tail of a blob read back: chunk-info table, header, digests, TOC (storage/src/meta). All of it is hostile.
import { bytesToString, short } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { CHUNK_INFO_SIZE_MAX } from '../base/limits.ts';
import { alignUp } from '../base/units.ts';
import { decompress } from '../codec/codec.ts';
import { type ChunkLocationV2, unpackChunkInfoV1, unpackChunkInfoV2 } from '../format/blob/chunk-info.ts';
import {
  BLOB_HEADER_MAGIC,
  type BlobHeader,
  batchContext,
  blobHeader,
  CHUNK_V2_FLAGS,
  chunkInfoV1,
  chunkInfoV2,
  SECTION_HEADER_SIZE,
  type TocEntry,
  tocEntry,
} from '../format/blob/records.ts';
import { decodeSectionHeader } from '../format/blob/section.ts';
import { BLOCK_SIZE } from '../format/erofs/records.ts';
import { COMPRESSORS } from '../format/rafs/algorithms.ts';
import { BLOB_FEATURES } from '../format/rafs/records.ts';
import { viewOf } from '../format/record.ts';
import type { BlobView } from './bootstrap-tables.ts';
import { type BatchSlice, CHUNK_DIGEST_SIZE, type Chunk, ChunkTable } from './chunk-table.ts';

/** Where the tail's parts lie in the blob, in bytes. */
export interface TailRanges {
  /** Chunk-info table and header behind it. */
  readonly info: { readonly offset: number; readonly size: number };
  /** 32 bytes a chunk, with the section headers on both sides; undefined when the blob has none. */
  readonly digests: { readonly offset: number; readonly size: number } | undefined;
}

export function hasFeature(blob: Pick<BlobView, 'features'>, feature: keyof typeof BLOB_FEATURES): boolean {
  return (blob.features & BLOB_FEATURES[feature]) !== 0;
}

/** @throws NaiadError BLOB_UNSUPPORTED when the blob has no chunk-info table. */
export function tailRanges(blob: BlobView): TailRanges {
  if (blob.ciUncompressedSize === 0) {
    throw new NaiadError('BLOB_UNSUPPORTED', `blob ${short(blob.blobId)} has no chunk-info table`);
  }
  const info = { offset: blob.ciOffset, size: blob.ciCompressedSize + blobHeader.size };
  const framed = hasFeature(blob, 'inlinedChunkDigest') && hasFeature(blob, 'hasTarHeader');
  const size = SECTION_HEADER_SIZE + blob.chunkCount * CHUNK_DIGEST_SIZE + SECTION_HEADER_SIZE;
  return { info, digests: framed ? { offset: info.offset + info.size, size } : undefined };
}

/** Bytes of chunk data at the start of the blob (BlobInfo::new in storage/src/device.rs). */
function dataSizeOf(blob: BlobView): number {
  if (!hasFeature(blob, 'capTarToc') || blob.ciCompressedSize === 0) return blob.compressedSize;
  return hasFeature(blob, 'hasTarHeader') ? blob.ciOffset - SECTION_HEADER_SIZE : blob.ciOffset;
}

/**
 * The chunks a blob's own table lists, without digests (zeros) unless `digests` gives them.
 * `info` holds exactly `tailRanges(blob).info`.
 * @throws NaiadError BLOB_INVALID naming the first wrong field or record.
 */
export function readChunkInfo(blob: BlobView, info: Uint8Array, digests?: Uint8Array): ChunkTable {
  const headerAt = blob.ciCompressedSize;
  if (info.length !== headerAt + blobHeader.size) throw invalid(blob, `tail of ${info.length} bytes`);
  const header = blobHeader.read(viewOf(info), headerAt);
  const wrong = headerComplaints(blob, header);
  if (wrong.length > 0) throw invalid(blob, wrong.join('; '));
  if (blob.ciUncompressedSize > CHUNK_INFO_SIZE_MAX) throw invalid(blob, 'chunk-info table above its size limit');
  let table: Uint8Array;
  try {
    table = decompress(blob.ciCompressor, info.subarray(0, headerAt), blob.ciUncompressedSize);
  } catch (cause) {
    throw new NaiadError('BLOB_INVALID', `blob ${short(blob.blobId)}: its chunk-info table does not decompress`, {
      cause,
    });
  }
  const chunks = new ChunkTable();
  const rows = hasFeature(blob, 'chunkInfoV2') ? rowsV2(blob, header, table) : rowsV1(blob, table);
  const placement = new PlacementCheck(blob);
  const digestOf = (index: number) => digests?.subarray(index * CHUNK_DIGEST_SIZE, (index + 1) * CHUNK_DIGEST_SIZE);
  let index = 0;
  for (const { chunk, batch } of rows) {
    const complaint = placement.complaint(chunk);
    if (complaint) throw invalid(blob, `chunk ${index}: ${complaint}`);
    chunks.add(chunk, digestOf(index) ?? new Uint8Array(CHUNK_DIGEST_SIZE), batch);
    index++;
  }
  return chunks;
}

/** Every field in which a blob's header differs from what the bootstrap says of the blob. */
function headerComplaints(blob: BlobView, header: BlobHeader): string[] {
  const expected: Partial<Record<keyof BlobHeader, number>> = {
    magic: BLOB_HEADER_MAGIC,
    magic2: BLOB_HEADER_MAGIC,
    ciCompressor: COMPRESSORS[blob.ciCompressor].id,
    ciEntries: blob.chunkCount,
    ciOffset: blob.ciOffset,
    ciCompressedSize: blob.ciCompressedSize,
    ciUncompressedSize: blob.ciUncompressedSize,
  };
  return Object.entries(expected)
    .filter(([field, value]) => header[field as keyof BlobHeader] !== value)
    .map(([field, value]) => `header: ${field} is ${header[field as keyof BlobHeader]}, the bootstrap says ${value}`);
}

/** Checks that chunks follow each other on the device and stay inside blob and device. */
export class PlacementCheck {
  readonly #blob: BlobView;
  readonly #dataSize: number;
  #end = 0;
  #compressedOffset = 0;

  constructor(blob: BlobView) {
    this.#blob = blob;
    this.#dataSize = dataSizeOf(blob);
  }

  /** What is wrong with the next chunk in order, if anything. */
  complaint(chunk: Chunk): string | undefined {
    const { uncompressedOffset, uncompressedSize, compressedOffset, compressedSize } = chunk;
    const start = this.#end;
    this.#end = alignUp(uncompressedOffset + uncompressedSize, BLOCK_SIZE);
    if (uncompressedOffset % BLOCK_SIZE !== 0) return `starts at ${uncompressedOffset}, not on a block`;
    if (uncompressedOffset < start) return `starts at ${uncompressedOffset}, the chunk before it ends at ${start}`;
    if (uncompressedSize === 0) return 'is empty';
    if (compressedOffset < this.#compressedOffset)
      return `is stored at ${compressedOffset}, before the chunk before it`;
    this.#compressedOffset = compressedOffset;
    if (this.#end > this.#blob.uncompressedSize) return `ends at ${this.#end}, beyond its device`;
    if (compressedSize === 0 || compressedOffset + compressedSize > this.#dataSize) {
      return `is stored at ${compressedOffset}, ${compressedSize} bytes, of ${this.#dataSize} bytes of chunk data`;
    }
    return undefined;
  }
}

interface Row {
  readonly chunk: Chunk;
  readonly batch?: BatchSlice;
}

function* rowsV1(blob: BlobView, table: Uint8Array): Iterable<Row> {
  const view = viewOf(table);
  for (let index = 0; index < blob.chunkCount; index++) {
    const location = unpackChunkInfoV1(chunkInfoV1.read(view, index * chunkInfoV1.size));
    // Version 1 has no flag: a chunk is stored raw exactly when that takes as many bytes.
    yield { chunk: { ...location, compressed: location.compressedSize !== location.uncompressedSize, crc32: 0 } };
  }
}

function* rowsV2(blob: BlobView, header: BlobHeader, table: Uint8Array): Iterable<Row> {
  const view = viewOf(table);
  const contextsEnd = header.contextsOffset + header.contextsCount * batchContext.size;
  if (hasFeature(blob, 'batch') && contextsEnd > table.length) throw invalid(blob, 'batch contexts run over the table');
  for (let index = 0; index < blob.chunkCount; index++) {
    const location = unpackChunkInfoV2(chunkInfoV2.read(view, index * chunkInfoV2.size));
    const flags = location.flags;
    if ((flags & (CHUNK_V2_FLAGS.zran | CHUNK_V2_FLAGS.encrypted)) !== 0) {
      throw new NaiadError(
        'BLOB_UNSUPPORTED',
        `blob ${short(blob.blobId)}: chunk ${index} is encrypted or in a gzip stream`,
      );
    }
    if ((flags & CHUNK_V2_FLAGS.batch) !== 0) yield batchRow(blob, header, view, location, index);
    else {
      const crc32 = (flags & CHUNK_V2_FLAGS.hasCrc32) !== 0 ? location.crc32 : 0;
      const compressed = (flags & CHUNK_V2_FLAGS.compressed) !== 0;
      if (!compressed && location.compressedSize !== location.uncompressedSize) {
        throw invalid(blob, `chunk ${index}: raw, but stored in ${location.compressedSize} bytes`);
      }
      yield { chunk: { ...location, compressed, crc32 } };
    }
  }
}

function batchRow(blob: BlobView, header: BlobHeader, view: DataView, location: ChunkLocationV2, index: number): Row {
  if (!hasFeature(blob, 'batch') || location.batchIndex >= header.contextsCount) {
    throw invalid(blob, `chunk ${index}: batch ${location.batchIndex} of ${header.contextsCount}`);
  }
  const context = batchContext.read(view, header.contextsOffset + location.batchIndex * batchContext.size);
  // nydus caps a batch at the chunk size; twice that leaves room for the last one added.
  const sizeMax = 2 * 16 * 1024 * 1024;
  if (
    location.batchOffset + location.uncompressedSize > context.uncompressedSize ||
    context.uncompressedSize > sizeMax
  ) {
    throw invalid(blob, `chunk ${index}: runs over its batch of ${context.uncompressedSize} bytes`);
  }
  const compressed = context.compressedSize !== context.uncompressedSize;
  return {
    chunk: { ...location, compressedSize: context.compressedSize, compressed, crc32: 0 },
    batch: { uncompressedBatchSize: context.uncompressedSize, offset: location.batchOffset },
  };
}

/** The digests out of the bytes of `tailRanges(blob).digests`, `CHUNK_DIGEST_SIZE` a chunk. */
export function readDigests(blob: BlobView, section: Uint8Array): Uint8Array {
  const size = blob.chunkCount * CHUNK_DIGEST_SIZE;
  const before = decodeSectionHeader(section.subarray(0, SECTION_HEADER_SIZE));
  const after = decodeSectionHeader(section.subarray(SECTION_HEADER_SIZE + size));
  if (before?.name !== 'blob.meta' || after?.name !== 'blob.digest' || after.size !== size) {
    throw invalid(blob, 'no digest section behind the header');
  }
  return section.subarray(SECTION_HEADER_SIZE, SECTION_HEADER_SIZE + size);
}

/** Names a TOC may hold. */
const TOC_NAMES = ['image.blob', 'blob.meta', 'blob.meta.header', 'blob.digest', 'image.boot'];
/** Five sections are known; a few more leave room for what newer writers add. */
const TOC_ENTRIES_MAX = 32;

/** Bytes at the end of a blob that hold any TOC. */
export const TOC_SIZE_MAX = SECTION_HEADER_SIZE + TOC_ENTRIES_MAX * tocEntry.size;

/**
 * The TOC of a blob of `blobSize` bytes; `tail` is its last bytes, TOC_SIZE_MAX of them or all.
 * @throws NaiadError BLOB_INVALID when the blob does not end in a TOC, or an entry lies outside the blob.
 */
export function readToc(tail: Uint8Array, blobSize: number): TocEntry[] {
  const bad = (message: string) => new NaiadError('BLOB_INVALID', `blob of ${blobSize} bytes: ${message}`);
  const header = decodeSectionHeader(tail.subarray(-SECTION_HEADER_SIZE));
  if (header?.name !== 'rafs.blob.toc') throw bad('does not end in a TOC');
  const end = tail.length - SECTION_HEADER_SIZE;
  if (header.size % tocEntry.size !== 0 || header.size === 0 || header.size > end)
    throw bad(`TOC of ${header.size} bytes`);
  const view = viewOf(tail);
  const entries: TocEntry[] = [];
  for (let at = end - header.size; at < end; at += tocEntry.size) {
    const entry = tocEntry.read(view, at);
    const name = bytesToString(Buffer.from(entry.name, 'latin1'));
    if (!TOC_NAMES.includes(name) || entries.some((other) => other.name === name)) throw bad(`TOC entry "${name}"`);
    // Version 2.2 wrote a wrong offset for image.blob, which is always at the start.
    const compressedOffset = name === 'image.blob' ? 0 : entry.compressedOffset;
    if (compressedOffset + entry.compressedSize > blobSize) throw bad(`TOC entry ${name} ends beyond the blob`);
    entries.push({ ...entry, compressedOffset, digest: Uint8Array.from(entry.digest) });
  }
  return entries;
}

function invalid(blob: BlobView, message: string): NaiadError {
  return new NaiadError('BLOB_INVALID', `blob ${short(blob.blobId)}: ${message}`);
}
