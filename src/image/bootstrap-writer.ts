// A merged tree and its blobs become a bootstrap: the bytes that are mounted. Layout: docs/format/bootstrap.md
// (builder/src/core/v6.rs). Same tree and blobs, same bytes.
import { assert } from '../base/assert.ts';
import { type ByteString, compareBytes, stringToBytes } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { BLOBS_MAX, BOOTSTRAP_SIZE_MAX } from '../base/limits.ts';
import { alignUp } from '../base/units.ts';
import {
  BLOCK_BITS,
  BLOCK_SIZE,
  CHUNK_FORMAT_INDEXES,
  chunkAddress,
  DEVICE_SLOTS_OFFSET,
  deviceSlot,
  dirent,
  EROFS_MAGIC,
  extendedInode,
  FEATURE_COMPAT_RAFS,
  FEATURE_INCOMPAT_RAFS,
  fileTypeOf,
  LAYOUT_INLINE,
  SLOT_SIZE,
  SUPERBLOCK_OFFSET,
  splitXattrName,
  superblock,
  xattrEntry,
  xattrHeader,
} from '../format/erofs/records.ts';
import { COMPRESSORS, type CompressorName, DIGESTERS, type DigesterName } from '../format/rafs/algorithms.ts';
import {
  BLOB_FEATURES,
  blobEntry,
  chunkRecord,
  EXT_SUPERBLOCK_OFFSET,
  extSuperblock,
  SUPER_FLAGS,
} from '../format/rafs/records.ts';
import { viewOf } from '../format/record.ts';
import type { BlobInfo } from './blob-info.ts';
import {
  type BootstrapLayout,
  direntEnd,
  layOut,
  type Placement,
  storedNames,
  xattrEntrySize,
} from './bootstrap-layout.ts';
import { ChunkUse } from './chunk-use.ts';
import { find } from './overlay.ts';
import type { DirectoryNode, FileNode } from './tree.ts';

export interface BootstrapOptions {
  readonly root: DirectoryNode;
  /** By the blob index that the tree's chunk references carry; those without a reference left are not listed. */
  readonly blobs: readonly (BlobInfo | undefined)[];
  readonly chunkSize: number;
  readonly compressor: CompressorName;
  readonly digester: DigesterName;
  /** Paths to warm first, most urgent first; directories mean all below them. Paths not in the tree are left out. */
  readonly prefetch?: readonly (readonly ByteString[])[];
}

export interface WrittenBootstrap {
  readonly bytes: Uint8Array;
  /** Blobs the bootstrap lists, in its order. */
  readonly blobs: readonly BlobInfo[];
  readonly inodes: number;
  readonly names: number;
}

/** Blob starts on the flat device are aligned to this (rafs v6 builder, since 2.3). */
const FLAT_DEVICE_ALIGNMENT = 512 * 1024;
/** nydus probes 8192 bytes for the older format first and fails on shorter files. */
const BOOTSTRAP_SIZE_MIN = 8192;

interface Tables {
  readonly blobs: readonly BlobInfo[];
  readonly blobTableOffset: number;
  readonly prefetchOffset: number;
  readonly prefetchNids: readonly number[];
  readonly metaOffset: number;
  readonly chunkTableOffset: number;
  readonly chunkCount: number;
  readonly fileSize: number;
}

/** @throws NaiadError LIMIT_EXCEEDED when the image has more blobs or metadata than the format holds. */
export function writeBootstrap(options: BootstrapOptions): WrittenBootstrap {
  const layout = layOut(options.root);
  const use = new ChunkUse(options.blobs);
  for (const { node } of layout.placements) if (node.kind === 'file') use.addFile(node, options.chunkSize);
  const tables = planTables(options, layout, use);
  const bytes = new Uint8Array(tables.fileSize);
  const view = viewOf(bytes);
  writeSuperblocks(view, options, layout, tables);
  writeBlobTable(view, options, tables);
  for (const placement of layout.placements) writeInode(bytes, view, placement, { options, layout, use, tables });
  let at = tables.chunkTableOffset;
  for (const chunk of use.sortedRecords()) {
    chunkRecord.write(view, at, chunk);
    at += chunkRecord.size;
  }
  return { bytes, blobs: tables.blobs, inodes: layout.placements.length, names: layout.names };
}

function planTables(options: BootstrapOptions, layout: BootstrapLayout, use: ChunkUse): Tables {
  const blobs = use.usedBlobs();
  if (blobs.length > BLOBS_MAX) {
    throw new NaiadError('LIMIT_EXCEEDED', `the image has ${blobs.length} blobs, RAFS v6 holds ${BLOBS_MAX}`);
  }
  const blobTableOffset = alignUp(DEVICE_SLOTS_OFFSET + deviceSlot.size * blobs.length, BLOCK_SIZE);
  const prefetchOffset = blobTableOffset + blobEntry.size * blobs.length;
  const prefetchNids = blobs.length === 0 ? [] : prefetchSlots(options, layout);
  // Without blobs there is no table in front of the inode area, and its unused first block holds the super blocks.
  const metaOffset = blobs.length === 0 ? 0 : alignUp(prefetchOffset + 4 * prefetchNids.length, BLOCK_SIZE);
  const chunkTableOffset = alignUp(metaOffset + layout.size, BLOCK_SIZE);
  const chunkCount = use.usedChunks;
  const fileSize = Math.max(BOOTSTRAP_SIZE_MIN, alignUp(chunkTableOffset + chunkCount * chunkRecord.size, BLOCK_SIZE));
  if (fileSize > BOOTSTRAP_SIZE_MAX) {
    throw new NaiadError(
      'LIMIT_EXCEEDED',
      `the bootstrap would have ${fileSize} bytes, the limit is ${BOOTSTRAP_SIZE_MAX}`,
    );
  }
  return { blobs, blobTableOffset, prefetchOffset, prefetchNids, metaOffset, chunkTableOffset, chunkCount, fileSize };
}

function prefetchSlots(options: BootstrapOptions, layout: BootstrapLayout): number[] {
  const nids = new Set<number>();
  for (const path of options.prefetch ?? []) {
    const node = find(options.root, path);
    const placement = node && layout.byNode.get(node);
    if (placement) nids.add(placement.offset / SLOT_SIZE);
  }
  return [...nids];
}

function writeSuperblocks(view: DataView, options: BootstrapOptions, layout: BootstrapLayout, tables: Tables): void {
  const { blobs } = tables;
  const blocks = blobs.reduce((sum, blob) => sum + blob.uncompressedSize / BLOCK_SIZE, 0);
  superblock.write(view, SUPERBLOCK_OFFSET, {
    magic: EROFS_MAGIC,
    checksum: 0,
    featureCompat: FEATURE_COMPAT_RAFS,
    blockBits: BLOCK_BITS,
    extSlots: 0,
    rootNid: BLOCK_SIZE / SLOT_SIZE,
    inos: layout.names,
    buildTime: 0,
    buildTimeNsec: 0,
    blocks: Math.min(blocks, 0xffff_ffff),
    metaBlkaddr: tables.metaOffset / BLOCK_SIZE,
    xattrBlkaddr: 0,
    uuid: '',
    volumeName: '',
    featureIncompat: FEATURE_INCOMPAT_RAFS,
    compression: 0,
    extraDevices: blobs.length,
    devtSlotoff: DEVICE_SLOTS_OFFSET / deviceSlot.size,
    dirBlockBits: 0,
  });
  const hasXattr = layout.placements.some(({ node }) => node.xattrs.length > 0);
  const inlinedDigests = blobs.every((blob) => (blob.features & BLOB_FEATURES.inlinedChunkDigest) !== 0);
  extSuperblock.write(view, EXT_SUPERBLOCK_OFFSET, {
    flags:
      BigInt(COMPRESSORS[options.compressor].flag | DIGESTERS[options.digester].flag) |
      SUPER_FLAGS.explicitUidGid |
      (hasXattr ? SUPER_FLAGS.hasXattr : 0n) |
      (inlinedDigests ? SUPER_FLAGS.inlinedChunkDigest : 0n) |
      SUPER_FLAGS.encryptionNone,
    blobTableOffset: tables.blobTableOffset,
    blobTableSize: blobEntry.size * blobs.length,
    chunkSize: options.chunkSize,
    chunkTableOffset: tables.chunkTableOffset,
    chunkTableSize: tables.chunkCount * chunkRecord.size,
    prefetchTableOffset: tables.prefetchNids.length > 0 ? tables.prefetchOffset : 0,
    prefetchTableSize: 4 * tables.prefetchNids.length,
  });
}

function writeBlobTable(view: DataView, options: BootstrapOptions, tables: Tables): void {
  let flatEnd = tables.fileSize;
  tables.blobs.forEach((blob, blobIndex) => {
    const blocks = blob.uncompressedSize / BLOCK_SIZE;
    const mappedBlkaddr = alignUp(flatEnd, FLAT_DEVICE_ALIGNMENT) / BLOCK_SIZE;
    flatEnd = (mappedBlkaddr + blocks) * BLOCK_SIZE;
    deviceSlot.write(view, DEVICE_SLOTS_OFFSET + blobIndex * deviceSlot.size, {
      tag: blob.blobId,
      blocks,
      // Beyond 32 bits a flat device cannot be addressed; per-blob devices, which everybody uses, do not look at it.
      mappedBlkaddr: Math.min(mappedBlkaddr, 0xffff_ffff),
    });
    blobEntry.write(view, tables.blobTableOffset + blobIndex * blobEntry.size, {
      blobId: blob.blobId,
      blobIndex,
      chunkSize: options.chunkSize,
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
    });
  });
  tables.prefetchNids.forEach((nid, index) => {
    view.setUint32(tables.prefetchOffset + index * 4, nid, true);
  });
}

interface Context {
  readonly options: BootstrapOptions;
  readonly layout: BootstrapLayout;
  readonly use: ChunkUse;
  readonly tables: Tables;
}

function writeInode(bytes: Uint8Array, view: DataView, placement: Placement, context: Context): void {
  const { node, layout, xattrSize } = placement;
  const { metaOffset } = context.tables;
  const at = metaOffset + placement.offset;
  extendedInode.write(view, at, {
    format: 1 | (layout << 1),
    xattrCount: xattrSize === 0 ? 0 : (xattrSize - xattrHeader.size) / 4 + 1,
    mode: node.mode,
    size: node.kind === 'file' ? node.size : placement.dataSize,
    u: unionField(placement, context),
    ino: placement.ino,
    uid: node.uid,
    gid: node.gid,
    mtime: node.mtimeSec,
    mtimeNsec: node.mtimeNsec,
    nlink: placement.nlink,
  });
  const bodyAt = writeXattrs(bytes, view, at + extendedInode.size, placement);
  if (node.kind === 'file') writeChunkAddresses(view, alignUp(bodyAt, 8), node, context.use);
  else if (node.kind === 'symlink') scatter(bytes, stringToBytes(node.target), bodyAt, placement, metaOffset);
  else if (node.kind === 'directory')
    scatter(bytes, encodeDirents(node, placement, context), bodyAt, placement, metaOffset);
}

/** Field `u`: what it means depends on the type (docs/format/bootstrap.md). */
function unionField(placement: Placement, { options, use, tables }: Context): number {
  const { node } = placement;
  switch (node.kind) {
    case 'special':
      return node.rdev;
    case 'file': {
      const exponent = Math.log2(use.mappedChunkSize(node, options.chunkSize)) - BLOCK_BITS;
      return CHUNK_FORMAT_INDEXES | exponent;
    }
    default:
      return Math.floor((placement.dataOffset + tables.metaOffset) / BLOCK_SIZE);
  }
}

/** Puts the full blocks of directory or link data where the layout has them, and the tail behind the inode. */
function scatter(
  bytes: Uint8Array,
  data: Uint8Array,
  inlineAt: number,
  placement: Placement,
  metaOffset: number,
): void {
  assert(data.length === placement.dataSize, 'data has the size that was laid out');
  const blocksSize = placement.layout === LAYOUT_INLINE ? data.length - (data.length % BLOCK_SIZE) : data.length;
  bytes.set(data.subarray(0, blocksSize), metaOffset + placement.dataOffset);
  bytes.set(data.subarray(blocksSize), inlineAt);
}

function encodeDirents(directory: DirectoryNode, placement: Placement, { layout }: Context): Uint8Array {
  const data = new Uint8Array(placement.dataSize);
  const view = viewOf(data);
  const names = storedNames(directory);
  let size = 0;
  for (let first = 0; first < names.length; ) {
    const block = alignUp(size, BLOCK_SIZE);
    let last = first;
    for (size = block; last < names.length; last++) {
      const end = direntEnd(size, names[last] as ByteString);
      if (end - block > BLOCK_SIZE) break;
      size = end;
    }
    let nameAt = (last - first) * dirent.size;
    for (let index = first; index < last; index++) {
      const name = names[index] as ByteString;
      const target = name === '.' ? directory : name === '..' ? placement.parent : directory.children.get(name);
      const child = target && layout.byNode.get(target);
      assert(child, 'every child is laid out');
      dirent.write(view, block + (index - first) * dirent.size, {
        nid: child.offset / SLOT_SIZE,
        nameOffset: nameAt,
        type: fileTypeOf(child.node.mode),
      });
      data.set(stringToBytes(name), block + nameAt);
      nameAt += name.length;
    }
    first = last;
  }
  return data;
}

function writeXattrs(bytes: Uint8Array, view: DataView, at: number, { node, xattrSize }: Placement): number {
  if (xattrSize === 0) return at;
  xattrHeader.write(view, at, { nameFilter: 0, sharedCount: 0 });
  let entryAt = at + xattrHeader.size;
  for (const xattr of [...node.xattrs].sort((a, b) => compareBytes(a.name, b.name))) {
    const name = splitXattrName(xattr.name);
    assert(name, 'the layout has refused other names');
    xattrEntry.write(view, entryAt, {
      nameSize: name.suffix.length,
      prefix: name.index,
      valueSize: xattr.value.length,
    });
    bytes.set(stringToBytes(name.suffix), entryAt + xattrEntry.size);
    bytes.set(xattr.value, entryAt + xattrEntry.size + name.suffix.length);
    entryAt += xattrEntrySize(xattr);
  }
  return at + xattrSize;
}

function writeChunkAddresses(view: DataView, at: number, file: FileNode, use: ChunkUse): void {
  file.chunks.forEach((ref, position) => {
    const { blobIndex, chunkIndex, uncompressedOffset } = use.locate(ref);
    chunkAddress.write(view, at + position * chunkAddress.size, {
      chunkLow: chunkIndex & 0xffff,
      device: ((chunkIndex >>> 16) << 8) | (blobIndex + 1),
      block: uncompressedOffset / BLOCK_SIZE,
    });
  });
}
