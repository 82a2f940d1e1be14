// A merged tree and its blobs become a bootstrap: the bytes that are mounted. Layout: docs/format/bootstrap.md
// (builder/src/core/v6.rs). Same tree and blobs, same bytes.
import { assert } from '../base/assert.ts';
import { type ByteString, stringToBytes } from '../base/bytes.ts';
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
  superblock,
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
import { blobEntryOf, writeChunkAddress, writeDeviceSlots } from './blob-table.ts';
import { BootstrapLayout, direntEnd, type Spot } from './bootstrap-layout.ts';
import { ChunkUse } from './chunk-use.ts';
import { DOT, DOT_DOT, type FileTree, type NameId, type NodeId } from './file-tree.ts';
import { find } from './overlay.ts';
import { PieceWriter } from './piece-writer.ts';
import { xattrCountOf } from './xattr-area.ts';

export interface BootstrapOptions {
  readonly tree: FileTree;
  readonly root: NodeId;
  /** By the blob index that the tree's chunk references carry; those without a reference left are not listed. */
  readonly blobs: readonly (BlobInfo | undefined)[];
  readonly compressor: CompressorName;
  readonly digester: DigesterName;
  /** Paths to warm first, most urgent first; directories mean all below them. Paths not in the tree are left out. */
  readonly prefetch?: readonly (readonly ByteString[])[];
}

export interface PlannedBootstrap {
  /** Bytes of all of it. */
  readonly size: number;
  /** Its bytes in pieces, made as they are asked for: what is large can be larger than memory. */
  readonly pieces: Iterable<Uint8Array>;
  /** Blobs the bootstrap lists, in its order. */
  readonly blobs: readonly BlobInfo[];
  readonly inodes: number;
  readonly names: number;
}

/** nydus probes 8192 bytes for the older format first and fails on shorter files. */
export const BOOTSTRAP_SIZE_MIN = 8192;

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

/**
 * Lays out the bootstrap of the tree below `root`, which must not change any more.
 * @throws NaiadError LIMIT_EXCEEDED when the image has more blobs or metadata than the format holds.
 */
export function planBootstrap(options: BootstrapOptions): PlannedBootstrap {
  const { tree, root, blobs } = options;
  const layout = new BootstrapLayout(tree, root);
  const use = new ChunkUse(tree, blobs);
  for (const node of layout.nodes()) if (tree.kind(node) === 'file') use.addFile(node);
  const tables = planTables(options, layout, use);
  return {
    size: tables.fileSize,
    pieces: writePieces({ options, tree, layout, use, tables }),
    blobs: tables.blobs,
    inodes: layout.nodeCount,
    names: layout.names,
  };
}

interface Context {
  readonly options: BootstrapOptions;
  readonly tree: FileTree;
  readonly layout: BootstrapLayout;
  readonly use: ChunkUse;
  readonly tables: Tables;
}

function* writePieces(context: Context): Generator<Uint8Array, void, void> {
  const { options, layout, use, tables } = context;
  const out = new PieceWriter();
  yield* out.reserve(0, tables.metaOffset + BLOCK_SIZE);
  writeSuperblocks(out.view, context);
  writeBlobTable(out.view, options, tables);
  for (const node of layout.nodes()) yield* writeInode(out, node, context);
  let position = tables.chunkTableOffset;
  for (const chunk of use.sortedRecords()) {
    const at = yield* out.reserve(position, chunkRecord.size);
    chunkRecord.write(out.view, at, chunk);
    position += chunkRecord.size;
  }
  yield* out.reserve(tables.fileSize, 0);
  yield out.rest();
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
    const node = find(options.tree, options.root, path);
    if (node !== undefined) nids.add(layout.nid(node));
  }
  return [...nids];
}

function writeSuperblocks(view: DataView, { options, tree, layout, tables }: Context): void {
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
  const inlinedDigests = blobs.every((blob) => (blob.features & BLOB_FEATURES.inlinedChunkDigest) !== 0);
  extSuperblock.write(view, EXT_SUPERBLOCK_OFFSET, {
    flags:
      BigInt(COMPRESSORS[options.compressor].flag | DIGESTERS[options.digester].flag) |
      SUPER_FLAGS.explicitUidGid |
      (layout.hasXattrs ? SUPER_FLAGS.hasXattr : 0n) |
      (inlinedDigests ? SUPER_FLAGS.inlinedChunkDigest : 0n) |
      SUPER_FLAGS.encryptionNone,
    blobTableOffset: tables.blobTableOffset,
    blobTableSize: blobEntry.size * blobs.length,
    chunkSize: tree.chunkSize,
    chunkTableOffset: tables.chunkTableOffset,
    chunkTableSize: tables.chunkCount * chunkRecord.size,
    prefetchTableOffset: tables.prefetchNids.length > 0 ? tables.prefetchOffset : 0,
    prefetchTableSize: 4 * tables.prefetchNids.length,
  });
}

function writeBlobTable(view: DataView, options: BootstrapOptions, tables: Tables): void {
  writeDeviceSlots(view, tables.blobs, tables.fileSize);
  tables.blobs.forEach((blob, blobIndex) => {
    const at = tables.blobTableOffset + blobIndex * blobEntry.size;
    blobEntry.write(view, at, blobEntryOf(blob, { blobIndex, chunkSize: options.tree.chunkSize }));
  });
  tables.prefetchNids.forEach((nid, index) => {
    view.setUint32(tables.prefetchOffset + index * 4, nid, true);
  });
}

function* writeInode(out: PieceWriter, node: NodeId, context: Context): Generator<Uint8Array, void, void> {
  const { tree, layout, tables } = context;
  const kind = tree.kind(node);
  const stored = kind === 'directory' ? tree.storedNames(node) : undefined;
  const spot = stored ? layout.directorySpot(node, stored) : layout.leafSpot(node);
  const at = yield* out.reserve(tables.metaOffset + spot.offset, spot.end - spot.offset);
  const xattrs = tree.xattrArea(node);
  extendedInode.write(out.view, at, {
    format: 1 | (spot.layout << 1),
    xattrCount: xattrCountOf(xattrs.length),
    mode: tree.mode(node),
    size: kind === 'file' ? tree.size(node) : spot.dataSize,
    u: unionField(node, spot, context),
    ino: layout.ino(node),
    uid: tree.uid(node),
    gid: tree.gid(node),
    mtime: tree.mtimeSec(node),
    mtimeNsec: tree.mtimeNsec(node),
    nlink: layout.nlink(node),
  });
  const bodyAt = at + extendedInode.size + xattrs.length;
  out.bytes.set(xattrs, at + extendedInode.size);
  if (kind === 'file') writeChunkAddresses(out.view, alignUp(bodyAt, 8), node, context);
  else if (kind === 'symlink') scatter(out.bytes, stringToBytes(tree.target(node)), { at, bodyAt, spot });
  else if (stored) scatter(out.bytes, encodeDirents(node, stored, spot, context), { at, bodyAt, spot });
}

/** Field `u`: what it means depends on the type (docs/format/bootstrap.md). */
function unionField(node: NodeId, spot: Spot, { tree, use, tables }: Context): number {
  switch (tree.kind(node)) {
    case 'special':
      return tree.rdev(node);
    case 'file':
      return CHUNK_FORMAT_INDEXES | (Math.log2(use.mappedChunkSize(node)) - BLOCK_BITS);
    default:
      return Math.floor((spot.dataOffset + tables.metaOffset) / BLOCK_SIZE);
  }
}

/** Puts the full blocks of directory or link data where the layout has them, and the tail behind the inode at `at`. */
function scatter(
  bytes: Uint8Array,
  data: Uint8Array,
  { at, bodyAt, spot }: { readonly at: number; readonly bodyAt: number; readonly spot: Spot },
): void {
  assert(data.length === spot.dataSize, 'data has the size that was laid out');
  const blocksSize = spot.layout === LAYOUT_INLINE ? data.length - (data.length % BLOCK_SIZE) : data.length;
  bytes.set(data.subarray(0, blocksSize), at + spot.dataOffset - spot.offset);
  bytes.set(data.subarray(blocksSize), bodyAt);
}

function encodeDirents(directory: NodeId, names: Uint32Array, spot: Spot, { tree, layout }: Context): Uint8Array {
  const data = new Uint8Array(spot.dataSize);
  const view = viewOf(data);
  const nodeOf = (name: NameId) =>
    name === DOT ? directory : name === DOT_DOT ? layout.parent(directory) : tree.nameNode(name);
  let size = 0;
  for (let first = 0; first < names.length; ) {
    const block = alignUp(size, BLOCK_SIZE);
    let last = first;
    for (size = block; last < names.length; last++) {
      const end = direntEnd(size, tree.nameSize(names[last] as NameId));
      if (end - block > BLOCK_SIZE) break;
      size = end;
    }
    let nameAt = (last - first) * dirent.size;
    for (let index = first; index < last; index++) {
      const name = names[index] as NameId;
      const node = nodeOf(name);
      const nid = layout.nid(node);
      assert(nid !== 0, 'every child is laid out');
      const type = fileTypeOf(tree.mode(node));
      dirent.write(view, block + (index - first) * dirent.size, { nid, nameOffset: nameAt, type });
      tree.copyName(name, data, block + nameAt);
      nameAt += tree.nameSize(name);
    }
    first = last;
  }
  return data;
}

function writeChunkAddresses(view: DataView, at: number, file: NodeId, { tree, use }: Context): void {
  const count = tree.chunkCount(file);
  for (let position = 0; position < count; position++) {
    const { blobIndex, chunkIndex, uncompressedOffset } = use.locate(tree.chunk(file, position));
    const address = { blobIndex, chunkIndex, deviceOffset: uncompressedOffset };
    writeChunkAddress(view, at + position * chunkAddress.size, address);
  }
}
