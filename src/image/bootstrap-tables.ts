// The head of a bootstrap: super blocks, device slots and blob table, checked before anything behind them is believed
// (rafs/src/metadata/layout/v6.rs has the checks nydus makes; the others are for hostile files).
import { type ByteString, short } from '../base/bytes.ts';
import { type Code, NaiadError } from '../base/errors.ts';
import {
  BLOB_COMPRESSED_SIZE_MAX,
  BLOB_UNCOMPRESSED_SIZE_MAX,
  BOOTSTRAP_SIZE_MAX,
  CHUNK_SIZE_MAX,
  CHUNK_SIZE_MIN,
  CHUNKS_PER_BLOB_MAX,
} from '../base/limits.ts';
import { isPowerOfTwo } from '../base/units.ts';
import {
  BLOCK_BITS,
  BLOCK_SIZE,
  DEVICE_SLOTS_OFFSET,
  deviceSlot,
  EROFS_MAGIC,
  FEATURE_COMPAT_RAFS,
  FEATURE_INCOMPAT_RAFS,
  SUPERBLOCK_OFFSET,
  type Superblock,
  superblock,
} from '../format/erofs/records.ts';
import {
  COMPRESSORS,
  type CompressorName,
  compressorById,
  DIGESTERS,
  type DigesterName,
  digesterById,
} from '../format/rafs/algorithms.ts';
import {
  BLOB_FEATURES,
  BLOB_FEATURES_REFUSED,
  type BlobEntry,
  blobEntry,
  chunkRecord,
  EXT_SUPERBLOCK_OFFSET,
  extSuperblock,
  RAFS_V5_MAGIC,
  rafsV5Head,
  SUPER_FLAGS,
  SUPER_FLAGS_KNOWN,
} from '../format/rafs/records.ts';
import type { RecordOf } from '../format/record.ts';

export type ExtSuperblock = RecordOf<typeof extSuperblock>;

/** A blob as the bootstrap describes it. */
export interface BlobView {
  readonly blobIndex: number;
  /** 64 lowercase hex digits: safe in paths and URLs. */
  readonly blobId: string;
  readonly compressor: CompressorName;
  readonly digester: DigesterName;
  readonly chunkCount: number;
  readonly compressedSize: number;
  readonly uncompressedSize: number;
  readonly features: number;
  readonly ciCompressor: CompressorName;
  readonly ciOffset: number;
  readonly ciCompressedSize: number;
  readonly ciUncompressedSize: number;
  readonly tocSize: number;
  readonly tocDigest: Uint8Array;
}

export interface BootstrapTables {
  readonly superblock: Superblock;
  readonly extSuperblock: ExtSuperblock;
  readonly blobs: readonly BlobView[];
  readonly metaOffset: number;
}

const BOOTSTRAP_SIZE_MIN = 8192;

/** Where complaints go: reading throws the first, `check` collects them all. */
export type Complain = (code: Code, message: string) => void;

/** Throws the first complaint. */
export function complainByThrowing(code: Code, message: string): never {
  throw new NaiadError(code, message);
}

/** @throws NaiadError BOOTSTRAP_INVALID or BOOTSTRAP_UNSUPPORTED, unless `complain` collects. */
export function readTables(view: DataView, complain: Complain = complainByThrowing): BootstrapTables {
  recognise(view);
  const sb = superblock.read(view, SUPERBLOCK_OFFSET);
  const ext = extSuperblock.read(view, EXT_SUPERBLOCK_OFFSET);
  checkSuperblock(sb, view.byteLength, complain);
  checkExtSuperblock(sb, ext, view.byteLength, complain);
  const count = ext.blobTableSize / blobEntry.size;
  const slotsEnd = DEVICE_SLOTS_OFFSET + sb.extraDevices * deviceSlot.size;
  if (sb.extraDevices !== count) {
    throw invalid(`${sb.extraDevices} device slots, but ${count} entries in the blob table`);
  }
  const tableEnd = ext.blobTableOffset + ext.blobTableSize;
  if (count > 0 && (slotsEnd > ext.blobTableOffset || tableEnd > view.byteLength)) {
    throw invalid(
      `blob table at ${ext.blobTableOffset} to ${tableEnd}: outside the file of ${view.byteLength} bytes, or over the slots`,
    );
  }
  const blobs: BlobView[] = [];
  for (let index = 0; index < count; index++) blobs.push(readBlob(view, ext, index, complain));
  const ids = new Set(blobs.map((blob) => blob.blobId));
  if (ids.size !== blobs.length) complain('BOOTSTRAP_INVALID', 'two entries of the blob table have the same id');
  return { superblock: sb, extSuperblock: ext, blobs, metaOffset: sb.metaBlkaddr * BLOCK_SIZE };
}

function invalid(message: string): NaiadError {
  return new NaiadError('BOOTSTRAP_INVALID', `bootstrap: ${message}`);
}

function unsupported(message: string, hint?: string): NaiadError {
  return new NaiadError('BOOTSTRAP_UNSUPPORTED', `bootstrap: ${message}`, hint === undefined ? {} : { hint });
}

function recognise(view: DataView): void {
  const size = view.byteLength;
  const head = size >= rafsV5Head.size ? rafsV5Head.read(view, 0) : undefined;
  if (head?.magic === RAFS_V5_MAGIC) {
    const { version } = head;
    throw unsupported(
      `RAFS version ${version >>> 8}${version === 0x500 ? '' : ` (0x${version.toString(16)})`}; naiad reads version 6`,
      'Convert the original image again with --fs-version 6, or with naiad.',
    );
  }
  if (size < BOOTSTRAP_SIZE_MIN) throw invalid(`${size} bytes; the shortest bootstrap has ${BOOTSTRAP_SIZE_MIN}`);
  if (size > BOOTSTRAP_SIZE_MAX) throw invalid(`${size} bytes; the limit is ${BOOTSTRAP_SIZE_MAX}`);
  if (superblock.fields.magic.read(view, SUPERBLOCK_OFFSET) !== EROFS_MAGIC) {
    throw invalid('not an EROFS image: no magic number at offset 1024');
  }
  if ((superblock.fields.featureCompat.read(view, SUPERBLOCK_OFFSET) & FEATURE_COMPAT_RAFS) === 0) {
    throw unsupported('a plain EROFS image, not RAFS v6: its file data is not in blobs');
  }
}

function checkSuperblock(sb: Superblock, fileSize: number, complain: Complain): void {
  if (sb.blockBits === 9) throw unsupported('block size 512: a tarfs image, whose blobs are plain tars');
  if (sb.blockBits !== BLOCK_BITS) throw invalid(`log2 of the block size is ${sb.blockBits}, must be ${BLOCK_BITS}`);
  if (sb.featureIncompat !== FEATURE_INCOMPAT_RAFS) {
    throw unsupported(`incompatible features 0x${sb.featureIncompat.toString(16)}, RAFS v6 has exactly 0xc`);
  }
  if (fileSize % BLOCK_SIZE !== 0)
    complain('BOOTSTRAP_INVALID', `file size ${fileSize} is no multiple of ${BLOCK_SIZE}`);
  if (sb.metaBlkaddr * BLOCK_SIZE > fileSize) {
    throw invalid(`inode area starts at ${sb.metaBlkaddr * BLOCK_SIZE}, the file has ${fileSize} bytes`);
  }
  if (sb.devtSlotoff !== DEVICE_SLOTS_OFFSET / deviceSlot.size) {
    throw invalid(`device slots at unit ${sb.devtSlotoff}, must be ${DEVICE_SLOTS_OFFSET / deviceSlot.size}`);
  }
  const zeros = {
    checksum: sb.checksum,
    extSlots: sb.extSlots,
    xattrBlkaddr: sb.xattrBlkaddr,
    compression: sb.compression,
  };
  for (const [field, value] of Object.entries(zeros)) {
    if (value !== 0) complain('BOOTSTRAP_INVALID', `super block: ${field} is ${value}, must be 0`);
  }
  if (sb.inos === 0) complain('BOOTSTRAP_INVALID', 'super block: inos is 0');
}

function checkExtSuperblock(sb: Superblock, ext: ExtSuperblock, fileSize: number, complain: Complain): void {
  const { flags } = ext;
  if ((flags & ~SUPER_FLAGS_KNOWN) !== 0n)
    throw unsupported(`unknown flags 0x${(flags & ~SUPER_FLAGS_KNOWN).toString(16)}`);
  if ((flags & SUPER_FLAGS.tarfs) !== 0n) throw unsupported('a tarfs image, whose blobs are plain tars');
  if ((flags & SUPER_FLAGS.encryptionAes) !== 0n) throw unsupported('an encrypted image');
  const one = (table: Record<string, { flag: number }>) =>
    Object.values(table).filter(({ flag }) => (flags & BigInt(flag)) !== 0n).length === 1;
  if (!one(COMPRESSORS)) complain('BOOTSTRAP_INVALID', `flags 0x${flags.toString(16)} name not exactly one compressor`);
  if (!one(DIGESTERS)) complain('BOOTSTRAP_INVALID', `flags 0x${flags.toString(16)} name not exactly one digester`);
  if (!isPowerOfTwo(ext.chunkSize) || ext.chunkSize < CHUNK_SIZE_MIN || ext.chunkSize > CHUNK_SIZE_MAX) {
    throw invalid(`chunk size ${ext.chunkSize}, must be a power of two from ${CHUNK_SIZE_MIN} to ${CHUNK_SIZE_MAX}`);
  }
  const ranges = [{ name: 'device slots', offset: DEVICE_SLOTS_OFFSET, size: sb.extraDevices * deviceSlot.size }];
  const table = (name: string, offset: number, size: number, unit: number, alignment: number) => {
    if (size % unit !== 0) throw invalid(`${name} table has ${size} bytes, no multiple of ${unit}`);
    if (size === 0) return;
    if (offset % alignment !== 0 || offset + size > fileSize) {
      throw invalid(`${name} table at ${offset}, ${size} bytes: unaligned or outside the file of ${fileSize} bytes`);
    }
    ranges.push({ name: `${name} table`, offset, size });
  };
  table('blob', ext.blobTableOffset, ext.blobTableSize, blobEntry.size, BLOCK_SIZE);
  table('chunk', ext.chunkTableOffset, ext.chunkTableSize, chunkRecord.size, BLOCK_SIZE);
  // Images without blobs, by old builders, carry a size with offset 0.
  if (ext.prefetchTableOffset !== 0) table('prefetch', ext.prefetchTableOffset, ext.prefetchTableSize, 4, 4);
  ranges.sort((a, b) => a.offset - b.offset);
  for (const [index, range] of ranges.entries()) {
    const next = ranges[index + 1];
    if (next && range.offset + range.size > next.offset) {
      complain('BOOTSTRAP_INVALID', `${range.name} and ${next.name} overlap`);
    }
  }
}

const BLOB_ID = /^[0-9a-f]{64}$/;

function readBlob(view: DataView, ext: ExtSuperblock, blobIndex: number, complain: Complain): BlobView {
  const entry = blobEntry.read(view, ext.blobTableOffset + blobIndex * blobEntry.size);
  const slot = deviceSlot.read(view, DEVICE_SLOTS_OFFSET + blobIndex * deviceSlot.size);
  const where = `blob ${blobIndex} (${short(printableId(entry.blobId))})`;
  refuseFeatures(entry, where);
  if (!BLOB_ID.test(entry.blobId)) {
    throw invalid(`${where}: id is not 64 lowercase hex digits`);
  }
  const compressor = compressorById(entry.compressor);
  const ciCompressor = compressorById(entry.ciCompressor);
  const digester = digesterById(entry.digester);
  if (!compressor || !ciCompressor) throw unsupported(`${where}: compressor ${entry.compressor}/${entry.ciCompressor}`);
  if (!digester) throw unsupported(`${where}: digester ${entry.digester}`);
  for (const complaint of blobComplaints(entry, ext, blobIndex))
    complain('BOOTSTRAP_INVALID', `${where}: ${complaint}`);
  if (slot.tag !== entry.blobId) complain('BOOTSTRAP_INVALID', `${where}: its device slot names another blob`);
  if (slot.blocks * BLOCK_SIZE !== entry.uncompressedSize) {
    complain('BOOTSTRAP_INVALID', `${where}: device of ${slot.blocks} blocks, blob of ${entry.uncompressedSize} bytes`);
  }
  return { ...entry, compressor, ciCompressor, digester, tocDigest: Uint8Array.from(entry.tocDigest) };
}

function printableId(id: ByteString): string {
  return id.replace(/[^\x20-\x7e]/g, '?');
}

function refuseFeatures(entry: BlobEntry, where: string): void {
  const { features } = entry;
  const named = {
    zran: 'an OCI reference blob (zran)',
    separate: 'metadata in a separate blob',
    tarfs: 'a tarfs blob',
  };
  const more = {
    encrypted: 'an encrypted blob',
    external: 'an external blob',
    chunkDictGenerated: 'a chunk dict, no image',
  };
  for (const [feature, what] of Object.entries({ ...named, ...more })) {
    if ((features & BLOB_FEATURES[feature as keyof typeof BLOB_FEATURES]) !== 0) throw unsupported(`${where}: ${what}`);
  }
  if (entry.cipher !== 0) throw unsupported(`${where}: cipher ${entry.cipher}`);
  if ((features & BLOB_FEATURES_REFUSED) >>> 0 !== 0)
    throw unsupported(`${where}: features 0x${features.toString(16)}`);
  if ((features & BLOB_FEATURES.aligned) === 0) throw unsupported(`${where}: chunks are not block-aligned`);
}

function* blobComplaints(entry: BlobEntry, ext: ExtSuperblock, blobIndex: number): Iterable<string> {
  if (entry.blobIndex !== blobIndex) yield `carries index ${entry.blobIndex}`;
  if (entry.chunkSize !== ext.chunkSize) yield `chunk size ${entry.chunkSize}, the image has ${ext.chunkSize}`;
  if (entry.chunkCount === 0 || entry.chunkCount > CHUNKS_PER_BLOB_MAX) yield `${entry.chunkCount} chunks`;
  if (entry.compressedSize > BLOB_COMPRESSED_SIZE_MAX) yield `compressed size ${entry.compressedSize} is above 2^40`;
  if (entry.uncompressedSize > BLOB_UNCOMPRESSED_SIZE_MAX)
    yield `uncompressed size ${entry.uncompressedSize} is above 2^44`;
  if (entry.uncompressedSize % BLOCK_SIZE !== 0)
    yield `uncompressed size ${entry.uncompressedSize} is not block-aligned`;
  if (entry.ciOffset + entry.ciCompressedSize > BLOB_COMPRESSED_SIZE_MAX) yield 'chunk-info table lies beyond 2^40';
  if (entry.ciCompressedSize > entry.ciUncompressedSize)
    yield 'chunk-info table is larger compressed than uncompressed';
  const v2 = (entry.features & BLOB_FEATURES.chunkInfoV2) !== 0;
  const batch = (entry.features & BLOB_FEATURES.batch) !== 0;
  if (batch && !v2) yield 'batches need version 2 of the chunk-info table';
  const expected = (v2 ? 24 : 16) * entry.chunkCount;
  const fits = batch ? entry.ciUncompressedSize >= expected : entry.ciUncompressedSize === expected;
  if (!fits) yield `chunk-info table of ${entry.ciUncompressedSize} bytes for ${entry.chunkCount} chunks`;
}

/** The prefetch table's nids up to the first 0, as they stand: hints, to be ignored where they fit nothing. */
export function readPrefetchNids(view: DataView, ext: ExtSuperblock): number[] {
  const nids: number[] = [];
  if (ext.prefetchTableOffset === 0) return nids;
  for (let at = ext.prefetchTableOffset; at < ext.prefetchTableOffset + ext.prefetchTableSize; at += 4) {
    const nid = view.getUint32(at, true);
    if (nid === 0) break;
    nids.push(nid);
  }
  return nids;
}
